//! A replica is read while it is fresh, and never hides what a buyer did.

use crate::{
    Feed, Way, buyer_in, claimed, health, is_fresh, listed, options, orders_of, product,
    replica_answers, until, with_replicas,
};
use doorbuster_persistence::postgres::{Fitness, PostgresOptions, PostgresStore};
use doorbuster_persistence::{BucketSet, CatalogEntry, Freshness, Store, StoreError};
use doorbuster_postgres_harness::{Clusters, Options};
use doorbuster_protocol::outcome::OrderStatus;
use std::time::Duration;

fn one_with_a_replica() -> Clusters {
    Clusters::private(&Options { replicas: 1, fast: true, ..Options::default() })
}

/// Asks until the replica has answered once more: it is read again.
async fn until_the_replica_is_read(store: &PostgresStore) {
    let before = replica_answers(store);
    until!("the replica is read", {
        listed(store, buyer_in(BucketSet::ALL), Freshness::Recent).await;
        replica_answers(store) > before
    });
}

#[tokio::test]
async fn a_replica_that_lags_never_hides_a_buyers_own_order() {
    check_a_replica_that_lags(Way::Direct).await;
}

#[tokio::test]
async fn nor_does_it_when_the_primary_is_read_through_a_pooler() {
    check_a_replica_that_lags(Way::Pooled).await;
}

async fn check_a_replica_that_lags(way: Way) {
    let pgbouncer = way == Way::Pooled;
    let clusters =
        Clusters::private(&Options { replicas: 1, pgbouncer, fast: true, ..Options::default() });
    let replica = clusters.replica(0).expect("it has one");
    let databases = clusters.databases(1);
    let mut with_replica = with_replicas(&databases, Duration::from_secs(2));
    with_replica.shards[0].reads = options(&databases, way).shards[0].reads.clone();
    let store = claimed(&with_replica).await;
    let mut feed = Feed::new(&store);
    let buyer = buyer_in(BucketSet::ALL);
    let first = feed.order(buyer).await;
    databases[0].wait_for_replica();
    until_the_replica_is_read(&store).await;
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [first]);

    replica.set("recovery_min_apply_delay", "1h");
    let second = feed.order(buyer).await;
    let answers = replica_answers(&store);
    // At once, whatever the replica says of itself.
    assert_eq!(listed(&store, buyer, Freshness::Latest).await, [second, first]);
    let found = store.order(second, Freshness::Latest).await.expect("the store answers");
    assert_eq!(found.map(|row| row.order), Some(second));
    assert_eq!(replica_answers(&store), answers, "the replica was not asked");
    let found = store.order(second, Freshness::Recent).await.expect("the store answers");
    assert_eq!(found.map(|row| row.order), Some(second), "what it does not know, the primary does");

    // Others see it as soon as the replica is further behind than it may be.
    until!("the replica is taken to be stale", !is_fresh(&store));
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [second, first]);
    let lag = || health(&store, 0).replica.and_then(|replica| replica.lag);
    until!("its lag is told", lag().is_some_and(|lag| lag > Duration::from_secs(2)));

    replica.reset("recovery_min_apply_delay");
    until_the_replica_is_read(&store).await;
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [second, first]);
}

#[tokio::test]
async fn a_replica_that_may_lag_answers_only_what_is_settled() {
    let clusters = one_with_a_replica();
    let replica = clusters.replica(0).expect("it has one");
    let databases = clusters.databases(1);
    // It may be as far behind as it likes.
    let store = claimed(&with_replicas(&databases, Duration::from_secs(86_400))).await;
    let mut feed = Feed::new(&store);
    let buyer = buyer_in(BucketSet::ALL);
    let (paid, pending) = (feed.order(buyer).await, feed.order(buyer).await);
    feed.status(paid, OrderStatus::Paid).await;
    databases[0].wait_for_replica();
    until_the_replica_is_read(&store).await;

    replica.psql("SELECT pg_wal_replay_pause()");
    until!("replay stands still", {
        replica.psql("SELECT pg_get_wal_replay_pause_state()") == "paused"
    });
    feed.status(pending, OrderStatus::Cancelled).await;
    let third = feed.order(buyer).await;
    let name = Some("a lamp".to_owned());
    let entry = CatalogEntry { product: product(), name, description: None };
    store.put_catalog(entry.clone()).await.expect("it is taken");

    // The replica is read, and does not know.
    let answers = replica_answers(&store);
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [pending, paid]);
    assert_eq!(replica_answers(&store), answers + 1);
    assert_eq!(listed(&store, buyer, Freshness::Latest).await, [third, pending, paid]);
    assert_eq!(replica_answers(&store), answers + 1);

    let status = async |order| {
        let found = store.order(order, Freshness::Recent).await.expect("the store answers");
        found.map(|row| row.status)
    };
    assert_eq!(status(pending).await, Some(OrderStatus::Cancelled), "it had changed already");
    assert_eq!(status(third).await, Some(OrderStatus::Pending), "the replica has it not");
    let primary = health(&store, 0).primary.answers;
    assert_eq!(status(paid).await, Some(OrderStatus::Paid));
    assert_eq!(health(&store, 0).primary.answers, primary, "what is final needs no primary");
    let found = store.catalog(product()).await.expect("the store answers");
    assert_eq!(found, Some(entry), "the replica has it not");
    let found = store.product(product()).await.expect("the store answers");
    assert_eq!(found, None, "nobody has defined it");
    replica.psql("SELECT pg_wal_replay_resume()");
}

#[tokio::test]
async fn a_replica_that_is_down_is_not_missed() {
    let clusters = one_with_a_replica();
    let replica = clusters.replica(0).expect("it has one");
    let databases = clusters.databases(1);
    let store = claimed(&with_replicas(&databases, Duration::from_secs(5))).await;
    let buyer = buyer_in(BucketSet::ALL);
    let order = Feed::new(&store).order(buyer).await;
    databases[0].wait_for_replica();
    until_the_replica_is_read(&store).await;

    replica.stop_immediate();
    for _ in 0..20 {
        assert_eq!(listed(&store, buyer, Freshness::Recent).await, [order]);
    }
    until!("it is seen to be away", !is_fresh(&store));
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [order]);
    replica.start();
    until_the_replica_is_read(&store).await;
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [order]);
}

#[tokio::test]
async fn a_replica_that_hangs_is_not_waited_for_twice() {
    let clusters = one_with_a_replica();
    let replica = clusters.replica(0).expect("it has one");
    let databases = clusters.databases(1);
    let store =
        claimed(&crate::impatient(with_replicas(&databases, Duration::from_secs(86_400)))).await;
    let buyer = buyer_in(BucketSet::ALL);
    let order = Feed::new(&store).order(buyer).await;
    databases[0].wait_for_replica();
    until_the_replica_is_read(&store).await;
    replica.suspend();
    for _ in 0..5 {
        assert_eq!(listed(&store, buyer, Freshness::Recent).await, [order]);
    }
    until!("it is seen to be away", !is_fresh(&store));
    let failures = health(&store, 0).replica.map(|replica| replica.target.failures);
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [order]);
    let after = health(&store, 0).replica.map(|replica| replica.target.failures);
    assert_eq!(failures, after, "it was not asked");
    replica.resume();
    until_the_replica_is_read(&store).await;
}

/// A store whose "replica" of shard 0 is something else answers all the same, from its primary.
async fn check_is_not_read(what: &str, options: &PostgresOptions, fitness: Fitness) {
    let store = claimed(options).await;
    let buyer = buyer_in(store.shards()[0].buckets());
    let mut feed = Feed::new(&store);
    let order = feed.order(buyer).await;
    let seen = || health(&store, 0).replica.map(|replica| replica.fitness);
    until!(what, seen() == Some(fitness));
    for freshness in [Freshness::Recent, Freshness::Latest] {
        assert_eq!(listed(&store, buyer, freshness).await, [order], "{what}");
    }
    let replica = health(&store, 0).replica.expect("one is configured");
    assert!(!replica.is_fresh && replica.target.answers == 0, "{what}: {replica:?}");
}

#[tokio::test]
async fn what_is_no_replica_of_the_shard_is_not_read() {
    let shared = Clusters::shared();
    let databases = shared.databases(1);
    let mut twice = with_replicas(&databases, Duration::from_secs(5));
    twice.shards[0].replica = Some(twice.shards[0].url.clone());
    check_is_not_read("the primary's URL stands twice", &twice, Fitness::NoReplica).await;

    let (ours, other) = (shared.database(0), shared.database(0));
    let kept = claimed(&options(std::slice::from_ref(&other), Way::Direct)).await;
    other.wait_for_replica();
    let ours = [ours];
    let mut foreign = with_replicas(&ours, Duration::from_secs(5));
    foreign.shards[0].replica = Some(other.replica_url().parse().expect("a URL"));
    check_is_not_read("the replica is of another database", &foreign, Fitness::Foreign).await;
    drop(kept);
}

#[tokio::test]
async fn a_replica_that_was_promoted_is_read_no_more() {
    let clusters = one_with_a_replica();
    let databases = clusters.databases(1);
    let store = claimed(&with_replicas(&databases, Duration::from_secs(86_400))).await;
    let mut feed = Feed::new(&store);
    let buyer = buyer_in(BucketSet::ALL);
    let first = feed.order(buyer).await;
    databases[0].wait_for_replica();
    until_the_replica_is_read(&store).await;
    clusters.replica(0).expect("it has one").promote();
    let second = feed.order(buyer).await;
    // Its own answers say that it is no replica, before anybody has looked.
    assert_eq!(listed(&store, buyer, Freshness::Recent).await, [second, first]);
    until!("it is seen to be no replica", !is_fresh(&store));
}

#[tokio::test]
async fn a_replica_is_not_taken_for_a_primary() {
    let databases = [Clusters::shared().database(0)];
    let mut options = with_replicas(&databases, Duration::from_secs(5));
    let buyer = buyer_in(BucketSet::ALL);
    Feed::new(&claimed(&options).await).order(buyer).await;
    databases[0].wait_for_replica();
    // As after a failover, when the pooler still leads to the old primary.
    options.shards[0].reads = options.shards[0].replica.take();
    let store = PostgresStore::open(options).expect("it is written elsewhere");
    for freshness in [Freshness::Latest, Freshness::Recent] {
        let refused = orders_of(&store, buyer, freshness).await.expect_err("it may be behind");
        assert!(
            matches!(&refused, StoreError::Away { why, .. } if why.contains("replica")),
            "{refused}"
        );
    }
}
