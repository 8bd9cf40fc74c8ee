//! Strangers take connections, and with them file descriptors, as many as there may be. Whoever is
//! connected goes on, the log goes to its next files or says that it cannot, and when the strangers
//! leave new buyers come in again.

use crate::apart::{Apart, Start};
use crate::shop::Shop;
use crate::support::http::Client;
use crate::support::load::Load;
use crate::support::{Server, doorbuster_after};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Witness};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What a process may open.
const FILES: usize = 400;
/// More than that; the kernel takes them, whether they are accepted or not.
const STRANGERS: usize = FILES + 100;

/// How many files a process has open.
fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

fn strangers(at: SocketAddr) -> Vec<TcpStream> {
    (0..STRANGERS).map(|_| TcpStream::connect(at).expect("the kernel takes it")).collect()
}

/// Strangers at a door of `pid`, again and again. Whoever was there before is answered all the while
/// by `is_right`.
fn crowd(
    trial: &mut Trial,
    (door, pid): (SocketAddr, u32),
    http: SocketAddr,
    (load, witness): (&Load, &Witness),
    is_right: impl Fn(&Came) -> bool,
) {
    for _ in 0..times(1, 10) {
        trial.until_sold(load, Instant::now());
        let begun = Instant::now();
        let strangers = strangers(door);
        thread::sleep(dial(Duration::from_secs(1), Duration::from_secs(10)));
        let open = open_files(pid);
        drop(strangers);
        trial.fault();
        trial.until_sold(load, Instant::now());
        // New buyers find the door open again.
        let product = Client::connect(http).call("GET", "/products/many", None, None);
        assert_eq!(product.status, 200, "{product:?}");

        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| !is_right(&it.came)), None, "who was there goes on");
        eprintln!("{open} files open, {} answers", seen.since(begun).count());
        assert!(seen.since(begun).count() > 5, "there were answers");
    }
}

#[test]
fn strangers_at_the_edge_take_no_descriptor_from_the_log() {
    let mut trial = Trial::of("strangers at the edge");
    let data = trial.data();
    let command = doorbuster_after(&format!("ulimit -n {FILES}"));
    let flags = ["--cores", "1", "--edge-threads", "1", "--segment-size", "8MiB"];
    let flags = [&flags[..], &["--partitions", "4"]].concat();
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = Witness::send(server.http, &data, "witness");
    let door = (server.http, server.pid());
    crowd(&mut trial, door, server.http, (&load, &witness), |came| *came == Came::Order);
    trial.close(server, load, witness);
}

#[test]
fn strangers_at_the_engine_take_its_last_descriptor() {
    let mut trial = Trial::of("no descriptor left");
    let data = trial.data();
    let engine = doorbuster_after(&format!("ulimit -n {FILES}"));
    let engine_flags = &["--segment-size", "8MiB", "--partitions", "4"];
    let shop = Apart::start(&data, Start { engine, engine_flags, ..Start::default() });
    trial.open_sale(shop.http(), &data);
    let load = trial.load(shop.http(), &data, None);
    let witness = Witness::send(shop.http(), &data, "witness");
    let door = (shop.core(), shop.engine_pid());
    // A log that cannot open its next file has no room.
    let is_right =
        |came: &Came| *came == Came::Order || *came == Came::Refusal(503, "overloaded".to_owned());
    crowd(&mut trial, door, shop.http(), (&load, &witness), is_right);
    trial.close(shop, load, witness);
}
