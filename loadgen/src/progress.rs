//! Counters to watch while a run goes on, and the flag that stops it.
//!
//! Workers only add; whoever draws only reads. The counters are no source of truth for the report.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

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
    p50_us: AtomicU64,
    p99_us: AtomicU64,
    stop: AtomicBool,
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
    }

    /// Median latency of orders in the last quarter of a second or so, in microseconds.
    pub fn p50_us(&self) -> u64 {
        self.p50_us.load(Relaxed)
    }
    /// Its 99th percentile.
    pub fn p99_us(&self) -> u64 {
        self.p99_us.load(Relaxed)
    }
    pub(crate) fn set_recent(&self, p50_us: u64, p99_us: u64) {
        self.p50_us.store(p50_us, Relaxed);
        self.p99_us.store(p99_us, Relaxed);
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
