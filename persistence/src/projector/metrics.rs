//! What the projector counts, for whoever scrapes it.
//!
//! Each shard has counters of its own, written by its pipeline; the totals are made from them when
//! somebody asks: sums of what was done, and the worst of all lags.

mod clock;
mod shard;

pub use clock::WallClock;
pub(super) use shard::ShardMetrics;
pub use shard::ShardMetricsView;

use doorbuster_protocol::{PartitionId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in microseconds; a last one takes the rest.
pub const BATCH_DURATION_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// One count for each bucket: one more than there are bounds.
pub type BatchBuckets = [u64; BATCH_DURATION_BOUNDS_US.len() + 1];

/// The projector's counters. Counts of a shard only grow while the process lives.
#[derive(Debug, Default)]
pub struct ProjectorMetrics {
    /// Taken when pipelines begin and when somebody scrapes; what pipelines count is atomic.
    shards: Mutex<Vec<Arc<ShardMetrics>>>,
    clock: WallClock,
}

impl ProjectorMetrics {
    /// No shards yet, and this machine's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// No shards yet, and a clock of the caller's.
    pub fn with_clock(clock: WallClock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Each shard by itself, in the order of the store, with lags as of `now`.
    pub fn shards(&self, now: Timestamp) -> Vec<ShardMetricsView> {
        self.all().iter().map(|shard| shard.view(now)).collect()
    }

    /// Whether every shard that does not wait for its database reads the feeds of all cores, and at
    /// least one does.
    pub fn is_connected(&self) -> bool {
        let all = self.all();
        let mut serving = all.iter().filter(|shard| !shard.is_away()).peekable();
        serving.peek().is_some() && serving.all(|shard| shard.is_connected())
    }

    /// How often a shard's pipeline connected to all cores; each after its first is a reconnect.
    pub fn connections(&self) -> u64 {
        self.sum(ShardMetrics::connections)
    }

    /// Events whose rows are in the shard that has written the most since the start. Every shard
    /// takes note of every event.
    pub fn events(&self) -> u64 {
        self.all().iter().map(|shard| shard.events()).max().unwrap_or(0)
    }

    /// Changes of rows written since the start.
    pub fn rows(&self) -> u64 {
        self.sum(ShardMetrics::rows)
    }

    /// Changes that could not be written and stand in the dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.sum(ShardMetrics::dead_letters)
    }

    /// How often a batch was tried again because a shard was busy, full or away.
    pub fn store_retries(&self) -> u64 {
        self.sum(ShardMetrics::store_retries)
    }

    /// Each partition's events that are durable in the engine and not yet in the shard that lacks
    /// the most, as far as the engine has told; empty before the first connection.
    pub fn lag_events(&self) -> impl Iterator<Item = (PartitionId, u64)> + use<> {
        let mut worst = BTreeMap::new();
        for shard in self.all() {
            for (partition, lag) in shard.lag_events() {
                let known: &mut u64 = worst.entry(partition).or_default();
                *known = lag.max(*known);
            }
        }
        worst.into_iter()
    }

    /// The age at `now` of the oldest event that some shard does not have; zero when all have all.
    pub fn lag(&self, now: Timestamp) -> Duration {
        self.all().iter().map(|shard| shard.lag(now)).max().unwrap_or_default()
    }

    /// How many batches took at most each of [`BATCH_DURATION_BOUNDS_US`] and more than the bound
    /// before, and how many took more than all bounds. Retries are part of a batch's duration.
    pub fn batch_buckets(&self) -> BatchBuckets {
        let all: Vec<_> = self.all().iter().map(|shard| shard.batch_buckets()).collect();
        std::array::from_fn(|index| all.iter().map(|buckets| buckets[index]).sum())
    }

    /// How long all batches took together.
    pub fn batch_duration(&self) -> Duration {
        self.all().iter().map(|shard| shard.batch_duration()).sum()
    }

    fn sum(&self, count: impl Fn(&ShardMetrics) -> u64) -> u64 {
        self.all().iter().map(|shard| count(shard)).sum()
    }

    pub(super) fn all(&self) -> Vec<Arc<ShardMetrics>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these are the shards. One whose name is known goes on counting.
    pub(super) fn follow<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<Arc<ShardMetrics>> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let followed = names.map(|name| {
            let known = shards.iter().find(|shard| shard.name() == name);
            let new = || Arc::new(ShardMetrics::new(name, self.clock.clone()));
            known.map_or_else(new, Arc::clone)
        });
        *shards = followed.collect();
        shards.clone()
    }
}
