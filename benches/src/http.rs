//! Durable HTTP orders in an open loop: the whole of Doorbuster in one process, the load generator
//! on the same cores, latency from the intended send time.

use crate::figures::{Figures, figure};
use crate::goals;
use crate::machine;
use crate::options::Options;
use crate::server::Server;
use anyhow::bail;
use doorbuster_loadgen::{Credentials, Latencies, Pace, Plan, Prepare, Target};
use std::net::SocketAddr;
use std::sync::Arc;

const SECONDS: u32 = 30;
/// As many as many buyers would have: few of them would make a closed loop of the open one.
const CONNECTIONS: usize = 256;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let scratch = options.scratch()?;
    let (mut server, http) = Server::serve(&program, scratch.path())?;
    server.wait_until_ready(http)?;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let buyers = u64::from(options.rate) * u64::from(seconds);
    let plan = plan(http, &server.token_secret()?, options.rate, buyers)?;
    let (cpu_before, own_before) = (server.cpu_seconds(), machine::own_cpu_seconds());
    let report = doorbuster_loadgen::run(plan, Arc::default())?;
    let cpu = server.cpu_seconds() - cpu_before;
    let own = machine::own_cpu_seconds() - own_before;
    server.stop()?;
    if report.sent == 0 {
        bail!("nothing was sent:\n{report}");
    }

    let mut figures = Figures::new("Durable HTTP orders, open loop, all in one process");
    figures.note(machine::describe());
    figures.note(format!(
        "{} orders/s for {seconds} s over {CONNECTIONS} connections; server and generator share \
         all cores; latency from the intended send time",
        figure(f64::from(options.rate)),
    ));
    let latency = report.orders();
    let service = report.service_time.get("orders").copied().unwrap_or_default();
    figures.row("answered", "orders/s", &[report.rate]);
    figures.row("accepted", "orders", &[report.accepted as f64]);
    figures.row("errors", "orders", &[report.errors as f64]);
    for (name, of) in [
        ("p50", (|l| l.p50_us) as fn(&Latencies) -> u64),
        ("p95", |l| l.p95_us),
        ("p99", |l| l.p99_us),
        ("p99.9", |l| l.p999_us),
        ("max", |l| l.max_us),
    ] {
        figures.row(format!("latency {name}"), "ms", &[of(&latency) as f64 / 1e3]);
    }
    figures.row("service time p95", "ms", &[service.p95_us as f64 / 1e3]);
    figures.row("server CPU per order", "µs", &[cpu * 1e6 / report.sent as f64]);
    figures.row("generator CPU per order", "µs", &[own * 1e6 / report.sent as f64]);
    for warning in &report.warnings {
        figures.note(format!("! {warning}"));
    }
    figures.judge(&goals::SALE_P95, &[latency.p95_us as f64 / 1e3]);
    figures.judge(&goals::SALE_P999, &[latency.p999_us as f64 / 1e3]);
    // Whatever was not accepted counts, an error or not.
    let not_taken = report.errors.max(buyers.saturating_sub(report.accepted));
    figures.judge(&goals::SALE_ERRORS, &[not_taken as f64]);
    Ok(figures)
}

/// An open loop in which each of so many buyers orders once, of a product that is made for it.
pub(crate) fn plan(
    http: SocketAddr,
    token_secret: &[u8],
    rate: u32,
    buyers: u64,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::new(Target::http(http)).buyers_once(buyers);
    plan.pace = Pace::Open { rate: f64::from(rate) };
    plan.concurrency = CONNECTIONS;
    plan.products = vec!["bench".to_owned()];
    plan.credentials = Credentials::secret(token_secret);
    plan.prepare = Some(Prepare {
        stock: u32::try_from(buyers)?,
        price: 1_999,
        limit_per_buyer: 1,
        hold_seconds: 3_600,
        waitlist_capacity: 0,
    });
    Ok(plan)
}
