//! A primary that hangs, and one that dies with what its replica never got: sales go on, and the
//! log brings back what was lost.

mod support;

use doorbuster_loadgen::{Pace, Prepare};
use doorbuster_postgres_harness::{Clusters, Options};
use serde_json::json;
use std::path::Path;
use support::load::Load;
use support::shards::{Shards, words};
use support::{Server, wait_until};

const COUNT: &str = "SELECT count(*) FROM orders";

fn load(server: &Server, data: &Path) -> Load {
    Load::start(server.http, data, |plan| {
        plan.pace = Pace::Open { rate: 500.0 };
        plan.buyers = 2_000;
        plan.products = vec!["lamp".to_owned(), "vase".to_owned()];
        (plan.pay, plan.cancel) = (0.3, 0.2);
        plan.prepare = Some(Prepare {
            stock: 100_000_000,
            price: 100,
            limit_per_buyer: 0,
            hold_seconds: 3_600,
            waitlist_capacity: 0,
        });
    })
}

#[test]
fn a_shard_that_hangs_holds_up_neither_sales_nor_other_lists() {
    let clusters = Clusters::private(&Options { shards: 2, ..Options::default() });
    let shards = Shards::of(&clusters);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let stores = shards.flags();
    let patience = ["--store-timeout", "500ms", "--store-write-timeout", "2s"];
    let server =
        Server::start_with(&data, "127.0.0.1:0", &[&patience, &words(&stores)[..]].concat());
    let load = load(&server, &data);
    wait_until("both shards have orders", || {
        shards.0.iter().all(|database| database.number(COUNT) > 50)
    });

    // Its connections stay open, and nothing answers.
    let hung = &clusters.shards()[1];
    hung.suspend();
    let (placed, stored) = (load.progress.accepted(), shards.0[0].number(COUNT));
    let mut client = server.client();
    let owned = shards_of(&shards);
    let mut seen = [0; 2];
    wait_until("both kinds of buyers have asked often, and the sale went on", || {
        let buyer = format!("buyer-{:08}", fastrand::u64(..2_000));
        let shard = usize::from(!owned.contains(bucket(&buyer)));
        let path = format!("/orders/user/{buyer}");
        let answer = client.call("GET", &path, Some(&server.token(&buyer)), None);
        let expected = if shard == 0 { 200 } else { 503 };
        assert_eq!(answer.status, expected, "{answer:?}");
        if shard == 1 {
            assert_eq!(answer.code(), "unavailable", "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        seen[shard] += 1;
        let goes_on = load.progress.accepted() > placed + 1_000;
        seen.iter().all(|count| *count > 10) && goes_on
    });
    wait_until("the other shard is filled on", || shards.0[0].number(COUNT) > stored + 200);

    hung.resume();
    let (report, acknowledged) = load.stop();
    assert_eq!(report.errors, 0, "{report}");
    shards.wait_until_filled(&data, server.admin);
    shards.hold(&acknowledged);
    shards.are_in_order();
    assert!(server.stop().success());
}

/// What the first shard owns.
fn shards_of(shards: &Shards) -> doorbuster_persistence::BucketSet {
    let text = shards.0[0].psql("SELECT buckets FROM shard");
    text.parse().expect("buckets")
}

fn bucket(buyer: &str) -> u16 {
    let buyer = doorbuster_protocol::BuyerId::parse(buyer).expect("a name");
    doorbuster_protocol::routing::bucket_of(buyer)
}

#[test]
fn what_a_promoted_replica_never_got_comes_from_the_log() {
    let options = Options { shards: 1, replicas: 1, ..Options::default() };
    let clusters = Clusters::private(&options);
    let shards = Shards::of(&clusters);
    let (primary, replica) = (&clusters.shards()[0], clusters.replica(0).expect("there is one"));
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    // Both servers stand in the URL; whichever takes writes is the shard.
    let (login, rest) = shards.0[0].url().split_once('@').map(owned).expect("a login");
    let (address, database) = rest.split_once('/').map(owned).expect("a database");
    let other = format!("127.0.0.1:{}", replica.port());
    let both = format!("{login}@{address},{other}/{database}?target_session_attrs=read-write");
    let server = Server::start_with(&data, "127.0.0.1:0", &["--store", &both]);
    let load = load(&server, &data);
    wait_until("the shard has orders", || shards.0[0].number(COUNT) > 200);
    shards.0[0].wait_for_replica();

    // The replica is cut off, and what the primary takes from now on goes down with it.
    replica.set("primary_conninfo", "");
    let before = shards.0[0].number(COUNT);
    wait_until("the primary is ahead", || shards.0[0].number(COUNT) > before + 500);
    let lost = shards.0[0].number(COUNT);
    primary.stop_immediate();
    let count = || shards.0[0].replica_session().psql(COUNT).parse::<i64>().expect("a number");
    let has = count();
    eprintln!("the replica has {has} orders, the primary had {lost}");
    assert!(has < lost, "some are lost with it");
    let accepted = load.progress.accepted();
    wait_until("the sale goes on", || load.progress.accepted() > accepted + 200);
    replica.promote();
    wait_until("the new primary is filled", || count() > lost);

    let (report, acknowledged) = load.stop();
    assert_eq!(report.errors, 0, "{report}");
    wait_until("nothing is missing", || {
        let audit = support::run_well(&[
            "audit",
            "--json",
            "--data",
            data.to_str().expect("UTF-8"),
            "--store",
            &both,
        ]);
        let audit: serde_json::Value = serde_json::from_str(&audit).expect("JSON");
        audit["storeLagEvents"] == 0 && audit["storeOrders"] == audit["orders"]
    });
    assert_eq!(count() as u64, report.accepted);
    let mut client = server.client();
    let last = acknowledged.iter().rfind(|entry| entry.status == "pending").expect("some");
    let path = format!("/orders/user/{}", last.buyer);
    let list = client.call("GET", &path, Some(&server.token(&last.buyer)), None);
    assert_eq!((list.status, &list.body["orders"][0]["orderId"]), (200, &json!(last.order_id)));
    assert!(server.stop().success());
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}
