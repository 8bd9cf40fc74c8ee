//! What the projector counts, for whoever scrapes it: atomics, written by one task and read by any.

use crate::rows::Checkpoint;
use doorbuster_protocol::{PartitionId, Sequence, Timestamp};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in microseconds; a last one takes the rest.
pub const BATCH_DURATION_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The projector's counters. Counts only grow while the process lives.
#[derive(Debug, Default)]
pub struct ProjectorMetrics {
    partitions: OnceLock<Box<[Progress]>>,
    connected: AtomicBool,
    connections: AtomicU64,
    events: AtomicU64,
    rows: AtomicU64,
    dead_letters: AtomicU64,
    store_retries: AtomicU64,
    /// One more than there are bounds.
    batch_buckets: [AtomicU64; BATCH_DURATION_BOUNDS_US.len() + 1],
    batch_duration_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Progress {
    /// The newest durable event that the engine has told of.
    durable: AtomicU64,
    /// The last event in the store.
    written: AtomicU64,
    /// When the oldest event that is not in the store was decided, in microseconds; 0 when all are.
    waiting_since_us: AtomicU64,
}

impl ProjectorMetrics {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the feeds of all cores are connected.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How often all feeds were connected; each after the first is a reconnect.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Events whose rows are in the store, written since the start.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Changes of rows written since the start.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Changes that could not be written and stand in the dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    /// How often a batch was tried again because the store was busy, full or away.
    pub fn store_retries(&self) -> u64 {
        self.store_retries.load(Ordering::Relaxed)
    }

    /// Each partition's events that are durable in the engine and not yet in the store, as far as
    /// the engine has told; empty before the first connection.
    pub fn lag_events(&self) -> impl Iterator<Item = (PartitionId, u64)> {
        (0..).filter_map(PartitionId::new).zip(self.progress().iter().map(Progress::lag_events))
    }

    /// The age at `now` of the oldest event that is not in the store; zero when all are.
    pub fn lag(&self, now: Timestamp) -> Duration {
        let ages = self.progress().iter().filter_map(|progress| {
            let since = progress.waiting_since_us.load(Ordering::Relaxed);
            Timestamp::from_micros(since).some().map(|since| now.micros_since(since))
        });
        Duration::from_micros(ages.max().unwrap_or(0))
    }

    /// How many batches took at most each of [`BATCH_DURATION_BOUNDS_US`] and more than the bound
    /// before, and how many took more than all bounds. Retries are part of a batch's duration.
    pub fn batch_buckets(&self) -> [u64; BATCH_DURATION_BOUNDS_US.len() + 1] {
        std::array::from_fn(|index| self.batch_buckets[index].load(Ordering::Relaxed))
    }

    /// How long all batches took together.
    pub fn batch_duration(&self) -> Duration {
        Duration::from_micros(self.batch_duration_us.load(Ordering::Relaxed))
    }

    fn progress(&self) -> &[Progress] {
        self.partitions.get().map_or(&[], |progress| progress)
    }

    fn of(&self, partition: PartitionId) -> &Progress {
        &self.progress()[partition.index()]
    }

    /// A connection to all cores stands, and goes on from these checkpoints.
    pub(super) fn connected(&self, checkpoints: &[Checkpoint]) {
        self.partitions.get_or_init(|| checkpoints.iter().map(|_| Progress::default()).collect());
        for checkpoint in checkpoints {
            let progress = self.of(checkpoint.partition);
            progress.written.store(checkpoint.sequence.get(), Ordering::Relaxed);
        }
        self.connected.store(true, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was lost.
    pub(super) fn disconnected(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    /// The engine told how far a partition's log is.
    pub(super) fn told(&self, partition: PartitionId, durable: Sequence) {
        self.of(partition).durable.fetch_max(durable.get(), Ordering::Relaxed);
    }

    /// An event decided at `at` arrived and waits for the store.
    pub(super) fn waits(&self, partition: PartitionId, at: Timestamp) {
        let since = &self.of(partition).waiting_since_us;
        // Only the first one that waits counts; a failed exchange means that one waits already.
        let _ = since.compare_exchange(0, at.micros(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Everything of a partition up to an event, decided at `at`, is in the store.
    pub(super) fn written(&self, partition: PartitionId, through: Sequence, at: Timestamp) {
        let progress = self.of(partition);
        let before = progress.written.swap(through.get(), Ordering::Relaxed);
        self.events.fetch_add(through.get().saturating_sub(before), Ordering::Relaxed);
        // What waits now was decided after `at`; its own time is not known before it is taken up.
        let since = if progress.lag_events() == 0 { 0 } else { at.micros() };
        progress.waiting_since_us.store(since, Ordering::Relaxed);
    }

    /// A batch is in the store.
    pub(super) fn batch(&self, rows: u64, dead_letters: u64, took: Duration) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.dead_letters.fetch_add(dead_letters, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BATCH_DURATION_BOUNDS_US.partition_point(|&bound| bound < took);
        self.batch_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.batch_duration_us.fetch_add(took, Ordering::Relaxed);
    }

    /// The store could not take a batch now.
    pub(super) fn store_retried(&self) {
        self.store_retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl Progress {
    fn lag_events(&self) -> u64 {
        let durable = self.durable.load(Ordering::Relaxed);
        durable.saturating_sub(self.written.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_protocol::Epoch;

    #[test]
    fn lag_follows_what_is_told_and_written() {
        let metrics = ProjectorMetrics::new();
        let partition = PartitionId::new(0).expect("in range");
        let (at, now) = (Timestamp::from_micros(5_000_000), Timestamp::from_micros(7_000_000));
        assert_eq!(metrics.lag_events().count(), 0);
        let sequence = Sequence::new(10);
        metrics.connected(&[Checkpoint { partition, epoch: Epoch::FIRST, sequence }]);
        metrics.told(partition, Sequence::new(30));
        metrics.waits(partition, at);
        metrics.waits(partition, now);
        assert_eq!(metrics.lag_events().next(), Some((partition, 20)));
        assert_eq!(metrics.lag(now), Duration::from_secs(2));
        metrics.written(partition, Sequence::new(25), at.plus_seconds(1));
        assert_eq!(metrics.lag_events().next(), Some((partition, 5)));
        assert_eq!(metrics.lag(now), Duration::from_secs(1));
        metrics.written(partition, Sequence::new(30), now);
        assert_eq!((metrics.lag(now), metrics.events()), (Duration::ZERO, 20));
    }

    #[test]
    fn a_batch_falls_into_the_bucket_that_holds_its_duration() {
        let metrics = ProjectorMetrics::new();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            metrics.batch(1, 0, Duration::from_micros(micros));
        }
        let buckets = metrics.batch_buckets();
        assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (2, 1, 1, 1));
        assert_eq!(metrics.rows(), 5);
    }
}
