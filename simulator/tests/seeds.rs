//! A thousand seeds hold, in most of which something goes badly wrong; runs that once found a bug hold;
//! and a seed can be repeated.
//!
//! `DOORBUSTER_SIM_SEEDS=20000` runs more, `DOORBUSTER_SIM_FROM=5000` others. `doorbuster-sim --seed N
//! --trace` shows one, `doorbuster-sim --kept FILE` one that was kept.

use doorbuster_simulator::dials::Dials;
use doorbuster_simulator::kept::Kept;
use doorbuster_simulator::report::{Broken, RunReport, Summary, Verdict};
use doorbuster_simulator::{run, seeds};
use std::path::{Path, PathBuf};
use std::time::Instant;

const SEEDS: u64 = 1_000;
/// Seeds that are run twice.
const REPEATED: u64 = 25;

/// What goes wrong, and how often at the least in so many seeds: half of what was counted when this
/// was written. A run in which nothing goes wrong would hold, too.
const FLOORS: &[(&str, u64)] = &[
    ("kills of the engine", 1_000),
    ("kills of the engine in a snapshot", 20),
    ("kills of the projector", 500),
    ("kills of a client", 800),
    ("restarts of the engine", 600),
    ("freezes of the engine", 200),
    ("freezes of the projector", 200),
    ("freezes of a client", 200),
    ("failures of the engine", 1_000),
    ("power losses", 1_000),
    ("power losses that took something", 300),
    ("power losses that tore something", 200),
    ("syncs failed", 200),
    ("syncs of a directory failed", 300),
    ("writes failed", 200),
    ("short writes", 200),
    ("renames failed", 150),
    ("other calls failed", 100),
    ("calls without space", 400),
    ("full disks", 1_000),
    ("slow syncs", 400),
    ("flipped bits", 200),
    ("misread bits", 100),
    ("lost writes", 50),
    ("misdirected writes", 50),
    ("refusals of damage", 150),
    ("connections cut", 2_000),
    ("connections gone silent", 500),
    ("bytes changed", 800),
    ("pieces delayed by 50 ms or more", 100_000),
    ("dials refused", 10_000),
    ("dials reset", 3_000),
    ("dials unheard", 2_000),
    ("partitions of the network", 500),
    ("clock steps of the engine", 400),
    ("clock steps of the projector", 200),
    ("clock steps of a client", 150),
    ("absences of a shard", 600),
    ("calls refused by a shard", 2_000),
    ("answers of a shard lost", 1_500),
    ("failovers that lost transactions", 150),
    ("failovers that lost transactions, logs trimmed", 50),
    ("moves of buckets", 500),
    ("snapshots", 2_000),
    ("refused from levels", 3_000),
    ("events", 80_000),
];

/// In how many of a thousand seeds at the least.
const RUNS_WITH: &[(&str, u64)] = &[("ends of the engine", 600), ("power losses", 400)];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}"))
    })
}

fn tell(broken: &RunReport, dials: Dials) -> String {
    let reduced = seeds::reduce(broken.clone(), dials);
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
        panic!("{}", tell(broken, seeds::dials_of(broken.seed)));
    }
    if until - from >= SEEDS {
        check_harm(&summary, (until - from) / SEEDS);
    }
}

/// Enough went wrong in so many thousand seeds.
fn check_harm(summary: &Summary, thousands: u64) {
    let mut lacking = Vec::new();
    for (what, floor) in FLOORS {
        let (count, floor) = (summary.count(what), floor * thousands);
        if count < floor {
            lacking.push(format!("{what}: {count}, and should be {floor} or more"));
        }
    }
    for (what, floor) in RUNS_WITH {
        let (runs, floor) = (summary.runs_with(what), floor * thousands);
        if runs < floor {
            lacking.push(format!("{what}: in {runs} seeds, and should be in {floor} or more"));
        }
    }
    assert!(lacking.is_empty(), "too little goes wrong:\n{}", lacking.join("\n"));
}

#[test]
fn runs_that_once_were_broken_hold() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let files = std::fs::read_dir(&directory).expect("simulator/regressions is there");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("it is listed").path()).collect();
    files.sort();
    assert!(files.len() >= KEPT_MIN, "{} kept runs", files.len());
    for file in files {
        let Kept { found, seed, dials } = Kept::read(&file).unwrap_or_else(|why| panic!("{why}"));
        let run = run::run(seed, &dials, false);
        let is_sound = run.verdict == Verdict::Sound;
        assert!(is_sound, "{}, once: {found}\n{}", file.display(), tell(&run, dials));
    }
}

/// None of them gets lost.
const KEPT_MIN: usize = 8;

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
