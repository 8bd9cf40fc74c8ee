//! An engine that reads its log: from its launch until every core answers, on files that the kernel
//! has forgotten; next to a plain read of the same files, forgotten as well, in turns. There is no
//! snapshot to begin with, so every event is replayed. With a core on each CPU, as an engine has
//! unless it is told otherwise, and with one core on one.

use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline::{self, Connection, Load, Wanted};
use crate::server::Server;
use anyhow::ensure;
use doorbuster_protocol::handshake::PreSharedKey;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Enough to touch every partition.
const PRODUCTS: usize = 64;
/// Requests in flight while the log is filled.
const IN_FLIGHT: u32 = 4_096;
/// How long the log is filled before it is looked at how much there is.
const SLICE: Duration = Duration::from_millis(500);
/// So long that no snapshot is made.
const SEGMENTS: [&str; 2] = ["--segment-size", "4GiB"];
/// Longer than any sound recovery takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;

/// A log on disk, its engine gone.
struct Filled {
    key: PreSharedKey,
    events: u64,
    /// Its files, each with its bytes up to the last that is not zero.
    files: Vec<(PathBuf, u64)>,
}

/// What the rounds of one side came to.
#[derive(Default)]
struct Columns {
    seconds: Vec<f64>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Columns {
    fn push(&mut self, filled: &Filled, (time, cpu): (Duration, f64)) {
        self.seconds.push(time.as_secs_f64());
        self.rate.push(filled.events as f64 / time.as_secs_f64());
        self.cpu.push(cpu);
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seats = Seats::choose();
    let scratch = options.scratch()?;
    let filled = fill(&program, scratch.path(), seats, options.events)?;
    let bytes: u64 = filled.files.iter().map(|(_, bytes)| bytes).sum();
    let cpus = thread::available_parallelism()?.get();
    let (mut all, mut one, mut read) = (Columns::default(), Columns::default(), vec![]);
    for _ in 0..options.rounds {
        machine::forget_files(scratch.path())?;
        read.push(read_all(&filled, seats.server)?.as_secs_f64());
        machine::forget_files(scratch.path())?;
        let launch = || Server::free_engine(&program, scratch.path(), cpus, &SEGMENTS);
        all.push(&filled, recover(launch, &filled.key)?);
        machine::forget_files(scratch.path())?;
        let launch = || Server::engine_with(&program, scratch.path(), seats.server, &SEGMENTS);
        one.push(&filled, recover(launch, &filled.key)?);
    }
    let mut figures = Figures::new("Recovery: an engine that reads its log");
    figures.note(machine::describe());
    figures.note(format!(
        "{} events of {PRODUCTS} products in {} MiB, 16 partitions; from the launch of the process \
         until all its cores answer; no snapshot; {} rounds in turns, the files forgotten by the \
         page cache before each",
        figure(filled.events as f64),
        figure(bytes as f64 / f64::from(1 << 20)),
        options.rounds,
    ));
    figures.note(format!(
        "goals go by {cpus} cores, one on each CPU, as an engine has by default; one core: on CPU {}",
        seats.server,
    ));
    figures.note(format!(
        "read: the same files one after the other on CPU {}, {READ_BYTES} bytes at a time, without \
         the zeros behind their ends",
        seats.server,
    ));
    let mib = |seconds: &f64| bytes as f64 / f64::from(1 << 20) / seconds;
    figures.row("read of the files", "s", &read);
    figures.row("read of the files", "MiB/s", &read.iter().map(mib).collect::<Vec<_>>());
    for (name, side) in [(format!("{cpus} cores"), &all), ("one core".to_owned(), &one)] {
        figures.row(format!("{name}, recovery"), "s", &side.seconds);
        figures.row(format!("{name}, recovery"), "events/s", &side.rate);
        let rates: Vec<_> = side.seconds.iter().map(mib).collect();
        figures.row(format!("{name}, recovery"), "MiB/s", &rates);
        figures.row(format!("{name}, CPU time"), "s", &side.cpu);
        figures.row(format!("{name}, to the read"), "×", &ratios(&read, &side.seconds));
    }
    let ratio = ratios(&read, &all.seconds);
    figures.judge(&goals::RECOVERY, &all.rate);
    figures.judge_with(&goals::RECOVERY_TO_READ, &ratio, Some((&all.seconds, "s")));
    Ok(figures)
}

fn fill(program: &Path, scratch: &Path, seats: Seats, events: u64) -> anyhow::Result<Filled> {
    let (server, address) = Server::engine_with(program, scratch, seats.server, &SEGMENTS)?;
    let (key, products) = (server.engine_key()?, pipeline::products(PRODUCTS)?);
    pipeline::define(address, &key, &products)?;
    let mut done = PRODUCTS as u64;
    while done < events {
        let load = Load {
            address,
            key: &key,
            products: &products,
            in_flight: IN_FLIGHT,
            warm_up: Duration::ZERO,
            time: SLICE,
            cpu: seats.client,
            wanted: Wanted::Placed,
        };
        done += pipeline::run(load)?.answered;
    }
    let logs = server.data().join("partitions");
    server.stop()?;
    let mut files = Vec::new();
    for file in machine::files(&logs)? {
        let bytes = std::fs::read(&file)?;
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        files.push((file, end as u64));
    }
    Ok(Filled { key, events: done, files })
}

/// Until the engine that is launched answers, and the CPU time that it took.
fn recover(
    launch: impl Fn() -> anyhow::Result<(Server, SocketAddr)>,
    key: &PreSharedKey,
) -> anyhow::Result<(Duration, f64)> {
    let began = Instant::now();
    let (mut server, first) = launch()?;
    let cores = wait_until_it_answers(&mut server, first, key, began)?;
    for core in cores {
        wait_until_it_answers(&mut server, core, key, began)?;
    }
    let time = began.elapsed();
    let cpu = server.cpu_seconds();
    server.stop()?;
    Ok((time, cpu))
}

/// Where the engine's cores listen, once the one at `address` answers.
pub(crate) fn wait_until_it_answers(
    server: &mut Server,
    address: SocketAddr,
    key: &PreSharedKey,
    began: Instant,
) -> anyhow::Result<Vec<SocketAddr>> {
    // The connection is there at once, and the handshake when the log is read. It is given up
    // sooner than a long recovery takes, and then tried again.
    loop {
        match Connection::open(address, key) {
            Ok(connection) => return Ok(connection.cores().to_vec()),
            Err(error) => {
                server.check()?;
                ensure!(began.elapsed() < PATIENCE, "the engine does not come up: {error:#}");
            }
        }
    }
}

fn read_all(filled: &Filled, cpu: usize) -> anyhow::Result<Duration> {
    let read = || -> anyhow::Result<Duration> {
        machine::sit_on(cpu);
        let mut buffer = vec![0; READ_BYTES];
        let began = Instant::now();
        for (file, bytes) in &filled.files {
            let mut rest = File::open(file)?.take(*bytes);
            while rest.read(&mut buffer)? > 0 {}
        }
        Ok(began.elapsed())
    };
    // On a thread of its own, which keeps the seat.
    thread::scope(|scope| scope.spawn(read).join().expect("reading does not panic"))
}
