//! A disk that fills up in the middle of a sale: under the log, on tmpfs and on ext4, and under the
//! store. What cannot be kept is refused, and when there is room again everything goes on by itself.

use crate::support::disk::Disk;
use crate::support::metrics::Metrics;
use crate::support::stored::Stored;
use crate::support::written_log::lengthen;
use crate::support::{Server, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Witness};
use std::thread;
use std::time::{Duration, Instant};

const MEBIBYTES: u32 = 64;

/// How long a disk stays full.
fn full_for() -> Duration {
    dial(Duration::from_millis(300), Duration::from_secs(5))
}

/// The log on `disk`, the store elsewhere.
fn the_logs_disk_fills_up(mut trial: Trial, disk: &Disk) {
    let data = disk.path().join("data");
    let store = Stored::Sqlite(trial.path("store.sqlite"));
    let place = format!("sqlite:{}", trial.path("store.sqlite").display());
    let flags = ["--cores", "1", "--edge-threads", "1", "--partitions", "1"];
    let flags = [&flags[..], &["--segment-size", "8MiB", "--store", &place]].concat();
    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    // Few enough in the long form: what is remembered of all orders, twice, has to find room as well.
    let load = trial.load(server.http, &data, dial(None, Some(50.0)));
    let witness = trial.witness(server.http, &data);
    for _ in 0..times(1, 10) {
        trial.until_sold(&load, Instant::now());
        let filler = disk.fill();
        let begun = Instant::now();
        wait_until("orders are refused", || {
            witness.seen().refused_since(begun, 503, "overloaded") > 0
        });
        let before = load.progress.accepted();
        thread::sleep(full_for());
        // A core may have a few bytes left for a moment; then nothing is taken any more.
        assert!(load.progress.accepted() < before + 200, "the disk is full");
        can_be_read(&server, &witness);
        drop(filler);
        trial.fault();
        trial.until_sold(&load, Instant::now());
    }
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}

/// What is there can be read all the while.
fn can_be_read(server: &Server, witness: &Witness) {
    let seen = witness.seen();
    let order = seen.acknowledged.last().expect("the witness has an order").order_id.clone();
    drop(seen);
    let path = format!("/orders/{order}");
    let read = server.client().call("GET", &path, Some(&server.token("witness")), None);
    assert_eq!((read.status, read.body["status"].as_str()), (200, Some("pending")), "{read:?}");
}

#[test]
fn the_logs_tmpfs_fills_up() {
    let mut trial = Trial::of("disk full: tmpfs");
    let Some(disk) = trial.needs(Disk::memory(MEBIBYTES)) else { return };
    the_logs_disk_fills_up(trial, &disk);
}

#[test]
fn the_logs_ext4_fills_up() {
    let mut trial = Trial::of("disk full: ext4");
    let disk = Disk::ext4(&trial.path("image"), MEBIBYTES, &[]);
    let Some(disk) = trial.needs(disk) else { return };
    the_logs_disk_fills_up(trial, &disk);
}

#[test]
fn the_stores_disk_fills_up() {
    let mut trial = Trial::of("disk full: store");
    let Some(disk) = trial.needs(Disk::memory(16)) else { return };
    let data = trial.data();
    let file = disk.path().join("store.sqlite");
    let store = Stored::Sqlite(file.clone());
    let place = format!("sqlite:{}", file.display());
    let flags = ["--cores", "1", "--edge-threads", "1", "--store", &place];
    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, Some(dial(300.0, 200.0)));
    let witness = trial.witness(server.http, &data);
    let lag = || Metrics::of(server.admin).sum("projector_lag_events");
    for _ in 0..times(1, 5) {
        trial.until_sold(&load, Instant::now());
        let filler = disk.fill();
        let begun = Instant::now();
        wait_until("results do not reach the store", || lag() > 100.0);
        thread::sleep(full_for());
        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| it.came != Came::Order), None, "orders go on");
        drop(seen);
        drop(filler);
        trial.fault();
        let back = Instant::now();
        wait_until("the store has caught up", || lag() < 100.0);
        trial.recovered(back);
    }
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}

#[test]
fn the_log_outgrows_its_disk_and_goes_on() {
    let mut trial = Trial::of("disk full: by the log itself");
    let Some(disk) = trial.needs(Disk::memory(MEBIBYTES)) else { return };
    let data = disk.path().join("data");
    let store = Stored::Sqlite(trial.path("store.sqlite"));
    let place = format!("sqlite:{}", trial.path("store.sqlite").display());
    let flags = ["--cores", "1", "--edge-threads", "1", "--partitions", "1"];
    let flags = [&flags[..], &["--segment-size", "8MiB", "--store", &place]].concat();
    assert!(Server::start_with(&data, "127.0.0.1:0", &flags).stop().success());
    // Enough for a snapshot; two of them, and the segments between them, find no room here.
    lengthen(&data, 8 << 20, 47 << 20);
    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    let rounds = || server.log().matches("what one snapshot covers is let go of").count();
    // With each the snapshots grow; after three or four, two of them no longer fit on this disk.
    for round in 1..=dial(1, 2) {
        wait_until("segments go that one snapshot covers", || rounds() >= round);
        trial.fault();
        trial.until_sold(&load, Instant::now());
    }
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}
