//! A store of several shards, asked and written as if it were one: every test runs on one shard and
//! on many.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::rows::{Checkpoint, DeadLetter, OrderRow, ProductRow};
use crate::store::{Batch, RowChange, Store, StoreIdentity, Written};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::sync::Arc;

/// Claims every shard; the first refusal.
pub async fn claim(store: &dyn Store, identity: StoreIdentity) -> Result<(), StoreError> {
    for shard in store.shards() {
        shard.claim(identity).await?;
    }
    Ok(())
}

/// What of a batch is for a shard that owns `buckets`: its orders, and everything that is not about
/// one order.
pub fn share(batch: &Batch, buckets: BucketSet) -> Batch {
    let is_its = |row: &RowChange| match row {
        RowChange::OrderCreated(row) => buckets.holds(row.order),
        RowChange::OrderMoved { order, .. } => buckets.holds(*order),
        RowChange::ProductDefined { .. }
        | RowChange::StockMoved { .. }
        | RowChange::StateSet { .. }
        | RowChange::Unreadable { .. } => true,
    };
    Batch {
        buckets,
        advances: batch.advances.clone(),
        changes: batch.changes.iter().filter(|change| is_its(&change.row)).cloned().collect(),
    }
}

/// Writes each shard's share of a batch to it, whatever the others say.
pub async fn write_each(store: &dyn Store, batch: &Batch) -> Vec<Result<Written, StoreError>> {
    let mut results = Vec::new();
    for shard in store.shards() {
        results.push(shard.write(Arc::new(share(batch, shard.buckets()))).await);
    }
    results
}

/// Writes each shard's share of a batch to it; what all of them did together, or the first error.
pub async fn write(store: &dyn Store, batch: &Batch) -> Result<Written, StoreError> {
    let mut all = Written::default();
    for written in write_each(store, batch).await {
        let Written { rows, dead_letters } = written?;
        all.rows += rows;
        all.dead_letters += dead_letters;
    }
    Ok(all)
}

/// The checkpoints that all shards have reached, in order of partition.
pub async fn checkpoints(store: &dyn Store) -> Result<Vec<Checkpoint>, StoreError> {
    let mut least: Vec<Checkpoint> = Vec::new();
    for shard in store.shards() {
        let stored = shard.checkpoints().await?;
        if least.is_empty() {
            least = stored;
            continue;
        }
        assert_eq!(least.len(), stored.len(), "all shards have all partitions");
        for (least, stored) in least.iter_mut().zip(stored) {
            assert_eq!(least.partition, stored.partition, "in order of partition");
            if stored.sequence < least.sequence {
                *least = stored;
            }
        }
    }
    Ok(least)
}

/// A step through the orders of all shards by id.
pub async fn scan_orders(
    store: &dyn Store,
    partition: Option<PartitionId>,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<OrderRow>, StoreError> {
    let mut rows = Vec::new();
    for shard in store.shards() {
        let of_shard = shard.scan_orders(partition, after, limit).await?;
        assert!(of_shard.len() <= limit as usize, "a step is no longer than asked");
        assert!(of_shard.is_sorted_by_key(|row| row.order), "a step is in order of id");
        let buckets = shard.buckets();
        assert!(of_shard.iter().all(|row| buckets.holds(row.order)), "a row is where it belongs");
        rows.extend(of_shard);
    }
    rows.sort_by_key(|row| row.order);
    rows.truncate(limit as usize);
    Ok(rows)
}

/// A step through the products, which are the same on every shard.
pub async fn scan_products(
    store: &dyn Store,
    after: Option<ProductId>,
    limit: u32,
) -> Result<Vec<ProductRow>, StoreError> {
    let mut first = None;
    for shard in store.shards() {
        let rows = shard.scan_products(after, limit).await?;
        let first = first.get_or_insert_with(|| rows.clone());
        assert_eq!(*first, rows, "shard {} has the products of the others", shard.name());
    }
    Ok(first.unwrap_or_default())
}

/// A step through the dead letters of all shards; one that several have is named once.
pub async fn dead_letters(
    store: &dyn Store,
    after: Option<(PartitionId, Sequence, u32)>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let place = |letter: &DeadLetter| (letter.partition, letter.sequence, letter.line);
    let mut letters = Vec::new();
    for shard in store.shards() {
        let of_shard = shard.dead_letters(after, limit).await?;
        assert!(of_shard.is_sorted_by_key(place), "a step is in order of events");
        letters.extend(of_shard);
    }
    letters.sort_by_key(place);
    letters.dedup_by_key(|letter| place(letter));
    letters.truncate(limit as usize);
    Ok(letters)
}
