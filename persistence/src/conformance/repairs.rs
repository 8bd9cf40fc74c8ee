//! Repairs: rows that differ from the log in every way that rows can, planted and set right.

use crate::conformance::cases::{batch, buyer, order, product, terms, time};
use crate::conformance::versions::nothing;
use crate::conformance::{
    History, Model, Open, PARTITIONS, batches, checkpoints, claimed, dead_letters, scan_orders,
    write,
};
use crate::error::StoreError;
use crate::rows::{CatalogEntry, OrderRow};
use crate::store::{Freshness, Repair, RowChange, Shard, Store};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Currency, PartitionId, Quantity, Sequence, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Ways in which one order's row can be wrong.
const WRONGS: usize = 9;

fn wrong(mut row: OrderRow, way: usize) -> OrderRow {
    match way {
        0 => row.buyer = buyer(99),
        1 => row.total_amount += 1,
        2 => row.currency = Currency::parse("EUR").expect("it is a currency"),
        3 => row.status = OrderStatus::Refunded,
        4 => row.created_at = row.created_at.plus_micros(1),
        5 => row.updated_at = row.updated_at.plus_seconds(1),
        6 => row.expires_at = Timestamp::NONE,
        7 => row.items[0].quantity = Quantity::new(999).expect("it is in range"),
        _ => {
            let mut item = row.items[0];
            item.unit_price += 1;
            row.items.push(item);
        }
    }
    row.version = row.version.next();
    row
}

async fn at(shard: &dyn Shard, partition: PartitionId) -> Sequence {
    let stored = shard.checkpoints().await.expect("the store answers");
    stored[partition.index()].sequence
}

async fn apply(shard: &dyn Shard, repair: Repair) {
    shard.repair(Arc::new(repair)).await.expect("the checkpoint is where it was");
}

pub(super) async fn a_repair_sets_everything_right(open: &Open, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut history = History::new(seed, PARTITIONS);
    let steps: Vec<_> = (0..2_000).map(|_| history.step()).collect();
    let mut model = Model::default();
    steps.iter().for_each(|step| model.apply(step.sequence, &step.event));
    let store = claimed(open).await;
    for batch in batches(&steps, &mut random, 500) {
        write(&*store, &batch).await.expect("the batch is next");
    }
    // What the catalog says is not the log's: no repair touches it.
    for row in model.products.values_mut() {
        row.name = Some("Lamp".into());
        let entry =
            CatalogEntry { product: row.product, name: row.name.clone(), description: None };
        store.put_catalog(entry).await.expect("it is kept");
    }
    model.assert_matches(&*store).await;

    for partition in (0..PARTITIONS).map(super::partition) {
        for shard in store.shards() {
            let before = at(&*shard, partition).await;
            let bad = plant(&*shard, partition, before, &model).await;
            let right =
                Repair { at: Sequence::new(before.get() / 2), checkpoint: Some(before), ..bad };
            apply(&*shard, right).await;
            assert_eq!(at(&*shard, partition).await, before);
        }
    }
    model.assert_matches(&*store).await;

    settles_dead_letters(&*store, &model).await;
}

/// Spoils some of everything of a partition on a shard, and its checkpoint; what sets the rows right.
async fn plant(shard: &dyn Shard, partition: PartitionId, at: Sequence, model: &Model) -> Repair {
    let buckets = shard.buckets();
    let is_here = |row: &&OrderRow| row.order.partition() == partition && buckets.holds(row.order);
    let here: Vec<_> = model.orders.values().filter(is_here).cloned().collect();
    let mut bad = nothing(partition, at);
    let mut right = nothing(partition, at);
    for (index, row) in here.iter().enumerate().take(3 * WRONGS) {
        match index % (WRONGS + 1) {
            WRONGS => bad.without_orders.push(row.order),
            way => bad.orders.push(wrong(row.clone(), way)),
        }
        right.orders.push(row.clone());
    }
    let strange = (200..=255).map(|number| order(partition.get(), 1 << 30, buyer(number), time(1)));
    if let Some(extra) = strange.into_iter().find(|row| buckets.holds(row.order)) {
        right.without_orders.push(extra.order);
        bad.orders.push(extra);
    }
    let of_partition: BTreeSet<_> =
        here.iter().flat_map(|row| &row.items).map(|item| item.product).collect();
    for (index, id) in of_partition.into_iter().enumerate() {
        let row = &model.products[&id];
        let mut other = row.clone();
        match index % 4 {
            0 => other.price += 1,
            1 => other.stock += 1,
            2 => {
                other.state = match row.state {
                    SaleState::Open => SaleState::Paused,
                    SaleState::Paused => SaleState::Open,
                }
            }
            _ => bad.without_products.push(row.product),
        }
        if index % 4 != 3 {
            bad.products.push(other);
        }
        right.products.push(row.clone());
    }
    if let Some(row) = model.products.values().next() {
        let mut extra = row.clone();
        extra.product = product(0xEE);
        extra.name = None;
        right.without_products.push(extra.product);
        bad.products.push(extra);
    }
    bad.checkpoint = Some(Sequence::new(at.get() / 2));
    let (planted, gone) = (bad.orders.clone(), bad.without_orders.clone());
    apply(shard, bad).await;
    for row in planted {
        let found = find(shard, &row).await;
        assert_eq!(found, Some(row), "it stands exactly so");
    }
    for order in gone {
        let missing = model.orders[&order].clone();
        assert_eq!(find(shard, &missing).await, None);
    }
    right
}

/// The row of an order on a shard, by the rows before it.
async fn find(shard: &dyn Shard, row: &OrderRow) -> Option<OrderRow> {
    let mut before = *row.order.as_bytes();
    let last = before.iter().rposition(|byte| *byte > 0).expect("an id is not all zeros");
    before[last] -= 1;
    before[last + 1..].fill(0xFF);
    let after = doorbuster_protocol::OrderId::from_bytes(before);
    let rows = shard.scan_orders(None, Some(after), 1).await.expect("the store answers");
    rows.into_iter().find(|found| found.order == row.order)
}

/// A change that no rule lets in, and the repair that brings its row and takes the letter away.
async fn settles_dead_letters(store: &dyn Store, model: &Model) {
    let partition = super::partition(0);
    let after = checkpoints(store).await.expect("the store answers")[0].sequence;
    let lost = order(0, after.get() + 9, buyer(1), time(1));
    let moved = RowChange::OrderMoved {
        order: lost.order,
        status: OrderStatus::Paid,
        expires_at: Timestamp::NONE,
    };
    write(store, &batch(0, after.get(), vec![moved])).await.expect("the batch is next");
    let letters = dead_letters(store, None, 10).await.expect("the store answers");
    assert_eq!(letters.len(), 1);
    for shard in store.shards() {
        let mut right = nothing(partition, after.next());
        right.settled = vec![(letters[0].sequence, letters[0].line)];
        if shard.buckets().holds(lost.order) {
            right.orders = vec![lost.clone()];
        }
        apply(&*shard, right).await;
    }
    assert_eq!(dead_letters(store, None, 10).await, Ok(vec![]));
    assert_eq!(store.order(lost.order, Freshness::Latest).await, Ok(Some(lost.clone())));
    let mut model = model.clone();
    model.orders.insert(lost.order, lost);
    model.assert_matches(store).await;
}

pub(super) async fn a_repair_for_another_checkpoint_is_refused(open: &Open) {
    let store = claimed(open).await;
    let row = order(1, 1, buyer(1), time(1));
    let rows = vec![
        RowChange::OrderCreated(row.clone()),
        RowChange::ProductDefined { product: product(1), terms: terms(7) },
        RowChange::Unreadable { reason: "too new".into(), bytes: vec![1] },
    ];
    write(&*store, &batch(1, 0, rows)).await.expect("the batch is next");
    for shard in store.shards() {
        for stale in [0, 2, 4] {
            let partition = super::partition(1);
            let repair = Repair {
                checkpoint: Some(Sequence::new(9)),
                without_orders: vec![row.order],
                orders: vec![order(1, 2, buyer(1), time(2))],
                without_products: vec![product(1)],
                settled: vec![(Sequence::new(3), 0)],
                ..nothing(partition, Sequence::new(stale))
            };
            let refused = shard.repair(Arc::new(repair)).await;
            let (stored, after) = (Sequence::new(3), Sequence::new(stale));
            assert_eq!(refused, Err(StoreError::OutOfStep { partition, stored, after }));
        }
        assert_eq!(at(&*shard, super::partition(1)).await, Sequence::new(3));
    }
    assert_eq!(scan_orders(&*store, None, None, 10).await, Ok(vec![row]));
    assert_eq!(dead_letters(&*store, None, 10).await.map(|letters| letters.len()), Ok(1));
    let kept = store.product(product(1)).await.expect("the store answers");
    assert_eq!(kept.map(|row| row.price), Some(7));
}
