//! What a request costs the load generator itself: it often shares its cores with what it measures.
//! Closed loop against the bare server, whose answers it takes for those of orders.

use crate::bare_hyper::BareHyper;
use crate::figures::{Figures, figure};
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::wrk::{Expected, Wrk};
use anyhow::ensure;
use doorbuster_loadgen::{Amount, Credentials, Plan, Target};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SECONDS: u32 = 2;
const CONNECTIONS: usize = 256;
const BUYERS: u64 = 20_000;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let seats = Seats::choose();
    let time = Duration::from_secs(options.seconds.unwrap_or(SECONDS).into());
    let bare = BareHyper::start(seats.server)?;
    let credentials = Credentials::secret(&[7; 32]);
    let scratch = options.scratch()?;
    let tokens: Vec<String> =
        (0..BUYERS).map(|buyer| credentials.buyer(&format!("buyer-{buyer}"))).collect();
    let wrk = Wrk::new(scratch.path(), "bench", &tokens, seats.client)?;
    let (mut rate, mut cpu) = (Vec::new(), Vec::new());
    let (mut wrk_rate, mut wrk_cpu) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let found = thread::scope(|scope| {
            let measuring = scope.spawn(|| {
                machine::sit_on(seats.client);
                round(&bare, &credentials, time)
            });
            measuring.join().expect("a measurement does not panic")
        })?;
        rate.push(found.0);
        cpu.push(found.1);
        let answers = wrk.run(bare.address, time, Expected::Success)?;
        wrk_rate.push(answers.rate);
        wrk_cpu.push(answers.client_cpu_us);
    }
    let mut figures = Figures::new("What a request costs its generator");
    figures.note(machine::describe());
    figures.note(format!(
        "{}; {CONNECTIONS} connections, closed loop, against a bare hyper; {} rounds of {} s each, \
         in turns with wrk",
        seats.describe(),
        options.rounds,
        figure(time.as_secs_f64()),
    ));
    figures.row("load generator", "requests/s", &rate);
    figures.row("load generator, its CPU for each", "µs", &cpu);
    figures.row("wrk with a script", "requests/s", &wrk_rate);
    figures.row("wrk with a script, its CPU for each", "µs", &wrk_cpu);
    Ok(figures)
}

/// Requests per second, and CPU time of each in microseconds.
fn round(
    bare: &BareHyper,
    credentials: &Credentials,
    time: Duration,
) -> anyhow::Result<(f64, f64)> {
    let mut plan = Plan::new(Target::http(bare.address));
    plan.credentials = credentials.clone();
    plan.buyers = BUYERS;
    plan.concurrency = CONNECTIONS;
    plan.amount = Amount::Duration(time);
    let before = machine::own_cpu_seconds();
    let report = doorbuster_loadgen::run(plan, Arc::default())?;
    let spent = machine::own_cpu_seconds() - before;
    ensure!(report.sent > 0 && report.errors == 0, "not every request was answered:\n{report}");
    Ok((report.rate, spent * 1e6 / report.sent as f64))
}
