//! What durability costs: orders over the binary protocol to an engine in this process, next to the
//! same engine on a disk that skips the sync. Everything else is the same code, writes included.

use crate::figures::{Figures, count, ratios};
use crate::goals;
use crate::in_process::{self, InProcess, Tcp};
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline::{self, Flow, Load, Wanted};
use crate::server;
use crate::unsynced::Syncing;
use doorbuster_protocol::ProductId;
use std::path::Path;
use std::time::Duration;

const SECONDS: u32 = 2;
const WARM_UP: Duration = Duration::from_millis(500);
/// The goal is about this many in flight, or more.
const IN_FLIGHT_MIN: u32 = 1_024;

/// What the rounds of one side came to.
#[derive(Default)]
struct Columns {
    rate: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Columns {
    fn push(&mut self, flow: &Flow, seconds: u32) {
        self.rate.push(flow.orders as f64 / f64::from(seconds));
        self.p50_ms.push(flow.latency_us.value_at_quantile(0.5) as f64 / 1e3);
        self.p99_ms.push(flow.latency_us.value_at_quantile(0.99) as f64 / 1e3);
    }

    fn write(&self, name: &str, figures: &mut Figures) {
        figures.row(name, "orders/s", &self.rate);
        figures.row(format!("{name}, latency p50"), "ms", &self.p50_ms);
        figures.row(format!("{name}, latency p99"), "ms", &self.p99_ms);
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let seats = Seats::choose();
    let (rounds, seconds) = (options.rounds.min(3), options.seconds.unwrap_or(SECONDS));
    let product = [ProductId::parse("bench")?];
    let mut figures = Figures::new("What the sync costs");
    figures.note(machine::describe());
    figures.note(format!(
        "an engine in this process, {}; one product, over TCP; {} rounds of {seconds} s each, in \
         turns; without sync: the same direct writes, and no fdatasync after them",
        seats.describe(),
        rounds,
    ));
    let mut levels = vec![IN_FLIGHT_MIN];
    if options.in_flight > IN_FLIGHT_MIN {
        levels.push(options.in_flight);
    }
    let mut worst: Option<(Vec<f64>, Vec<f64>)> = None;
    for in_flight in levels {
        let (mut synced, mut unsynced) = (Columns::default(), Columns::default());
        for _ in 0..rounds {
            for (syncing, columns) in [(Syncing::On, &mut synced), (Syncing::Off, &mut unsynced)] {
                let flow = round(options, seats, &product, syncing, in_flight, seconds)?;
                columns.push(&flow, seconds);
            }
        }
        let name = format!("{} in flight", count(in_flight.into()));
        synced.write(&format!("{name}, synced"), &mut figures);
        unsynced.write(&format!("{name}, not synced"), &mut figures);
        let ratio = ratios(&synced.rate, &unsynced.rate);
        figures.row(format!("{name}, synced to not synced"), "×", &ratio);
        let median = crate::figures::median;
        if worst.as_ref().is_none_or(|(other, _)| median(&ratio) < median(other)) {
            worst = Some((ratio, synced.rate));
        }
    }
    if let Some((ratio, rate)) = worst {
        figures.judge_with(&goals::DURABLE_TO_UNSYNCED, &ratio, Some((&rate, "/s")));
    }
    Ok(figures)
}

/// One engine on a new data directory, loaded and ended.
fn round(
    options: &Options,
    seats: Seats,
    products: &[ProductId],
    syncing: Syncing,
    in_flight: u32,
    seconds: u32,
) -> anyhow::Result<Flow> {
    let scratch = options.scratch()?;
    let engine = start_on(seats.server, scratch.path(), syncing)?;
    let key = in_process::key();
    pipeline::define(engine.address(), &key, products)?;
    engine.wait_for_reserve()?;
    let flow = pipeline::run(Load {
        address: engine.address(),
        key: &key,
        products,
        in_flight,
        warm_up: WARM_UP,
        time: Duration::from_secs(seconds.into()),
        cpu: seats.client,
        wanted: Wanted::Placed,
    })?;
    engine.stop()?;
    Ok(flow)
}

/// An engine of one core that keeps to one CPU.
pub(crate) fn start_on(cpu: usize, scratch: &Path, syncing: Syncing) -> anyhow::Result<InProcess> {
    let addresses = vec![server::free_address()?];
    InProcess::start(&scratch.join("data"), syncing, &[cpu], addresses, &Tcp)
}
