//! A thousand seeds hold, seeds that once were broken hold, and a seed can be repeated.
//!
//! `DOORBUSTER_SIM_SEEDS=20000` runs more, `DOORBUSTER_SIM_FROM=5000` others. `doorbuster-sim --seed N
//! --trace` shows one.

use doorbuster_simulator::report::{Broken, RunReport, Verdict};
use doorbuster_simulator::{run, seeds};
use std::time::Instant;

const SEEDS: u64 = 1_000;
/// Seeds that are run twice.
const REPEATED: u64 = 25;

/// Seeds that found a bug in the product, with what they found. The dials have changed since, so that
/// most of them tell other stories now; each bug has a test of its own beside what was mended.
const ONCE_BROKEN: &[(u64, &str)] = &[];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}"))
    })
}

fn tell(broken: &RunReport) -> String {
    let reduced = seeds::reduce(broken.clone(), seeds::dials_of(broken.seed));
    let operations = reduced.dials.size.operations;
    let (run, dials, without) = (&reduced.run, &reduced.dials, &reduced.without);
    Broken { run, dials, without, operations }.to_string()
}

#[test]
fn every_seed_holds() {
    let from = number("DOORBUSTER_SIM_FROM", 0);
    let until = from + number("DOORBUSTER_SIM_SEEDS", SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let began = Instant::now();
    let summary = seeds::run_all(from..until, threads, true, |_| {});
    eprintln!("{}", summary.text(began.elapsed()));
    if let Some(broken) = summary.broken.first() {
        panic!("{}", tell(broken));
    }
    // A run in which nothing goes wrong would hold, too.
    for fault in [
        "engine kills",
        "power losses",
        "kills of the projector",
        "client kills",
        "freezes",
        "clock steps",
        "connections cut",
        "bytes changed",
        "disk faults",
        "full disks",
        "snapshots",
        "events",
    ] {
        let count = summary.counts.get(fault).copied().unwrap_or_default();
        assert!(until - from < SEEDS || count > 0, "no {fault} in {} seeds", until - from);
    }
}

#[test]
fn seeds_that_once_were_broken_hold() {
    for (seed, found) in ONCE_BROKEN {
        let run = run::run(*seed, &seeds::dials_of(*seed), false);
        assert!(run.verdict == Verdict::Sound, "once: {found}\n{}", tell(&run));
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..REPEATED {
        let dials = seeds::dials_of(seed);
        let (first, second) = (run::run(seed, &dials, false), run::run(seed, &dials, false));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!((first.lines, first.counts), (second.lines, second.counts), "seed {seed}");
        assert!(first.lines > 50, "seed {seed} has a story to tell");
    }
}
