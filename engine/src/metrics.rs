//! Counters of the cores, readable from any thread.
//!
//! Each core owns its own set and writes it with relaxed stores; a scrape reads them all. Nothing
//! here is shared between cores, so nothing is contended.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the commit duration buckets, in microseconds; one more bucket has no bound.
pub const COMMIT_BUCKETS_US: [u64; 14] =
    [50, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 25_000, 100_000, 1_000_000];
/// Upper bounds of the batch size buckets, in events; one more bucket has no bound.
pub const BATCH_BUCKETS_EVENTS: [u64; 13] =
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096, 16_384];

/// A histogram with fixed bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// A histogram as it was read: counts per bucket, not cumulative; the last has no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bounds of the buckets, smallest first.
    pub bounds: Vec<u64>,
    /// Observations per bucket, one more than bounds.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram with these upper bounds.
    pub fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
    /// Counts one observation.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(bucket).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
    /// What it holds now.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut counts: Vec<u64> =
            self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        counts.push(self.above.load(Ordering::Relaxed));
        HistogramSnapshot {
            bounds: self.bounds.to_vec(),
            counts,
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// What one core counts.
#[derive(Debug)]
pub struct CoreMetrics {
    /// Requests taken.
    pub requests: AtomicU64,
    /// Answers that wait for the disk now.
    pub queue_depth: AtomicU64,
    /// Open connections.
    pub connections: AtomicU64,
    /// Bytes of frames written to logs, padding included.
    pub log_bytes: AtomicU64,
    /// Events written to logs.
    pub log_events: AtomicU64,
    /// Microseconds from a batch's write to its durability.
    pub commit_duration_us: Histogram<{ COMMIT_BUCKETS_US.len() }>,
    /// Events per batch.
    pub batch_events: Histogram<{ BATCH_BUCKETS_EVENTS.len() }>,
}

impl Default for CoreMetrics {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            queue_depth: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            log_events: AtomicU64::new(0),
            commit_duration_us: Histogram::new(COMMIT_BUCKETS_US),
            batch_events: Histogram::new(BATCH_BUCKETS_EVENTS),
        }
    }
}

/// What one partition shows.
#[derive(Debug, Default)]
pub struct PartitionMetrics {
    /// The last durable event.
    pub durable: AtomicU64,
    /// The last event that every consumer acknowledged.
    pub acknowledged: AtomicU64,
    /// Bytes of log that wait for consumers.
    pub unacknowledged_bytes: AtomicU64,
    /// 1 while the log has no room, because the disk is full.
    pub out_of_room: AtomicU64,
    /// Orders in memory.
    pub orders: AtomicU64,
    /// Units that could still be ordered.
    pub units: AtomicU64,
}

/// All counters of an engine.
#[derive(Debug)]
pub struct EngineMetrics {
    /// By core.
    pub cores: Vec<CoreMetrics>,
    /// By partition.
    pub partitions: Vec<PartitionMetrics>,
    /// Bytes of memory that are held for orders to come.
    pub reserve_bytes: AtomicU64,
    /// Bytes that are to be held: those that are missing are taken while there is time.
    pub reserve_wanted_bytes: AtomicU64,
}

impl EngineMetrics {
    /// Counters at zero.
    pub fn new(cores: usize, partitions: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| CoreMetrics::default()).collect(),
            partitions: (0..partitions).map(|_| PartitionMetrics::default()).collect(),
            reserve_bytes: AtomicU64::new(0),
            reserve_wanted_bytes: AtomicU64::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new([1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts, [2, 2, 2, 1]);
        assert_eq!(snapshot.sum, 225);
    }
}
