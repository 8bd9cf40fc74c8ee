//! `doorbuster-bench`: what Doorbuster's promises of speed are measured with. `scripts/bench`
//! builds and runs it.
//!
//! Absolute figures drift from machine to machine and from day to day, so whatever is compared is
//! measured in one run, interleaved, on the same cores, several times; the tables show medians and
//! spread, and say who used which core.
//!
//! | module | what it measures |
//! |---|---|
//! | `decisions` | `decide` and `apply` in process, nothing else |
//! | `durable` | durable orders over the binary protocol, next to Redis in the same rounds |
//! | `http` | durable HTTP orders in an open loop, generator and server on the same cores |
//! | `projector` | rows into Postgres shards, next to a bare COPY in the same rounds |
//! | `lag` | how far Postgres is behind a sale, and what that costs its orders |
//! | `overload` | ten times what a server can do, from a crowd that retries |
//! | `first_start` | from launch on a new directory to ready, and the disk that it takes |
//! | `pipeline` · `server` · `redis` | the binary client; a child `doorbuster`; a child Redis |
//! | `shards` · `backlog` · `bare` | Postgres clusters; a log that waits to be drained; the COPY |
//! | `figures` · `machine` | medians, spread, goals, tables; the machine and its cores |

mod backlog;
mod bare;
mod decisions;
mod durable;
mod figures;
mod first_start;
mod http;
mod lag;
mod machine;
mod overload;
mod pipeline;
mod projector;
mod redis;
mod server;
mod shards;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use figures::Figures;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what Doorbuster promises, and prints a table for each.
#[derive(Debug, Parser)]
#[command(
    name = "doorbuster-bench",
    version,
    after_help = "\
Examples:
  scripts/bench                            everything, a quarter of an hour
  scripts/bench decisions                  one of them
  scripts/bench durable --rounds 9 --json  for programs

Exit codes: 0 it ran; 1 it could not run, or with --strict a goal was missed; 2 misuse."
)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// Decisions per second of one core, in process
    Decisions,
    /// Durable orders over the binary protocol, next to Redis in the same run
    Durable,
    /// Durable HTTP orders, open loop, generator and server on the same cores
    Http,
    /// Rows per second into Postgres shards, next to a bare COPY in the same run
    Projector,
    /// How far Postgres is behind a sale, and the orders' latency with and without it
    Lag,
    /// Time and disk of a first start
    FirstStart,
    /// Ten times the capacity, from a crowd that retries. Ends with exit code 1 when a bar is
    /// missed
    Overload(overload::Settings),
    /// All of them but the overload
    All,
}

/// What every measurement may be told.
#[derive(Clone, Debug, Args)]
struct Options {
    /// Rounds; the median counts
    #[arg(long, global = true, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Seconds of one round (http: of its only one; not of projector, which drains --orders).
    /// Default: each measurement's own
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// Orders per second of the open loop
    #[arg(long, global = true, value_name = "N", default_value_t = 10_000)]
    rate: u32,
    /// Buyers of the decisions
    #[arg(long, global = true, value_name = "N", default_value_t = 1_000_000)]
    buyers: u32,
    /// Orders that the projector drains in a round into four shards
    #[arg(long, global = true, value_name = "N", default_value_t = 400_000,
          value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    orders: u64,
    /// Requests in flight over the binary protocol
    #[arg(long, global = true, value_name = "N", default_value_t = 4_096,
          value_parser = clap::value_parser!(u32).range(4..=65_536))]
    in_flight: u32,
    /// Where data directories are made, on the disk to be measured
    #[arg(long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The `doorbuster` to measure. Default: the one beside this program
    #[arg(long, global = true, value_name = "FILE")]
    doorbuster: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// End with exit code 1 when a goal was missed
    #[arg(long, global = true)]
    strict: bool,
}

impl Options {
    /// A directory of its own, gone when it is dropped.
    fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        let made = match &self.directory {
            Some(directory) => tempfile::tempdir_in(directory),
            None => tempfile::tempdir(),
        };
        made.context("a directory for the measurement could not be made (--directory DIR)")
    }

    fn program(&self) -> anyhow::Result<PathBuf> {
        let program = match &self.doorbuster {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("doorbuster"),
        };
        anyhow::ensure!(
            program.is_file(),
            "{} is not there; build it with `cargo build --release`, or use scripts/bench",
            program.display()
        );
        Ok(program)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let what = arguments.what.unwrap_or(What::All);
    let is_strict = matches!(what, What::Overload(_));
    match measure(what, &arguments.options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) if arguments.options.strict || is_strict => ExitCode::FAILURE,
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doorbuster-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

type Measurement = fn(&Options) -> anyhow::Result<Figures>;

/// Runs what was asked for and prints it. Says whether every goal was met.
fn measure(what: What, options: &Options) -> anyhow::Result<bool> {
    if let What::Overload(settings) = what {
        return overload::run(settings, options);
    }
    let all: [(What, Measurement); 6] = [
        (What::Decisions, decisions::measure),
        (What::Durable, durable::measure),
        (What::Http, http::measure),
        (What::Projector, projector::measure),
        (What::Lag, lag::measure),
        (What::FirstStart, first_start::measure),
    ];
    let mut results = Vec::new();
    for (name, measurement) in all {
        if what == What::All || what == name {
            let figures = measurement(options)?;
            if !options.json {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{figures}")?;
            }
            results.push(figures);
        }
    }
    let is_met = results.iter().all(Figures::all_goals_are_met);
    if options.json {
        let report = serde_json::json!({
            "machine": machine::describe(),
            "measurements": results,
            "goalsMet": is_met,
        });
        println!("{report:#}");
    }
    Ok(is_met)
}
