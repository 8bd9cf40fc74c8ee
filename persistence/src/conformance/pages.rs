//! Pages and scans: nothing twice, nothing left out, equal timestamps included, whatever the size.

use crate::conformance::cases::{batch, buyer, order, product, terms, time};
use crate::conformance::{
    Open, PARTITIONS, checkpoints, claimed, partition, scan_orders, scan_products, write,
};
use crate::store::{Change, Freshness, RowChange, Store};
use doorbuster_protocol::{OrderId, Sequence};

const FRESH: Freshness = Freshness::Latest;

/// Writes `count` orders of three buyers over all partitions, many of them in one microsecond.
async fn crowd(store: &dyn Store, count: u64, seed: u64) -> Vec<crate::rows::OrderRow> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rows = Vec::new();
    for number in 0..PARTITIONS {
        let of_partition: Vec<_> = (1..=count / u64::from(PARTITIONS))
            .map(|sequence| {
                order(number, sequence, buyer(random.u8(..3)), time(random.u64(..40) / 10 * 700))
            })
            .collect();
        rows.extend(of_partition.iter().cloned());
        let changes = of_partition.into_iter().map(RowChange::OrderCreated).collect();
        let written = write(store, &batch(number, 0, changes)).await.expect("the batch is next");
        assert_eq!(written.dead_letters, 0);
    }
    rows
}

pub(super) async fn orders_page_newest_first(open: &Open, seed: u64) {
    let store = claimed(open).await;
    let rows = crowd(&*store, 400, seed).await;
    for by in (0..4).map(buyer) {
        let mut expected: Vec<_> = rows.iter().filter(|row| row.buyer == by).cloned().collect();
        expected.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.order)));
        for limit in [1, 2, 7, 100, 1_000_000] {
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page =
                    store.orders_of(by, after, limit, FRESH).await.expect("the store answers");
                assert!(page.rows.len() <= limit as usize);
                found.extend(page.rows);
                let Some(next) = page.next else { break };
                assert_eq!(found.len() % limit as usize, 0, "a page before the last is full");
                after = Some(next.to_string().parse().expect("a cursor survives its text"));
            }
            assert!(found == expected, "buyer {by}, limit {limit}, seed {seed}");
        }
    }

    // A row that arrives between two pages is newer: it moves nothing.
    let first = store.orders_of(buyer(0), None, 5, FRESH).await.expect("the store answers");
    let second = store.orders_of(buyer(0), first.next, 5, FRESH).await.expect("the store answers");
    let late = RowChange::OrderCreated(order(0, 900, buyer(0), time(1_000_000)));
    let after = checkpoints(&*store).await.expect("the store answers")[0].sequence.get();
    write(&*store, &batch(0, after, vec![late])).await.expect("the batch is next");
    let again = store.orders_of(buyer(0), first.next, 5, FRESH).await.expect("the store answers");
    assert_eq!(again, second);
}

pub(super) async fn products_page_newest_first(open: &Open, seed: u64) {
    let store = claimed(open).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut numbers: Vec<u8> = (0..50).collect();
    random.shuffle(&mut numbers);
    let rows = numbers
        .iter()
        .map(|&number| RowChange::ProductDefined { product: product(number), terms: terms(1) })
        .collect();
    let mut definitions = batch(0, 0, rows);
    let mut expected = Vec::new();
    for (change, &number) in definitions.changes.iter_mut().zip(&numbers) {
        change.at = time(random.u64(..5));
        expected.push((change.at, product(number)));
    }
    write(&*store, &definitions).await.expect("the batch is next");
    expected.sort_by_key(|&key| std::cmp::Reverse(key));
    for limit in [1, 3, 50, 51] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.products(after, limit).await.expect("the store answers");
            found.extend(page.rows.iter().map(|row| (row.created_at, row.product)));
            let Some(next) = page.next else { break };
            after = Some(next.to_string().parse().expect("a cursor survives its text"));
        }
        assert_eq!(found, expected, "limit {limit}, seed {seed}");
    }
}

pub(super) async fn scans_give_everything_once(open: &Open, seed: u64) {
    let store = claimed(open).await;
    let mut rows = crowd(&*store, 200, seed).await;
    rows.sort_by_key(|row| row.order);
    for scanned in std::iter::once(None).chain((0..PARTITIONS).map(|id| Some(partition(id)))) {
        let of_partition = |order: OrderId| scanned.is_none_or(|id| order.partition() == id);
        for limit in [1, 17, 10_000] {
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let step = scan_orders(&*store, scanned, after, limit).await.expect("it answers");
                let Some(last) = step.last() else { break };
                after = Some(last.order);
                found.extend(step);
            }
            let expected = rows.iter().filter(|row| of_partition(row.order));
            assert!(found.iter().eq(expected), "{scanned:?}, limit {limit}, seed {seed}");
        }
    }

    let definitions = (1..=9_u8).map(|number| Change {
        partition: partition(0),
        sequence: Sequence::new(51),
        line: u32::from(number),
        at: time(1),
        row: RowChange::ProductDefined { product: product(number), terms: terms(1) },
    });
    let mut defined = batch(0, 50, vec![]);
    defined.changes.extend(definitions);
    write(&*store, &defined).await.expect("the batch is next");
    let mut found = Vec::new();
    loop {
        let step = scan_products(&*store, found.last().copied(), 2).await.expect("it answers");
        if step.is_empty() {
            break;
        }
        found.extend(step.iter().map(|row| row.product));
    }
    assert!(found.into_iter().eq((1..=9).map(product)));
}
