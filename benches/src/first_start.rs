//! A first start: from the launch on a new directory until it takes orders, and the disk it takes.

use crate::figures::{Figures, median};
use crate::machine;
use crate::options::Options;
use crate::server::Server;
use std::time::Instant;

/// Seconds until it is ready.
const READY_GOAL_SECONDS: f64 = 2.0;
/// MiB of disk.
const DISK_GOAL_MIB: f64 = 128.0;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let (mut ready, mut disk) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let scratch = options.scratch()?;
        let began = Instant::now();
        let (mut server, http) = Server::serve(&program, scratch.path())?;
        server.wait_until_ready(http)?;
        ready.push(began.elapsed().as_secs_f64());
        disk.push(machine::disk_bytes(server.data()) as f64 / f64::from(1 << 20));
        server.stop()?;
    }
    let mut figures = Figures::new("First start on a new directory");
    figures.note(machine::describe());
    figures.row("launch to GET /ready = 200", "s", &ready);
    figures.row("disk taken when ready", "MiB", &disk);
    let (seconds, mib) = (median(&ready), median(&disk));
    figures.promise(
        seconds < READY_GOAL_SECONDS,
        format!("ready after {seconds:.2} s; the goal is {READY_GOAL_SECONDS} s"),
    );
    figures.promise(
        mib < DISK_GOAL_MIB,
        format!("{mib:.1} MiB of disk; the goal is below {DISK_GOAL_MIB} MiB"),
    );
    Ok(figures)
}
