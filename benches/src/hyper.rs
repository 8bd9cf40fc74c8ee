//! HTTP orders and sold-out refusals of the whole of Doorbuster in one process, next to a bare hyper
//! that parses and answers the same JSON POST: same requests, same client, same CPU for the server,
//! in turns.

use crate::bare_hyper::BareHyper;
use crate::curve::put_on_sale;
use crate::figures::{Figures, figure, median, ratios};
use crate::goals;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::server::Server;
use crate::wrk::{Answers, CONNECTIONS, Expected, Wrk};
use doorbuster_loadgen::Credentials;
use doorbuster_protocol::limits;
use std::net::SocketAddr;
use std::time::Duration;

const SECONDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(1);
/// Buyers in turn: more than an edge's thread remembers the tokens of, so that every order comes
/// with a token that has to be verified.
const BUYERS: usize = 20_000;
/// As many as it remembers.
const KNOWN_BUYERS: usize = 4_000;
/// A client that used more than this of its CPU was the limit itself.
const CLIENT_SHARE_MAX: f64 = 0.9;
const PRODUCT: &str = "bench";
const SOLD_OUT: &str = "bench-sold-out";

/// What the rounds of one side came to.
#[derive(Default)]
struct Columns {
    rate: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    server_cpu_us: Vec<f64>,
    client_cpu_us: Vec<f64>,
}

impl Columns {
    /// Warms up, measures, and counts the CPU time that `cpu` tells.
    fn measure(
        &mut self,
        wrk: &Wrk,
        address: SocketAddr,
        seconds: u32,
        expected: Expected,
        cpu: impl Fn() -> f64,
    ) -> anyhow::Result<()> {
        wrk.run(address, WARM_UP, expected)?;
        let before = cpu();
        let Answers { rate, p50_ms, p99_ms, client_cpu_us, requests } =
            wrk.run(address, Duration::from_secs(seconds.into()), expected)?;
        self.rate.push(rate);
        self.p50_ms.push(p50_ms);
        self.p99_ms.push(p99_ms);
        self.client_cpu_us.push(client_cpu_us);
        self.server_cpu_us.push((cpu() - before) * 1e6 / requests as f64);
        Ok(())
    }

    fn write(&self, name: &str, figures: &mut Figures) {
        figures.row(name, "/s", &self.rate);
        figures.row(format!("{name}, latency p50"), "ms", &self.p50_ms);
        figures.row(format!("{name}, latency p99"), "ms", &self.p99_ms);
        figures.row(format!("{name}, server CPU each"), "µs", &self.server_cpu_us);
        figures.row(format!("{name}, client CPU each"), "µs", &self.client_cpu_us);
        figures.row(format!("{name}, client's share of its CPU"), "", &self.client_share());
    }

    /// How much of its CPU the client used, of 1.
    fn client_share(&self) -> Vec<f64> {
        let share = |(rate, each): (&f64, &f64)| rate * each / 1e6;
        self.rate.iter().zip(&self.client_cpu_us).map(share).collect()
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seats = Seats::choose();
    let seconds = options.seconds.unwrap_or(SECONDS);
    let bare = BareHyper::start(seats.server)?;
    let [mut peer, mut orders, mut known, mut refusals] = <[Columns; 4]>::default();
    for _ in 0..options.rounds {
        let scratch = options.scratch()?;
        let (mut server, http) = Server::serve_on(seats.server, &program, scratch.path())?;
        server.wait_until_ready(http)?;
        let credentials = Credentials::secret(&server.token_secret()?);
        put_on_sale(http, &credentials, PRODUCT, limits::STOCK_MAX)?;
        put_on_sale(http, &credentials, SOLD_OUT, 1)?;
        let tokens: Vec<String> =
            (0..BUYERS).map(|buyer| credentials.buyer(&format!("buyer-{buyer}"))).collect();
        let wrk = |product, tokens| Wrk::new(scratch.path(), product, tokens, seats.client);
        let all = wrk(PRODUCT, &tokens)?;
        let cpu = || server.cpu_seconds();
        peer.measure(&all, bare.address, seconds, Expected::Success, || bare.cpu_seconds())?;
        orders.measure(&all, http, seconds, Expected::Success, cpu)?;
        let sold_out = wrk(SOLD_OUT, &tokens)?;
        refusals.measure(&sold_out, http, seconds, Expected::Refusal, cpu)?;
        let few = wrk(PRODUCT, &tokens[..KNOWN_BUYERS])?;
        known.measure(&few, http, seconds, Expected::Success, cpu)?;
        server.stop()?;
    }

    let mut figures = Figures::new("HTTP orders, next to a bare hyper");
    figures.note(machine::describe());
    figures.note(format!(
        "{}: all of `serve` (edge, engine, projector into its embedded store) and the bare server, \
         in turns; wrk with {CONNECTIONS} connections, closed loop, the same requests for both, \
         each with a token and a key; {} rounds of {seconds} s after {} s each",
        seats.describe(),
        options.rounds,
        WARM_UP.as_secs(),
    ));
    figures.note(
        "bare: one current-thread runtime, reads and parses the JSON body, answers 201 with JSON; \
         it looks at no token and no key",
    );
    figures.note(format!(
        "{} buyers in turn, more than the edge remembers: it verifies every token; `known`: {}, \
         whose tokens it remembers",
        figure(BUYERS as f64),
        figure(KNOWN_BUYERS as f64),
    ));
    if median(&peer.client_share()) > CLIENT_SHARE_MAX {
        figures.note(
            "! the client was the limit of the bare server, which could do more: go by the ratios of \
             server CPU",
        );
    }
    peer.write("bare hyper", &mut figures);
    orders.write("durable orders", &mut figures);
    known.write("durable orders, known tokens", &mut figures);
    refusals.write("sold-out refusals", &mut figures);
    figures.row("durable orders, known tokens, to bare", "×", &ratios(&known.rate, &peer.rate));
    for (name, side, goal) in [
        ("durable orders", &orders, &goals::HTTP_TO_HYPER),
        ("sold-out refusals", &refusals, &goals::SOLD_OUT_TO_HYPER),
    ] {
        let ratio = ratios(&side.rate, &peer.rate);
        figures.row(format!("{name}, to bare"), "×", &ratio);
        let by_cpu = ratios(&peer.server_cpu_us, &side.server_cpu_us);
        figures.row(format!("{name}, to bare by server CPU"), "×", &by_cpu);
        figures.judge_with(goal, &ratio, Some((&side.rate, "/s")));
    }
    Ok(figures)
}
