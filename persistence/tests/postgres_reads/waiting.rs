//! Nobody waits for longer than the configuration says, no more wait than have a chance, and whoever
//! stops waiting leaves nothing open.

use crate::{
    Feed, Way, assert_no_transaction_is_left, buyer_in, claimed, health, listed, options,
    orders_of, until,
};
use doorbuster_persistence::postgres::PostgresStore;
use doorbuster_persistence::{BucketSet, Freshness, StoreError};
use doorbuster_postgres_harness::{Clusters, Options};
use doorbuster_protocol::BuyerId;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_question_that_takes_too_long_is_given_up_by_the_server() {
    for way in Way::ALL {
        let databases = Clusters::shared().databases(1);
        let mut options = options(&databases, way);
        options.statement_timeout = Duration::from_millis(200);
        let store = claimed(&options).await;
        let buyer = buyer_in(BucketSet::ALL);
        let order = Feed::new(&store).order(buyer).await;
        assert_eq!(listed(&store, buyer, Freshness::Latest).await, [order]);
        let before = health(&store, 0).primary.connections;

        let mut session = databases[0].session();
        session.psql("BEGIN; LOCK TABLE order_items IN ACCESS EXCLUSIVE MODE");
        for _ in 0..3 {
            let slow = orders_of(&store, buyer, Freshness::Latest).await.expect_err("it is locked");
            assert!(matches!(slow, StoreError::Slow { limit_ms: 200, .. }), "{way:?}: {slow}");
        }
        // The server gave up by itself: the connection is as good as before.
        assert_eq!(health(&store, 0).primary.connections, before, "{way:?}");
        session.psql("ROLLBACK");
        assert_eq!(listed(&store, buyer, Freshness::Latest).await, [order], "{way:?}");
        assert_no_transaction_is_left(&databases[0]).await;
    }
}

/// Puts `count` questions at once; what came of each.
async fn ask_at_once(
    store: &Arc<PostgresStore>,
    buyer: BuyerId,
    count: usize,
) -> Vec<Result<usize, StoreError>> {
    let asked: Vec<_> = (0..count)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                orders_of(&store, buyer, Freshness::Latest).await.map(|orders| orders.len())
            })
        })
        .collect();
    let mut answers = Vec::new();
    for question in asked {
        answers.push(question.await.expect("it does not panic"));
    }
    answers
}

#[tokio::test]
async fn too_many_questions_are_refused_at_once() {
    let databases = Clusters::shared().databases(1);
    let mut options = options(&databases, Way::Direct);
    options.pool_size = 2;
    options.statement_timeout = Duration::from_millis(300);
    options.breaker.failures = 1_000;
    let store = Arc::new(claimed(&options).await);
    let buyer = buyer_in(BucketSet::ALL);
    Feed::new(&store).order(buyer).await;
    let mut session = databases[0].session();
    session.psql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
    let answers = ask_at_once(&store, buyer, 500).await;
    let too_many = |answer: &Result<usize, StoreError>| matches!(answer, Err(StoreError::Busy { why }) if why.contains("too many"));
    assert!(answers.iter().filter(|answer| too_many(answer)).count() > 400, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(StoreError::is_retryable)));
    assert!(health(&store, 0).primary.connections <= 2);
    session.psql("ROLLBACK");
    assert_eq!(listed(&store, buyer, Freshness::Latest).await.len(), 1);
    assert_no_transaction_is_left(&databases[0]).await;
}

#[tokio::test]
async fn many_clients_share_two_connections_of_a_pooler() {
    let clusters =
        Clusters::private(&Options { pgbouncer: true, fast: true, ..Options::default() });
    let pooler = clusters.pgbouncer(0).expect("it has one");
    pooler.psql("SET default_pool_size = 2");
    let databases = clusters.databases(1);
    let mut options = options(&databases, Way::Pooled);
    options.pool_size = 20;
    options.statement_timeout = Duration::from_secs(20);
    let store = Arc::new(claimed(&options).await);
    let buyer = buyer_in(BucketSet::ALL);
    let mut feed = Feed::new(&store);
    for _ in 0..10 {
        feed.order(buyer).await;
    }
    for answer in ask_at_once(&store, buyer, 400).await {
        assert_eq!(answer.expect("the store answers"), 10);
    }
    assert_eq!(health(&store, 0).primary.connections, 20, "clients of the pooler");
    let servers = pooler.psql("SHOW SERVERS");
    let servers = servers.lines().filter(|line| line.contains(databases[0].name())).count();
    assert!((1..=2).contains(&servers), "{servers} connections to the server");
    assert_no_transaction_is_left(&databases[0]).await;
}

#[tokio::test]
async fn callers_that_go_away_leave_nothing_open() {
    for way in Way::ALL {
        let databases = Clusters::shared().databases(1);
        let mut options = options(&databases, way);
        options.pool_size = 3;
        options.statement_timeout = Duration::from_millis(300);
        options.breaker.failures = 1_000;
        let store = claimed(&options).await;
        let buyer = buyer_in(BucketSet::ALL);
        let order = Feed::new(&store).order(buyer).await;
        let mut session = databases[0].session();
        session.psql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
        for _ in 0..20 {
            let asked = orders_of(&store, buyer, Freshness::Latest);
            // Polled once, which puts the question; then the caller is gone.
            tokio::select! {
                biased;
                answer = asked => panic!("the table is locked: {answer:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        until!("all of them are over", health(&store, 0).primary.in_use == 0);
        session.psql("ROLLBACK");
        assert_eq!(listed(&store, buyer, Freshness::Latest).await, [order], "{way:?}");
        assert_no_transaction_is_left(&databases[0]).await;
    }
}
