//! Minutes at a part of the capacity: does memory grow, does the tail of the latency, does the log
//! go away again? Everything in one process with its embedded store, on the generator's cores; a
//! part of the orders is paid, a part cancelled, and the rest runs out.
//!
//! Capacity is what goes on and on, so all work that an order makes is part of it: the orders of a
//! closed loop, by the time until every payment and cancel of them was answered, the last hold has run
//! out, and the store has all of that. A closed loop alone accepts orders faster, and puts the rest
//! off.

use crate::figures::{Figures, figure, median};
use crate::lag::{self, values};
use crate::machine;
use crate::options::Options;
use crate::server::{self, Server, Serving};
use anyhow::{Context, ensure};
use clap::Args;
use doorbuster_loadgen::{Amount, Credentials, Plan, Prepare, Report, Stage, Target};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PRODUCT: &str = "soak";
const CONNECTIONS: usize = 256;
const ACTING_CONNECTIONS: usize = 64;
const PAY: f64 = 0.4;
const CANCEL: f64 = 0.3;
/// The holds of the others end within the run, of the soak and of the one for its capacity.
const HOLD_SECONDS: u32 = 20;
const CAPACITY_HOLD_SECONDS: u32 = 2;
const CAPACITY_SECONDS: u64 = 8;
const MINUTE: Duration = Duration::from_secs(60);
/// Segments so short that many are filled within minutes, and no memory but what orders take.
const OPTIONS: [&str; 4] = ["--segment-size", "8MiB", "--memory-reserve", "off"];
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes of memory that an order may leave behind: the entry of its key, which is remembered for a day,
/// in an index that was just enlarged.
const BYTES_LEFT_MAX: f64 = 32.0;
/// How many times the median minute's p99 that of the worst may be.
const WORST_MINUTE_MAX: f64 = 2.0;

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub(crate) struct Settings {
    /// How long
    #[arg(long, value_name = "MINUTES", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(3..=1_440))]
    minutes: u32,
    /// Percent of its capacity that is asked of the server
    #[arg(long, value_name = "PERCENT", default_value_t = 70,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    share: u32,
}

/// A look at the server.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    memory_mib: f64,
    log_mib: f64,
    /// Bytes written to logs since the start.
    written_mib: f64,
    lag_s: f64,
}

pub(crate) fn measure(settings: Settings, options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let scratch = options.scratch()?;
    let (mut server, serving) = Server::serve_with(&program, scratch.path(), None, &OPTIONS)?;
    server.wait_until_ready(serving.http)?;
    let mut plan = plan(&server, serving)?;
    let capacity = capacity(&mut server, serving, &mut plan)?;
    let rate = capacity.sustained * f64::from(settings.share) / 100.0;
    plan.stages = vec![Stage::steady(rate, MINUTE); settings.minutes as usize];
    let Watched { report, samples, reclaimed } = watched(&server, serving, plan)?;
    server.stop()?;

    let mut figures = Figures::new("A soak");
    figures.note(machine::describe());
    figures.note(format!(
        "capacity {} orders/s: {} accepted from a closed loop with {CONNECTIONS} connections, by the \
         time until all that became of them was done and in the store; {} % of it for {} minutes; \
         server and generator share all cores",
        figure(capacity.sustained),
        figure(capacity.accepted),
        settings.share,
        settings.minutes,
    ));
    figures.note(format!(
        "no memory is held for orders to come; {PAY} of the orders are paid, {CANCEL} cancelled, \
         the others run out after {HOLD_SECONDS} s; every order has a key, which is remembered for \
         a day: memory grows by the index of keys"
    ));
    describe(&report, &samples, &mut figures);
    figures.row("segments that were reclaimed", "", &[reclaimed as f64]);
    figures.promise(reclaimed > 0, format!("{reclaimed} segments of the log were reclaimed"));
    Ok(figures)
}

fn plan(server: &Server, serving: Serving) -> anyhow::Result<Plan> {
    let mut plan = Plan::new(Target::http(serving.http));
    plan.products = vec![PRODUCT.to_owned()];
    plan.buyers = 200_000;
    plan.credentials = Credentials::secret(&server.token_secret()?);
    (plan.pay, plan.cancel) = (PAY, CANCEL);
    plan.concurrency = CONNECTIONS;
    plan.acting_concurrency = ACTING_CONNECTIONS;
    Ok(plan)
}

/// Orders per second.
struct Capacity {
    /// Of a closed loop.
    accepted: f64,
    /// The same orders, by the time until all that became of them was done and in the store.
    sustained: f64,
}

/// Of a closed loop. The product is there afterwards, and nothing of it is held.
fn capacity(server: &mut Server, serving: Serving, plan: &mut Plan) -> anyhow::Result<Capacity> {
    let prepare = |hold_seconds| {
        Some(Prepare {
            stock: 500_000_000,
            price: 1_999,
            limit_per_buyer: 0,
            hold_seconds,
            waitlist_capacity: 0,
        })
    };
    plan.prepare = prepare(HOLD_SECONDS);
    let mut capacity = plan.clone();
    capacity.amount = Amount::Duration(Duration::from_secs(CAPACITY_SECONDS));
    capacity.prepare = prepare(CAPACITY_HOLD_SECONDS);
    let began = Instant::now();
    let report = doorbuster_loadgen::run(capacity, Arc::default())?;
    ensure!(report.accepted > 0, "nothing was accepted:\n{report}");
    let accepted = report.accepted as f64;
    server.wait_for_store(|| {
        Ok(units_held(serving)? == 0 && lag::events_behind(serving.admin)? == 0)
    })?;
    let whole = began.elapsed();
    // Keys of the capacity's orders are not asked for again.
    plan.seed = fastrand::u64(..);
    Ok(Capacity {
        accepted: accepted / report.elapsed_seconds,
        sustained: accepted / whole.as_secs_f64(),
    })
}

/// Units of the product that somebody holds.
fn units_held(serving: Serving) -> anyhow::Result<u64> {
    let answer = server::get(serving.http, &format!("/products/{PRODUCT}"))?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
    let product: serde_json::Value = serde_json::from_str(body)?;
    product["held"].as_u64().with_context(|| format!("no units held in {body}"))
}

/// A run, and what was seen of the server meanwhile.
struct Watched {
    report: Report,
    samples: Vec<Sample>,
    /// Segments that were there and are gone.
    reclaimed: usize,
}

fn watched(server: &Server, serving: Serving, plan: Plan) -> anyhow::Result<Watched> {
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut samples, mut seen) = (Vec::new(), BTreeSet::new());
            while !is_over.load(Ordering::Relaxed) {
                samples.push(look(server, serving, began)?);
                seen.append(&mut segments(server));
                thread::sleep(LOOK_EVERY);
            }
            let reclaimed = seen.difference(&segments(server)).count();
            Ok::<_, anyhow::Error>((samples, reclaimed))
        });
        let report = doorbuster_loadgen::run(plan, Arc::default());
        is_over.store(true, Ordering::Relaxed);
        let (samples, reclaimed) = looking.join().expect("looking does not panic")?;
        Ok(Watched { report: report?, samples, reclaimed })
    })
}

/// The segments of its log that are there. A file may go between two looks at it.
fn segments(server: &Server) -> BTreeSet<PathBuf> {
    let files = machine::files(&server.data().join("partitions")).unwrap_or_default();
    let is_segment = |file: &PathBuf| file.extension().is_some_and(|end| end == "log");
    files.into_iter().filter(is_segment).collect()
}

fn look(server: &Server, serving: Serving, began: Instant) -> anyhow::Result<Sample> {
    const MIB: f64 = 1_048_576.0;
    let metrics = server::get(serving.admin, "/metrics").context("the metrics do not answer")?;
    Ok(Sample {
        at: began.elapsed(),
        memory_mib: machine::memory_mib(server.process()).context("the server is gone")?,
        log_mib: machine::disk_bytes(&server.data().join("partitions")) as f64 / MIB,
        written_mib: values(&metrics, "log_bytes_total")?.sum::<f64>() / MIB,
        lag_s: values(&metrics, "projector_lag_seconds")?.fold(0.0, f64::max),
    })
}

fn describe(report: &Report, samples: &[Sample], figures: &mut Figures) {
    let p99: Vec<f64> =
        report.stages.iter().map(|stage| stage.accepting.p99_us as f64 / 1e3).collect();
    for (minute, stage) in report.stages.iter().enumerate() {
        let (from, to) = (MINUTE * minute as u32, MINUTE * (minute as u32 + 1));
        let of: Vec<&Sample> =
            samples.iter().filter(|sample| sample.at >= from && sample.at < to).collect();
        let column = |of_one: fn(&Sample) -> f64| of.iter().map(|s| of_one(s)).collect::<Vec<_>>();
        let name = format!("minute {}", minute + 1);
        figures.row(format!("{name}: accepted"), "orders/s", &[stage.goodput]);
        figures.row(format!("{name}: order p50"), "ms", &[stage.accepting.p50_us as f64 / 1e3]);
        figures.row(format!("{name}: order p99"), "ms", &[p99[minute]]);
        figures.row(format!("{name}: memory"), "MiB", &column(|sample| sample.memory_mib));
        figures.row(format!("{name}: log on disk"), "MiB", &column(|sample| sample.log_mib));
        figures.row(format!("{name}: store behind by"), "s", &column(|sample| sample.lag_s));
    }
    figures.row("errors", "requests", &[report.errors as f64]);
    for warning in &report.warnings {
        figures.note(format!("! {warning}"));
    }
    figures.promise(report.is_clean(), "every request was answered, and rightly".to_owned());

    // The first minute fills tables, caches and queues.
    let (typical, worst) = (median(&p99[1..]), p99[1..].iter().copied().fold(0.0, f64::max));
    figures.promise(
        worst <= WORST_MINUTE_MAX * typical,
        format!("p99 of the worst minute {worst:.2} ms, of the median one {typical:.2} ms"),
    );
    let settled = samples.iter().find(|sample| sample.at >= MINUTE);
    let (Some(settled), Some(last)) = (settled, samples.last()) else { return };
    let orders: u64 = report.stages[1..].iter().map(|stage| stage.accepted).sum();
    let left = (last.memory_mib - settled.memory_mib) * 1_048_576.0 / (orders as f64).max(1.0);
    figures.row("memory left behind by an order", "B", &[left]);
    figures.promise(
        left <= BYTES_LEFT_MAX,
        format!("an order leaves {left:.0} bytes behind; its key may take {BYTES_LEFT_MAX}"),
    );
    let (written, most) =
        (last.written_mib, samples.iter().map(|sample| sample.log_mib).fold(0.0, f64::max));
    figures.row("written to logs", "MiB", &[written]);
    figures.row("log on disk, at the most", "MiB", &[most]);
}
