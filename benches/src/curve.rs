//! Not the best point but the curve: durable orders, and refusals of what is sold out, from 1 to
//! 4 096 in flight, over the binary protocol and over HTTP.

use crate::figures::{Figures, count};
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline::{self, Load, Wanted};
use crate::server::Server;
use anyhow::ensure;
use doorbuster_loadgen::{Amount, Credentials, Plan, Prepare, Report, Target};
use doorbuster_protocol::{ProductId, limits};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const IN_FLIGHT: [u32; 6] = [1, 16, 64, 256, 1_024, 4_096];
const SECONDS: u32 = 1;
const WARM_UP: Duration = Duration::from_millis(300);
/// Buyers of the HTTP orders, each again and again.
const BUYERS: u64 = 4_000;
const HOT: &str = "bench";
const SOLD_OUT: &str = "bench-sold-out";

/// What the rounds of one point came to.
#[derive(Clone, Default)]
struct Point {
    rate: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    server_cpu_us: Vec<f64>,
    client_cpu_us: Vec<f64>,
}

/// One line over all points.
#[derive(Default)]
struct Line([Point; IN_FLIGHT.len()]);

impl Line {
    fn write(&self, name: &str, figures: &mut Figures) {
        for (in_flight, point) in IN_FLIGHT.iter().zip(&self.0) {
            let name = format!("{name}, {} in flight", count((*in_flight).into()));
            figures.row(format!("{name}: rate"), "/s", &point.rate);
            figures.row(format!("{name}: p50"), "ms", &point.p50_ms);
            figures.row(format!("{name}: p99"), "ms", &point.p99_ms);
            figures.row(format!("{name}: server CPU each"), "µs", &point.server_cpu_us);
            figures.row(format!("{name}: generator CPU each"), "µs", &point.client_cpu_us);
        }
    }
}

/// What one protocol came to.
#[derive(Default)]
struct Lines {
    orders: Line,
    refusals: Line,
}

impl Lines {
    fn write(&self, protocol: &str, figures: &mut Figures) {
        self.orders.write(&format!("{protocol}, orders"), figures);
        self.refusals.write(&format!("{protocol}, sold out"), figures);
    }
}

/// A round: which program, where its data lies, who sits where, and how long a point takes.
#[derive(Clone, Copy)]
struct Course<'a> {
    program: &'a Path,
    scratch: &'a Path,
    seats: Seats,
    time: Duration,
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seats = Seats::choose();
    let seconds = options.seconds.unwrap_or(SECONDS);
    let time = Duration::from_secs(seconds.into());
    let (mut binary, mut http) = (Lines::default(), Lines::default());
    for _ in 0..options.rounds.min(3) {
        let scratch = options.scratch()?;
        let course = Course { program: &program, scratch: scratch.path(), seats, time };
        of_binary(course, &mut binary)?;
        let scratch = options.scratch()?;
        let course = Course { scratch: scratch.path(), ..course };
        // On a thread of its own, whose seat the generator's threads inherit.
        thread::scope(|scope| {
            let measuring = scope.spawn(|| {
                machine::sit_on(seats.client);
                of_http(course, &mut http)
            });
            measuring.join().expect("a measurement does not panic")
        })?;
    }
    let mut figures = Figures::new("The curve: orders and refusals by requests in flight");
    figures.note(machine::describe());
    figures.note(format!(
        "{}; closed loop of {seconds} s a point, {} rounds; binary: an engine of one core, up to 4 \
         connections; HTTP: all of `serve`, a connection for each request in flight; the generator \
         mints {} tokens a point, which is in its CPU time",
        seats.describe(),
        options.rounds.min(3),
        count(BUYERS),
    ));
    binary.write("binary", &mut figures);
    http.write("HTTP", &mut figures);
    Ok(figures)
}

fn of_binary(course: Course<'_>, lines: &mut Lines) -> anyhow::Result<()> {
    let Course { program, scratch, seats, time } = course;
    let Lines { orders, refusals } = lines;
    let (server, address) = Server::engine(program, scratch, seats.server)?;
    let key = server.engine_key()?;
    let (hot, sold_out) = ([ProductId::parse(HOT)?], [ProductId::parse(SOLD_OUT)?]);
    pipeline::define(address, &key, &hot)?;
    pipeline::define_with(address, &key, &sold_out, 0)?;
    for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
        for (line, products, wanted) in
            [(&mut *orders, &hot, Wanted::Placed), (&mut *refusals, &sold_out, Wanted::SoldOut)]
        {
            let (warm_up, cpu) = (WARM_UP, seats.client);
            let load = Load { address, key: &key, products, in_flight, warm_up, time, cpu, wanted };
            let cpu_before = server.cpu_seconds();
            let flow = pipeline::run(load)?;
            let cpu = server.cpu_seconds() - cpu_before;
            let point = &mut line.0[at];
            point.rate.push(flow.orders as f64 / time.as_secs_f64());
            point.p50_ms.push(flow.latency_us.value_at_quantile(0.5) as f64 / 1e3);
            point.p99_ms.push(flow.latency_us.value_at_quantile(0.99) as f64 / 1e3);
            point.server_cpu_us.push(cpu * 1e6 / flow.answered as f64);
            point.client_cpu_us.push(flow.client_cpu_us);
        }
    }
    server.stop()
}

fn of_http(course: Course<'_>, lines: &mut Lines) -> anyhow::Result<()> {
    let Course { program, scratch, seats, time } = course;
    let Lines { orders, refusals } = lines;
    let (mut server, http) = Server::serve_on(seats.server, program, scratch)?;
    server.wait_until_ready(http)?;
    let credentials = Credentials::secret(&server.token_secret()?);
    put_on_sale(http, &credentials, HOT, limits::STOCK_MAX)?;
    put_on_sale(http, &credentials, SOLD_OUT, 1)?;
    for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
        for (line, product) in [(&mut *orders, HOT), (&mut *refusals, SOLD_OUT)] {
            let mut plan = plan(http, &credentials, product);
            plan.concurrency = in_flight as usize;
            plan.amount = Amount::Duration(WARM_UP);
            doorbuster_loadgen::run(plan.clone(), Arc::default())?;
            // Other keys: whoever asks again with one gets the first answer again.
            plan.seed = fastrand::u64(..);
            plan.amount = Amount::Duration(time);
            let (cpu, own) = (server.cpu_seconds(), machine::own_cpu_seconds());
            let report = doorbuster_loadgen::run(plan, Arc::default())?;
            let (cpu, own) = (server.cpu_seconds() - cpu, machine::own_cpu_seconds() - own);
            check(&report, product)?;
            let latency = report.orders();
            let point = &mut line.0[at];
            point.rate.push(report.rate);
            point.p50_ms.push(latency.p50_us as f64 / 1e3);
            point.p99_ms.push(latency.p99_us as f64 / 1e3);
            point.server_cpu_us.push(cpu * 1e6 / report.sent as f64);
            point.client_cpu_us.push(own * 1e6 / report.sent as f64);
        }
    }
    server.stop()
}

/// Orders of one product, by many buyers who may have as many as they like.
fn plan(http: SocketAddr, credentials: &Credentials, product: &str) -> Plan {
    let mut plan = Plan::new(Target::http(http));
    plan.products = vec![product.to_owned()];
    plan.credentials = credentials.clone();
    plan.buyers = BUYERS;
    plan
}

/// Defines a product, and sells one unit of it.
pub(crate) fn put_on_sale(
    http: SocketAddr,
    credentials: &Credentials,
    product: &str,
    stock: u32,
) -> anyhow::Result<()> {
    let mut plan = plan(http, credentials, product);
    plan.concurrency = 1;
    plan.amount = Amount::Attempts(1);
    plan.prepare = Some(Prepare {
        stock,
        price: 1_999,
        limit_per_buyer: 0,
        hold_seconds: 3_600,
        waitlist_capacity: 0,
    });
    let report = doorbuster_loadgen::run(plan, Arc::default())?;
    ensure!(report.accepted == 1, "the first order was not taken:\n{report}");
    Ok(())
}

fn check(report: &Report, product: &str) -> anyhow::Result<()> {
    let is_as_wanted = match product {
        SOLD_OUT => report.sold_out == report.sent,
        _ => report.accepted == report.sent,
    };
    ensure!(report.is_clean() && is_as_wanted && report.sent > 0, "not all as wanted:\n{report}");
    Ok(())
}
