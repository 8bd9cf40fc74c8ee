//! One test per promise of the `Store` trait, each on a fresh store.

use crate::buckets::BucketSet;
use crate::conformance::{
    Open, PARTITIONS, claim, claimed, dead_letters, identity, partition, scan_orders,
    scan_products, write, write_each,
};
use crate::error::StoreError;
use crate::rows::{CatalogEntry, Checkpoint, OrderItem, OrderRow};
use crate::store::{Advance, Batch, Change, Freshness, RowChange, Store, StoreIdentity, Written};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, OrderId, ProductId, Quantity, Sequence, Timestamp,
};
use std::sync::Arc;

/// What was written is asked for at once.
const FRESH: Freshness = Freshness::Latest;

/// A time some micros into the tests' day.
pub(super) fn time(micros: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + micros)
}

/// A buyer by number.
pub(super) fn buyer(number: u8) -> BuyerId {
    BuyerId::from_bytes([number; 16])
}

/// A product by number.
pub(super) fn product(number: u8) -> ProductId {
    ProductId::from_bytes([number; 16])
}

/// The order that event `sequence` of a partition makes at `at`.
pub(super) fn order(number: u16, sequence: u64, by: BuyerId, at: Timestamp) -> OrderRow {
    let quantity = Quantity::new(2).expect("the quantity is in range");
    OrderRow {
        order: OrderId::new(at, partition(number), by, Sequence::new(sequence)),
        buyer: by,
        total_amount: 2 * 1_999,
        currency: Currency::USD,
        status: OrderStatus::Pending,
        created_at: at,
        updated_at: at,
        expires_at: at.plus_seconds(600),
        version: Sequence::new(sequence),
        items: vec![OrderItem { product: product(1), quantity, unit_price: 1_999 }],
    }
}

/// Terms with a price.
pub(super) fn terms(price: u64) -> Terms {
    Terms {
        price,
        currency: Currency::USD,
        stock: 100,
        opens_at: Timestamp::NONE,
        closes_at: time(5),
        limit_per_buyer: 2,
        hold_seconds: 600,
        waitlist_capacity: 7,
    }
}

/// A batch of one partition in which each row is an event of its own.
pub(super) fn batch(number: u16, after: u64, rows: Vec<RowChange>) -> Batch {
    let partition = partition(number);
    let through = after + rows.len().max(1) as u64;
    let changes = (after + 1..)
        .zip(rows)
        .map(|(sequence, row)| Change {
            partition,
            sequence: Sequence::new(sequence),
            line: 0,
            at: time(sequence),
            row,
        })
        .collect();
    let advance = Advance {
        partition,
        epoch: Epoch::FIRST,
        after: Sequence::new(after),
        through: Sequence::new(through),
    };
    Batch { buckets: BucketSet::ALL, advances: vec![advance], changes }
}

/// The checkpoints, which must be the same on every shard.
async fn sequences(store: &dyn Store) -> Vec<u64> {
    let mut first = None;
    for shard in store.shards() {
        let stored = shard.checkpoints().await.expect("the store answers");
        let stored: Vec<_> = stored.iter().map(|stored| stored.sequence.get()).collect();
        assert_eq!(*first.get_or_insert_with(|| stored.clone()), stored, "{}", shard.name());
    }
    first.expect("a store has a shard")
}

pub(super) async fn claims(open: &Open) {
    let store = open().await.expect("the store opens");
    let unclaimed = Err(StoreError::NoCheckpoint { partition: partition(0) });
    for (shard, written) in
        store.shards().iter().zip(write_each(&*store, &batch(0, 0, vec![])).await)
    {
        assert_eq!(shard.identity().await, Ok(None));
        assert_eq!(written, unclaimed);
    }

    claim(&*store, identity()).await.expect("a fresh store can be claimed");
    claim(&*store, identity()).await.expect("claiming again checks");
    let zeros: Vec<_> = (0..PARTITIONS)
        .map(|number| Checkpoint {
            partition: partition(number),
            epoch: Epoch::FIRST,
            sequence: Sequence::ZERO,
        })
        .collect();
    let mut owned = BucketSet::NONE;
    for shard in store.shards() {
        assert_eq!(shard.identity().await, Ok(Some(identity())));
        assert_eq!(shard.checkpoints().await.as_ref(), Ok(&zeros), "one for each, in order");
        assert!(owned.intersection(&shard.buckets()).is_empty(), "a bucket has one owner");
        owned = owned.union(&shard.buckets());

        let other = StoreIdentity { directory: 2, ..identity() };
        let foreign = shard.claim(other).await;
        assert!(matches!(foreign, Err(StoreError::Foreign { .. })), "{foreign:?}");
        assert_eq!(shard.identity().await, Ok(Some(identity())), "the claim stays");
    }
    assert_eq!(owned, BucketSet::ALL, "every bucket has an owner");
}

pub(super) async fn a_batch_is_written_once(open: &Open) {
    let store = claimed(open).await;
    let row = order(1, 1, buyer(1), time(1));
    let first = batch(1, 0, vec![RowChange::OrderCreated(row.clone())]);
    let written = write(&*store, &first).await;
    assert_eq!(written, Ok(Written { rows: 1, dead_letters: 0 }));
    assert_eq!(store.order(row.order, FRESH).await, Ok(Some(row.clone())));

    let out_of_step = |stored, after| {
        let (stored, after) = (Sequence::new(stored), Sequence::new(after));
        Err(StoreError::OutOfStep { partition: partition(1), stored, after })
    };
    for again in write_each(&*store, &first).await {
        assert_eq!(again, out_of_step(1, 0), "the same again");
    }
    for gap in write_each(&*store, &batch(1, 2, vec![])).await {
        assert_eq!(gap, out_of_step(1, 2), "a gap");
    }
    assert_eq!(sequences(&*store).await, [0, 1, 0, 0]);
    assert_eq!(scan_orders(&*store, None, None, 10).await, Ok(vec![row]));
    assert_eq!(dead_letters(&*store, None, 10).await, Ok(vec![]));

    let empty = write(&*store, &batch(1, 1, vec![])).await;
    assert_eq!(empty, Ok(Written::default()), "a range without rows moves the checkpoint too");
    assert_eq!(sequences(&*store).await, [0, 2, 0, 0]);
}

pub(super) async fn a_refused_batch_leaves_nothing(open: &Open) {
    let store = claimed(open).await;
    let mut mixed = Batch::new(BucketSet::ALL);
    for (number, after) in [(0, 0), (1, 5)] {
        let row = order(number, after + 1, buyer(1), time(1));
        let part = batch(number, after, vec![RowChange::OrderCreated(row)]);
        mixed.advances.extend(&part.advances);
        mixed.changes.extend(part.changes.iter().cloned());
    }
    for refused in write_each(&*store, &mixed).await {
        assert!(matches!(refused, Err(StoreError::OutOfStep { .. })), "{refused:?}");
    }
    assert_eq!(sequences(&*store).await, [0; 4]);
    assert_eq!(scan_orders(&*store, None, None, 10).await, Ok(vec![]));
}

pub(super) async fn an_older_epoch_is_fenced(open: &Open) {
    let store = claimed(open).await;
    let of_epoch = |epoch, after| {
        let mut batch = batch(2, after, vec![]);
        batch.advances[0].epoch = Epoch::new(epoch);
        batch
    };
    write(&*store, &of_epoch(3, 0)).await.expect("a newer epoch may write");
    let (stored, given) = (Epoch::new(3), Epoch::new(2));
    for fenced in write_each(&*store, &of_epoch(2, 1)).await {
        assert_eq!(fenced, Err(StoreError::Fenced { partition: partition(2), stored, given }));
    }
    write(&*store, &of_epoch(3, 1)).await.expect("the same epoch goes on");
}

pub(super) async fn poison_becomes_dead_letters(open: &Open) {
    let store = claimed(open).await;
    let good = order(0, 1, buyer(1), time(1));
    let also_good = order(0, 8, buyer(1), time(8));
    let mut dear = order(0, 3, buyer(1), time(3));
    dear.items[0].unit_price = u64::MAX;
    let unknown = order(0, 4, buyer(9), time(4)).order;
    let moved = |order, status| RowChange::OrderMoved { order, status, expires_at: time(9) };
    let rows = vec![
        RowChange::OrderCreated(good.clone()),
        RowChange::OrderCreated(good.clone()),
        RowChange::OrderCreated(dear.clone()),
        moved(unknown, OrderStatus::Paid),
        RowChange::StockMoved { product: product(3), units: 5 },
        RowChange::StateSet { product: product(3), state: SaleState::Paused },
        RowChange::Unreadable { reason: "too new".into(), bytes: vec![1, 2, 3] },
        RowChange::OrderCreated(also_good.clone()),
        moved(good.order, OrderStatus::Pending),
        RowChange::ProductDefined { product: product(4), terms: terms(5) },
        RowChange::StockMoved { product: product(4), units: -101 },
    ];
    let written = write(&*store, &batch(0, 0, rows)).await;
    // Orders are on one shard, products and what nobody can read on all.
    let shards = store.shards().len() as u64;
    assert_eq!(written, Ok(Written { rows: 2 + shards, dead_letters: 4 + 4 * shards }));
    assert_eq!(sequences(&*store).await, [11, 0, 0, 0]);

    let letters = dead_letters(&*store, None, 100).await.expect("the store answers");
    let numbers: Vec<_> = letters.iter().map(|letter| letter.sequence.get()).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 9, 11]);
    assert!(letters.iter().all(|letter| !letter.reason.is_empty() && !letter.change.is_empty()));
    let (third, rest) = (&letters[2], &letters[3..]);
    let after = Some((third.partition, third.sequence, third.line));
    assert_eq!(dead_letters(&*store, after, 2).await.as_deref(), Ok(&rest[..2]), "paged");

    assert_eq!(store.order(good.order, FRESH).await, Ok(Some(good.clone())), "as it was");
    assert_eq!(store.order(dear.order, FRESH).await, Ok(None), "no order without its items");
    let all = scan_orders(&*store, None, None, 10).await.expect("the store answers");
    assert_eq!(all, [good, also_good]);
    let kept = store.product(product(4)).await.expect("the store answers");
    assert_eq!(kept.map(|row| row.stock), Some(100), "stock never falls below zero");
}

pub(super) async fn statuses_follow_the_order_of_life(open: &Open) {
    use OrderStatus::{Cancelled, Completed, Expired, Paid, Pending, Queued, Refunded, Shipped};
    let store = claimed(open).await;
    let mut after = 0;
    for (from, allowed) in [
        (Queued, &[Pending, Cancelled][..]),
        (Pending, &[Paid, Cancelled, Expired]),
        (Paid, &[Shipped, Refunded]),
        (Cancelled, &[]),
        (Expired, &[]),
        (Shipped, &[Completed, Refunded]),
        (Completed, &[Refunded]),
        (Refunded, &[]),
    ] {
        for to in OrderStatus::ALL {
            let mut row = order(0, after + 1, buyer(1), time(1));
            row.status = from;
            let moved =
                RowChange::OrderMoved { order: row.order, status: to, expires_at: Timestamp::NONE };
            let rows = vec![RowChange::OrderCreated(row.clone()), moved];
            let written = write(&*store, &batch(0, after, rows)).await.expect("the batch is next");
            after += 2;
            assert_eq!(written.dead_letters == 0, allowed.contains(&to), "{from:?} to {to:?}");
            let stored = store.order(row.order, FRESH).await.expect("the store answers");
            let status = if allowed.contains(&to) { to } else { from };
            let stored = stored.expect("the order exists");
            assert_eq!((stored.status, stored.expires_at), (status, row.expires_at));
        }
    }
}

pub(super) async fn catalog_and_definition_in_either_order(open: &Open) {
    let store = claimed(open).await;
    let entry = |product, name: Option<&str>, description: Option<&str>| CatalogEntry {
        product,
        name: name.map(Into::into),
        description: description.map(Into::into),
    };
    let define = |product, price| RowChange::ProductDefined { product, terms: terms(price) };
    let (catalog_first, feed_first) = (product(1), product(2));

    store.put_catalog(entry(catalog_first, Some("Lamp"), None)).await.expect("it is kept");
    assert_eq!(store.product(catalog_first).await, Ok(None), "a name is no product");
    let lamp = entry(catalog_first, Some("Lamp"), None);
    assert_eq!(store.catalog(catalog_first).await, Ok(Some(lamp)), "it is a name all the same");
    assert_eq!(store.catalog(feed_first).await, Ok(None));
    assert_eq!(store.products(None, 10).await.map(|page| page.rows), Ok(vec![]));
    assert_eq!(scan_products(&*store, None, 10).await, Ok(vec![]));
    let rows = vec![
        define(catalog_first, 10),
        define(feed_first, 20),
        RowChange::StateSet { product: feed_first, state: SaleState::Paused },
    ];
    write(&*store, &batch(0, 0, rows)).await.expect("the batch is next");
    assert_eq!(store.catalog(feed_first).await, Ok(None), "nobody has said what it is called");
    store.put_catalog(entry(feed_first, Some("Chair"), Some("of wood"))).await.expect("kept");
    store.put_catalog(entry(feed_first, None, Some("of steel"))).await.expect("kept");
    write(&*store, &batch(0, 3, vec![define(feed_first, 21)])).await.expect("the batch is next");
    let chair = entry(feed_first, Some("Chair"), Some("of steel"));
    assert_eq!(store.catalog(feed_first).await, Ok(Some(chair)));

    for (product, name, description, price, state, created, updated) in [
        (catalog_first, "Lamp", None, 10, SaleState::Open, 1, 1),
        (feed_first, "Chair", Some("of steel"), 21, SaleState::Paused, 2, 4),
    ] {
        let row = store.product(product).await.expect("the store answers").expect("it is defined");
        assert_eq!(row.name.as_deref(), Some(name));
        assert_eq!(row.description.as_deref(), description);
        assert_eq!((row.price, row.state), (price, state));
        assert_eq!((row.created_at, row.updated_at), (time(created), time(updated)));
        assert_eq!((row.opens_at, row.closes_at), (Timestamp::NONE, time(5)));
        assert_eq!((row.stock, row.limit_per_buyer, row.hold_seconds), (100, 2, 600));
        assert_eq!(row.waitlist_capacity, 7);
    }
}

pub(super) async fn what_is_written_survives_reopening(open: &Open) {
    let store = claimed(open).await;
    let mut rows = Vec::new();
    for (number, sequence) in [(0, 1), (0, 2), (3, 1)] {
        let row = order(number, sequence, buyer(sequence as u8), time(sequence));
        let change = RowChange::OrderCreated(row.clone());
        write(&*store, &batch(number, sequence - 1, vec![change]))
            .await
            .expect("the batch is next");
        rows.push(row);
    }
    drop(store);
    let store = open().await.expect("the store opens again");
    for shard in store.shards() {
        assert_eq!(shard.identity().await, Ok(Some(identity())));
    }
    assert_eq!(sequences(&*store).await, [2, 0, 0, 1]);
    for row in rows {
        assert_eq!(store.order(row.order, FRESH).await, Ok(Some(row)));
    }
}

pub(super) async fn a_batch_for_other_buckets_is_refused(open: &Open) {
    let store = claimed(open).await;
    for shard in store.shards() {
        let owned = shard.buckets();
        let other = owned.difference(&owned.iter().take(1).collect());
        let row = order(0, 1, buyer(1), time(1));
        let mut batch = batch(0, 0, vec![RowChange::OrderCreated(row)]);
        batch.buckets = other;
        let moved = shard.write(Arc::new(batch)).await;
        let owned = Box::new(owned);
        assert_eq!(moved, Err(StoreError::Moved { shard: shard.name().into(), owned }));
    }
    assert_eq!(sequences(&*store).await, [0; 4]);
    assert_eq!(scan_orders(&*store, None, None, 10).await, Ok(vec![]));
}
