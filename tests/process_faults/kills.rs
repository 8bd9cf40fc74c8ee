//! Killed at the worst moments: while a server starts, while it drains, while it writes a snapshot;
//! and each role alone, while the others run. (`crash_recovery.rs` kills under plain load.)

use crate::apart::{Apart, Part, Start};
use crate::support::load::Load;
use crate::support::written_log::lengthen;
use crate::support::{PATIENCE, Server, doorbuster, seed, wait_until};
use crate::trial::{Trial, times};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// One core and one edge thread, as `auto` gives on two CPUs, wherever this runs.
const SMALL: [&str; 4] = ["--cores", "1", "--edge-threads", "1"];

/// A killed server places orders again within this, start and recovery included.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

/// Runs cycles over one data directory: `end` ends the server, which then starts again.
fn cycles(trial: &mut Trial, count: u32, flags: &[&str], mut end: impl FnMut(Server, &str)) {
    trial.recovers_within(RECOVERY_MAX);
    let data = trial.data();
    let flags = [&SMALL[..], flags].concat();
    let mut server = Server::start_with(&data, "127.0.0.1:0", &flags);
    let http = server.http.to_string();
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    for _ in 0..count {
        let before = load.progress.accepted();
        wait_until("orders are placed", || load.progress.accepted() > before + 50);
        end(server, &http);
        trial.fault();
        let begun = Instant::now();
        server = Server::start_with(&data, &http, &flags);
        trial.until_sold(&load, begun);
    }
    trial.close(server, load, witness);
}

#[test]
fn killed_in_its_start() {
    let mut random = fastrand::Rng::with_seed(seed("DOORBUSTER_SEED"));
    let mut trial = Trial::of("killed in its start");
    let data = trial.data();
    cycles(&mut trial, times(3, 50), &[], |server, http| {
        server.kill();
        // Again and again, each time a little further.
        for _ in 0..4 {
            let mut child = doorbuster()
                .args(["serve", "--http", http, "--admin", "off", "--data"])
                .arg(&data)
                .args(SMALL)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary starts");
            thread::sleep(Duration::from_millis(random.u64(1..120)));
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    });
}

#[test]
fn killed_in_its_drain() {
    let mut random = fastrand::Rng::with_seed(seed("DOORBUSTER_SEED"));
    let mut trial = Trial::of("killed in its drain");
    cycles(&mut trial, times(4, 100), &[], |server, _| {
        server.signal(Signal::TERM);
        thread::sleep(Duration::from_micros(random.u64(0..30_000)));
        server.kill();
    });
}

#[test]
fn killed_while_it_writes_a_snapshot() {
    let mut trial = Trial::in_memory("killed in a snapshot");
    let data = trial.data();
    let flags = ["--partitions", "1", "--segment-size", "8MiB"];
    assert!(Server::start_with(&data, "127.0.0.1:0", &flags).stop().success());
    // Four closed segments make a snapshot due: the first one soon after the load has begun.
    lengthen(&data, 8 << 20, (4 * 8 - 6) << 20);
    cycles(&mut trial, times(1, 30), &flags, |server, _| {
        let begun = Instant::now();
        // It takes some milliseconds: whoever slept between two looks would miss most of them.
        while !is_writing_a_snapshot(&data) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for a snapshot");
            thread::yield_now();
        }
        server.kill();
    });
}

fn is_writing_a_snapshot(data: &Path) -> bool {
    let Ok(entries) = fs::read_dir(data.join("partitions/0000")) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|it| it == "tmp"))
}

#[test]
fn each_role_killed_alone() {
    let mut trial = Trial::of("each role killed alone");
    trial.recovers_within(RECOVERY_MAX);
    let data = trial.data();
    let mut shop = Apart::start(&data, Start::default());
    let http = crate::shop::Shop::http(&shop);
    trial.open_sale(http, &data);
    let load = trial.load(http, &data, None);
    let witness = trial.witness(http, &data);
    let is_selling = |load: &Load| {
        let before = load.progress.accepted();
        wait_until("orders are placed", || load.progress.accepted() > before + 20);
    };
    for _ in 0..times(1, 20) {
        for part in Part::ALL {
            is_selling(&load);
            shop.kill(part);
            trial.fault();
            trial.until_sold(&load, Instant::now());
        }
    }
    trial.close(shop, load, witness);
}
