//! A Postgres shard that is stopped where it stands: its connections stay open and answer nothing.
//! Orders go on from the log, lists are refused in time, and when it goes on everything arrives.

use crate::support::metrics::Metrics;
use crate::support::shards::{Shards, words};
use crate::support::stored::Stored;
use crate::support::{Server, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::Came;
use doorbuster_postgres_harness::{Clusters, Options};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_frozen_shard_stops_no_order_and_lists_are_refused_in_time() {
    let mut trial = Trial::of("Postgres frozen");
    let clusters = Clusters::private(&Options { fast: true, ..Options::default() });
    let store = Stored::Postgres(Shards::of(&clusters));
    let data = trial.data();
    let stores = store.flags();
    let flags = ["--cores", "1", "--edge-threads", "1"];
    let flags = [&flags[..], &words(&stores)].concat();
    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, Some(dial(200.0, 1_000.0)));
    let witness = trial.witness(server.http, &data);
    let lag = || Metrics::of(server.admin).sum("projector_lag_events");
    let ann = server.token("ann");
    for _ in 0..times(1, 5) {
        trial.until_sold(&load, Instant::now());
        clusters.shards()[0].suspend();
        let begun = Instant::now();
        let frozen = dial(Duration::from_secs(2), Duration::from_secs(30));
        while begun.elapsed() < frozen {
            // The shard stands still, so it is the edge that ends the wait, before the client does.
            let answer = server.client().call("GET", "/orders/user/ann", Some(&ann), None);
            assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{answer:?}");
            thread::sleep(Duration::from_millis(200));
        }
        assert!(lag() > 0.0, "results wait");
        clusters.shards()[0].resume();
        trial.fault();
        let back = Instant::now();
        wait_until("the store has caught up", || lag() < 100.0);
        trial.recovered(back);
        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| it.came != Came::Order), None, "orders go on");
    }
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}
