//! No file descriptor is left: somebody has opened as many connections as there may be. Whoever is
//! connected goes on, the log goes to its next files or says that it cannot, and when the strangers
//! leave new buyers come in again.

use crate::support::{Server, doorbuster_after};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Sighting, Witness};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What the process may open.
const FILES: usize = 400;
/// More than that; the kernel takes them, whether they are accepted or not.
const STRANGERS: usize = FILES + 100;

/// How many files a process has open.
fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

fn strangers(http: SocketAddr) -> Vec<TcpStream> {
    (0..STRANGERS).map(|_| TcpStream::connect(http).expect("the kernel takes it")).collect()
}

#[test]
fn strangers_take_all_descriptors() {
    let mut trial = Trial::of("no descriptor left");
    let data = trial.data();
    let command = doorbuster_after(&format!("ulimit -n {FILES}"));
    let flags = ["--cores", "1", "--edge-threads", "1", "--segment-size", "8MiB"];
    let flags = [&flags[..], &["--partitions", "4"]].concat();
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = Witness::send(server.http, &data, "witness");
    for _ in 0..times(1, 10) {
        trial.until_sold(&load, Instant::now());
        let strangers = strangers(server.http);
        let begun = Instant::now();
        thread::sleep(dial(Duration::from_secs(1), Duration::from_secs(10)));
        let open = open_files(server.pid());
        drop(strangers);
        trial.fault();
        trial.until_sold(&load, Instant::now());
        // New buyers find the door open again.
        let product = server.client().call("GET", "/products/many", None, None);
        assert_eq!(product.status, 200, "{product:?}");

        let seen = witness.seen();
        let is_answer = |it: &Sighting| matches!(it.came, Came::Order | Came::Refusal(503, _));
        assert_eq!(seen.since(begun).find(|it| !is_answer(it)), None, "who was there goes on");
        eprintln!("{open} files open, {} answers", seen.since(begun).count());
        assert!(seen.since(begun).count() > 10, "there were answers");
    }
    trial.close(server, load, witness);
}
