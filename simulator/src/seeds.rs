//! Many seeds, on as many threads as there are cores, each seed wholly on one; and a broken seed
//! reduced to the faults that it needs.

use crate::chance::Chance;
use crate::dials::{Dials, Group};
use crate::report::{RunReport, Summary, Verdict};
use crate::run;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How often a reduced run is tried, at the most.
const REDUCTIONS_MAX: usize = 16;

/// The dials of a seed.
pub fn dials_of(seed: u64) -> Dials {
    Dials::draw(&Chance::new(seed))
}

/// Runs `seeds` on `threads` threads. With `until_broken` no new seed begins after a broken one.
pub fn run_all(
    seeds: std::ops::Range<u64>,
    threads: usize,
    until_broken: bool,
    done: impl Fn(&RunReport) + Sync,
) -> Summary {
    let (next, summary) = (AtomicU64::new(seeds.start), Mutex::new(Summary::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let run = run::run(seed, &dials_of(seed), false);
                    done(&run);
                    if until_broken && matches!(run.verdict, Verdict::Broken { .. }) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                    summary.lock().unwrap_or_else(PoisonError::into_inner).add(run);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.broken.sort_by_key(|run| run.seed);
    summary
}

/// A broken seed with as few faults and operations as it still fails with.
pub struct Reduced {
    /// The reduced run.
    pub run: RunReport,
    /// Its dials.
    pub dials: Dials,
    /// The groups that were switched off.
    pub without: Vec<Group>,
}

/// Switches off one group of faults after another, and halves the operations, while the run still
/// breaks.
pub fn reduce(broken: RunReport, dials: Dials) -> Reduced {
    let mut reduced = Reduced { run: broken, dials, without: Vec::new() };
    for group in Group::ALL {
        if reduced.dials.is_quiet(group) {
            continue;
        }
        let mut dials = reduced.dials.clone();
        dials.quiet(group);
        if reduced.breaks_with(dials) {
            reduced.without.push(group);
        }
    }
    for _ in 0..REDUCTIONS_MAX {
        let mut dials = reduced.dials.clone();
        dials.size.operations /= 2;
        if dials.size.operations == 0 || !reduced.breaks_with(dials) {
            break;
        }
    }
    reduced
}

impl Reduced {
    fn breaks_with(&mut self, dials: Dials) -> bool {
        let run = run::run(self.run.seed, &dials, false);
        let breaks = matches!(run.verdict, Verdict::Broken { .. });
        if breaks {
            (self.run, self.dials) = (run, dials);
        }
        breaks
    }
}
