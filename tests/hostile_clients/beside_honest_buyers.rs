//! Each attack in turn, beside the load generator on kept connections and new buyers on new ones.
//!
//! What honest buyers lose is a ratio of two measurements in one run: the goodput beside the attack
//! over that just before it. There are two such ratios: one of buyers who ask for half of what the
//! server could do, and one of buyers who ask for all of it, and so share the machine with the
//! attackers. Both are asserted in the long form only, where the builds are optimized and nothing
//! else runs.

use super::attack::{Attack, Tally, Target};
use super::attackers::Kind;
use super::honest::{Asking, Honest, NEW, Newcomers};
use super::support::metrics::Metrics;
use super::support::{Server, skip, verify_and_audit, wait_until};
use super::{network, table};
use doorbuster_loadgen::Report;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use table::Row;

const TEST: &str = "beside_honest_buyers::honest_buyers_are_served_beside_every_attack";
/// What honest buyers keep of their goodput at the least when they ask for a part of what is
/// possible, and when they ask for all.
const RATIO_MIN: f64 = 0.9;
const FULL_RATIO_MIN: f64 = 0.5;
/// The share of the server's capacity that honest buyers take in the long form.
const HONEST_SHARE: f64 = 0.5;
/// Their orders per second in the short form.
const HONEST_RATE: f64 = 200.0;

/// How large it is.
struct Form {
    is_long: bool,
    /// How long honest buyers are looked at without an attack, and beside it.
    window: Duration,
    /// How long they are while they ask for all that is possible.
    full_window: Duration,
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
                full_window: Duration::from_secs(6),
                held: number("DOORBUSTER_HOSTILE_CONNECTIONS").unwrap_or(10_000),
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
            full_window: Duration::from_millis(100),
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
    let asked_for: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| is_asked_for(*kind)).collect();
    assert!(!asked_for.is_empty(), "DOORBUSTER_HOSTILE_ATTACKS has no word of any attack's name");
    if std::env::var("DOORBUSTER_HOSTILE").is_ok_and(|form| form == "list") {
        asked_for.iter().for_each(|kind| println!("{}", kind.name()));
        return;
    }
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
    let (mut rows, mut skipped) = (Vec::new(), 0);
    for kind in asked_for {
        if kind == Kind::HalfOpen && !network::is_own() {
            println!("{:<24} skipped: {}", kind.name(), network::WANTED);
            skip(network::WANTED);
            skipped += 1;
            continue;
        }
        let row = attack(kind, &form, &server, &honest, &target);
        table::print(&row);
        rows.push(row);
    }
    assert_eq!(server.product("attacked")["held"], 0, "no attacker bought anything");
    assert!(server.stop().success());
    verify_and_audit(&data);
    if form.is_long {
        rows.iter().for_each(hold_to_the_bar);
    }
    table::print_end(&rows, skipped);
}

fn number(variable: &str) -> Option<usize> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// Past the server's bound, which only a number of one's own can reach, those who asked once are let
/// go and ask again.
fn can_rest() -> bool {
    number("DOORBUSTER_HOSTILE_CONNECTIONS").is_none()
}

/// Some of them can be asked for by words of their names.
fn is_asked_for(kind: Kind) -> bool {
    let words = std::env::var("DOORBUSTER_HOSTILE_ATTACKS").unwrap_or_default();
    words.is_empty() || words.split(',').any(|word| kind.name().contains(word.trim()))
}

fn hold_to_the_bar(row: &Row) {
    assert!(row.ratio() >= RATIO_MIN, "honest buyers lost too much: {row:?}");
    assert!(row.full_ratio() >= FULL_RATIO_MIN, "honest buyers lost too much: {row:?}");
    if let Some(bar) = life_max(row.kind) {
        assert!(row.lifetimes.is_some_and(|(_, longest)| longest < bar), "{row:?}");
    }
    let rests = row.kind != Kind::Resting || can_rest();
    if let Some(bar) = bytes_max(row.kind).filter(|_| rests) {
        assert!(row.bytes_each().is_some_and(|bytes| bytes < bar), "{row:?}");
    }
}

/// When a connection that dawdles is ended at the latest.
fn life_max(kind: Kind) -> Option<Duration> {
    match kind {
        Kind::SlowHeaders | Kind::SlowBodies => Some(Duration::from_secs(10)),
        // From when its socket takes no more, which is not at once.
        Kind::SlowReaders => Some(Duration::from_secs(20)),
        _ => None,
    }
}

/// What a connection that is held may cost the server's memory.
fn bytes_max(kind: Kind) -> Option<u64> {
    match kind {
        Kind::SlowHeaders | Kind::Idle | Kind::Resting => Some(4 << 10),
        // hyper's buffers, for as long as a request goes on; of readers also answers in them.
        Kind::SlowBodies => Some(40 << 10),
        Kind::SlowReaders => Some(64 << 10),
        _ => None,
    }
}

/// One attack, from the quiet before it to the end of its last connection.
fn attack(kind: Kind, form: &Form, server: &Server, honest: &Honest, target: &Target) -> Row {
    let count = form.count(kind);
    let quiet = honest.buy_for(form.window);
    let quiet_full = honest.buy_all_they_can(form.full_window);
    let memory_before = memory_kib(server.pid());
    let newcomers = Newcomers::come(server);
    let counted = || kind.reason().map(|reason| rejected(server, reason));
    let counted_before = counted();
    let attack = Attack::start(kind, count, target);
    let tally = Arc::clone(&attack.tally);
    let enough = count as u64 / 10 * 9;
    let is_there = |tally: &Tally| match kind {
        // Before they are answered they wait, and neither rest nor vanish.
        Kind::HalfOpen | Kind::Resting => tally.get(|tally| &tally.right) >= enough,
        _ if kind.is_held() => {
            tally.get(|tally| &tally.held) >= enough || tally.get(|tally| &tally.closed) > 0
        }
        _ => tally.get(|tally| &tally.opened) > 0,
    };
    wait_until("the attackers have come", || is_there(&tally));
    if form.is_long && kind == Kind::Resting {
        let most = bytes_max(kind).expect("it has a bar") / 1_024 * enough;
        wait_until("buffers are given back", || {
            memory_kib(server.pid()).saturating_sub(memory_before) < most
                || !can_rest() && tally.get(|tally| &tally.closed) > 0
        });
    }
    let settled = memory_kib(server.pid());
    let vanishes = kind == Kind::HalfOpen;
    if vanishes {
        network::cut();
    }
    let (began, opened) = (Instant::now(), tally.get(|tally| &tally.opened));
    let watch = Watch::over(&tally, server.pid());
    let beside = honest.buy_for(form.window);
    let beside_full = honest.buy_all_they_can(form.full_window);
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
        full: [quiet_full.rate, beside_full.rate],
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
