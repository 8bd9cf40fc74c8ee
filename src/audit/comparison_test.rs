//! Where an order belongs, and what is no divergence: rows that are being moved, orders that are
//! older than the log.

use super::super::shards::Cursor;
use super::*;
use crate::audit::order_event;
use crate::audit::spill::Sorter;
use doorbuster_persistence::store::StoreFuture;
use doorbuster_persistence::{
    Batch, BucketSet, Checkpoint, DeadLetter, ProductRow, Repair, Shard, StoreIdentity, Written,
};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{BuyerId, Currency, ProductId, Sequence, Timestamp};
use std::sync::Arc;

/// A shard that nobody asks anything.
struct Silent;

impl Shard for Silent {
    fn name(&self) -> &str {
        "silent"
    }
    fn buckets(&self) -> BucketSet {
        BucketSet::NONE
    }
    fn claim(&self, _identity: StoreIdentity) -> StoreFuture<'_, ()> {
        unreachable!("it is not asked")
    }
    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        unreachable!("it is not asked")
    }
    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        unreachable!("it is not asked")
    }
    fn write(&self, _batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        unreachable!("it is not asked")
    }
    fn scan_orders(
        &self,
        _partition: Option<PartitionId>,
        _after: Option<OrderId>,
        _limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        unreachable!("it is not asked")
    }
    fn scan_products(
        &self,
        _after: Option<ProductId>,
        _limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>> {
        unreachable!("it is not asked")
    }
    fn dead_letters(
        &self,
        _after: Option<(PartitionId, Sequence, u32)>,
        _limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        unreachable!("it is not asked")
    }
    fn repair(&self, _repair: Arc<Repair>) -> StoreFuture<'_, ()> {
        unreachable!("it is not asked")
    }
}

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

/// The order of event `sequence`, and its row.
fn row(sequence: u64) -> OrderRow {
    let (at, buyer) = (Timestamp::from_micros(1_700_000_000_000_000), buyer());
    OrderRow {
        order: OrderId::new(at, partition(), buyer, Sequence::new(sequence)),
        buyer,
        total_amount: 1,
        currency: Currency::USD,
        status: OrderStatus::Paid,
        created_at: at,
        updated_at: at,
        expires_at: Timestamp::NONE,
        version: Sequence::new(sequence),
        items: Vec::new(),
    }
}

fn buyer() -> BuyerId {
    BuyerId::parse("ann").expect("a name")
}

/// The bucket of the only buyer.
fn own() -> BucketSet {
    [doorbuster_protocol::routing::bucket_of(buyer())].into_iter().collect()
}

fn shard(name: &str, buckets: BucketSet, at: u64, rows: &[OrderRow]) -> ShardRows {
    let at = Sequence::new(at);
    ShardRows {
        shard: Arc::new(Silent),
        name: name.to_owned(),
        buckets,
        in_transit: BucketSet::NONE,
        windows: vec![Window { before: at, after: at }],
        orders: Cursor::of(rows).expect("room"),
        order_count: rows.len() as u64,
        products: Cursor::of(&[]).expect("room"),
        product_count: 0,
        letters: Vec::new(),
        letter_count: 0,
    }
}

/// Compares with a log of events 100 to 200 in which nothing happened to orders: what was found, as
/// shard and text, how much of it can be mended, and how many orders are older than the log.
fn compare(shards: &mut [ShardRows]) -> (Vec<(Option<String>, String)>, u64, u64) {
    let books = [Books::of_span(partition(), Sequence::new(100), Sequence::new(200))];
    let sorted = Sorter::<{ order_event::BYTES }>::new().finish().expect("room");
    let mut log = Orders::new(sorted, Sorter::new(), &books).expect("room");
    let mut comparison = Comparison::new(shards, &books, &Letters::default()).expect("room");
    comparison.orders(&mut log).expect("readable");
    let told = comparison.findings.divergences().iter();
    let found = told.map(|it| (it.shard.clone(), it.text.clone())).collect();
    (found, comparison.mends.len(), comparison.older)
}

#[track_caller]
fn check(shards: &mut [ShardRows], expected: &[(&str, &str)], mends: u64, older: u64) {
    let (found, mended, are_older) = compare(shards);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((shard, text), (expected_shard, part)) in found.iter().zip(expected) {
        assert_eq!(shard.as_deref().unwrap_or(""), *expected_shard, "{text}");
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert_eq!((mended, are_older), (mends, older), "{found:#?}");
}

fn others() -> BucketSet {
    BucketSet::ALL.difference(&own())
}

#[test]
fn buckets_of_two_shards_and_of_none_are_named() {
    let twice = &mut [shard("a", BucketSet::ALL, 150, &[]), shard("b", own(), 150, &[])];
    let text = format!("more than one shard owns the buckets {}", own());
    check(twice, &[("", &text)], 0, 0);
    let text = format!("no shard owns the buckets {}", own());
    check(&mut [shard("a", others(), 150, &[])], &[("", &text)], 0, 0);
}

#[test]
fn an_order_that_is_older_than_the_log_is_judged_by_its_place_alone() {
    let old = row(7);
    let mut home =
        [shard("a", own(), 150, std::slice::from_ref(&old)), shard("b", others(), 150, &[])];
    check(&mut home, &[], 0, 1);
    let mut twice = [
        shard("a", own(), 150, std::slice::from_ref(&old)),
        shard("b", others(), 150, std::slice::from_ref(&old)),
    ];
    check(&mut twice, &[("b", "it is on shard b, too; its own shard is a")], 1, 1);
    // The only row of it that there is: nobody takes that away.
    let mut astray = [shard("a", own(), 150, &[]), shard("b", others(), 150, &[old])];
    check(&mut astray, &[("b", "moved by hand")], 0, 1);
}

#[test]
fn an_order_that_the_log_should_have_is_in_the_store_only() {
    let mut shards = [shard("a", BucketSet::ALL, 150, &[row(120)])];
    check(&mut shards, &[("a", "in the store only")], 1, 0);
}

#[test]
fn rows_that_are_being_moved_are_passed_over() {
    let mut shards = [shard("a", own(), 150, &[row(7)]), shard("b", others(), 150, &[row(7)])];
    shards[1].in_transit = own();
    check(&mut shards, &[], 0, 1);
}

#[test]
fn a_checkpoint_ahead_of_the_log_or_behind_its_beginning_is_named() {
    check(&mut [shard("a", BucketSet::ALL, 200, &[])], &[], 0, 0);
    check(&mut [shard("a", BucketSet::ALL, 99, &[])], &[], 0, 0);
    check(&mut [shard("a", BucketSet::ALL, 201, &[])], &[("a", "ahead of the log")], 1, 0);
    check(&mut [shard("a", BucketSet::ALL, 98, &[])], &[("a", "behind the beginning")], 0, 0);
}
