//! Strangers take connections, and with them file descriptors, as many as there may be. Whoever is
//! connected goes on, the log goes to its next files or says that it cannot, and when the strangers
//! leave new buyers come in again.

use crate::apart::{Apart, Start};
use crate::shop::Shop;
use crate::support::http::Client;
use crate::support::load::Load;
use crate::support::written_log::lengthen;
use crate::support::{Server, doorbuster_after, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Witness};
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// What a process may open.
const FILES: usize = 400;
/// More than that; the kernel takes them, whether they are accepted or not.
const STRANGERS: usize = FILES + 100;
/// So many come at once when some were turned out.
const WAVE: usize = 50;

/// How many files a process has open.
fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Where strangers come in.
struct Door {
    at: SocketAddr,
    pid: u32,
    /// Whether they are to come again when some were turned out.
    is_pressed: bool,
}

/// Connections that say nothing.
struct Strangers {
    at: SocketAddr,
    streams: VecDeque<TcpStream>,
}

impl Strangers {
    fn at(at: SocketAddr) -> Self {
        let mut strangers = Self { at, streams: VecDeque::new() };
        strangers.come(STRANGERS);
        strangers
    }

    fn come(&mut self, count: usize) {
        let new = (0..count).map(|_| TcpStream::connect(self.at).expect("the kernel takes it"));
        self.streams.extend(new);
    }

    /// Those that came first are turned out some time; others take their place.
    fn come_again(&mut self) {
        self.streams.drain(..WAVE);
        self.come(WAVE);
    }
}

/// Segments that a log has gone to since this was made.
struct Rotations {
    partition: PathBuf,
    known: HashSet<String>,
    since: usize,
    /// So many of them the log had opened before.
    opened: usize,
}

impl Rotations {
    fn of(data: &Path) -> Self {
        let partition = data.join("partitions/0000");
        let mut rotations = Self { partition, known: HashSet::new(), since: 0, opened: 0 };
        rotations.look();
        rotations.since = 0;
        rotations.opened = usize::from(rotations.names().any(|name| name.ends_with(".spare")));
        rotations
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let entries = fs::read_dir(&self.partition).expect("a partition").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
    }

    /// Counts those that are new; some may be gone again later.
    fn look(&mut self) {
        for name in self.names().filter(|name| name.ends_with(".log")) {
            self.since += usize::from(self.known.insert(name));
        }
    }

    /// Whether the log has gone to a file that it had to open for that since.
    fn have_opened(&self) -> bool {
        self.since > self.opened
    }
}

/// A stopped data directory with one log, which has used less than half of its first segment: from
/// the half on it opens the next one.
fn begun_segment(data: &Path) {
    let flags = ["--cores", "1", "--edge-threads", "1", "--segment-size", "8MiB"];
    let flags = [&flags[..], &["--partitions", "1"]].concat();
    assert!(Server::start_with(data, "127.0.0.1:0", &flags).stop().success());
    lengthen(data, 8 << 20, 3 << 20);
}

/// Strangers at a door, again and again, until `is_enough` of what the log did and what was
/// seen since. Whoever was there before is answered all the while by `is_right`.
fn crowd(
    trial: &mut Trial,
    door: &Door,
    http: SocketAddr,
    (load, witness): (&Load, &Witness),
    is_enough: impl Fn(&Rotations, &Witness, Instant) -> bool,
    is_right: impl Fn(&Came) -> bool,
) {
    for _ in 0..times(1, 10) {
        trial.until_sold(load, Instant::now());
        let begun = Instant::now();
        let mut rotations = Rotations::of(&trial.data());
        let mut strangers = Strangers::at(door.at);
        wait_until("the log has needed a file", || {
            rotations.look();
            if door.is_pressed && open_files(door.pid) < FILES {
                strangers.come_again();
            }
            is_enough(&rotations, witness, begun)
        });
        thread::sleep(dial(Duration::ZERO, Duration::from_secs(10)));
        let open = open_files(door.pid);
        drop(strangers);
        trial.fault();
        trial.until_sold(load, Instant::now());
        // New buyers find the door open again.
        let product = Client::connect(http).call("GET", "/products/many", None, None);
        assert_eq!(product.status, 200, "{product:?}");

        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| !is_right(&it.came)), None, "who was there goes on");
        let refused = seen.since(begun).filter(|it| it.came != Came::Order).count();
        let answers = seen.since(begun).count();
        eprintln!(
            "{open} files open, {} rotations, {refused} of {answers} refused",
            rotations.since
        );
    }
}

#[test]
fn strangers_at_the_edge_take_no_descriptor_from_the_log() {
    let mut trial = Trial::of("strangers at the edge");
    let data = trial.data();
    begun_segment(&data);
    let command = doorbuster_after(&format!("ulimit -n {FILES}"));
    let flags = ["--cores", "1", "--edge-threads", "1", "--segment-size", "8MiB"];
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    let door = Door { at: server.http, pid: server.pid(), is_pressed: false };
    let is_enough = |rotations: &Rotations, _: &Witness, _: Instant| {
        // Far more of them come than the edge takes; what is left is the log's.
        let open = open_files(door.pid);
        assert!(open < FILES, "{open} files are open");
        rotations.have_opened()
    };
    let is_right = |came: &Came| *came == Came::Order;
    crowd(&mut trial, &door, door.at, (&load, &witness), is_enough, is_right);
    trial.close(server, load, witness);
}

#[test]
fn strangers_at_the_engine_take_its_last_descriptor() {
    let mut trial = Trial::of("no descriptor left");
    let data = trial.data();
    begun_segment(&data);
    let engine = doorbuster_after(&format!("ulimit -n {FILES}"));
    let engine_flags = &["--segment-size", "8MiB"];
    let shop = Apart::start(&data, Start { engine, engine_flags, ..Start::default() });
    trial.open_sale(shop.http(), &data);
    let load = trial.load(shop.http(), &data, None);
    let witness = trial.witness(shop.http(), &data);
    let door = Door { at: shop.core(), pid: shop.engine_pid(), is_pressed: true };
    let have_filled = Cell::new(false);
    let is_enough = |rotations: &Rotations, witness: &Witness, begun: Instant| {
        have_filled.set(have_filled.get() || open_files(door.pid) >= FILES);
        let is_refused = || witness.seen().refused_since(begun, 503, "overloaded") > 0;
        have_filled.get() && (rotations.have_opened() || is_refused())
    };
    // A log that cannot open its next file has no room.
    let is_right =
        |came: &Came| *came == Came::Order || *came == Came::Refusal(503, "overloaded".to_owned());
    crowd(&mut trial, &door, shop.http(), (&load, &witness), is_enough, is_right);
    trial.close(shop, load, witness);
}
