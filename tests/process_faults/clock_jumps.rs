//! The wall clock is set while a server runs, an hour ahead and then two hours back. Holds last as
//! long as was promised, no more and no less, and nothing is sold twice.

use crate::apart::{Apart, Start};
use crate::shop::Shop;
use crate::support::clock::{Clock, SEEN_WITHIN};
use crate::support::{Server, doorbuster, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Sighting, Witness};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

const HOUR: i64 = 3_600;
/// How long the short holds last.
const HOLD: Duration = Duration::from_secs(2);
/// How long after their deadline they may still stand: a second, and what a busy machine adds.
const ALLOWANCE: Duration = Duration::from_secs(3);

fn status(server: &Server, order: &str) -> Value {
    let path = format!("/orders/{order}");
    let answer = server.client().call("GET", &path, Some(&server.token("ann")), None);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["status"].clone()
}

fn order(server: &Server, product: &str) -> String {
    let answer = server.client().buy(product, &server.token("ann"), None, false);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.order()
}

#[test]
fn the_clock_jumps_ahead_and_back() {
    let mut trial = Trial::of("clock jump");
    let Some(clock) = trial.needs(Clock::new(&trial.path("clock"))) else { return };
    let data = trial.data();
    let mut command = doorbuster();
    clock.apply(&mut command);
    let flags = ["--cores", "1", "--edge-threads", "1"];
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    for (product, seconds) in [("short", HOLD.as_secs()), ("long", 600)] {
        let terms = json!({
            "price": 100, "currency": "USD", "stock": 1_000_000, "holdSeconds": seconds,
        });
        server.define(product, &terms);
    }
    let load = trial.load(server.http, &data, None);
    let witness = Witness::send(server.http, &data, "witness");
    for jump in (0..times(1, 10)).flat_map(|_| [HOUR, -HOUR]) {
        trial.until_sold(&load, Instant::now());
        let begun = Instant::now();
        let (long, short) = (order(&server, "long"), order(&server, "short"));
        let held = Instant::now();
        clock.set(jump);
        thread::sleep(SEEN_WITHIN);
        trial.fault();
        // What was set aside before the jump lasts through it,
        assert_eq!(status(&server, &long), "pending", "a hold of ten minutes, jump {jump}");
        if held.elapsed() < HOLD {
            let status = status(&server, &short);
            assert!(held.elapsed() >= HOLD || status == "pending", "{status} too early");
        }
        // ends when it should,
        wait_until("the short hold is over", || status(&server, &short) == "expired");
        assert!(begun.elapsed() >= HOLD, "it lasted {:?}", begun.elapsed());
        assert!(held.elapsed() < HOLD + ALLOWANCE, "it lasted {:?}", held.elapsed());
        // and so does what is set aside after it.
        let (begun, short) = (Instant::now(), order(&server, "short"));
        wait_until("the next short hold is over", || status(&server, &short) == "expired");
        let lasted = begun.elapsed();
        assert!((HOLD..HOLD + ALLOWANCE).contains(&lasted), "it lasted {lasted:?}");
        trial.until_sold(&load, Instant::now());
        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| it.came != Came::Order), None);
    }
    trial.close(server, load, witness);
}

#[test]
fn an_edge_by_another_clock_gives_no_false_answer() {
    let mut trial = Trial::of("clock of one edge wrong");
    let Some(clock) = trial.needs(Clock::new(&trial.path("clock"))) else { return };
    let data = trial.data();
    let mut command = doorbuster();
    clock.apply(&mut command);
    let shop = Apart::start(&data, Start { edge: command, ..Start::default() });
    trial.open_sale(shop.http(), &data);
    let load = trial.load(shop.http(), &data, None);
    let witness = Witness::send(shop.http(), &data, "witness");
    for wrong in (0..times(1, 10)).flat_map(|_| [HOUR, -HOUR]) {
        trial.until_sold(&load, Instant::now());
        clock.set(wrong);
        thread::sleep(SEEN_WITHIN);
        let begun = Instant::now();
        thread::sleep(dial(Duration::from_millis(500), Duration::from_secs(3)));
        clock.set(0);
        trial.fault();
        // The time until a process sees its clock is the test's, not the shop's.
        let right = Instant::now() + SEEN_WITHIN;
        trial.until_sold(&load, right);
        let seen = witness.seen();
        // Where the clocks disagree, a request may seem to have come too late: it is not done then.
        let is_true = |it: &Sighting| {
            it.came == Came::Order || it.came == Came::Refusal(503, "timeout".to_owned())
        };
        assert_eq!(seen.since(begun).find(|it| !is_true(it)), None);
        let refused = seen.since(begun).filter(|it| it.came != Came::Order).count();
        eprintln!("{wrong} s: {refused} of {} refused", seen.since(begun).count());
    }
    trial.close(shop, load, witness);
}
