//! The wait of one client for the disk: what a commit takes in an engine in this process, next to a
//! bare write and fdatasync of the same size, on the same file system and CPU, in turns.

use crate::durability::start_on;
use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::in_process;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline::{self, Load, Wanted};
use crate::unsynced::Syncing;
use anyhow::Context;
use doorbuster_protocol::ProductId;
use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const SECONDS: u32 = 3;
const WARM_UP: Duration = Duration::from_millis(500);
/// Bytes of a frame with one order: the least that direct I/O writes.
const FRAME_BYTES: usize = 4_096;
/// Bytes of the file that the bare writes go round in.
const FILE_BYTES: usize = 32 << 20;

/// What one round found, in microseconds.
struct Round {
    bare: Histogram<u64>,
    commit: Histogram<u64>,
    order: Histogram<u64>,
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let seats = Seats::choose();
    let seconds = options.seconds.unwrap_or(SECONDS);
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        rounds.push(round(options, seats, Duration::from_secs(seconds.into()))?);
    }
    let mut figures = Figures::new("One client's wait for the disk");
    figures.note(machine::describe());
    figures.note(format!(
        "an engine in this process, {}; one order in flight, so each commit is one frame of {} \
         bytes; a commit counts from when its batch is taken to when it is durable",
        seats.describe(),
        figure(FRAME_BYTES as f64),
    ));
    figures.note(format!(
        "bare: a blocking direct write and fdatasync, one after the other, into a file that was \
         filled with zeros, on CPU {}; {} rounds of {seconds} s each, in turns",
        seats.server, options.rounds,
    ));
    let column = |of: fn(&Round) -> &Histogram<u64>, quantile: f64, unit: f64| {
        let value = |round: &Round| of(round).value_at_quantile(quantile) as f64 / unit;
        rounds.iter().map(value).collect::<Vec<f64>>()
    };
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let bare = column(|round| &round.bare, quantile, 1e3);
        let commit = column(|round| &round.commit, quantile, 1e3);
        let order = column(|round| &round.order, quantile, 1.0);
        figures.row(format!("bare write + fdatasync {name}"), "µs", &bare);
        figures.row(format!("commit {name}"), "µs", &commit);
        figures.row(format!("order {name}, as its client sees it"), "µs", &order);
        let ratio = ratios(&commit, &bare);
        figures.row(format!("commit {name}, to bare"), "×", &ratio);
        figures.row(format!("order {name}, to bare"), "×", &ratios(&order, &bare));
        if quantile == 0.5 {
            figures.judge_with(&goals::COMMIT_TO_BARE_SYNC, &ratio, Some((&commit, "µs")));
        }
    }
    Ok(figures)
}

fn round(options: &Options, seats: Seats, time: Duration) -> anyhow::Result<Round> {
    let scratch = options.scratch()?;
    let bare = thread::scope(|scope| {
        let measured = scope.spawn(|| {
            machine::sit_on(seats.server);
            bare(&scratch.path().join("bare"), time)
        });
        measured.join().expect("bare writes do not panic")
    })?;
    let engine = start_on(seats.server, scratch.path(), Syncing::On)?;
    let (key, products) = (in_process::key(), [ProductId::parse("bench")?]);
    pipeline::define(engine.address(), &key, &products)?;
    engine.wait_for_reserve()?;
    let load = |time| Load {
        address: engine.address(),
        key: &key,
        products: &products,
        in_flight: 1,
        warm_up: Duration::ZERO,
        time,
        cpu: seats.client,
        wanted: Wanted::Placed,
    };
    pipeline::run(load(WARM_UP))?;
    engine.forget_commits();
    let flow = pipeline::run(load(time))?;
    let commit = engine.commits();
    engine.stop()?;
    Ok(Round { bare, commit, order: flow.latency_us })
}

/// How long each write took with its sync, in nanoseconds.
fn bare(path: &Path, time: Duration) -> anyhow::Result<Histogram<u64>> {
    let zeros = vec![0u8; FILE_BYTES];
    let filled = File::create(path)?;
    filled.write_all_at(&zeros, 0)?;
    filled.sync_all()?;
    let direct = i32::try_from(OFlags::DIRECT.bits()).context("a flag of the system")?;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(direct)
        .open(path)
        .context("direct I/O is not to be had here (--directory DIR)")?;
    // Aligned in memory, as direct I/O wants it.
    let mut memory = vec![0u8; 2 * FRAME_BYTES];
    let start = memory.as_ptr().align_offset(FRAME_BYTES);
    let frame = &mut memory[start..start + FRAME_BYTES];
    let mut took = Histogram::new(3).expect("three digits are allowed");
    let (begin, mut at) = (Instant::now() + WARM_UP, 0u64);
    loop {
        let began = Instant::now();
        if began >= begin + time {
            return Ok(took);
        }
        frame.fill(at as u8);
        file.write_all_at(frame, at)?;
        file.sync_data()?;
        if began >= begin {
            took.record(began.elapsed().as_nanos() as u64)?;
        }
        at = (at + FRAME_BYTES as u64) % FILE_BYTES as u64;
    }
}
