//! Durable orders over the binary protocol, next to Redis: same disk, same CPU for the server, same
//! CPU for the client, in turns.
//!
//! Redis decrements one counter. Doorbuster gives every order an id, a hold with a deadline, a
//! limit per buyer and an idempotency key. In both, an answer means that the write was synced.

use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline::{self, Load, Wanted};
use crate::redis::{PIPELINE, Redis};
use crate::server::{Reserve, Server};
use doorbuster_protocol::ProductId;
use std::path::Path;
use std::time::Duration;

const SECONDS: u32 = 3;
/// Connections of Redis without pipelining.
const PLAIN_CONNECTIONS: u32 = 200;
const WARM_UP: Duration = Duration::from_millis(500);
/// Products of the spread load: enough to touch every partition.
const PRODUCTS: usize = 64;

/// What one round of Doorbuster came to.
pub(crate) struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us_per_order: f64,
    client_cpu_us: f64,
}

/// What its rounds came to.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) rate: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    cpu_us: Vec<f64>,
    client_cpu_us: Vec<f64>,
}

impl Columns {
    pub(crate) fn push(&mut self, round: &Round) {
        self.rate.push(round.rate);
        self.p50_ms.push(round.p50_us / 1e3);
        self.p99_ms.push(round.p99_us / 1e3);
        self.cpu_us.push(round.cpu_us_per_order);
        self.client_cpu_us.push(round.client_cpu_us);
    }

    pub(crate) fn write(&self, name: &str, figures: &mut Figures) {
        figures.row(name, "orders/s", &self.rate);
        figures.row(format!("{name}, latency p50"), "ms", &self.p50_ms);
        figures.row(format!("{name}, latency p99"), "ms", &self.p99_ms);
        figures.row(format!("{name}, server CPU per order"), "µs", &self.cpu_us);
        figures.row(format!("{name}, generator CPU per order"), "µs", &self.client_cpu_us);
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
    let spread = pipeline::products(PRODUCTS)?;
    let (mut redis_rates, mut redis_cpu, mut plain_rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hot_columns, mut spread_columns) = (Columns::default(), Columns::default());
    let mut cold_columns = Columns::default();
    // The first rate tells how many orders fill a round.
    let first = redis.measure(connections, PIPELINE, 300_000)?;
    let mut orders = (first * f64::from(seconds)) as u64;
    let first = redis.measure(PLAIN_CONNECTIONS, 1, 50_000)?;
    let mut plain_orders = (first * f64::from(seconds)) as u64;
    for _ in 0..options.rounds {
        let cpu_before = redis.cpu_seconds();
        let rate = redis.measure(connections, PIPELINE, orders.max(1))?;
        redis_cpu.push((redis.cpu_seconds() - cpu_before) * 1e6 / orders.max(1) as f64);
        redis_rates.push(rate);
        orders = (rate * f64::from(seconds)) as u64;
        let rate = redis.measure(PLAIN_CONNECTIONS, 1, plain_orders.max(1))?;
        plain_rates.push(rate);
        plain_orders = (rate * f64::from(seconds)) as u64;
        // First, after the seconds of Redis: for a time the system has what an ended engine left.
        cold_columns.push(&round_with(Reserve::Off, options, &program, seats, &hot, seconds)?);
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
    figures.note(
        "each engine has time before its round to take the memory that it holds for orders to \
         come, as a shop has before its sale; `none held`: with `--memory-reserve off`, after \
         Redis, when what ended engines had is back at the machine's host. Redis needs no memory \
         for an order",
    );
    figures.row(format!("Redis, pipelined by {PIPELINE}"), "orders/s", &redis_rates);
    figures.row(format!("Redis, pipelined by {PIPELINE}, server CPU per order"), "µs", &redis_cpu);
    figures.row(
        format!("Redis, not pipelined, {PLAIN_CONNECTIONS} connections"),
        "orders/s",
        &plain_rates,
    );
    hot_columns.write("Doorbuster, one product", &mut figures);
    spread_columns.write(&format!("Doorbuster, {PRODUCTS} products"), &mut figures);
    cold_columns.write("Doorbuster, one product, none held", &mut figures);
    let (hot, spread) = (&hot_columns.rate, &spread_columns.rate);
    figures.row("one product, to the same with none held", "×", &ratios(hot, &cold_columns.rate));
    figures.row("one product, to Redis not pipelined", "×", &ratios(hot, &plain_rates));
    figures.row(
        format!("{PRODUCTS} products, to Redis pipelined"),
        "×",
        &ratios(spread, &redis_rates),
    );
    let ratio = ratios(hot, &redis_rates);
    figures.row("one product, to Redis pipelined", "×", &ratio);
    figures.judge_with(&goals::DURABLE_TO_REDIS, &ratio, Some((hot, "/s")));
    figures.not_measured(
        &goals::DURABLE_TO_TIGERBEETLE,
        "Debian has no package of it, so it is not run beside this. On another day its own \
         benchmark (batches of 8 189) did 457 000 transfers/s on such a machine; nothing is judged \
         by that",
    );
    Ok(figures)
}

/// One engine on a new data directory, loaded and ended.
pub(crate) fn round(
    options: &Options,
    program: &Path,
    seats: Seats,
    products: &[ProductId],
    seconds: u32,
) -> anyhow::Result<Round> {
    round_with(Reserve::Full, options, program, seats, products, seconds)
}

fn round_with(
    reserve: Reserve,
    options: &Options,
    program: &Path,
    seats: Seats,
    products: &[ProductId],
    seconds: u32,
) -> anyhow::Result<Round> {
    let scratch = options.scratch()?;
    let (server, address) =
        Server::engine_on_sale(program, scratch.path(), seats.server, reserve, products)?;
    let key = server.engine_key()?;
    let cpu_before = server.cpu_seconds();
    let load = Load {
        address,
        key: &key,
        products,
        in_flight: options.in_flight,
        warm_up: WARM_UP,
        time: Duration::from_secs(seconds.into()),
        cpu: seats.client,
        wanted: Wanted::Placed,
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
        client_cpu_us: flow.client_cpu_us,
    })
}
