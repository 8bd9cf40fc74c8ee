//! Postgres is away, wholly or in part: sales go on from the log, what cannot be answered is said to
//! be unavailable, and afterwards everything is where it belongs.
//!
//! `DOORBUSTER_OUTAGE_SECONDS=60` makes the long outage that long, under 5 000 orders per second
//! (`DOORBUSTER_OUTAGE_RATE` changes that).

mod support;

use doorbuster_loadgen::{Amount, Pace, Prepare};
use doorbuster_persistence::BucketSet;
use doorbuster_postgres_harness::{Clusters, Options, Server as Postgres};
use doorbuster_protocol::BuyerId;
use doorbuster_protocol::routing::bucket_of;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};
use support::http::{Answer, Client};
use support::load::Load;
use support::metrics::Metrics;
use support::shards::{Shards, words};
use support::{PATIENCE, Server, wait_until};

const OUTAGE: Duration = Duration::from_secs(8);
const RATE: f64 = 1_000.0;
const LONG_RATE: f64 = 5_000.0;
/// Orders that fill a segment of 8 MiB, and more: a frame takes 4 KiB of it, and has no more than
/// the 17 orders that are asked for at once.
const PAST_HIGH_WATER: u64 = 40_000;
/// The lag that counts as none.
const LAG_SECONDS: f64 = 1.0;

fn number(variable: &str) -> Option<f64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn each(servers: &[Postgres], act: fn(&Postgres)) {
    thread::scope(|scope| {
        for server in servers {
            scope.spawn(move || act(server));
        }
    });
}

fn start(data: &std::path::Path, shards: &Shards, more: &[&str]) -> Server {
    let stores = shards.flags();
    Server::start_with(data, "127.0.0.1:0", &[more, &words(&stores)].concat())
}

fn list(client: &mut Client, server: &Server, buyer: &str) -> Answer {
    client.call("GET", &format!("/orders/user/{buyer}"), Some(&server.token(buyer)), None)
}

/// The lists of buyers whose shard is away, and nothing else, are unavailable.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{answer:?}");
    let seconds: u64 = answer.header("retry-after").and_then(|it| it.parse().ok()).expect("a time");
    assert!(seconds >= 1, "{answer:?}");
}

#[test]
fn an_outage_of_every_shard_refuses_and_loses_no_order() {
    let long = number("DOORBUSTER_OUTAGE_SECONDS");
    let outage = long.map_or(OUTAGE, Duration::from_secs_f64);
    let rate = number("DOORBUSTER_OUTAGE_RATE").unwrap_or(long.map_or(RATE, |_| LONG_RATE));
    let clusters = Clusters::private(&Options { shards: 4, ..Options::default() });
    let shards = Shards::of(&clusters);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    // Nothing of the log is let go of, so that the audit compares every order.
    let flags = ["--cores", "1", "--edge-threads", "1", "--segment-size", "1GiB"];
    let server = start(&data, &shards, &flags);
    let load = Load::start(server.http, &data, |plan| {
        plan.pace = Pace::Open { rate };
        plan.concurrency = 256;
        plan.buyers = 100_000;
        plan.products = vec!["lamp".to_owned(), "vase".to_owned()];
        (plan.pay, plan.cancel) = (0.1, 0.05);
        plan.prepare = Some(Prepare {
            stock: 100_000_000,
            price: 100,
            limit_per_buyer: 0,
            hold_seconds: 3_600,
            waitlist_capacity: 0,
        });
    });
    let lag = || {
        let metrics = Metrics::of(server.admin);
        (metrics.sum("projector_lag_events"), metrics.max("projector_lag_seconds"))
    };
    wait_until("results reach the shards", || shards.orders() > 0);

    each(clusters.shards(), Postgres::stop_immediate);
    let begun = Instant::now();
    let mut seen: Vec<(f64, f64)> = Vec::new();
    let mut client = server.client();
    for part in 1..=4 {
        // What is measured is an outage of so long, whatever happens in it.
        thread::sleep((outage * part / 4).saturating_sub(begun.elapsed()));
        let answers = load.progress.accepted();
        wait_until("orders are placed", || load.progress.accepted() > answers);
        is_unavailable(&list(&mut client, &server, "buyer-00000001"));
        seen.push(lag());
    }
    eprintln!("lag in events and seconds, in each quarter of the outage: {seen:?}");
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "the lag is seen to grow: {seen:?}");
    let (backlog, age) = seen[3];
    assert!(age > outage.as_secs_f64() / 2.0, "it is as old as the outage");

    each(clusters.shards(), Postgres::start);
    let back = Instant::now();
    let mut recovered = None;
    while recovered.is_none() {
        let (_, seconds) = lag();
        recovered = (seconds < LAG_SECONDS).then(|| back.elapsed());
        assert!(back.elapsed() < outage.max(PATIENCE), "the lag is {:?} after {outage:?}", lag());
        thread::sleep(Duration::from_millis(50));
    }
    let recovered = recovered.expect("it ended with it");
    eprintln!("{backlog} events behind; under {LAG_SECONDS} s {recovered:?} after their return");
    assert!(long.is_none() || recovered < outage, "it drains faster than it grew");

    let (report, acknowledged) = load.stop();
    eprintln!("{report}");
    assert_eq!((report.errors, report.refused, report.sold_out), (0, 0, 0), "{report}");
    shards.wait_until_filled(&data, server.admin);
    shards.hold(&acknowledged);
    shards.are_in_order();
    assert!(server.stop().success());
}

/// A name whose bucket is among `buckets`.
fn buyer_in(buckets: &BucketSet, number: usize) -> String {
    let names = (0..).map(|number| format!("ann-{number}"));
    let is_in = |name: &String| buckets.contains(bucket_of(BuyerId::parse(name).expect("a name")));
    names.filter(is_in).nth(number).expect("there are many names")
}

/// What a server does with one shard away: everything but the lists of that shard's buyers.
fn sells_without(server: &Server, theirs: &[String], others: &[String]) -> Vec<String> {
    let mut client = server.client();
    let mut placed = Vec::new();
    for _ in 0..5 {
        for buyer in theirs {
            is_unavailable(&list(&mut client, server, buyer));
        }
        for buyer in others {
            let answer = list(&mut client, server, buyer);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        for buyer in theirs.iter().chain(others) {
            let token = server.token(buyer);
            let answer = client.buy("lamp", &token, None, false);
            assert_eq!(answer.status, 201, "{answer:?}");
            let path = format!("/orders/{}", answer.order());
            let read = client.call("GET", &path, Some(&token), None);
            assert_eq!((read.status, &read.body["status"]), (200, &json!("pending")), "{read:?}");
            placed.push(answer.order());
        }
        for path in ["/products", "/products/lamp", "/products/flash-sale", "/ready", "/health"] {
            let answer = client.call("GET", path, None, None);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    }
    placed
}

#[test]
fn one_shard_that_is_away_takes_only_its_buyers_lists_with_it() {
    let clusters = Clusters::private(&Options { shards: 4, ..Options::default() });
    let shards = Shards::of(&clusters);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let server = start(&data, &shards, &[]);
    server.define("lamp", &json!({ "price": 5, "currency": "USD", "stock": 100_000 }));
    let away = &clusters.shards()[2];
    let (lost, kept) = (shards.buckets()[2], BucketSet::ALL.difference(&shards.buckets()[2]));
    let theirs: Vec<_> = (0..3).map(|number| buyer_in(&lost, number)).collect();
    let others: Vec<_> = (0..3).map(|number| buyer_in(&kept, number)).collect();
    let mut placed = Vec::new();
    for buyer in theirs.iter().chain(&others) {
        placed.push(server.client().buy("lamp", &server.token(buyer), None, false).order());
    }
    wait_until("the shards have them", || shards.orders() == 6);

    away.stop_immediate();
    placed.extend(sells_without(&server, &theirs, &others));
    assert!(Metrics::of(server.admin).sum("projector_lag_events") > 0.0, "its lag is seen");

    // A new process starts without it, and sells.
    assert!(server.stop().success());
    let server = start(&data, &shards, &[]);
    placed.extend(sells_without(&server, &theirs, &others));

    away.start();
    shards.wait_until_filled(&data, server.admin);
    let mut client = server.client();
    let mut listed: Vec<String> = Vec::new();
    for buyer in theirs.iter().chain(&others) {
        // The edge leaves a shard that failed alone for a moment.
        wait_until("its buyers' lists are back", || {
            list(&mut client, &server, buyer).status == 200
        });
        let answer = list(&mut client, &server, buyer);
        let orders = answer.body["orders"].as_array().expect("orders");
        listed.extend(orders.iter().filter_map(|order| order["orderId"].as_str()).map(Into::into));
    }
    placed.sort();
    listed.sort();
    assert_eq!(listed, placed);
    shards.are_in_order();
    assert!(server.stop().success());
}

#[test]
fn past_the_high_water_mark_new_orders_wait_for_the_store() {
    let clusters = Clusters::private(&Options::default());
    let shards = Shards::of(&clusters);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let tiny = ["--segment-size", "8MiB", "--high-water", "1MiB", "--partitions", "1"];
    let server = start(&data, &shards, &tiny);
    server.define("lamp", &json!({ "price": 5, "currency": "USD", "stock": 100_000_000 }));
    clusters.shards()[0].stop_immediate();
    let load = Load::start(server.http, &data, |plan| {
        plan.products = vec!["lamp".to_owned()];
        plan.concurrency = 16;
        // Whoever is told to come again comes again, until everybody has an order.
        plan.retries = 1_000_000;
        plan.amount = Amount::Attempts(PAST_HIGH_WATER);
    });
    let ann = server.token("ann");
    let mut client = server.client();
    let mut refused = Value::Null;
    let mut stood = Vec::new();
    wait_until("orders are refused", || {
        let answer = client.buy("lamp", &ann, None, false);
        if answer.status == 201 {
            stood.push(answer.order());
            return false;
        }
        assert_eq!((answer.status, answer.code()), (503, "overloaded"), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        refused = answer.body;
        true
    });
    eprintln!("after {} orders: {refused}", load.progress.accepted());
    // Payments, cancels and reads are no new orders: they go on.
    let path = format!("/orders/{}", stood.first().expect("one was placed"));
    let read = client.call("GET", &path, Some(&ann), None);
    assert_eq!(read.status, 200, "{read:?}");
    let cancelled = client.call("PUT", &format!("{path}/cancel"), Some(&ann), None);
    assert_eq!(cancelled.status, 200, "{cancelled:?}");

    clusters.shards()[0].start();
    wait_until("orders are taken again", || {
        let answer = client.buy("lamp", &ann, None, false);
        if answer.status == 201 {
            stood.push(answer.order());
        }
        answer.status == 201
    });
    wait_until("everybody has an order", || !load.is_running());
    let (report, acknowledged) = load.stop();
    assert_eq!(report.accepted, PAST_HIGH_WATER, "{report}");
    assert!(report.retries > 0, "buyers were refused, and came again: {report}");
    shards.wait_until_filled(&data, server.admin);
    shards.hold(&acknowledged);
    let rows = shards.rows();
    assert!(stood.iter().all(|order| rows.contains_key(order)), "all stand in the store");
    assert!(server.stop().success());
}
