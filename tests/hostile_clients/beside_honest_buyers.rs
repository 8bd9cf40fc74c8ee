//! Each attack in turn, beside the load generator on kept connections and new buyers on new ones.
//!
//! What honest buyers lose is a ratio of two measurements in one run: the goodput beside the attack
//! over that just before it. It is asserted in the long form only, where the builds are optimized
//! and nothing else runs.

use super::attack::{Attack, Tally, Target};
use super::attackers::Kind;
use super::honest::{Asking, Honest, NEW, Newcomers};
use super::support::metrics::Metrics;
use super::support::{Server, verify_and_audit, wait_until};
use super::{network, table};
use doorbuster_loadgen::Report;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use table::Row;

const TEST: &str = "beside_honest_buyers::honest_buyers_are_served_beside_every_attack";
/// What honest buyers may keep of their goodput at the least.
const RATIO_MIN: f64 = 0.9;
/// When a connection that dawdles is ended at the latest.
const LIFE_MAX: Duration = Duration::from_secs(10);
/// What a connection that does nothing may cost.
const IDLE_BYTES_MAX: u64 = 4_096;
/// A little longer than a connection that rests keeps its buffers.
const BUFFERS_KEPT: Duration = Duration::from_secs(3);
/// The share of the server's capacity that honest buyers take in the long form.
const HONEST_SHARE: f64 = 0.5;
/// Their orders per second in the short form.
const HONEST_RATE: f64 = 200.0;

/// How large it is.
struct Form {
    is_long: bool,
    /// How long honest buyers are looked at without an attack, and beside it.
    window: Duration,
    /// Attackers who hold a connection each.
    held: usize,
    /// Those of them that cost the server work, or answers.
    readers: usize,
    /// Attackers who come and go, per second.
    rate: usize,
    /// Connections of honest buyers.
    honest: usize,
    /// Between two bytes of those who dawdle.
    pause: Duration,
    flags: &'static [&'static str],
}

/// Times that a test can wait for.
const SHORT_TIMES: &[&str] = &[
    "--header-timeout",
    "1s",
    "--body-timeout",
    "2s",
    "--write-timeout",
    "1s",
    "--idle-timeout",
    "2s",
    "--bad-token-rate-limit",
    "20/s",
];

impl Form {
    fn given() -> Self {
        if std::env::var("DOORBUSTER_HOSTILE").is_ok_and(|form| form == "long") {
            return Self {
                is_long: true,
                window: Duration::from_secs(12),
                held: 10_000,
                readers: 500,
                rate: 500,
                honest: 32,
                pause: Duration::from_millis(2_500),
                flags: &[],
            };
        }
        Self {
            is_long: false,
            window: Duration::from_millis(500),
            held: 400,
            readers: 40,
            rate: 100,
            honest: 8,
            pause: Duration::from_millis(200),
            flags: SHORT_TIMES,
        }
    }

    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::SlowReaders => self.readers,
            // Each brings more bytes than fit a socket.
            Kind::Giants => self.rate / 2,
            _ if kind.is_held() => self.held,
            _ => self.rate,
        }
    }
}

#[test]
fn honest_buyers_are_served_beside_every_attack() {
    if network::has_run_apart(TEST) {
        return;
    }
    let form = Form::given();
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let server = Server::start_with(&data, "127.0.0.1:0", form.flags);
    let terms = json!({ "price": 100, "currency": "USD", "stock": 100_000_000 });
    for product in ["attacked", NEW] {
        server.define(product, &terms);
    }
    let asking = match form.is_long {
        true => Asking::ForShare(HONEST_SHARE, form.window / 4),
        false => Asking::ForRate(HONEST_RATE, form.window / 4),
    };
    let honest = Honest::of(&server, form.honest, asking);
    let target = Target {
        http: server.http,
        bearer: format!("Bearer {}", server.token("mallory")),
        product: "attacked".to_owned(),
        pause: form.pause,
    };
    table::head();
    let rows: Vec<Row> = Kind::ALL
        .into_iter()
        .filter(|kind| is_asked_for(*kind))
        .map(|kind| {
            let row = attack(kind, &form, &server, &honest, &target);
            table::print(&row);
            row
        })
        .collect();
    assert_eq!(server.product("attacked")["held"], 0, "no attacker bought anything");
    assert!(server.stop().success());
    verify_and_audit(&data);
    if form.is_long {
        rows.iter().for_each(hold_to_the_bar);
    }
}

/// Some of them can be asked for by words of their names.
fn is_asked_for(kind: Kind) -> bool {
    let words = std::env::var("DOORBUSTER_HOSTILE_ATTACKS").unwrap_or_default();
    words.is_empty() || words.split(',').any(|word| kind.name().contains(word.trim()))
}

fn hold_to_the_bar(row: &Row) {
    assert!(row.ratio() >= RATIO_MIN, "honest buyers lost too much: {row:?}");
    if matches!(row.kind, Kind::SlowHeaders | Kind::SlowBodies) {
        assert!(row.lifetimes.is_some_and(|(_, longest)| longest < LIFE_MAX), "{row:?}");
    }
    if matches!(row.kind, Kind::Idle | Kind::Resting) {
        assert!(row.bytes_each().is_some_and(|bytes| bytes < IDLE_BYTES_MAX), "{row:?}");
    }
}

/// One attack, from the quiet before it to the end of its last connection.
fn attack(kind: Kind, form: &Form, server: &Server, honest: &Honest, target: &Target) -> Row {
    let count = form.count(kind);
    let quiet = honest.buy_for(form.window);
    let memory_before = memory_kib(server.pid());
    let newcomers = Newcomers::come(server);
    let counted = || kind.reason().map(|reason| rejected(server, reason));
    let counted_before = counted();
    let attack = Attack::start(kind, count, target);
    let tally = Arc::clone(&attack.tally);
    let enough = count as u64 / 10 * 9;
    let is_there = |tally: &Tally| match kind.is_held() {
        true => tally.get(|tally| &tally.held) >= enough || tally.get(|tally| &tally.closed) > 0,
        false => tally.get(|tally| &tally.opened) > 0,
    };
    wait_until("the attackers have come", || is_there(&tally));
    if form.is_long && kind == Kind::Resting {
        std::thread::sleep(BUFFERS_KEPT);
    }
    let settled = memory_kib(server.pid());
    let vanishes = kind == Kind::HalfOpen && network::is_own();
    if vanishes {
        network::cut();
    }
    let (began, opened) = (Instant::now(), tally.get(|tally| &tally.opened));
    let watch = Watch::over(&tally, server.pid());
    let beside = honest.buy_for(form.window);
    // What there is to see is waited for, however slow the machine is.
    wait_until("the server has ended what it has to", || match kind {
        Kind::Idle | Kind::Resting | Kind::HalfOpen if form.is_long => true,
        Kind::HalfOpen => connections(server) < enough,
        _ if kind.is_held() => tally.get(|tally| &tally.closed) >= enough,
        Kind::Churn => true,
        _ => tally.get(|tally| &tally.right) > 0 && counted() > counted_before,
    });
    let rate = (tally.get(|tally| &tally.opened) - opened) as f64 / began.elapsed().as_secs_f64();
    let (held, memory) = watch.end();
    if vanishes {
        wait_until("those who vanished are let go", || connections(server) < enough / 10);
    }
    let tally = attack.stop();
    if vanishes {
        network::mend();
    }
    newcomers.leave();
    wait_until("all attackers are gone", || connections(server) < 100);
    let is_counted = counted() > counted_before || kind.reason().is_none();
    assert!(is_counted, "{} is not counted: {:?}", kind.name(), tally.lifetimes());
    Row {
        kind,
        connections: if kind.is_held() { held } else { rate.round() as u64 },
        goodput: [quiet.rate, beside.rate],
        p99: [p99(&quiet), p99(&beside)],
        memory_kib: [memory_before, settled, memory],
        closed: 0,
        lifetimes: None,
    }
    .with_closings(&tally)
}

fn p99(report: &Report) -> Duration {
    Duration::from_micros(report.latency.get("orders").map_or(0, |latency| latency.p99_us))
}

fn rejected(server: &Server, reason: &str) -> u64 {
    Metrics::of(server.admin).sum(&format!("edge_rejected_total{{reason=\"{reason}\"}}")) as u64
}

fn connections(server: &Server) -> u64 {
    Metrics::of(server.admin).sum("edge_connections") as u64
}

/// Resident memory of a process.
fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Looks on while an attack goes on: the most connections held, the most memory.
struct Watch {
    end: Arc<AtomicBool>,
    held: Arc<AtomicU64>,
    memory: JoinHandle<u64>,
}

impl Watch {
    fn over(tally: &Arc<Tally>, pid: u32) -> Self {
        let (end, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (tally, ends, most) = (Arc::clone(tally), Arc::clone(&end), Arc::clone(&held));
        let memory = std::thread::spawn(move || {
            let mut memory = 0;
            while !ends.load(Relaxed) {
                most.fetch_max(tally.get(|tally| &tally.held), Relaxed);
                memory = memory.max(memory_kib(pid));
                std::thread::sleep(Duration::from_millis(50));
            }
            memory
        });
        Self { end, held, memory }
    }

    fn end(self) -> (u64, u64) {
        self.end.store(true, Relaxed);
        let memory = self.memory.join().expect("it only looks");
        (self.held.load(Relaxed), memory)
    }
}
