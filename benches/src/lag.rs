//! Postgres beside a sale: `serve` over four shards on the same disk under an open loop of orders,
//! with segments so short that snapshots are made meanwhile; how far the shards are behind, and what
//! all that costs the orders themselves: the same load, in turns, on an engine and an edge that
//! nobody drains, with segments so long that there is no snapshot.

use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::http;
use crate::machine;
use crate::options::Options;
use crate::server::{self, Server, Serving};
use crate::shards::{Shards, count_rows, store_of};
use anyhow::{Context, bail, ensure};
use doorbuster_loadgen::{Latencies, Report};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Segments with which a log makes snapshots in a run, and with which it makes none.
const SHORT_SEGMENTS: &str = "8MiB";
const LONG_SEGMENTS: &str = "4GiB";
const SHARDS: usize = 4;
const SECONDS: u32 = 20;
/// The most rounds: each takes as long as two sales and a drain.
const ROUNDS_MAX: u32 = 3;
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What the rounds of one side came to.
#[derive(Default)]
struct Columns {
    p50_ms: Vec<f64>,
    p95_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    p999_ms: Vec<f64>,
    max_ms: Vec<f64>,
    server_cpu_us: Vec<f64>,
}

impl Columns {
    fn push(&mut self, report: &Report, cpu: f64) {
        let Latencies { p50_us, p95_us, p99_us, p999_us, max_us, .. } = report.orders();
        for (column, us) in [
            (&mut self.p50_ms, p50_us),
            (&mut self.p95_ms, p95_us),
            (&mut self.p99_ms, p99_us),
            (&mut self.p999_ms, p999_us),
            (&mut self.max_ms, max_us),
        ] {
            column.push(us as f64 / 1e3);
        }
        self.server_cpu_us.push(cpu * 1e6 / report.sent as f64);
    }

    fn write(&self, name: &str, figures: &mut Figures) {
        for (what, column) in [
            ("p50", &self.p50_ms),
            ("p95", &self.p95_ms),
            ("p99", &self.p99_ms),
            ("p99.9", &self.p999_ms),
            ("max", &self.max_ms),
        ] {
            figures.row(format!("{name}: order latency {what}"), "ms", column);
        }
        figures.row(format!("{name}: server CPU per order"), "µs", &self.server_cpu_us);
    }
}

/// What the shards' side adds.
#[derive(Default)]
struct LagColumns {
    p50_s: Vec<f64>,
    p95_s: Vec<f64>,
    max_s: Vec<f64>,
    drained_s: Vec<f64>,
    postgres_cpu_us: Vec<f64>,
    snapshots: Vec<f64>,
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let orders = u64::from(options.rate) * u64::from(seconds);
    let shards = Shards::start(SHARDS);
    let (mut with, mut without) = (Columns::default(), Columns::default());
    let mut lag = LagColumns::default();
    let mut warnings = Vec::new();
    let rounds = options.rounds.min(ROUNDS_MAX);
    for _ in 0..rounds {
        shards.settle();
        let (report, cpu) =
            round_without(&program, options.scratch()?.path(), options.rate, orders)?;
        check(&report, orders)?;
        without.push(&report, cpu);
        warnings.extend(report.warnings.iter().map(|text| format!("! without: {text}")));

        let scratch = options.scratch()?;
        let (report, cpu) =
            round_with(&program, scratch.path(), &shards, options.rate, orders, &mut lag)?;
        check(&report, orders)?;
        with.push(&report, cpu);
        warnings.extend(report.warnings.iter().map(|text| format!("! with: {text}")));
    }

    let mut figures = Figures::new("Postgres beside a sale: its lag, and the orders' latency");
    figures.note(machine::describe());
    figures.note(shards.describe());
    figures.note(format!(
        "{} orders/s over HTTP for {seconds} s, {rounds} rounds of each in turns; generator, server \
         and all {SHARDS} shards share all cores and one disk; latency from the intended send time",
        figure(f64::from(options.rate)),
    ));
    figures.note(
        "with: `serve` over the shards; without: `engine` and `edge`, one thread each as in \
         `serve`, no projector, Postgres idle",
    );
    figures.note(format!(
        "with: segments of {SHORT_SEGMENTS}, so that snapshots are made in the sale; without: of \
         {LONG_SEGMENTS}, so that none is",
    ));
    without.write("without", &mut figures);
    with.write("with", &mut figures);
    figures.row("with: Postgres CPU per order", "µs", &lag.postgres_cpu_us);
    figures.row("with: snapshots made in the sale", "", &lag.snapshots);
    figures.row("lag p50", "s", &lag.p50_s);
    figures.row("lag p95", "s", &lag.p95_s);
    figures.row("lag max", "s", &lag.max_s);
    figures.row("from the load's end until all is in the shards", "s", &lag.drained_s);
    let ratio = ratios(&with.p99_ms, &without.p99_ms);
    figures.row("order latency p99, with to without", "×", &ratio);
    warnings.sort();
    warnings.dedup();
    for warning in warnings {
        figures.note(warning);
    }
    figures.judge(&goals::LAG_P95, &lag.p95_s);
    figures.judge_with(&goals::BESIDE_DRAIN, &ratio, Some((&with.p99_ms, "ms")));
    Ok(figures)
}

fn check(report: &Report, orders: u64) -> anyhow::Result<()> {
    ensure!(
        report.is_clean() && report.accepted == orders,
        "not all of {orders} orders were accepted:\n{report}"
    );
    Ok(())
}

/// An engine and an edge; nobody drains the log. The CPU time is that of both.
fn round_without(
    program: &Path,
    scratch: &Path,
    rate: u32,
    orders: u64,
) -> anyhow::Result<(Report, f64)> {
    let segments = ["--segment-size", LONG_SEGMENTS];
    let (engine, address) = Server::free_engine(program, scratch, 1, &segments)?;
    let (edge, http) = Server::edge(program, scratch, address)?;
    let plan = http::plan(http, &engine.token_secret()?, rate, orders)?;
    let cpu = || engine.cpu_seconds() + edge.cpu_seconds();
    let before = cpu();
    let report = doorbuster_loadgen::run(plan, Arc::default())?;
    let cpu = cpu() - before;
    edge.stop()?;
    engine.stop()?;
    Ok((report, cpu))
}

/// Everything in one process, over shards that are behind by as much as goes into `lag`.
fn round_with(
    program: &Path,
    scratch: &Path,
    shards: &Shards,
    rate: u32,
    orders: u64,
    lag: &mut LagColumns,
) -> anyhow::Result<(Report, f64)> {
    let databases = shards.databases(SHARDS);
    let segments = ["--segment-size", SHORT_SEGMENTS];
    let (mut server, Serving { http, admin }) =
        Server::serve_with(program, scratch, Some(&store_of(&databases)), &segments)?;
    server.wait_until_ready(http)?;
    let plan = http::plan(http, &server.token_secret()?, rate, orders)?;
    let (cpu, postgres_cpu) = (server.cpu_seconds(), shards.cpu_seconds());
    let is_over = AtomicBool::new(false);
    let (report, samples, snapshots) = thread::scope(|scope| {
        let sampling = scope.spawn(|| sample(admin, &is_over));
        let looking = scope.spawn(|| snapshots(server.data(), &is_over));
        let report = doorbuster_loadgen::run(plan, Arc::default());
        is_over.store(true, Ordering::Relaxed);
        let snapshots = looking.join().expect("looking does not panic");
        (report, sampling.join().expect("sampling does not panic"), snapshots)
    });
    let (report, mut samples, snapshots) = (report?, samples?, snapshots?);
    ensure!(snapshots > 0, "no snapshot was made in the sale: it takes a longer one (--seconds N)");
    lag.snapshots.push(snapshots as f64);
    let (cpu, ended) = (server.cpu_seconds() - cpu, Instant::now());
    server.wait_for_store(|| Ok(events_behind(admin)? == 0))?;
    lag.drained_s.push(ended.elapsed().as_secs_f64());
    let postgres_cpu = shards.cpu_seconds() - postgres_cpu;
    lag.postgres_cpu_us.push(postgres_cpu * 1e6 / orders as f64);
    server.stop()?;
    let stored = count_rows(&databases, "orders");
    ensure!(stored == orders, "{stored} of {orders} orders reached the shards");

    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
    lag.p50_s.push(at(0.5));
    lag.p95_s.push(at(0.95));
    lag.max_s.push(at(1.0));
    Ok((report, cpu))
}

/// The lag of the shard that is furthest behind, in seconds, again and again until it is over.
fn sample(admin: SocketAddr, is_over: &AtomicBool) -> anyhow::Result<Vec<f64>> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let due = Instant::now() + SAMPLE_EVERY;
        let metrics = server::get(admin, "/metrics").context("the metrics do not answer")?;
        samples.push(values(&metrics, "projector_lag_seconds")?.fold(0.0, f64::max));
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    ensure!(!samples.is_empty(), "the load was over before the first look at the lag");
    Ok(samples)
}

/// How many snapshots are made below `data` until it is over: each has a name of its own, and is
/// there for longer than a look takes.
fn snapshots(data: &Path, is_over: &AtomicBool) -> anyhow::Result<usize> {
    let mut seen = BTreeSet::new();
    while !is_over.load(Ordering::Relaxed) {
        // A file may go between two looks at it.
        let files = machine::files(data).unwrap_or_default();
        let is_snapshot = |file: &PathBuf| file.extension().is_some_and(|end| end == "snapshot");
        seen.extend(files.into_iter().filter(is_snapshot));
        thread::sleep(SAMPLE_EVERY);
    }
    Ok(seen.len())
}

/// Durable events that the store does not have.
pub(crate) fn events_behind(admin: SocketAddr) -> anyhow::Result<u64> {
    let metrics = server::get(admin, "/metrics").context("the metrics do not answer")?;
    Ok(values(&metrics, "projector_lag_events")?.sum::<f64>() as u64)
}

/// The values of a metric, whatever its labels.
pub(crate) fn values(metrics: &str, name: &str) -> anyhow::Result<impl Iterator<Item = f64>> {
    let lines = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_value = rest.starts_with(' ') || rest.starts_with('{');
        rest.rsplit_once(' ').filter(|_| is_value)?.1.parse().ok()
    });
    let found: Vec<f64> = lines.collect();
    if found.is_empty() {
        bail!("the metrics have no {name}");
    }
    Ok(found.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read() {
        let text = "# TYPE projector_lag_events gauge\n\
                    projector_lag_events{partition=\"0\",shard=\"a b\"} 3.0\n\
                    projector_lag_events{partition=\"1\",shard=\"a b\"} 4\n\
                    projector_lag_events_more 9\n\
                    projector_lag_seconds 0.25\n";
        let events = values(text, "projector_lag_events").expect("there").sum::<f64>();
        assert_eq!(events, 7.0);
        let seconds: Vec<_> = values(text, "projector_lag_seconds").expect("there").collect();
        assert_eq!(seconds, [0.25]);
        assert!(values(text, "projector_lag").is_err());
    }
}
