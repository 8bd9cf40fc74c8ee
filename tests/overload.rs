//! More orders than the server can take, from a crowd that retries: whoever gets none is told when to
//! come back, payments and cancels go on, no queue outgrows its bound, and what was acknowledged
//! stands. How well it keeps up is measured by `scripts/overload`; here is what holds on any machine.

mod support;

use doorbuster_loadgen::{
    Amount, Credentials, Plan, Prepare, Progress, Report, Retrying, Stage, Target,
};
use doorbuster_protocol::limits;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::history::{embedded_rows, judge};
use support::metrics::Metrics;
use support::{Server, seed, token_secret, verify_and_audit};

/// Connections of the crowd, and of those who pay and cancel.
const CONNECTIONS: usize = 600;
const ACTING_CONNECTIONS: usize = 64;
/// Requests in flight to the engine's core; one in eight is kept for what is no new order.
const IN_FLIGHT: usize = 128;
/// What the server's memory may move by, beside what accepted orders keep.
const MEMORY_SLACK_BYTES: u64 = 192 << 20;
const ORDER_BYTES_MAX: u64 = 1_024;
/// How often the server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What may be said to somebody who gets no order: each is 409, 410, 429 or 503. `replayed` is the
/// answer to a retry of what was accepted after its client had stopped waiting.
const ANSWERS: [&str; 8] = [
    "replayed",
    "sold-out",
    "purchase-limit",
    "sale-ended",
    "rate-limited",
    "overloaded",
    "unavailable",
    "timeout",
];

/// The most that was seen of each queue, and of memory.
#[derive(Debug, Default)]
struct Most {
    looks: u64,
    waiting: f64,
    turns: f64,
    in_flight: f64,
    queue_depth: f64,
    connections: f64,
    memory_bytes: u64,
}

impl Most {
    fn look(&mut self, server: &Server) {
        let page = Metrics::of(server.admin);
        let most = |known: &mut f64, name: &str| *known = known.max(page.max(name));
        most(&mut self.waiting, "edge_waiting");
        most(&mut self.turns, "edge_orders_max");
        most(&mut self.in_flight, "edge_inflight");
        most(&mut self.queue_depth, "engine_queue_depth");
        most(&mut self.connections, "edge_connections");
        self.memory_bytes = self.memory_bytes.max(resident_bytes(server));
        self.looks += 1;
    }
}

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn crowd(server: &Server, seed: u64, list: &Path) -> Plan {
    Plan {
        buyers: 100_000,
        products: vec!["crowded".to_owned()],
        pay: 0.3,
        cancel: 0.2,
        acting_concurrency: ACTING_CONNECTIONS,
        credentials: Credentials::secret(&token_secret(server.data())),
        seed,
        journal: Some(list.to_owned()),
        ..Plan::new(Target::http(server.http))
    }
}

/// Accepted orders per second, of a crowd that is as large as can be in flight.
fn capacity(server: &Server, seed: u64, list: &Path) -> f64 {
    let plan = Plan {
        amount: Amount::Duration(Duration::from_secs(2)),
        concurrency: 64,
        prepare: Some(Prepare {
            stock: limits::STOCK_MAX,
            price: 1_999,
            limit_per_buyer: 0,
            hold_seconds: 3_600,
            waitlist_capacity: 0,
        }),
        ..crowd(server, seed, list)
    };
    let report = doorbuster_loadgen::run(plan, Arc::new(Progress::default())).expect("a report");
    report.accepted as f64 / report.elapsed_seconds
}

/// Runs a plan and looks at the server meanwhile.
fn watched(server: &Server, plan: Plan) -> (Report, Most) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = Most::default();
            while !is_over.load(Ordering::Relaxed) {
                most.look(server);
                std::thread::sleep(LOOK_EVERY);
            }
            most
        });
        let report = doorbuster_loadgen::run(plan, Arc::new(Progress::default()));
        is_over.store(true, Ordering::Relaxed);
        (report.expect("a report"), watching.join().expect("no panic"))
    })
}

#[test]
fn an_overloaded_server_says_when_to_come_back_and_finishes_what_it_began() {
    let home = tempfile::tempdir().expect("a directory");
    let in_flight = IN_FLIGHT.to_string();
    // Waits that are short enough for any machine to be overloaded by so many connections.
    let flags = ["--edge-threads", "1", "--in-flight", &in_flight, "--order-wait", "50ms"];
    let server = Server::start_with(&home.path().join("data"), "127.0.0.1:0", &flags);
    let seed = seed("DOORBUSTER_SEED");
    let [before, list] = ["capacity.jsonl", "overload.jsonl"].map(|name| home.path().join(name));
    let capacity = capacity(&server, seed, &before);
    let stage =
        |times: f64, seconds: u64| Stage::steady(times * capacity, Duration::from_secs(seconds));
    let plan = Plan {
        stages: vec![stage(0.5, 1), stage(10.0, 6), stage(0.5, 2)],
        patience: Some(Duration::from_millis(500)),
        concurrency: CONNECTIONS,
        retries: 20,
        retrying: Some(Retrying { budget: 0.1, honour: 0.5 }),
        ..crowd(&server, seed.wrapping_add(1), &list)
    };
    let memory_before = resident_bytes(&server);
    let (report, most) = watched(&server, plan);
    eprintln!("{report}\n{:#?}\n{most:?}", report.stages);

    // Nobody hears anything but a yes, or a no that is meant: there is no other answer, no lost
    // connection, and each 429 and 503 says when to come back.
    let others = report.stages.iter().flat_map(|stage| &stage.others);
    for (code, times) in others {
        assert!(ANSWERS.contains(&code.as_str()), "{code} {times} times");
    }
    assert_eq!(report.stages.iter().map(|stage| stage.without_retry_after).sum::<u64>(), 0);
    assert_eq!(report.violations, 0, "{report}");
    let overload = &report.stages[1];
    assert!(overload.accepted > 0 && overload.others.contains_key("overloaded"), "{overload:?}");

    // Whoever has an order can pay or cancel it.
    for stage in &report.stages {
        assert!(stage.acts_failed.is_empty(), "{stage:?}");
    }
    assert!(overload.acts_done > 0);

    // No queue outgrows its bound.
    assert!(most.looks > 10, "{most:?}");
    let connections = (CONNECTIONS + ACTING_CONNECTIONS) as f64;
    assert!(most.connections <= connections && most.waiting <= connections, "{most:?}");
    assert!(most.turns <= (IN_FLIGHT - IN_FLIGHT / 8) as f64, "{most:?}");
    assert!(most.in_flight <= IN_FLIGHT as f64, "{most:?}");
    assert!(most.queue_depth <= IN_FLIGHT as f64, "{most:?}");
    let allowed = memory_before + MEMORY_SLACK_BYTES + report.accepted * ORDER_BYTES_MAX;
    assert!(most.memory_bytes <= allowed, "{most:?}, from {memory_before} bytes");

    // And what was acknowledged stands.
    assert!(server.stop().success());
    let data = home.path().join("data");
    let audit = verify_and_audit(&data);
    assert_eq!(audit["oversold"], 0);
    let verdict = judge(&data, &[&before, &list], Some(embedded_rows(&data)));
    assert!(verdict.looked.acknowledged > 0 && verdict.looked.unknown > 0, "{verdict}");
}
