//! `doorbuster-bench`: what Doorbuster's promises of speed are measured with. `scripts/bench`
//! builds and runs it.
//!
//! Absolute figures drift from machine to machine and from day to day, so whatever is compared is
//! measured in one run, interleaved, on the same cores, several times; the tables show medians and
//! spread, and say who used which core.
//!
//! | module | what it measures | goal |
//! |---|---|---|
//! | `decisions` | `decide` and `apply` in process, next to the bare hash-map work | P1 |
//! | `durable` | durable orders over the binary protocol, next to Redis | P2 |
//! | `durability` | the same without sync: an engine in this process on a disk that skips it | P3 |
//! | `commit_wait` | the wait of one client for the disk, next to a bare write + fdatasync | P4 |
//! | `hyper` | HTTP orders and refusals, next to a bare hyper | P5 |
//! | `http` | durable HTTP orders in an open loop, generator and server on the same cores | P6 |
//! | `projector` | rows into Postgres shards, next to a bare COPY | P7 |
//! | `lag` | how far Postgres is behind a sale; what that and snapshots cost its orders | P7, P11 |
//! | `recovery` | an engine that reads its log, next to the read of its files | P8 |
//! | `memory` | bytes of an idle connection and of a live order | P9 |
//! | `hot_product` | one product, next to 10 000 on the same partition | P10 |
//! | `cores` | two cores, next to one, load made in the engine's own threads | P12 |
//! | `curve` | orders and refusals from 1 to 4 096 in flight, both protocols | |
//! | `generator` · `hot_row` | what the generator costs itself; one hot row of Postgres | |
//! | `first_start` | from launch on a new directory to ready, and the disk that it takes | |
//! | `overload` · `connections` · `soak` | long ones, by name only | |
//!
//! | module | what it is |
//! |---|---|
//! | `goals` · `figures` · `table` · `results` | goals; one measurement; the verdicts; JSON |
//! | `options` · `machine` | what may be told; the machine and its cores |
//! | `pipeline` · `wrk` | the clients: binary protocol, HTTP |
//! | `server` · `redis` · `bare_hyper` | children: a `doorbuster`, a Redis, a hyper |
//! | `in_process` · `pipe` · `unsynced` | an engine in this process; its sockets; its disk |
//! | `shards` · `backlog` · `bare` | Postgres clusters; a log that waits to be drained; the COPY |

mod backlog;
mod bare;
mod bare_hyper;
mod commit_wait;
mod connections;
mod cores;
mod curve;
mod decisions;
mod durability;
mod durable;
mod figures;
mod first_start;
mod generator;
mod goals;
mod hot_product;
mod hot_row;
mod http;
mod hyper;
mod in_process;
mod lag;
mod machine;
mod memory;
mod options;
mod overload;
mod pipe;
mod pipeline;
mod projector;
mod recovery;
mod redis;
mod results;
mod server;
mod shards;
mod soak;
mod table;
mod unsynced;
mod wrk;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use figures::Figures;
use options::Options;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what Doorbuster promises, and prints one table of the goals.
#[derive(Debug, Parser)]
#[command(
    name = "doorbuster-bench",
    version,
    after_help = "\
Examples:
  scripts/bench                            everything but the long ones, under half an hour
  scripts/bench p5                         one of them, by the number of its goal
  scripts/bench hyper                      or by its name
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
    /// Decisions per second of one core, in process, next to bare hash maps
    #[command(visible_alias = "p1")]
    Decisions,
    /// Durable orders over the binary protocol, next to Redis
    #[command(visible_alias = "p2")]
    Durable,
    /// What the sync costs: the same engine on a disk that skips it
    #[command(visible_alias = "p3")]
    Durability,
    /// The wait of one client for the disk, next to a bare write and fdatasync
    #[command(visible_alias = "p4")]
    CommitWait,
    /// HTTP orders and sold-out refusals, next to a bare hyper
    #[command(visible_alias = "p5")]
    Hyper,
    /// Durable HTTP orders, open loop, generator and server on the same cores
    #[command(visible_alias = "p6")]
    Http,
    /// The projector and its lag, one after the other
    P7,
    /// Rows per second into Postgres shards, next to a bare COPY
    Projector,
    /// How far Postgres is behind a sale, and what it and snapshots cost the orders
    #[command(visible_alias = "p11")]
    Lag,
    /// An engine that reads its log, next to the read of its files
    #[command(visible_alias = "p8")]
    Recovery,
    /// Bytes of an idle connection and of a live order
    #[command(visible_alias = "p9")]
    Memory,
    /// One hot product, next to 10 000 products on the same partition
    #[command(visible_alias = "p10")]
    HotProduct,
    /// Two cores, next to one
    #[command(visible_alias = "p12")]
    Cores,
    /// Orders and refusals from 1 to 4 096 in flight, over both protocols
    Curve,
    /// What the load generator costs itself
    Generator,
    /// One hot row of Postgres, for comparison
    HotRow,
    /// Time and disk of a first start
    FirstStart,
    /// All of the above
    All,
    /// Ten times the capacity, from a crowd that retries. Ends with exit code 1 when a bar is
    /// missed
    Overload(overload::Settings),
    /// Idle connections by the ten thousand beside a sale
    Connections(connections::Settings),
    /// Minutes at a part of the capacity: memory, latency and the log's size over time
    Soak(soak::Settings),
    /// The peer of `hyper`, as a process of its own
    #[command(hide = true)]
    BareHyper,
    /// Holds connections for `connections`, as a process of its own
    #[command(hide = true)]
    Hold(connections::Hold),
}

type Measurement = fn(&Options) -> anyhow::Result<Figures>;

/// All that are run when nothing is named, with the name of their file of results.
const ALL: [(What, &str, Measurement); 16] = [
    (What::Decisions, "decisions", decisions::measure),
    (What::Durable, "durable", durable::measure),
    (What::Durability, "durability", durability::measure),
    (What::CommitWait, "commit-wait", commit_wait::measure),
    (What::Hyper, "hyper", hyper::measure),
    (What::Http, "http", http::measure),
    (What::Projector, "projector", projector::measure),
    (What::Lag, "lag", lag::measure),
    (What::Recovery, "recovery", recovery::measure),
    (What::Memory, "memory", memory::measure),
    (What::HotProduct, "hot-product", hot_product::measure),
    (What::Cores, "cores", cores::measure),
    (What::Curve, "curve", curve::measure),
    (What::Generator, "generator", generator::measure),
    (What::HotRow, "hot-row", hot_row::measure),
    (What::FirstStart, "first-start", first_start::measure),
];

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

/// Runs what was asked for and prints it. Says whether every goal was met.
fn measure(what: What, options: &Options) -> anyhow::Result<bool> {
    let load_before = machine::load();
    match what {
        What::Overload(settings) => return overload::run(settings, options),
        What::BareHyper => return bare_hyper::serve().map(|()| true),
        What::Hold(settings) => return connections::hold(settings).map(|()| true),
        What::Connections(settings) => {
            let found = connections::measure(settings, options)?;
            results::show(&found, options)?;
            return results::publish("connections", &[found], &[], options, load_before);
        }
        What::Soak(settings) => {
            let found = soak::measure(settings, options)?;
            results::show(&found, options)?;
            return results::publish("soak", &[found], &[], options, load_before);
        }
        _ => {}
    }
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    let mut name = if what == What::P7 { "p7" } else { "all" };
    for (one, its_name, measurement) in ALL {
        let is_asked_for = match what {
            What::All => true,
            What::P7 => matches!(one, What::Projector | What::Lag),
            what => what == one,
        };
        if !is_asked_for {
            continue;
        }
        if what == one {
            name = its_name;
        }
        // What others have found is not lost with one that fails.
        match measurement(options) {
            Ok(figures) => {
                results::show(&figures, options)?;
                found.push(figures);
            }
            Err(error) => {
                let failure = format!("{:#}", error.context(its_name));
                writeln!(std::io::stderr().lock(), "not measured: {failure}")?;
                failed.push(failure);
            }
        }
    }
    let all_met =
        !found.is_empty() && results::publish(name, &found, &failed, options, load_before)?;
    ensure!(failed.is_empty(), "not measured: {}", failed.join("; "));
    Ok(all_met)
}
