//! Counters to watch while a run goes on, and the flag that stops it.
//!
//! Workers only add; whoever draws only reads. The counters are no source of truth for the report.

use crate::report::Latencies;
use crate::tally::histogram;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a run has done so far. Share it in an `Arc`, read it as often as you like.
#[derive(Debug, Default)]
pub struct Progress {
    planned: AtomicU64,
    released: AtomicU64,
    attempts: AtomicU64,
    answers: AtomicU64,
    accepted: AtomicU64,
    replayed: AtomicU64,
    queued: AtomicU64,
    sold_out: AtomicU64,
    limit: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    paid: AtomicU64,
    cancelled: AtomicU64,
    promoted: AtomicU64,
    violations: AtomicU64,
    idle_made: AtomicU64,
    idle_cut: AtomicU64,
    cpu_us: AtomicU64,
    connections: AtomicI64,
    p50_us: AtomicU64,
    p99_us: AtomicU64,
    /// A lock, because each worker takes it four times a second, and whoever watches now and then.
    recent: Mutex<Recent>,
    stop: AtomicBool,
}

/// What was seen since somebody looked.
#[derive(Debug)]
struct Recent {
    latency: Histogram<u64>,
    lateness_us_max: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self { latency: histogram(), lateness_us_max: 0 }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident, $add:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&self) -> u64 {
                self.$name.load(Relaxed)
            }
            pub(crate) fn $add(&self, count: u64) {
                if count > 0 {
                    self.$name.fetch_add(count, Relaxed);
                }
            }
        )*
    };
}

impl Progress {
    counters! {
        /// Attempts that the run will make; 0 when only its duration is known.
        planned, add_planned;
        /// Slots of the schedule whose time has come.
        released, add_released;
        /// Attempts begun.
        attempts, add_attempts;
        /// Orders answered, whatever the answer; duplicates and retries count.
        answers, add_answers;
        /// Holds placed.
        accepted, add_accepted;
        /// First answers given again for the same key.
        replayed, add_replayed;
        /// Orders put on the waitlist.
        queued, add_queued;
        /// Refusals because everything was sold.
        sold_out, add_sold_out;
        /// Refusals because of the limit per buyer.
        limit, add_limit;
        /// Other refusals.
        refused, add_refused;
        /// Requests without a proper answer.
        failed, add_failed;
        /// Orders paid.
        paid, add_paid;
        /// Orders cancelled.
        cancelled, add_cancelled;
        /// Queued orders that were seen to become pending.
        promoted, add_promoted;
        /// Pairs of answers to one key that do not agree.
        violations, add_violations;
        /// Idle connections that were made.
        idle_made, add_idle;
        /// Idle connections that the server closed.
        idle_cut, cut_idle;
        /// CPU time that the load threads took, in microseconds.
        cpu_us, add_cpu_us;
    }

    /// Connections that stand and are used for the load; over the binary protocol, places in the
    /// pipelines.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed).max(0).cast_unsigned()
    }
    pub(crate) fn connected(&self, change: i64) {
        self.connections.fetch_add(change, Relaxed);
    }

    /// Median latency of orders in the last quarter of a second or so, in microseconds.
    pub fn p50_us(&self) -> u64 {
        self.p50_us.load(Relaxed)
    }
    /// Its 99th percentile.
    pub fn p99_us(&self) -> u64 {
        self.p99_us.load(Relaxed)
    }
    pub(crate) fn add_recent(&self, latency: &Histogram<u64>, lateness_us_max: u64) {
        if !latency.is_empty() {
            self.p50_us.store(latency.value_at_quantile(0.5), Relaxed);
            self.p99_us.store(latency.value_at_quantile(0.99), Relaxed);
        }
        let mut recent = self.recent();
        recent.latency.add(latency).expect("an auto-resizing histogram takes every value");
        recent.lateness_us_max = recent.lateness_us_max.max(lateness_us_max);
    }
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Latencies of orders since this was asked for the last time, and how many microseconds too
    /// late the timer woke the generator at the worst.
    pub fn take_recent(&self) -> (Latencies, u64) {
        let mut recent = self.recent();
        let taken = (Latencies::of(&recent.latency), recent.lateness_us_max);
        recent.latency.reset();
        recent.lateness_us_max = 0;
        taken
    }

    /// Asks the run to end: what is in flight is still answered, nothing new begins.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }
    /// Whether it was asked to end, or has to.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
