//! What all parts of a run share: its dials, its chance, its trace, its counts, and whether faults
//! still happen.
//!
//! It is `Send` because sockets and stores have to be; one thread runs it all.

use crate::chance::Chance;
use crate::dials::Dials;
use crate::trace::Trace;
use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What all parts of a run share. A clone is another handle of the same one.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    dials: Dials,
    chance: Chance,
    trace: Trace,
    began: Instant,
    is_healed: AtomicBool,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    broken: Mutex<Option<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world in which faults happen from now on.
    pub fn new(seed: u64, dials: Dials, is_printed: bool) -> Self {
        Self(Arc::new(Shared {
            dials,
            chance: Chance::new(seed).of("world"),
            trace: Trace::new(is_printed),
            began: Instant::now(),
            is_healed: AtomicBool::new(false),
            counts: Mutex::default(),
            broken: Mutex::default(),
        }))
    }

    /// The dials of the run.
    pub fn dials(&self) -> &Dials {
        &self.0.dials
    }
    /// The chance of a part of the run, by name: the same name gives the same one again.
    pub fn chance(&self, part: &str) -> Chance {
        self.0.chance.of(part)
    }
    /// When the run began.
    pub fn began(&self) -> Instant {
        self.0.began
    }
    /// The trace of the run.
    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }
    /// Adds a line to the trace.
    pub fn line(&self, who: &str, what: Arguments<'_>) {
        self.0.trace.line(who, what);
    }

    /// Adds what is too much to be a line to the hash of the trace.
    pub fn mix(&self, bytes: &[u8]) {
        self.0.trace.mix(bytes);
    }

    /// Whether faults still happen. Every fault asks, at the moment at which it would happen.
    pub fn is_faulty(&self) -> bool {
        !self.0.is_healed.load(Ordering::Relaxed)
    }
    /// From now on nothing goes wrong any more.
    pub fn heal(&self) {
        self.0.is_healed.store(true, Ordering::Relaxed);
        self.line("world", format_args!("healed"));
    }

    /// Counts something: an operation, an event, a fault.
    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }
    /// Counts something many times.
    pub fn add(&self, what: &'static str, times: u64) {
        *locked(&self.0.counts).entry(what).or_default() += times;
    }
    /// What was counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.0.counts).clone()
    }

    /// Something does not hold. The first one is what the run reports; it ends soon after.
    pub fn broken(&self, why: String) {
        self.line("world", format_args!("BROKEN: {why}"));
        locked(&self.0.broken).get_or_insert(why);
    }
    /// What did not hold.
    pub fn is_broken(&self) -> Option<String> {
        locked(&self.0.broken).clone()
    }
}
