//! Bad rows among good ones: those that the tables refuse are found by halving, those that memory
//! tells or the counts betray one by one, and everything else is written.

use crate::{IDENTITY, batch, claimed, options, order, orders};
use doorbuster_persistence::conformance::{self, History, batches, share};
use doorbuster_persistence::postgres::PostgresStore;
use doorbuster_persistence::{Batch, RowChange, Shard, Store, Written};
use doorbuster_postgres_harness::Clusters;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{ProductId, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

fn only(store: &PostgresStore) -> Arc<dyn Shard> {
    store.shards().swap_remove(0)
}

async fn letters(shard: &dyn Shard) -> Vec<(u64, String)> {
    let letters = shard.dead_letters(None, 10_000).await.expect("it answers");
    letters.into_iter().map(|letter| (letter.sequence.get(), letter.reason)).collect()
}

/// Orders of 10 000, of which the shop's own rule refuses some.
async fn check(what: &str, bad: &BTreeSet<u64>) {
    let databases = [Clusters::shared().database(0)];
    let store = claimed(&databases).await;
    let shard = only(&store);
    // A rule that this program knows nothing of.
    databases[0].psql("ALTER TABLE orders ADD CHECK (total_amount <> 666)");
    let mut ten_thousand = (*orders(0, 10_000)).clone();
    for change in &mut ten_thousand.changes {
        if let RowChange::OrderCreated(row) = &mut change.row
            && bad.contains(&change.sequence.get())
        {
            row.total_amount = 666;
        }
    }
    let written = shard.write(Arc::new(ten_thousand)).await;
    let dead_letters = bad.len() as u64;
    assert_eq!(written, Ok(Written { rows: 10_000 - dead_letters, dead_letters }), "{what}");
    let found = letters(&*shard).await;
    let numbers: Vec<_> = found.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, bad.iter().copied().collect::<Vec<_>>(), "{what}");
    assert!(found.iter().all(|(_, reason)| reason.contains("check constraint")), "{found:?}");
    for table in ["orders", "order_items", "users"] {
        let rows = databases[0].number(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(rows, 10_000 - bad.len() as i64, "{what}: {table}");
    }
    let checkpoints = shard.checkpoints().await.expect("it answers");
    assert_eq!(checkpoints[0].sequence.get(), 10_000, "{what}");
}

#[tokio::test]
async fn bad_rows_are_found_among_ten_thousand() {
    check("none", &BTreeSet::new()).await;
    check("the first and the last", &BTreeSet::from([1, 10_000])).await;
    check("neighbours and loners", &BTreeSet::from([4_999, 5_000, 5_001, 17, 7_777])).await;
    check("a hundred", &(1..=100).map(|number| number * 97).collect()).await;
}

/// What the sets cannot settle, in one batch with what they can.
#[tokio::test]
async fn every_kind_of_bad_row_is_a_dead_letter_with_its_cause() {
    let databases = [Clusters::shared().database(1)];
    let store = claimed(&databases).await;
    let shard = only(&store);
    shard.write(orders(0, 3)).await.expect("the batch is next");
    let moved = |number: u64, status| RowChange::OrderMoved {
        order: order(number).order,
        status,
        expires_at: Timestamp::NONE,
    };
    let unfit = |spoil: fn(&mut doorbuster_persistence::OrderRow), number| {
        let mut row = order(number);
        spoil(&mut row);
        RowChange::OrderCreated(row)
    };
    let stock = RowChange::StockMoved { product: ProductId::from_bytes([9; 16]), units: i64::MAX };
    // Events 4 to 16.
    let rows = vec![
        moved(1, OrderStatus::Paid),
        moved(1, OrderStatus::Paid),
        moved(2, OrderStatus::Shipped),
        moved(900, OrderStatus::Paid),
        moved(3, OrderStatus::Queued),
        unfit(|row| row.total_amount = u64::MAX, 9),
        unfit(|row| row.items[0].unit_price = u64::MAX, 10),
        unfit(|row| row.created_at = Timestamp::from_micros(u64::MAX), 11),
        RowChange::OrderCreated(order(1)),
        stock,
        RowChange::Unreadable { reason: "too\0new".into(), bytes: vec![0, 1] },
        RowChange::OrderCreated(order(15)),
        moved(15, OrderStatus::Cancelled),
    ];
    let written = shard.write(batch(3, rows)).await;
    assert_eq!(written, Ok(Written { rows: 3, dead_letters: 10 }));
    let causes = [
        (5, "a paid order cannot become paid"),
        (6, "a pending order cannot become shipped"),
        (7, "there is no such order"),
        (8, "no event makes an order queued"),
        (9, "an amount is out of range"),
        (10, "an amount is out of range"),
        (11, "a time is out of range"),
        (12, "another event made this order"),
        (13, "there is no such product"),
        (14, "too\u{fffd}new"),
    ];
    let causes: Vec<_> = causes.iter().map(|(number, why)| (*number, (*why).to_owned())).collect();
    assert_eq!(letters(&*shard).await, causes);
    let statuses = "SELECT string_agg(status, ',' ORDER BY created_at) FROM orders";
    assert_eq!(databases[0].psql(statuses), "paid,pending,pending,cancelled");
}

/// Checkpoints that were set back: most is there already, some is half there, some is new.
#[tokio::test]
async fn a_range_that_is_written_again_settles_only_what_is_missing() {
    let databases = [Clusters::shared().database(2)];
    let store = claimed(&databases).await;
    let shard = only(&store);
    let mut rows: Vec<_> = (1..=50).map(|n| RowChange::OrderCreated(order(n))).collect();
    let paid = (1..=30).map(|number| RowChange::OrderMoved {
        order: order(number).order,
        status: OrderStatus::Paid,
        expires_at: Timestamp::NONE,
    });
    rows.extend(paid);
    let all = batch(0, rows);
    assert_eq!(shard.write(Arc::clone(&all)).await, Ok(Written { rows: 80, dead_letters: 0 }));
    let set_back = |sql: &str| {
        databases[0].psql(&format!("UPDATE checkpoints SET sequence = 0; {sql}"));
    };
    set_back("");
    assert_eq!(shard.write(Arc::clone(&all)).await, Ok(Written::default()), "all is there");
    set_back("DELETE FROM orders WHERE version IN (49, 51)");
    let again = shard.write(Arc::clone(&all)).await;
    assert_eq!(again, Ok(Written { rows: 3, dead_letters: 0 }), "one order, one with its payment");
    set_back("UPDATE orders SET status = 'pending', version = 2 WHERE version = 52");
    let again = shard.write(Arc::clone(&all)).await;
    assert_eq!(again, Ok(Written { rows: 1, dead_letters: 0 }), "a payment that was lost");
    let counts = "SELECT count(*), count(*) FILTER (WHERE status = 'paid') FROM orders";
    assert_eq!(databases[0].psql(counts), "50|30");
    assert_eq!(databases[0].number("SELECT count(*) FROM order_items"), 50);
    assert_eq!(letters(&*shard).await, []);
}

/// The same history with the shop's rule in the way of some orders, and through every path: rows and
/// dead letters are those of the embedded store.
#[tokio::test]
async fn poison_and_replays_end_as_in_the_embedded_store() {
    use doorbuster_persistence::SqliteStore;
    let seed = crate::seed();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let databases = [Clusters::shared().database(3)];
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(SqliteStore::open(directory.path().join("store.db")).expect("it opens")),
        Arc::new(PostgresStore::open(options(&databases, crate::Way::Direct)).expect("it opens")),
    ];
    let mut history = History::new(seed, 2);
    let steps: Vec<_> = (0..3_000).map(|_| history.step()).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    for store in &stores {
        conformance::claim(&**store, IDENTITY).await.expect("it is fresh");
    }
    for mut batch in batches(&steps, &mut random, 600) {
        spoil(&mut batch, &mut random);
        let mut results = Vec::new();
        for store in &stores {
            let shard = store.shards().swap_remove(0);
            results.push(shard.write(Arc::new(share(&batch, shard.buckets()))).await);
        }
        assert_eq!(results[0], results[1], "seed {seed}");
        assert!(results[0].is_ok(), "seed {seed}");
    }
    let mut all = Vec::new();
    for store in &stores {
        let shard = store.shards().swap_remove(0);
        let orders = shard.scan_orders(None, None, 10_000).await.expect("it answers");
        let products = shard.scan_products(None, 10_000).await.expect("it answers");
        let mut letters = shard.dead_letters(None, 10_000).await.expect("it answers");
        for letter in &mut letters {
            // The causes are each database's own words.
            letter.reason.clear();
        }
        all.push((orders, products, letters));
    }
    let postgres = all.pop();
    assert_eq!(all.pop(), postgres, "seed {seed}");
}

/// Makes some changes impossible: values that fit nowhere, orders made twice, moves out of turn.
fn spoil(batch: &mut Batch, random: &mut fastrand::Rng) {
    let mut made = Vec::new();
    for change in &mut batch.changes {
        match &mut change.row {
            RowChange::OrderCreated(row) => {
                match random.u32(..40) {
                    0 => row.total_amount = u64::MAX,
                    1 => row.items[0].unit_price = u64::MAX,
                    2 => row.updated_at = Timestamp::from_micros(u64::MAX),
                    _ => {}
                }
                made.push(row.clone());
            }
            RowChange::OrderMoved { status, .. } if random.u32(..20) == 0 => {
                *status = OrderStatus::ALL[random.usize(..OrderStatus::ALL.len())];
            }
            RowChange::StockMoved { units, .. } if random.u32(..10) == 0 => *units = i64::MIN + 1,
            RowChange::StateSet { product, .. } if random.u32(..10) == 0 => {
                *product = ProductId::from_bytes([0xEE; 16]);
            }
            row if random.u32(..40) == 0 => {
                if let Some(again) = made.last() {
                    *row = RowChange::OrderCreated(again.clone());
                }
            }
            _ => {}
        }
    }
}
