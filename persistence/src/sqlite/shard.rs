//! The one shard of an embedded store: the file's connections, and what is asked of them.

use super::threads::ConnectionThread;
use super::{read, repair, write};
use crate::buckets::BucketSet;
use crate::rows::{Checkpoint, DeadLetter, OrderRow, ProductRow};
use crate::store::{Batch, Repair, Shard, StoreFuture, StoreIdentity, Written};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::sync::Arc;

/// Its name; there is no other.
pub(super) const NAME: &str = "sqlite";

/// One file: a thread that writes, and some that read.
pub(super) struct SqliteShard {
    pub(super) writer: ConnectionThread,
    pub(super) readers: Vec<ConnectionThread>,
    pub(super) run_orders: u32,
}

impl SqliteShard {
    /// The reader with the fewest questions.
    pub(super) fn reader(&self) -> &ConnectionThread {
        self.readers.iter().min_by_key(|reader| reader.load()).expect("there is a reader")
    }
}

impl Shard for SqliteShard {
    fn name(&self) -> &str {
        NAME
    }

    fn buckets(&self) -> BucketSet {
        BucketSet::ALL
    }

    fn claim(&self, identity: StoreIdentity) -> StoreFuture<'_, ()> {
        self.writer.run(move |connection| write::claim(connection, identity))
    }

    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        self.reader().ask(|connection| read::identity(connection))
    }

    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        // On the writer, so that the answer stands after every write that was asked for before.
        self.writer.run(|connection| read::checkpoints(connection))
    }

    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        let run_orders = self.run_orders;
        self.writer.run(move |connection| write::batch(connection, &batch, run_orders))
    }

    fn scan_orders(
        &self,
        partition: Option<PartitionId>,
        after: Option<OrderId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        self.reader().ask(move |connection| read::scan_orders(connection, partition, after, limit))
    }

    fn scan_products(
        &self,
        after: Option<ProductId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>> {
        self.reader().ask(move |connection| read::scan_products(connection, after, limit))
    }

    fn dead_letters(
        &self,
        after: Option<(PartitionId, Sequence, u32)>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.reader().ask(move |connection| read::dead_letters(connection, after, limit))
    }

    fn repair(&self, repair: Arc<Repair>) -> StoreFuture<'_, ()> {
        let run_orders = self.run_orders;
        self.writer.run(move |connection| repair::repair(connection, &repair, run_orders))
    }
}
