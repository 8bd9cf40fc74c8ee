//! The wall clock is set while a server runs, an hour ahead and then two hours back. Holds last as
//! long as was promised, no more and no less, and nothing is sold twice.

use crate::apart::{Apart, Start};
use crate::shop::Shop;
use crate::support::clock::{Clock, SEEN_WITHIN};
use crate::support::history::events;
use crate::support::http::Client;
use crate::support::{Server, doorbuster, run_well, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Sighting};
use doorbuster_history::event::{Event, Fact, Ordered, Released, Standing};
use doorbuster_loadgen::told;
use doorbuster_protocol::ProductId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const HOUR: i64 = 3_600;
/// How long the short holds last.
const HOLD: Duration = Duration::from_secs(2);
/// What they last at least by a clock that nobody sets: where the wall clock is ahead, the engine's
/// time goes faster by 1/2000 at the most (`engine/src/clock.rs`),
const SHORTEST: Duration = Duration::from_millis(1_999);
/// and where it is behind, slower by one part in so many.
const SLOWER_PARTS: u32 = 10;
/// How long after its deadline a hold may still stand.
const LATE_US: u64 = 1_000_000;

/// Seconds within which the engine says how far the wall clock is ahead.
const NEAR: i64 = 60;

/// How many seconds the wall clock is ahead of the engine's time, as it said last.
fn ahead(log: &str) -> i64 {
    let Some((_, rest)) = log.rsplit_once("ahead_ms=") else { return 0 };
    let milliseconds = rest.split_whitespace().next().expect("a number");
    milliseconds.parse::<i64>().expect("a number") / 1_000
}

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
    let started = Instant::now();
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    for jump in (0..times(1, 10)).flat_map(|_| [HOUR, -HOUR]) {
        trial.until_sold(&load, Instant::now());
        let begun = Instant::now();
        let (long, short) = (order(&server, "long"), order(&server, "short"));
        clock.set(jump);
        wait_until("the engine has seen it", || (ahead(&server.log()) - jump).abs() < NEAR);
        trial.fault();
        // What was set aside before the jump lasts through it,
        assert_eq!(status(&server, &long), "pending", "a hold of ten minutes, jump {jump}");
        let short_is = status(&server, &short);
        assert!(begun.elapsed() >= SHORTEST || short_is == "pending", "{short_is} too early");
        // ends when it should,
        wait_until("the short hold is over", || status(&server, &short) == "expired");
        assert!(begun.elapsed() >= SHORTEST, "it lasted {:?}", begun.elapsed());
        // and so does what is set aside after it.
        let (begun, short) = (Instant::now(), order(&server, "short"));
        wait_until("the next short hold is over", || status(&server, &short) == "expired");
        assert!(begun.elapsed() >= SHORTEST, "it lasted {:?}", begun.elapsed());
        trial.until_sold(&load, Instant::now());
        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| it.came != Came::Order), None);
    }
    // The history checker compares the log's times with those of the clients, which nobody set.
    trial.clocks_differ(started.elapsed() / SLOWER_PARTS);
    trial.close(server, load, witness);
    no_short_hold_stood_too_long(&data);
}

/// By the log's times, which are the clients' but for what the test allows: how fast this machine
/// reads an answer has no part in it.
fn no_short_hold_stood_too_long(data: &Path) {
    let product = told::product(ProductId::parse("short").expect("a name"));
    let mut deadlines = HashMap::new();
    let (mut expired, mut latest_us) = (0, 0);
    for Event { at_us, fact, .. } in events(data) {
        match fact {
            Fact::Ordered(Ordered { order, standing: Standing::Held { expires_us }, .. }) => {
                deadlines.insert(order, expires_us);
            }
            Fact::Expired(Released { order, product: of, .. }) if of == product => {
                latest_us = latest_us.max(at_us - deadlines[&order]);
                expired += 1;
            }
            _ => {}
        }
    }
    eprintln!("{expired} holds ran out, the latest {latest_us} us after its deadline");
    assert!(expired >= 4, "two after each jump");
    assert!(latest_us <= LATE_US, "a hold stood {latest_us} us too long");
}

/// Whether a token counts, by the edge's clock.
fn is_welcome(shop: &Apart, token: &str) -> bool {
    let mut client = Client::connect(shop.http());
    client.call("GET", "/orders/user/ann", Some(token.trim()), None).status != 401
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
    let path = data.to_str().expect("UTF-8");
    let brief = run_well(&["token", "--data", path, "--user", "ann", "--ttl", "30m"]);
    let load = trial.load(shop.http(), &data, None);
    let witness = trial.witness(shop.http(), &data);
    for wrong in (0..times(1, 10)).flat_map(|_| [HOUR, -HOUR]) {
        trial.until_sold(&load, Instant::now());
        let begun = Instant::now();
        clock.set(wrong);
        if wrong < 0 {
            // By the engine's clock each request comes an hour late.
            wait_until("orders are refused", || {
                witness.seen().refused_since(begun, 503, "timeout") > 0
            });
        } else {
            wait_until("a token is too old", || !is_welcome(&shop, &brief));
        }
        thread::sleep(dial(Duration::ZERO, Duration::from_secs(3)));
        clock.set(0);
        trial.fault();
        // The time until a process sees its clock is the test's, not the shop's.
        let right = Instant::now() + SEEN_WITHIN;
        wait_until("the token is good", || is_welcome(&shop, &brief));
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
