//! The load generator against an HTTP shop that keeps the contract, or breaks it on purpose.

mod support;

use doorbuster_loadgen::{
    Amount, Credentials, FollowQueued, LoadError, Pace, Plan, Prepare, Progress, Report, Target,
    journal, run,
};
use doorbuster_protocol::outcome::OrderStatus;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use support::http_server::HttpServer;
use support::{Shop, wait_until};

fn plan_for(server: &HttpServer) -> Plan {
    let mut plan = Plan::new(Target::http(server.address()));
    plan.credentials = Credentials::secret(&[7; 32]);
    plan.concurrency = 8;
    plan
}

fn carry_out(plan: Plan) -> Report {
    let seed = plan.seed;
    let report = run(plan, Arc::new(Progress::default()));
    report.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

#[test]
fn a_sale_ends_with_as_many_winners_as_units() {
    fn check(chunked: bool, threads: usize, pace: Pace) {
        let directory = tempfile::tempdir().expect("a directory");
        let server = HttpServer::start(Shop::new(0, 0));
        server.chunked.store(chunked, SeqCst);
        let mut plan = plan_for(&server).buyers_once(1_000);
        (plan.duplicates, plan.pay, plan.cancel) = (0.3, 0.5, 0.0);
        (plan.threads, plan.pace) = (threads, pace);
        plan.prepare = Some(Prepare {
            stock: 200,
            price: 1_999,
            limit_per_buyer: 1,
            hold_seconds: 60,
            waitlist_capacity: 0,
        });
        let path = directory.path().join("orders.jsonl");
        plan.journal = Some(path.clone());
        let report = carry_out(plan);

        assert!(report.is_clean(), "{report}");
        assert_eq!((report.attempts, report.winners), (1_000, 200), "{report}");
        assert_eq!(report.accepted, 200, "{report}");
        assert!(report.replayed > 0 && report.paid > 0, "{report}");
        assert!(report.sent > 1_000, "duplicates are sent, too: {report}");
        let answers = report.accepted + report.replayed + report.sold_out;
        assert_eq!(answers, report.sent, "{report}");
        let shop = server.shop.lock().expect("no panic under the lock");
        assert_eq!(shop.orders.len(), 200);
        assert_eq!(shop.count(OrderStatus::Paid), report.paid);

        let entries = journal::read(&path).expect("a journal");
        let orders: HashSet<_> =
            entries.iter().map(|entry| entry.order().expect("an order id")).collect();
        assert_eq!(orders, shop.ids());
        let paid = entries.iter().filter(|entry| entry.status == "paid").count();
        assert_eq!(paid as u64, report.paid);
    }
    check(false, 1, Pace::Closed);
    check(true, 2, Pace::Closed);
    check(false, 2, Pace::Open { rate: 20_000.0 });
}

#[test]
fn a_server_that_forgets_keys_is_caught() {
    let server = HttpServer::start(Shop::forgetful(10_000));
    let mut plan = plan_for(&server).buyers_once(200);
    plan.duplicates = 0.5;
    let report = carry_out(plan);
    assert!(report.violations > 0 && !report.is_clean(), "{report}");
    assert!(report.to_string().contains("two orders for one key"), "{report}");
}

#[test]
fn a_stall_shows_in_the_percentiles_of_an_open_loop() {
    // 400 slots a second; the server stalls until the slots of a whole second wait.
    const RATE: f64 = 400.0;
    let server = HttpServer::start(Shop::new(10_000, 0));
    let mut plan = plan_for(&server).buyers_once(1_200);
    (plan.pace, plan.concurrency) = (Pace::Open { rate: RATE }, 2);
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let running = std::thread::spawn(move || run(plan, watched));
    wait_until("some answers", || progress.answers() >= 100);
    server.door.close();
    // Counted from here: on a busy machine some wait before the door is closed.
    let before = progress.released();
    wait_until("a second of slots", || progress.released() >= before + RATE as u64);
    server.door.open();
    let report = running.join().expect("no panic").expect("a report");

    assert!(report.is_clean(), "{report}");
    assert_eq!(report.attempts, 1_200);
    let (latency, service) = (report.orders(), report.service_time["orders"]);
    // A third of all slots fell into the stall, and those waited up to a second; but only two
    // requests, one per connection, were on their way in it.
    assert!(latency.p99_us >= 900_000, "{report}");
    assert!(latency.p90_us >= 500_000, "{report}");
    assert!(service.p99_us < latency.p99_us, "{report}");
    // On a machine that stood still as well, that is what is said.
    let told = ["connections to come free", "stood still"];
    let is_told = |w: &String| told.iter().any(|told| w.contains(told));
    assert!(report.warnings.iter().any(is_told), "{report}");
}

#[test]
fn broken_connections_are_made_again_and_orders_asked_for_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = HttpServer::start(Shop::new(10_000, 0));
    server.breaks_every.store(20, SeqCst);
    let mut plan = plan_for(&server).buyers_once(500);
    (plan.tolerate_disconnects, plan.retries, plan.duplicates) = (true, 50, 0.2);
    let path = directory.path().join("orders.jsonl");
    plan.journal = Some(path.clone());
    let report = carry_out(plan);
    assert!(report.is_clean(), "{report}");
    assert!(report.reconnects > 0 && report.retries > 0 && report.disconnects > 0, "{report}");
    assert_eq!((report.winners, report.errors), (500, 0), "{report}");
    let entries = journal::read(&path).expect("a journal");
    let orders: HashSet<_> =
        entries.iter().map(|entry| entry.order().expect("an order id")).collect();
    let shop = server.shop.lock().expect("no panic under the lock");
    assert_eq!(orders, shop.ids());
}

#[test]
fn a_server_that_goes_away_ends_the_run() {
    let server = HttpServer::start(Shop::new(1_000_000, 0));
    let mut plan = plan_for(&server);
    plan.amount = Amount::Duration(Duration::from_secs(3_600));
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let running = std::thread::spawn(move || run(plan, watched));
    wait_until("some answers", || progress.answers() >= 100);
    server.go_down();
    let report = running.join().expect("no panic").expect("a report");
    assert!(!report.is_clean(), "{report}");
    let why = report.ended_by.as_deref().unwrap_or_default();
    assert!(why.contains("cannot be reached"), "{report}");
}

#[test]
fn queued_orders_are_followed_until_they_are_paid() {
    let server = HttpServer::start(Shop::new(100, 50));
    let mut plan = plan_for(&server).buyers_once(300);
    (plan.waitlist, plan.pay, plan.cancel) = (true, 0.5, 0.5);
    plan.follow_queued = Some(FollowQueued {
        every: Duration::from_millis(5),
        patience: Duration::from_millis(500),
    });
    // Of all who still think when the queue begins, somebody will cancel.
    plan.think_time = Duration::from_millis(100);
    let report = carry_out(plan);
    assert!(report.is_clean(), "{report}");
    assert!(report.winners >= 100, "what is cancelled is sold again: {report}");
    assert!(report.queued >= 50 && report.promoted > 0, "{report}");
    let shop = server.shop.lock().expect("no panic under the lock");
    assert_eq!(shop.count(OrderStatus::Paid), report.paid);
    assert_eq!(shop.count(OrderStatus::Cancelled), report.cancelled);
    assert_eq!(report.paid + report.cancelled, report.winners + report.promoted, "{report}");
}

#[test]
fn a_run_stops_when_it_is_told_to() {
    for pace in [Pace::Closed, Pace::Open { rate: 1_000.0 }] {
        let server = HttpServer::start(Shop::new(1_000_000, 0));
        let mut plan = plan_for(&server);
        (plan.amount, plan.pace) = (Amount::Duration(Duration::from_secs(3_600)), pace);
        let progress = Arc::new(Progress::default());
        let watched = Arc::clone(&progress);
        let running = std::thread::spawn(move || run(plan, watched));
        wait_until("some answers", || progress.answers() >= 10);
        progress.stop();
        let report = running.join().expect("no panic").expect("a report");
        assert!(report.is_clean() && report.accepted >= 1, "{report}");
    }
}

#[test]
fn a_closed_loop_lasts_as_long_as_it_should() {
    let server = HttpServer::start(Shop::new(1_000_000, 0));
    let mut plan = plan_for(&server);
    plan.amount = Amount::Duration(Duration::from_millis(300));
    let begun = Instant::now();
    let report = carry_out(plan);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(report.is_clean(), "{report}");
    assert!(report.attempts > 0 && report.limit > 0, "buyers come again: {report}");
}

#[test]
fn nobody_there_and_another_machine_are_told_apart() {
    let server = HttpServer::start(Shop::new(1, 0));
    let plan = plan_for(&server);
    server.go_down();
    wait_until("the port is closed", || std::net::TcpStream::connect(server.address()).is_err());
    let error = run(plan.clone(), Arc::default()).expect_err("nobody is there");
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("Is the server running"), "{error}");

    let remote = Plan { target: Target::http("192.0.2.1:9".parse().expect("an address")), ..plan };
    let error = run(remote, Arc::default()).expect_err("it is not this machine");
    assert!(matches!(error, LoadError::Plan(_)), "{error}");
}
