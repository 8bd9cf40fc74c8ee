//! Whoever drops a question at any moment leaves no transaction open, and no connection behind that
//! answers the next question wrongly.

use super::*;
use crate::postgres::options::PostgresOptions;
use crate::postgres::{connect, schema};
use doorbuster_postgres_harness::{Clusters, Database};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A database with the tables of a shard.
async fn migrated(database: &Database) -> ShardOptions {
    let shard = ShardOptions::new(database.url().parse().expect("the harness gives URLs"));
    let limit = Duration::from_secs(10);
    let client = connect::connect("shard-0", &shard.url, limit).await.expect("it is there");
    schema::prepare("shard-0", &shard.url, &client, true, limit).await.expect("it is migrated");
    shard
}

async fn check(pooled: bool) {
    let database = Clusters::shared().database(0);
    let mut shard = migrated(&database).await;
    if pooled {
        shard.reads = Some(database.pooled_url().parse().expect("the harness gives URLs"));
    }
    let mut options = PostgresOptions::new(vec![shard.clone()]);
    options.pool_size = 2;
    options.breaker.failures = u32::MAX;
    let reads = Reads::new("shard-0", &shard, &options);
    let product = |number: u8| ProductId::from_bytes([number; 16]);
    for number in 0..10 {
        let id = product(number);
        database.psql(&format!("INSERT INTO products (id, name) VALUES ('{id}', 'name {number}')"));
    }
    // Each question is polled so many times, and dropped: before it has a connection, while it is
    // made, while the answer comes. The next one is answered as if nothing had been.
    for round in 0..200_usize {
        let (dropped, asked) = (product((round % 10) as u8), product((round % 7) as u8));
        let mut question = pin!(reads.catalog(dropped));
        let mut polls = 0;
        let polled = poll_fn(|context| {
            polls += 1;
            match question.as_mut().poll(context) {
                Poll::Pending if polls <= round % 5 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        });
        polled.await;
        if round % 2 == 0 {
            continue;
        }
        let found = reads.catalog(asked).await.expect("it answers").expect("it is there");
        assert_eq!(found.name, Some(format!("name {}", round % 7)), "round {round}");
    }
    let name = database.name();
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND state");
    let begun = Instant::now();
    while database.number(&format!("{left} <> 'idle' AND pid <> pg_backend_pid()")) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "a transaction was left open");
    }
    assert!(reads.health().primary.connections <= 2);
    assert_eq!(reads.health().primary.in_use, 0, "all of them are over");
}

#[tokio::test]
async fn a_dropped_question_leaves_no_transaction() {
    check(false).await;
}

#[tokio::test]
async fn a_dropped_question_leaves_no_transaction_in_a_pooler() {
    check(true).await;
}
