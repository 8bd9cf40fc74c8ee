//! Ten times what a server can do, from a crowd that retries, beside payments and cancels.
//!
//! On one machine a generator cannot offer a whole server ten times its capacity, so the server's
//! CPU is made scarce by a control group, and there are two ways to do that, which say different
//! things:
//!
//! - `engine`: the engine alone is short of CPU, the edge is not. Every one of the ten times as
//!   many orders is really sent and answered. So it is where edges scale out before one engine.
//! - `server`: everything is short of CPU. To refuse an order costs a good part of what it costs to
//!   take one, so no server can answer ten times its capacity one by one: what holds the crowd back
//!   is that an edge without time to spare lets its connections wait. Attempts that find none of
//!   their connections free for a second are given up by their clients, and counted.
//!
//! In one run: capacity from a closed loop; then an open loop at 0.8 of it, at ten times, at half;
//! then capacity once more, as a machine with neighbours changes. Paid and cancelled orders are a
//! part of all of it, so that their cost is in the capacity.

mod quota;
mod scene;
mod table;
mod verdict;

use crate::machine::{self, Seats};
use crate::options::Options;
use crate::server;
use clap::{Args, ValueEnum};
use doorbuster_loadgen::{Amount, Credentials, Plan, Prepare, Report, Retrying, Stage, Target};
use scene::Scene;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use table::Found;

/// Share of the accepted orders that are paid, and that are cancelled.
const PAY: f64 = 0.2;
const CANCEL: f64 = 0.1;
/// How long an attempt waits for one of its client's connections.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long capacity is measured, and how long before that nothing counts.
const CAPACITY_SECONDS: u64 = 8;
const WARM_UP_SECONDS: u64 = 4;
/// Connections of those who pay and cancel.
const ACTING_CONNECTIONS: usize = 256;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Who is short of CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Short {
    /// The engine; the edge has a CPU.
    Engine,
    /// Everything, in one process.
    Server,
}

/// What the scenario may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub(crate) struct Settings {
    /// Who is short of CPU. Default: one after the other
    #[arg(value_enum)]
    short: Option<Short>,
    /// Percent of one CPU that it has. Default: 3 for an engine, 40 for a server
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    cpu: Option<u32>,
    /// Connections of the crowd. Default: 6000 before an engine, 2000 before a server
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=16_000))]
    connections: Option<u32>,
    /// How many times its capacity is offered
    #[arg(long, value_name = "TIMES", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=50))]
    times: u32,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(5..=3_600))]
    overload_seconds: u32,
}

impl Settings {
    fn cpu(self, short: Short) -> u32 {
        self.cpu.unwrap_or(match short {
            Short::Engine => 3,
            Short::Server => 40,
        })
    }

    /// With how many connections capacity is measured: as many as it takes to be at its best.
    fn closed_connections(short: Short) -> usize {
        match short {
            Short::Engine => 512,
            Short::Server => 256,
        }
    }

    fn connections(self, short: Short) -> usize {
        let default = match short {
            Short::Engine => 6_000,
            Short::Server => 2_000,
        };
        self.connections.unwrap_or(default) as usize
    }
}

/// Runs the scenario and prints what it found. Says whether every bar was held.
pub(crate) fn run(settings: Settings, options: &Options) -> anyhow::Result<bool> {
    let all = [Short::Engine, Short::Server];
    // Before this thread takes its seat and sees no other.
    let seats = Seats::choose();
    let mut results = Vec::new();
    for short in all.into_iter().filter(|short| settings.short.is_none_or(|only| only == *short)) {
        let found = run_one(short, seats, settings, options)?;
        if !options.json {
            println!("{found}");
        }
        results.push(found);
    }
    let is_held = results.iter().all(Found::holds_all_bars);
    if options.json {
        let report = serde_json::json!({
            "machine": machine::describe(),
            "scenarios": results,
            "barsHeld": is_held,
        });
        println!("{report:#}");
    }
    Ok(is_held)
}

fn run_one(
    short: Short,
    seats: Seats,
    settings: Settings,
    options: &Options,
) -> anyhow::Result<Found> {
    let scratch = options.scratch()?;
    let program = options.program()?;
    let scene = Scene::open(short, settings.cpu(short), seats, &program, scratch.path())?;
    let before = capacity(&scene, short, true)?;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let stages = vec![
        Stage::steady(0.8 * before, seconds(10)),
        Stage::steady(f64::from(settings.times) * before, seconds(settings.overload_seconds)),
        Stage::steady(0.5 * before, seconds(15)),
    ];
    let mut plan = crowd(&scene)?;
    plan.stages = stages;
    plan.concurrency = settings.connections(short);
    plan.acting_concurrency = ACTING_CONNECTIONS;
    plan.patience = Some(PATIENCE);
    plan.retries = 4;
    plan.retrying = Some(Retrying { budget: 0.1, honour: 0.5 });
    let (report, memory) = watched(&scene, plan)?;
    let after = capacity(&scene, short, false)?;
    let data = scratch.path();
    scene.close()?;
    // Nothing that was acknowledged is lost, nothing is sold twice, and the store has it all.
    server::command(&program, &["audit"], data, None)?;
    Ok(Found { short, settings, capacity: [before, after], report, memory })
}

/// Buyers without end of one product, a part of whom pays or cancels at once.
fn crowd(scene: &Scene) -> anyhow::Result<Plan> {
    let mut plan = Plan::new(Target::http(scene.http()));
    plan.products = vec!["overload".to_owned()];
    plan.buyers = 200_000;
    plan.credentials = Credentials::secret(&scene.token_secret()?);
    (plan.pay, plan.cancel) = (PAY, CANCEL);
    plan.request_timeout = Duration::from_secs(10);
    Ok(plan)
}

/// Accepted orders per second, payments and cancels beside them.
fn capacity(scene: &Scene, short: Short, is_first: bool) -> anyhow::Result<f64> {
    let mut plan = crowd(scene)?;
    plan.concurrency = Settings::closed_connections(short);
    plan.acting_concurrency = ACTING_CONNECTIONS;
    plan.prepare = is_first.then_some(Prepare {
        stock: 500_000_000,
        price: 1_999,
        limit_per_buyer: 0,
        hold_seconds: 3_600,
        waitlist_capacity: 0,
    });
    for seconds in [WARM_UP_SECONDS, CAPACITY_SECONDS] {
        plan.seed = fastrand::u64(..);
        plan.amount = Amount::Duration(Duration::from_secs(seconds));
        let report = doorbuster_loadgen::run(plan.clone(), Arc::default())?;
        anyhow::ensure!(report.accepted > 0, "nothing was accepted:\n{report}");
        if seconds == CAPACITY_SECONDS {
            return Ok(report.accepted as f64 / report.elapsed_seconds);
        }
        plan.prepare = None;
    }
    unreachable!("the last of them was the one that counts")
}

/// Resident memory of a server at a time of a run, in seconds and MiB.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    at_seconds: f64,
    mib: f64,
}

/// Carries a plan out and looks at the servers' memory meanwhile.
fn watched(scene: &Scene, plan: Plan) -> anyhow::Result<(Report, Vec<Memory>)> {
    let memory = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let at_seconds = began.elapsed().as_secs_f64();
                let sample = Memory { at_seconds, mib: scene.memory_mib() };
                memory.lock().expect("nobody panics with it").push(sample);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        let report = doorbuster_loadgen::run(plan, Arc::default());
        is_over.store(true, Ordering::Relaxed);
        report
    })?;
    Ok((report, memory.into_inner().expect("nobody panics with it")))
}
