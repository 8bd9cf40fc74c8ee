//! Group commit without a timer: whatever gathered while the device was busy is the next batch.
//!
//! The next batch fills, and is decided, while this one is written. One client alone waits for one
//! write and its sync, no more.

use super::{Core, Owned};
use crate::host::Host;
use crate::log::LogError;
use crate::net::Connection;
use crate::partition::Batch;
use doorbuster_protocol::limits;
use doorbuster_protocol::outcome::Reply;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a batch without room waits before it looks again.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);

impl<H: Host> Core<H> {
    /// Writes batch after batch until the log fails.
    pub(super) async fn commit_batches(self: Rc<Self>, owned: Rc<Owned<H::Disk>>) {
        let mut spare = Vec::new();
        loop {
            while !owned.partition.borrow().has_open_batch() {
                owned.work.wait().await;
            }
            let batch = owned.partition.borrow_mut().take_batch(std::mem::take(&mut spare));
            let began = self.host.monotonic();
            let bytes_before = owned.log.bytes_appended();
            let appended = self.append(&owned, &batch).await;
            if let Err(error) = appended {
                let partition = owned.partition.borrow().id();
                self.fail(partition, error);
                owned.committed.raise();
                return;
            }
            let metrics = self.core_metrics();
            let took = self.host.monotonic().saturating_sub(began);
            metrics.commit_duration_us.observe(took.as_micros() as u64);
            metrics.batch_events.observe(u64::from(batch.count));
            metrics.log_bytes.fetch_add(owned.log.bytes_appended() - bytes_before, Relaxed);
            metrics.log_events.fetch_add(u64::from(batch.count), Relaxed);
            let through = batch.last();
            self.host.watch_commit(&owned.partition.borrow(), &batch, began);
            spare = owned.tail.borrow_mut().push(batch);
            self.answer(&owned, through);
            self.refresh_room(&owned);
            owned.committed.raise();
            owned.upkeep.raise();
        }
    }

    /// Appends a batch. Room was counted before anything was put into it; should the disk have filled
    /// up all the same, nothing was written, and everybody waits until there is room again.
    async fn append(&self, owned: &Owned<H::Disk>, batch: &Batch) -> Result<(), LogError> {
        loop {
            match owned.log.append(batch.first, batch.count, &batch.events).await {
                Err(LogError::NoRoom { .. }) if !self.draining.get() => {
                    tracing::warn!(first = batch.first.get(), "a batch waits for disk space");
                    self.host.sleep(NO_ROOM_PAUSE).await;
                    owned.log.prepare().await?;
                }
                appended => return appended,
            }
        }
    }

    /// Hands out what waited for `through`, and flushes each connection once.
    fn answer(&self, owned: &Owned<H::Disk>, through: doorbuster_protocol::Sequence) {
        let mut answered: Option<Rc<Connection<H::Stream>>> = None;
        let mut touched: Vec<Rc<Connection<H::Stream>>> = Vec::new();
        let mut partition = owned.partition.borrow_mut();
        let mut count = 0u64;
        partition.committed(through, |to, outcome| {
            count += 1;
            if answered.as_ref().is_none_or(|last| last.number != to.connection) {
                answered = self.connections.get(to.connection);
                if let Some(found) = &answered
                    && !touched.iter().any(|seen| seen.number == found.number)
                {
                    touched.push(Rc::clone(found));
                }
            }
            // A connection that is gone cannot be told; its client asks again with its key.
            if let Some(connection) = &answered {
                connection.answer(&Reply { correlation: to.correlation, outcome });
            }
        });
        self.metrics.partitions[partition.id().index()].durable.store(through.get(), Relaxed);
        drop(partition);
        self.core_metrics().queue_depth.fetch_sub(count, Relaxed);
        for connection in touched {
            connection.flush();
            connection.relieved.raise();
        }
        self.relieved.raise();
    }

    /// Lets the partition know what the log can take.
    pub(super) fn refresh_room(&self, owned: &Owned<H::Disk>) {
        let mut partition = owned.partition.borrow_mut();
        let unacknowledged = owned.log.bytes_unacknowledged(partition.state().acknowledged());
        let metrics = &self.metrics.partitions[partition.id().index()];
        metrics.unacknowledged_bytes.store(unacknowledged, Relaxed);
        partition.set_room(crate::partition::LogRoom {
            batch_bytes: owned.log.room().min(limits::BATCH_BYTES_MAX),
            disk_full: owned.log.wants_room(),
            above_high_water: unacknowledged
                > self.config.high_water_bytes.max(self.config.log.segment_bytes),
        });
    }

    /// Lets overdue holds run out.
    pub(super) fn expire(&self, owned: &Owned<H::Disk>) {
        /// Holds that run out in one tick; the rest has its turn in the next.
        const EXPIRED_PER_TURN_MAX: usize = 512;
        let expired = owned.partition.borrow_mut().expire(self.now(), EXPIRED_PER_TURN_MAX);
        if expired > 0 {
            owned.work.raise();
        }
    }
}
