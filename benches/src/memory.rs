//! Memory: of an HTTP connection that rests, and of an order that lives.
//!
//! Both are differences of what a server's process has resident, so everything that it keeps for
//! them is in them: buffers, tables and what these have grown ahead, what the allocator holds. Memory
//! that an engine holds for orders to come is not of any order that lives: one engine holds none, and
//! of another it is taken off, as its metrics say it.

use crate::figures::{Figures, figure};
use crate::goals;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline::{self, Load, Wanted};
use crate::server::{Reserve, Server};
use anyhow::{Context, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Connections, as far as descriptors go.
const CONNECTIONS: u64 = 10_000;
/// Descriptors that this process and a server need for the rest.
const DESCRIPTORS_KEPT: u64 = 1_000;
/// Orders that live in the end, and from how many on their memory is looked at.
const ORDERS: u64 = 4_000_000;
const ORDERS_MIN: u64 = 1_000_000;
const PRODUCTS: usize = 64;
const SLICE: Duration = Duration::from_millis(250);
/// A process is at rest when nothing changed for so long. Longer than an edge keeps the buffers of
/// a connection that rests.
const REST: Duration = Duration::from_secs(4);
const REST_MAX: Duration = Duration::from_secs(20);

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seats = Seats::choose();
    let mut figures = Figures::new("Memory");
    figures.note(machine::describe());
    connections(options, &program, seats, &mut figures)?;
    let without = orders(options, &program, seats, Reserve::Off)?;
    let with = orders(options, &program, seats, Reserve::Full)?;
    figures.note(format!(
        "live orders: an engine with one core and {PRODUCTS} products, looked at again and again \
         from {} to {} orders, as tables grow by doubling; the most counts",
        figure(ORDERS_MIN as f64),
        figure(ORDERS as f64),
    ));
    figures.row("live order, while there are more and more", "B", &without.growing);
    figures.row("live order, at rest", "B", &[without.at_rest]);
    figures.row("held for orders to come, before the first one", "MiB", &[with.held_first_mib]);
    figures.row("held for orders to come, at rest after the last", "MiB", &[with.held_mib]);
    figures.row("live order beside it, at rest", "B", &[with.at_rest]);
    let all = without.growing.iter().copied();
    let most = all.fold(without.at_rest.max(with.at_rest), f64::max);
    figures.judge(&goals::ORDER_MEMORY, &[most]);
    Ok(figures)
}

/// Raises the soft limit of descriptors to the hard one, and says what it is.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn connections(
    options: &Options,
    program: &Path,
    seats: Seats,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let count = CONNECTIONS.min(raise_descriptors().saturating_sub(DESCRIPTORS_KEPT));
    let (mut silent, mut resting) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(3) {
        let scratch = options.scratch()?;
        let (mut server, http) = Server::serve_on(seats.server, program, scratch.path())?;
        server.wait_until_ready(http)?;
        let process = server.process();
        let resident = || machine::memory_mib(process).context("the server is gone");
        let before = at_rest(resident)?;
        let kib_each = |after: f64| (after - before) * 1024.0 / count as f64;
        let mut open =
            (0..count).map(|_| TcpStream::connect(http)).collect::<Result<Vec<_>, _>>()?;
        silent.push(kib_each(at_rest(resident)?));
        for stream in &mut open {
            ask(stream, http)?;
        }
        resting.push(kib_each(at_rest(resident)?));
        server.stop()?;
    }
    figures.note(format!(
        "{} connections to `serve` with one edge thread; at rest: nothing changed for {} s",
        figure(count as f64),
        REST.as_secs(),
    ));
    figures.row("connection that never asked", "KiB", &silent);
    figures.row("connection that has asked and rests", "KiB", &resting);
    figures.judge(&goals::CONNECTION_MEMORY, &resting);
    Ok(())
}

/// One request, and its answer.
fn ask(stream: &mut TcpStream, http: SocketAddr) -> anyhow::Result<()> {
    write!(stream, "GET /health HTTP/1.1\r\nHost: {http}\r\n\r\n")?;
    let mut answer = [0; 4_096];
    let count = stream.read(&mut answer)?;
    ensure!(answer[..count].starts_with(b"HTTP/1.1 200"), "a connection was not answered");
    Ok(())
}

/// What is resident when that changes no more, in MiB.
pub(crate) fn at_rest(resident: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let (began, mut since, mut last) = (Instant::now(), Instant::now(), resident()?);
    while since.elapsed() < REST && began.elapsed() < REST_MAX {
        thread::sleep(Duration::from_millis(50));
        let now = resident()?;
        if (now - last).abs() > 0.25 {
            (since, last) = (Instant::now(), now);
        }
    }
    Ok(last)
}

/// Bytes of a live order, without what is held for others.
struct Orders {
    growing: Vec<f64>,
    at_rest: f64,
    held_first_mib: f64,
    held_mib: f64,
}

fn orders(
    options: &Options,
    program: &Path,
    seats: Seats,
    reserve: Reserve,
) -> anyhow::Result<Orders> {
    let scratch = options.scratch()?;
    let products = pipeline::products(PRODUCTS)?;
    let (server, address) =
        Server::engine_on_sale(program, scratch.path(), seats.server, reserve, &products)?;
    let key = server.engine_key()?;
    let held_first_mib = server.reserve_mib()?;
    let resident = || -> anyhow::Result<f64> {
        let all = machine::memory_mib(server.process()).context("the engine is gone")?;
        Ok(all - server.reserve_mib()?)
    };
    let before = resident()?;
    let (mut live, mut growing) = (0, Vec::new());
    while live < ORDERS {
        let load = Load {
            address,
            key: &key,
            products: &products,
            in_flight: options.in_flight,
            warm_up: Duration::ZERO,
            time: SLICE,
            cpu: seats.client,
            wanted: Wanted::Placed,
        };
        live += pipeline::run(load)?.answered;
        if live >= ORDERS_MIN {
            growing.push((resident()? - before) * f64::from(1 << 20) / live as f64);
        }
    }
    let at_rest = (at_rest(resident)? - before) * f64::from(1 << 20) / live as f64;
    let held_mib = server.reserve_mib()?;
    server.stop()?;
    Ok(Orders { growing, at_rest, held_first_mib, held_mib })
}
