//! One shard, as a process sees it.

use super::database::{Transaction, page_rows};
use super::session::Session;
use doorbuster_persistence::store::StoreFuture;
use doorbuster_persistence::{
    Batch, BucketSet, Checkpoint, DeadLetter, OrderRow, ProductRow, Repair, Shard, StoreError,
    StoreIdentity, Written,
};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::ops::Bound;
use std::sync::Arc;

/// A shard, with what the process knows of its buckets.
pub(super) struct SimShard {
    pub(super) session: Session,
    pub(super) buckets: BucketSet,
}

/// Everything after a key.
pub(super) fn after<T>(key: Option<T>) -> (Bound<T>, Bound<T>) {
    (key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Shard for SimShard {
    fn name(&self) -> &str {
        &self.session.name
    }

    fn buckets(&self) -> BucketSet {
        self.buckets
    }

    fn claim(&self, identity: StoreIdentity) -> StoreFuture<'_, ()> {
        let index = self.session.index;
        Box::pin(self.session.ask(move |cluster| {
            let member = &mut cluster.members[index];
            let is_new = member.database.identity.is_none();
            member.database.claim(identity)?;
            if is_new {
                // No failover forgets whose shard it is.
                member.catch_up();
            }
            Ok(())
        }))
    }

    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        let index = self.session.index;
        Box::pin(self.session.ask(move |cluster| Ok(cluster.members[index].database.identity)))
    }

    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        let index = self.session.index;
        Box::pin(self.session.ask(move |cluster| {
            Ok(cluster.members[index].database.checkpoints.values().copied().collect())
        }))
    }

    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        Box::pin(async move {
            let index = self.session.index;
            let what = Arc::clone(&batch);
            let written = self
                .session
                .change(move |cluster| cluster.commit(index, Transaction::Batch(what)))
                .await;
            let (ranges, rows) = (batch.advances.len(), batch.changes.len());
            match &written {
                Ok(Written { rows: of, dead_letters }) => self.session.line(format_args!(
                    "takes {of} of {rows} rows, {dead_letters} dead letters, {ranges} partitions"
                )),
                Err(error) => {
                    let error = first_words(error);
                    self.session.line(format_args!("takes no {rows} rows: {error}"));
                }
            }
            written
        })
    }

    fn scan_orders(
        &self,
        partition: Option<PartitionId>,
        last: Option<OrderId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        let index = self.session.index;
        Box::pin(self.session.ask(move |cluster| {
            let rows = cluster.members[index].database.orders.range(after(last));
            let is_asked =
                |row: &&OrderRow| partition.is_none_or(|asked| row.order.partition() == asked);
            let asked = rows.map(|(_, row)| row).filter(is_asked);
            Ok(asked.take(page_rows(limit)).cloned().collect())
        }))
    }

    fn scan_products(
        &self,
        last: Option<ProductId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>> {
        let index = self.session.index;
        Box::pin(self.session.ask(move |cluster| {
            let database = &cluster.members[index].database;
            let rows = database.products.range(after(last)).take(page_rows(limit));
            Ok(rows.map(|(_, row)| database.with_names(row)).collect())
        }))
    }

    fn dead_letters(
        &self,
        last: Option<(PartitionId, Sequence, u32)>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        let index = self.session.index;
        Box::pin(self.session.ask(move |cluster| {
            let letters = cluster.members[index].database.dead_letters.range(after(last));
            Ok(letters.take(page_rows(limit)).map(|(_, letter)| letter.clone()).collect())
        }))
    }

    fn repair(&self, repair: Arc<Repair>) -> StoreFuture<'_, ()> {
        let index = self.session.index;
        Box::pin(
            self.session.change(move |cluster| {
                cluster.commit(index, Transaction::Repair(repair)).map(drop)
            }),
        )
    }
}

/// Enough of an error to tell it from others.
fn first_words(error: &StoreError) -> String {
    let text = error.to_string();
    let end = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}
