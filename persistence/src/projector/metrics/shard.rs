//! The counters of one shard: atomics, written by its pipeline and read by any.
//!
//! The lag is what the engine has told of less what is written, and the age of the oldest event
//! that is not. While the shard is away its pipeline takes up no events; then the age goes on from
//! the oldest event that was taken up, or from when the engine first told of one. A shard that was
//! never reached has no known checkpoint: its lag counts from when it was first tried.

use super::{BATCH_DURATION_BOUNDS_US, BatchBuckets, WallClock};
use crate::rows::Checkpoint;
use doorbuster_protocol::{PartitionId, Sequence, Timestamp};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// No sequence gets so far.
const UNKNOWN: u64 = u64::MAX;
/// What takes longer has its shard count as waiting.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// What one shard's pipeline has counted, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMetricsView {
    /// The shard's name.
    pub name: String,
    /// Whether its database took what it was last asked; false before the first time.
    pub is_up: bool,
    /// Whether the feeds of all cores are connected for it.
    pub is_connected: bool,
    /// How often they were; each after the first is a reconnect.
    pub connections: u64,
    /// Each partition's events that are durable in the engine and not in the shard.
    pub lag_events: Vec<(PartitionId, u64)>,
    /// The age of the oldest of them.
    pub lag: Duration,
    /// How many batches took at most each of [`BATCH_DURATION_BOUNDS_US`] and more than the bound
    /// before.
    pub batch_buckets: BatchBuckets,
    /// How long all batches took together.
    pub batch_duration: Duration,
    /// Events that the shard took note of since the start.
    pub events: u64,
    /// Changes of rows written.
    pub rows: u64,
    /// Changes that stand in the dead letters.
    pub dead_letters: u64,
    /// How often a batch was tried again.
    pub retries: u64,
}

impl ShardMetricsView {
    /// The events that the shard lacks of the partition of which it lacks the most.
    pub fn lag_events_max(&self) -> u64 {
        self.lag_events.iter().map(|(_, lag)| *lag).max().unwrap_or(0)
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(in crate::projector) struct ShardMetrics {
    name: String,
    clock: WallClock,
    partitions: OnceLock<Box<[Progress]>>,
    /// Whether its checkpoints are known.
    claimed: AtomicBool,
    up: AtomicBool,
    /// Since when the shard does not take what it is asked, in microseconds; 0 while it does.
    away_since_us: AtomicU64,
    /// Since when a claim or a batch is in its hands; 0 when none is.
    asked_since_us: AtomicU64,
    connected: AtomicBool,
    connections: AtomicU64,
    events: AtomicU64,
    rows: AtomicU64,
    dead_letters: AtomicU64,
    store_retries: AtomicU64,
    batch_buckets: [AtomicU64; BATCH_DURATION_BOUNDS_US.len() + 1],
    batch_duration_us: AtomicU64,
}

#[derive(Debug)]
struct Progress {
    /// The newest durable event that the engine has told of.
    durable: AtomicU64,
    /// The last event in the shard; while nobody knows, what `durable` was at first, or [`UNKNOWN`].
    written: AtomicU64,
    /// When the oldest event that is not in the shard was decided, in microseconds; 0 when all are.
    waiting_since_us: AtomicU64,
}

impl ShardMetrics {
    pub(super) fn new(name: &str, clock: WallClock) -> Self {
        Self { name: name.into(), clock, ..Self::default() }
    }

    pub(in crate::projector) fn name(&self) -> &str {
        &self.name
    }
    pub(super) fn is_away(&self) -> bool {
        get(&self.away_since_us) > 0
    }
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
    pub(in crate::projector) fn connections(&self) -> u64 {
        get(&self.connections)
    }
    pub(in crate::projector) fn events(&self) -> u64 {
        get(&self.events)
    }
    pub(super) fn rows(&self) -> u64 {
        get(&self.rows)
    }
    pub(super) fn dead_letters(&self) -> u64 {
        get(&self.dead_letters)
    }
    pub(super) fn store_retries(&self) -> u64 {
        get(&self.store_retries)
    }
    pub(super) fn batch_buckets(&self) -> BatchBuckets {
        std::array::from_fn(|index| get(&self.batch_buckets[index]))
    }
    pub(super) fn batch_duration(&self) -> Duration {
        Duration::from_micros(get(&self.batch_duration_us))
    }

    pub(super) fn lag_events(&self) -> impl Iterator<Item = (PartitionId, u64)> {
        (0..).filter_map(PartitionId::new).zip(self.progress().iter().map(Progress::lag_events))
    }

    pub(super) fn lag(&self, now: Timestamp) -> Duration {
        let waiting = self.progress().iter().map(|progress| get(&progress.waiting_since_us));
        let never_reached = !self.claimed.load(Ordering::Relaxed);
        let unknown = never_reached.then(|| get(&self.away_since_us));
        let ages = waiting.chain(unknown).filter(|since| *since > 0);
        let oldest = ages.min().map_or(0, |since| now.micros_since(Timestamp::from_micros(since)));
        Duration::from_micros(oldest)
    }

    pub(super) fn view(&self, now: Timestamp) -> ShardMetricsView {
        ShardMetricsView {
            name: self.name.clone(),
            is_up: self.up.load(Ordering::Relaxed),
            is_connected: self.is_connected(),
            connections: self.connections(),
            lag_events: self.lag_events().collect(),
            lag: self.lag(now),
            batch_buckets: self.batch_buckets(),
            batch_duration: self.batch_duration(),
            events: self.events(),
            rows: self.rows(),
            dead_letters: self.dead_letters(),
            retries: self.store_retries(),
        }
    }

    /// Whether its pipeline waits for the database, and so takes up no events.
    pub(in crate::projector) fn is_waiting(&self) -> bool {
        let now = self.clock.now();
        let asked = Timestamp::from_micros(get(&self.asked_since_us)).some();
        let is_stuck = |since| now.micros_since(since) > STUCK_AFTER.as_micros() as u64;
        self.is_away() || asked.is_some_and(is_stuck)
    }

    fn progress(&self) -> &[Progress] {
        self.partitions.get().map_or(&[], |progress| progress)
    }

    fn of(&self, partition: PartitionId) -> &Progress {
        &self.progress()[partition.index()]
    }

    /// The engine has this many partitions.
    pub(in crate::projector) fn follows(&self, partitions: usize) {
        let unknown = || Progress {
            durable: AtomicU64::new(0),
            written: AtomicU64::new(UNKNOWN),
            waiting_since_us: AtomicU64::new(0),
        };
        self.partitions.get_or_init(|| (0..partitions).map(|_| unknown()).collect());
    }

    /// The shard stands at these checkpoints, of all partitions.
    pub(in crate::projector) fn claimed(&self, checkpoints: &[Checkpoint]) {
        self.follows(checkpoints.len());
        for checkpoint in checkpoints {
            let progress = self.of(checkpoint.partition);
            progress.written.store(checkpoint.sequence.get(), Ordering::Relaxed);
            if progress.lag_events() == 0 {
                progress.waiting_since_us.store(0, Ordering::Relaxed);
            }
        }
        self.claimed.store(true, Ordering::Relaxed);
        self.answered();
    }

    /// The feeds of all cores are connected.
    pub(in crate::projector) fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them is not any more.
    pub(in crate::projector) fn disconnected(&self) {
        self.connected.store(false, Ordering::Relaxed);
        self.asked_since_us.store(0, Ordering::Relaxed);
    }

    /// The shard does not take what it is asked.
    pub(in crate::projector) fn away(&self) {
        self.up.store(false, Ordering::Relaxed);
        set_first(&self.away_since_us, self.clock.now());
    }

    /// The shard does what it is asked.
    pub(in crate::projector) fn answered(&self) {
        self.up.store(true, Ordering::Relaxed);
        self.away_since_us.store(0, Ordering::Relaxed);
        self.asked_since_us.store(0, Ordering::Relaxed);
    }

    /// The engine told at `at` how far a partition's log is.
    pub(in crate::projector) fn told(
        &self,
        partition: PartitionId,
        durable: Sequence,
        at: Timestamp,
    ) {
        let progress = self.of(partition);
        progress.durable.fetch_max(durable.get(), Ordering::Relaxed);
        if get(&progress.written) == UNKNOWN {
            progress.written.store(durable.get(), Ordering::Relaxed);
        }
        if progress.lag_events() > 0 {
            set_first(&progress.waiting_since_us, at);
        }
    }

    /// An event decided at `at` arrived and waits for the shard.
    pub(in crate::projector) fn waits(&self, partition: PartitionId, at: Timestamp) {
        let since = &self.of(partition).waiting_since_us;
        set_first(since, at);
        since.fetch_min(at.micros(), Ordering::Relaxed);
    }

    /// A claim or a batch goes into the shard's hands.
    pub(in crate::projector) fn asked(&self) {
        self.asked_since_us.store(self.clock.now().micros(), Ordering::Relaxed);
    }

    /// Everything of a partition up to an event, decided at `at`, is in the shard.
    pub(in crate::projector) fn written(
        &self,
        partition: PartitionId,
        through: Sequence,
        at: Timestamp,
    ) {
        let progress = self.of(partition);
        let before = progress.written.swap(through.get(), Ordering::Relaxed);
        self.events.fetch_add(through.get().saturating_sub(before), Ordering::Relaxed);
        // What waits now was decided after `at`; its own time is not known before it is taken up.
        let since = if progress.lag_events() == 0 { 0 } else { at.micros() };
        progress.waiting_since_us.store(since, Ordering::Relaxed);
    }

    /// A batch is in the shard.
    pub(in crate::projector) fn batch(&self, rows: u64, dead_letters: u64, took: Duration) {
        self.answered();
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.dead_letters.fetch_add(dead_letters, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BATCH_DURATION_BOUNDS_US.partition_point(|&bound| bound < took);
        self.batch_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.batch_duration_us.fetch_add(took, Ordering::Relaxed);
    }

    /// The shard could not take a batch now.
    pub(in crate::projector) fn store_retried(&self) {
        self.store_retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl Progress {
    fn lag_events(&self) -> u64 {
        get(&self.durable).saturating_sub(get(&self.written))
    }
}

fn get(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

/// Sets a time that is not set. Only the first one counts; a failed exchange means that one is.
fn set_first(since: &AtomicU64, at: Timestamp) {
    let _ = since.compare_exchange(0, at.micros(), Ordering::Relaxed, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "shard_test.rs"]
mod tests;
