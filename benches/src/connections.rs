//! Idle connections by the ten thousand, and a sale beside them.
//!
//! A process may have only so many files open, so there are as many edges, and as many processes
//! that hold the other ends, as it takes. Each edge has a port of its own, and with it all source
//! ports of this machine. Whatever stops it is said, with how far it came.

use crate::figures::{Figures, count};
use crate::http;
use crate::machine;
use crate::memory::{at_rest, raise_descriptors};
use crate::options::Options;
use crate::server::Server;
use anyhow::{Context, bail, ensure};
use clap::Args;
use doorbuster_loadgen::Report;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Descriptors of an edge or a holder that are not for connections.
const DESCRIPTORS_KEPT: u64 = 1_500;
/// An edge thread has no more connections than this.
const THREAD_CONNECTIONS: u64 = 16_000;
/// As long as a connection may rest at all: nobody is to be let go for that.
const EDGE: [&str; 2] = ["--idle-timeout", "10m"];
const SALE_SECONDS: u32 = 10;

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub(crate) struct Settings {
    /// Connections that are held beside the first sale
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    held: u64,
    /// Connections that are held in the end, as far as this machine goes
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    most: u64,
}

/// What a holder is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub(crate) struct Hold {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    count: u64,
}

/// Opens connections, asks once over each, says how many there are, and holds them until its input
/// ends. Runs as a process of its own.
pub(crate) fn hold(settings: Hold) -> anyhow::Result<()> {
    raise_descriptors();
    let mut held = Vec::new();
    let mut why = String::new();
    while (held.len() as u64) < settings.count {
        match connect(settings.address) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                why = format!("{error:#}");
                break;
            }
        }
    }
    writeln!(std::io::stdout(), "{} {why}", held.len())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("no connection")?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = [0; 4_096];
    let count = stream.read(&mut answer).context("no answer")?;
    ensure!(answer[..count].starts_with(b"HTTP/1.1 200"), "a wrong answer");
    Ok(stream)
}

/// A process that holds connections; they go when this is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// An engine, edges, and who holds connections to them.
struct Scene {
    program: PathBuf,
    scratch: PathBuf,
    engine: Server,
    address: SocketAddr,
    edges: Vec<(Server, SocketAddr)>,
    holders: Vec<Holder>,
    held: u64,
    /// Why there are no more.
    stopped_by: Option<String>,
}

impl Scene {
    fn open(program: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let (engine, address) = Server::free_engine(program, scratch, 1, &[])?;
        let mut scene = Self {
            program: program.to_owned(),
            scratch: scratch.to_owned(),
            engine,
            address,
            edges: Vec::new(),
            holders: Vec::new(),
            held: 0,
            stopped_by: None,
        };
        scene.add_edge()?;
        Ok(scene)
    }

    fn add_edge(&mut self) -> anyhow::Result<SocketAddr> {
        let edge = Server::edge_with(&self.program, &self.scratch, self.address, &EDGE)?;
        let http = edge.1;
        self.edges.push(edge);
        Ok(http)
    }

    /// Holds connections until there are `wanted`, or it does not go on.
    fn hold(&mut self, wanted: u64, each: u64) -> anyhow::Result<()> {
        while self.held < wanted && self.stopped_by.is_none() {
            // The first edge also serves the sale, and has room left for it.
            let http = match self.holders.len() {
                0 => self.edges[0].1,
                _ => self.add_edge()?,
            };
            let count = each.min(wanted - self.held);
            let mut child = Command::new(std::env::current_exe()?)
                .args(["hold", "--address", &http.to_string(), "--count", &count.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("a process that holds connections could not be started")?;
            let stdout = child.stdout.take().expect("it was piped");
            self.holders.push(Holder(child));
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line)?;
            let (held, why) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            let Ok(held) = held.parse::<u64>() else { bail!("a holder says {line:?}") };
            self.held += held;
            if held < count {
                self.stopped_by = Some(format!("at {} of one process: {why}", held + 1));
            }
        }
        Ok(())
    }

    fn edges_mib(&self) -> anyhow::Result<f64> {
        let mib = |edge: &(Server, SocketAddr)| machine::memory_mib(edge.0.process());
        self.edges.iter().map(mib).sum::<Option<f64>>().context("an edge is gone")
    }

    fn sale(&self, options: &Options) -> anyhow::Result<Report> {
        let orders = u64::from(options.rate) * u64::from(SALE_SECONDS);
        let mut plan =
            http::plan(self.edges[0].1, &self.engine.token_secret()?, options.rate, orders)?;
        plan.products = vec![format!("bench-{}", self.held)];
        let report = doorbuster_loadgen::run(plan, Arc::default())?;
        ensure!(report.sent > 0, "nothing was sent:\n{report}");
        Ok(report)
    }
}

/// Memory that the kernel has for its own structures and for sockets, in KiB.
fn kernel_kib() -> f64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let slab = info.lines().find_map(|line| line.strip_prefix("Slab:"));
    let slab = slab.and_then(|slab| slab.trim().trim_end_matches(" kB").parse::<f64>().ok());
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = sockets.lines().find_map(|line| line.strip_prefix("TCP: ")?.split(" mem ").nth(1));
    let pages = pages.and_then(|pages| pages.trim().parse::<f64>().ok());
    let page_kib = rustix::param::page_size() as f64 / 1024.0;
    slab.unwrap_or(0.0) + pages.unwrap_or(0.0) * page_kib
}

pub(crate) fn measure(settings: Settings, options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let each = raise_descriptors().saturating_sub(DESCRIPTORS_KEPT).min(THREAD_CONNECTIONS);
    let scratch = options.scratch()?;
    let mut scene = Scene::open(&program, scratch.path())?;
    let mut figures = Figures::new("Idle connections beside a sale");
    figures.note(machine::describe());
    figures.note(format!(
        "an engine, and an edge with one thread for every {} connections; a process for as many of \
         the other ends; {} orders/s for {SALE_SECONDS} s through the first edge, open loop, all \
         on the same cores",
        count(each),
        count(options.rate.into()),
    ));
    figures.note(
        "kernel: slabs and socket memory, for both ends of each connection, as both are here; user \
         space: the edges' alone",
    );
    describe_sale(&scene.sale(options)?, 0, &mut figures);
    let mut levels = vec![settings.held, settings.most];
    levels.sort_unstable();
    levels.dedup();
    for wanted in levels {
        let edges = scene.edges.len();
        let (user, kernel) = (at_rest(|| scene.edges_mib())?, kernel_kib());
        let before = scene.held;
        scene.hold(wanted, each)?;
        let more = (scene.held - before) as f64;
        if more == 0.0 {
            break;
        }
        // What edges have before any connection is no connection's: as much as the first one had.
        let bare = user / edges as f64 * (scene.edges.len() - edges) as f64;
        let user = (at_rest(|| scene.edges_mib())? - user - bare.min(user)) * 1024.0 / more;
        let name = format!("{} held", count(scene.held));
        figures.row(format!("{name}: user space of each, of those that came"), "KiB", &[user]);
        figures.row(
            format!("{name}: kernel of each, both ends"),
            "KiB",
            &[(kernel_kib() - kernel) / more],
        );
        let report = scene.sale(options)?;
        describe_sale(&report, scene.held, &mut figures);
        figures.promise(
            report.is_clean() && report.accepted == report.attempts,
            format!("{name}: every order of the sale was accepted"),
        );
        figures.promise(
            scene.held >= wanted,
            match &scene.stopped_by {
                Some(why) => format!("{name} of {} wanted, {why}", count(wanted)),
                None => format!("{name}, as many as were wanted"),
            },
        );
    }
    Ok(figures)
}

fn describe_sale(report: &Report, held: u64, figures: &mut Figures) {
    let latency = report.orders();
    let name = format!("{} held, sale", count(held));
    figures.row(format!("{name}: order p50"), "ms", &[latency.p50_us as f64 / 1e3]);
    figures.row(format!("{name}: order p95"), "ms", &[latency.p95_us as f64 / 1e3]);
    figures.row(format!("{name}: order p99"), "ms", &[latency.p99_us as f64 / 1e3]);
    figures.row(format!("{name}: errors"), "orders", &[report.errors as f64]);
}
