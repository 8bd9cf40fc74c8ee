//! Durable orders over the binary protocol, next to Redis: same disk, same CPU for the server, same
//! CPU for the client, in turns.
//!
//! Redis decrements one counter. Doorbuster gives every order an id, a hold with a deadline, a
//! limit per buyer and an idempotency key. In both, an answer means that the write was synced.

use crate::Options;
use crate::figures::{Figures, figure, median};
use crate::machine::{self, Seats};
use crate::pipeline::{self, Load};
use crate::redis::{PIPELINE, Redis};
use crate::server::Server;
use doorbuster_protocol::ProductId;
use std::path::Path;
use std::time::Duration;

/// How many times Redis' rate is promised.
const GOAL: f64 = 2.0;
const SECONDS: u32 = 3;
const WARM_UP: Duration = Duration::from_millis(500);
/// Products of the spread load: enough to touch every partition.
const PRODUCTS: usize = 64;

/// What one round of Doorbuster came to.
struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us_per_order: f64,
}

#[derive(Default)]
struct Columns {
    rate: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Columns {
    fn push(&mut self, round: &Round) {
        self.rate.push(round.rate);
        self.p50_ms.push(round.p50_us / 1e3);
        self.p99_ms.push(round.p99_us / 1e3);
        self.cpu_us.push(round.cpu_us_per_order);
    }

    fn write(&self, name: &str, figures: &mut Figures) {
        figures.row(name, "orders/s", &self.rate);
        figures.row(format!("{name}, latency p50"), "ms", &self.p50_ms);
        figures.row(format!("{name}, latency p99"), "ms", &self.p99_ms);
        figures.row(format!("{name}, server CPU per order"), "µs", &self.cpu_us);
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seats = Seats::choose();
    let version = Redis::version()?;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let redis_scratch = options.scratch()?;
    let redis = Redis::start(redis_scratch.path(), seats)?;
    let connections = redis.best_connections()?;

    let hot = [ProductId::parse("bench")?];
    let spread: Vec<ProductId> = (0..PRODUCTS)
        .map(|number| ProductId::parse(&format!("bench-{number}")))
        .collect::<Result<_, _>>()?;
    let (mut redis_rates, mut redis_cpu) = (Vec::new(), Vec::new());
    let (mut hot_columns, mut spread_columns) = (Columns::default(), Columns::default());
    // The first rate tells how many orders fill a round.
    let mut orders = (redis.measure(connections, 300_000)? * f64::from(seconds)) as u64;
    for _ in 0..options.rounds {
        let cpu_before = redis.cpu_seconds();
        let rate = redis.measure(connections, orders.max(1))?;
        redis_cpu.push((redis.cpu_seconds() - cpu_before) * 1e6 / orders.max(1) as f64);
        redis_rates.push(rate);
        orders = (rate * f64::from(seconds)) as u64;
        hot_columns.push(&round(options, &program, seats, &hot, seconds)?);
        spread_columns.push(&round(options, &program, seats, &spread, seconds)?);
    }

    let mut figures = Figures::new("Durable orders over the binary protocol, next to Redis");
    figures.note(machine::describe());
    figures.note(format!(
        "{}; {} rounds of {seconds} s each, in turns; disk below {}",
        seats.describe(),
        options.rounds,
        redis_scratch.path().parent().unwrap_or(Path::new("/")).display(),
    ));
    figures.note(format!(
        "Redis {version}: Lua check-and-decrement, appendfsync always, {connections} connections \
         pipelined by {PIPELINE} (its best here)"
    ));
    figures.note(format!(
        "Doorbuster: one core, {} in flight over 4 connections, every order with a key and a limit",
        figure(f64::from(options.in_flight)),
    ));
    figures.row("Redis", "orders/s", &redis_rates);
    figures.row("Redis, server CPU per order", "µs", &redis_cpu);
    hot_columns.write("Doorbuster, one product", &mut figures);
    spread_columns.write(&format!("Doorbuster, {PRODUCTS} products"), &mut figures);
    let ratio = |columns: &Columns| median(&columns.rate) / median(&redis_rates).max(1.0);
    figures.goal(
        ratio(&hot_columns) >= GOAL,
        format!("one product: {:.2} × Redis; the goal is {GOAL} ×", ratio(&hot_columns)),
    );
    figures.goal(
        ratio(&spread_columns) >= GOAL,
        format!("{PRODUCTS} products: {:.2} × Redis; the goal is {GOAL} ×", ratio(&spread_columns)),
    );
    Ok(figures)
}

/// One engine on a new data directory, loaded and ended.
fn round(
    options: &Options,
    program: &Path,
    seats: Seats,
    products: &[ProductId],
    seconds: u32,
) -> anyhow::Result<Round> {
    let scratch = options.scratch()?;
    let (server, address) = Server::engine(program, scratch.path(), seats.server)?;
    let key = server.engine_key()?;
    pipeline::define(address, &key, products)?;
    let cpu_before = server.cpu_seconds();
    let load = Load {
        address,
        key: &key,
        products,
        in_flight: options.in_flight,
        warm_up: WARM_UP,
        time: Duration::from_secs(seconds.into()),
        cpu: seats.client,
    };
    let flow = pipeline::run(load)?;
    let cpu = server.cpu_seconds() - cpu_before;
    server.stop()?;
    let whole = (load.warm_up + load.time).as_secs_f64();
    let rate = flow.orders as f64 / load.time.as_secs_f64();
    Ok(Round {
        rate,
        p50_us: flow.latency_us.value_at_quantile(0.5) as f64,
        p99_us: flow.latency_us.value_at_quantile(0.99) as f64,
        // The CPU time covers the warm-up, too, in which the rate is taken to be the same.
        cpu_us_per_order: cpu * 1e6 / (rate * whole).max(1.0),
    })
}
