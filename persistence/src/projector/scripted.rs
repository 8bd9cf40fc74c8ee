//! A shard for tests that answers writes and questions for checkpoints as it is told, and nothing
//! else.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::rows::{Checkpoint, DeadLetter, OrderRow, ProductRow};
use crate::store::{Batch, Repair, Shard, StoreFuture, StoreIdentity, Written};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::sync::Arc;

type OnWrite = Box<dyn Fn(Arc<Batch>) -> StoreFuture<'static, Written> + Send + Sync>;
type OnCheckpoints = Box<dyn Fn() -> Result<Vec<Checkpoint>, StoreError> + Send + Sync>;

pub(super) struct Scripted {
    pub(super) on_write: OnWrite,
    pub(super) on_checkpoints: OnCheckpoints,
}

impl Shard for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }
    fn buckets(&self) -> BucketSet {
        BucketSet::ALL
    }
    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        (self.on_write)(batch)
    }
    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        Box::pin(std::future::ready((self.on_checkpoints)()))
    }
    fn claim(&self, _: StoreIdentity) -> StoreFuture<'_, ()> {
        unasked()
    }
    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        unasked()
    }
    fn scan_orders(
        &self,
        _: Option<PartitionId>,
        _: Option<OrderId>,
        _: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        unasked()
    }
    fn scan_products(&self, _: Option<ProductId>, _: u32) -> StoreFuture<'_, Vec<ProductRow>> {
        unasked()
    }
    fn dead_letters(
        &self,
        _: Option<(PartitionId, Sequence, u32)>,
        _: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        unasked()
    }
    fn repair(&self, _: Arc<Repair>) -> StoreFuture<'_, ()> {
        unasked()
    }
}

fn unasked<T>() -> StoreFuture<'static, T> {
    panic!("nobody asks a scripted shard for this")
}
