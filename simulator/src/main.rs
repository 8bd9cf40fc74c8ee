//! `doorbuster-sim`: runs seeds and says what they came to.

use clap::Parser;
use doorbuster_simulator::dials::{Dials, Group};
use doorbuster_simulator::kept::Kept;
use doorbuster_simulator::report::{Broken, Verdict};
use doorbuster_simulator::{run, seeds};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Broken seeds that are reduced and told in full.
const TOLD_MAX: usize = 3;

/// Simulates the whole system on one thread per seed: every fault of disk, network, clock, process
/// and store that its seed chooses, and a check of the whole history at the end.
#[derive(Parser)]
#[command(
    name = "doorbuster-sim",
    version,
    after_help = "Exit codes: 0 all seeds held, 1 a seed is broken, 2 wrong usage.\n\
                  A seed that is broken says how to see it again; docs/testing.md says what is checked."
)]
struct Cli {
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "SEED", default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// Threads; the default is one per core.
    #[arg(long, value_name = "N", conflicts_with = "seed")]
    threads: Option<usize>,
    /// Stop at the first broken seed.
    #[arg(long, conflicts_with = "seed")]
    until_broken: bool,
    /// Do not reduce broken seeds and tell them in full.
    #[arg(long, conflicts_with = "seed")]
    brief: bool,
    /// Run this one seed, twice, and compare the traces.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Run one that was kept, in the same way.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "from", "threads", "until_broken", "brief"])]
    kept: Option<PathBuf>,
    /// Print everything that happens in it.
    #[arg(long)]
    trace: bool,
    /// Run it without a group of faults: disk, network, clock, process or store. Repeatable.
    #[arg(long, value_name = "GROUP", value_parser = group)]
    without: Vec<Group>,
    /// Run it with so many operations.
    #[arg(long, value_name = "N")]
    operations: Option<u64>,
    /// Write the first broken seed to a file, reduced, with its dials.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "kept"])]
    keep: Option<PathBuf>,
}

fn group(name: &str) -> Result<Group, String> {
    Group::parse(name).ok_or_else(|| "there are disk, network, clock, process and store".to_owned())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match (&cli.kept, cli.seed) {
        (Some(path), _) => match Kept::read(path) {
            Ok(kept) => one(kept.seed, kept.dials, &cli),
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(2)
            }
        },
        (None, Some(seed)) => one(seed, seeds::dials_of(seed), &cli),
        (None, None) => many(&cli),
    }
}

fn one(seed: u64, mut dials: Dials, cli: &Cli) -> ExitCode {
    cli.without.iter().for_each(|group| dials.quiet(*group));
    dials.size.operations = cli.operations.unwrap_or(dials.size.operations);
    let began = Instant::now();
    let first = run::run(seed, &dials, cli.trace);
    let took = began.elapsed();
    let second = run::run(seed, &dials, false);
    println!("seed {seed}: {} lines, {:?} simulated in {took:.2?}", first.lines, first.simulated);
    for (name, count) in &first.counts {
        println!("  {name:<46} {count:>10}");
    }
    if first.hash != second.hash {
        println!("NOT DETERMINISTIC: trace {:016x}, then {:016x}", first.hash, second.hash);
        return ExitCode::FAILURE;
    }
    println!("trace hash {:016x}, twice", first.hash);
    match &first.verdict {
        Verdict::Sound => println!("sound"),
        Verdict::Broken { .. } => {
            let operations = dials.size.operations;
            let broken = Broken { run: &first, dials: &dials, without: &cli.without, operations };
            println!("{broken}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn many(cli: &Cli) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = cli.threads.unwrap_or(cores).max(1);
    let (began, done) = (Instant::now(), AtomicU64::new(0));
    let is_watched = std::io::stderr().is_terminal();
    let summary = seeds::run_all(
        cli.from..cli.from.saturating_add(cli.seeds),
        threads,
        cli.until_broken,
        |run| {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Verdict::Broken { why, .. } = &run.verdict {
                eprintln!("\rseed {}: {why}", run.seed);
            }
            if is_watched && done.is_multiple_of(10) {
                eprint!("\r{done} of {} seeds", cli.seeds);
                let _ = std::io::stderr().flush();
            }
        },
    );
    if is_watched {
        eprint!("\r\x1b[K");
    }
    print!("{}", summary.text(began.elapsed()));
    let told_max = if cli.brief { 0 } else { TOLD_MAX };
    for run in summary.broken.iter().take(told_max) {
        let reduced = seeds::reduce(run.clone(), seeds::dials_of(run.seed));
        let operations = reduced.dials.size.operations;
        let (run, dials, without) = (&reduced.run, &reduced.dials, &reduced.without);
        println!("\n{}", Broken { run, dials, without, operations });
    }
    if let (Some(path), Some(run)) = (&cli.keep, summary.broken.first()) {
        let reduced = seeds::reduce(run.clone(), seeds::dials_of(run.seed));
        let Verdict::Broken { why, .. } = reduced.run.verdict else { unreachable!("it is broken") };
        let kept = Kept { found: why, seed: run.seed, dials: reduced.dials };
        if let Err(why) = kept.write(path) {
            eprintln!("{why}");
        }
    }
    if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
