//! A server that knows only the shards of before a move starts while one of them is away: it sells,
//! and finds the others as soon as it can.

mod support;

use doorbuster_persistence::BucketSet;
use doorbuster_postgres_harness::{Clusters, Options};
use doorbuster_protocol::BuyerId;
use doorbuster_protocol::routing::bucket_of;
use serde_json::json;
use support::shards::{Shards, words};
use support::{Server, run_well, wait_until};

/// A name whose bucket is among `buckets`.
fn buyer_in(buckets: &str) -> String {
    let buckets: BucketSet = buckets.parse().expect("buckets");
    let mut names = (0..).map(|number| format!("ann-{number}"));
    names
        .find(|name| buckets.contains(bucket_of(BuyerId::parse(name).expect("a name"))))
        .expect("one")
}

#[test]
fn shards_that_joined_are_found_also_while_one_is_away() {
    check(true);
}

#[test]
fn shards_that_joined_are_found_when_the_one_that_knows_them_is_back() {
    check(false);
}

/// `told`: whether the shard that stays knows of those that joined.
fn check(told: bool) {
    let clusters = Clusters::private(&Options { shards: 4, ..Options::default() });
    let shards = Shards::of(&clusters);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let known = shards.flags()[..4].to_vec();
    let start = || Server::start_with(&data, "127.0.0.1:0", &words(&known));
    let server = start();
    server.define("lamp", &json!({ "price": 5, "currency": "USD", "stock": 1_000 }));
    let places = ["0-255", "512-767", "256-511", "768-1023"];
    let buyers = places.map(buyer_in);
    let buy = |server: &Server| {
        for buyer in &buyers {
            let answer = server.client().buy("lamp", &server.token(buyer), None, false);
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    };
    buy(&server);
    wait_until("the store has them", || shards.0[0].number(COUNT) + shards.0[1].number(COUNT) == 4);
    for (buckets, to) in [(places[2], 2), (places[3], 3)] {
        let to = format!("shard-{to}={}", shards.0[to].url());
        let arguments = [
            "project",
            "--data",
            data.to_str().expect("UTF-8"),
            "--move-buckets",
            buckets,
            "--to",
            &to,
        ];
        run_well(&[&arguments, &words(&known)[..]].concat());
    }
    assert!(server.stop().success());

    if !told {
        shards.0[1].psql("DELETE FROM peers");
    }
    clusters.shards()[0].stop_immediate();
    let server = start();
    buy(&server);
    let lists = || -> Vec<usize> {
        let list = |buyer: &String| {
            let path = format!("/orders/user/{buyer}");
            let answer = server.client().call("GET", &path, Some(&server.token(buyer)), None);
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            answer.body["orders"].as_array().map_or(0, Vec::len)
        };
        buyers.iter().map(list).collect()
    };
    wait_until("what can be known is known", || {
        let lists = lists();
        lists[1] == 2 && (!told || lists == [0, 2, 2, 2])
    });
    clusters.shards()[0].start();
    wait_until("everything is known", || lists() == [2; 4]);
    shards.wait_until_filled(&data, server.admin);
    shards.are_in_order();
    assert!(server.stop().success());
}

const COUNT: &str = "SELECT count(*) FROM orders";
