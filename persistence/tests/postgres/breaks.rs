//! Connections that break at every step of a batch, and two who write at once: a batch is written
//! whole, once, or not at all, and the checkpoints tell which.

use crate::{Way, claimed, open, options, order, orders};
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore};
use doorbuster_persistence::{Shard, Store, StoreError, Written};
use doorbuster_postgres_harness::{Clusters, Database};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn shard(store: &PostgresStore) -> Arc<dyn Shard> {
    store.shards().swap_remove(0)
}

/// Holds every transaction of the writer up where `place` says, while somebody has the lock.
fn hold_up(database: &Database, place: &str) {
    database.psql(&format!(
        "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_advisory_lock(7), pg_advisory_unlock(7);
             RETURN NULL;
         END $$;
         {place}"
    ));
}

/// A batch whose backend is ended while it waits at `place`.
async fn check_terminated(what: &str, place: &str) {
    let databases = [Clusters::shared().database(0)];
    let database = &databases[0];
    let store = claimed(&databases).await;
    let shard = shard(&store);
    shard.write(orders(0, 10)).await.expect("the batch is next");
    hold_up(database, place);
    let mut holder = database.session();
    holder.psql("SELECT pg_advisory_lock(7)");

    let writing = tokio::spawn({
        let shard = Arc::clone(&shard);
        async move { shard.write(orders(10, 500)).await }
    });
    let waits = "wait_event_type = 'Lock' AND wait_event = 'advisory'";
    tokio::task::block_in_place(|| {
        wait_until(what, || database.terminate_backends(waits) > 0);
    });
    let broken = writing.await.expect("no panic").expect_err(what);
    assert!(matches!(broken, StoreError::Away { .. }), "{what}: {broken}");
    holder.psql("SELECT pg_advisory_unlock(7)");

    let stored = shard.checkpoints().await.expect("it is back")[0].sequence.get();
    let rows = database.number("SELECT count(*) FROM orders");
    let items = database.number("SELECT count(*) FROM order_items");
    assert_eq!((stored, rows, items), (10, 10, 10), "{what}: nothing of it is there");
    shard.write(orders(10, 500)).await.expect("the batch is still next");
    assert_eq!(database.number("SELECT count(*) FROM orders"), 510, "{what}");
    assert_eq!(database.number("SELECT count(DISTINCT id) FROM users"), 510, "{what}");
}

fn trigger(table: &str, event: &str) -> String {
    format!(
        "CREATE TRIGGER hold AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION wait_here()"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_ended_anywhere_leaves_nothing() {
    check_terminated("the checkpoints move", &trigger("checkpoints", "UPDATE")).await;
    check_terminated("users are merged", &trigger("users", "INSERT")).await;
    check_terminated("orders are merged", &trigger("orders", "INSERT")).await;
    check_terminated("items are merged", &trigger("order_items", "INSERT")).await;
    let at_commit = "CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON orders
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_here()";
    check_terminated("a deferred rule is checked", at_commit).await;
}

/// The answer to COMMIT is lost: the transaction is committed by a backend whose client is gone.
/// Whoever asks for the checkpoints meanwhile waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_wait_for_a_transaction_that_is_still_committing() {
    let databases = [Clusters::shared().database(1)];
    let database = &databases[0];
    let store = claimed(&databases).await;
    // Somebody's transaction that has moved a checkpoint and is not through.
    let mut zombie = database.session();
    zombie.psql("BEGIN; UPDATE checkpoints SET sequence = 10 WHERE partition = 0");
    let asked = tokio::spawn({
        let shard = shard(&store);
        async move { shard.checkpoints().await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
    tokio::task::block_in_place(|| {
        wait_until("the checkpoints are waited for", || database.number(waiting) > 0);
    });
    assert!(!asked.is_finished());
    zombie.psql("COMMIT");
    let checkpoints = asked.await.expect("no panic").expect("it answers");
    assert_eq!(checkpoints[0].sequence.get(), 10);
    let again = shard(&store).write(orders(0, 10)).await;
    assert!(matches!(again, Err(StoreError::OutOfStep { .. })), "{again:?}");
}

/// Two projectors fill one shard from the same log.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_write_each_batch_one_does() {
    let databases = [Clusters::shared().database(2)];
    let first = claimed(&databases).await;
    let second = open(&options(&databases, Way::Pooled));
    let mut written = [0_u32; 2];
    for number in 0..20 {
        let batch = orders(number * 50, 50);
        let (one, two) = (shard(&first), shard(&second));
        let results = tokio::join!(one.write(Arc::clone(&batch)), two.write(batch));
        for (index, result) in [results.0, results.1].into_iter().enumerate() {
            match result {
                Ok(done) => {
                    assert_eq!((done.rows, done.dead_letters), (50, 0));
                    written[index] += 1;
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::OutOfStep { .. }), "{error}");
                }
            }
        }
        assert_eq!(written.iter().sum::<u32>(), number as u32 + 1, "once, and only once");
    }
    assert_eq!(databases[0].number("SELECT count(*) FROM orders"), 1_000);
}

/// Somebody else makes a buyer of a batch just when it is written: the batch waits for that, and leaves
/// the buyer as it is then.
#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_whom_somebody_else_is_making_is_left_alone() {
    let databases = [Clusters::shared().database(0)];
    let database = &databases[0];
    let store = claimed(&databases).await;
    let id = u128::from_be_bytes(*order(7).buyer.as_bytes());
    let mut other = database.session();
    other.psql(&format!("BEGIN; INSERT INTO users (id, full_name) VALUES ('{id:032x}', 'Ada')"));
    let writing = tokio::spawn({
        let shard = shard(&store);
        async move { shard.write(orders(0, 500)).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
    tokio::task::block_in_place(|| {
        wait_until("the other one is waited for", || database.number(waiting) > 0);
    });
    other.psql("COMMIT");
    let written = writing.await.expect("no panic");
    assert_eq!(written, Ok(Written { rows: 500, dead_letters: 0 }));
    for table in ["orders", "order_items", "users"] {
        assert_eq!(database.number(&format!("SELECT count(*) FROM {table}")), 500, "{table}");
    }
    assert_eq!(database.number("SELECT count(*) FROM users WHERE full_name = 'Ada'"), 1);
}

/// Whoever waits for a batch gives up; the batch is written all the same or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_future_that_is_dropped_leaves_no_transaction_open() {
    let databases = [Clusters::shared().database(3)];
    let store = claimed(&databases).await;
    for number in 0..20 {
        let shard = shard(&store);
        let writing = shard.write(orders(number * 500, 500));
        let given_up = tokio::time::timeout(Duration::from_millis(number % 7), writing).await;
        drop(given_up);
        // Asked for after the batch, and answered after it.
        let stored = shard.checkpoints().await.expect("it answers")[0].sequence.get();
        assert_eq!(stored, (number + 1) * 500);
    }
    let idle = "SELECT count(*) FROM pg_stat_activity
                WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    assert_eq!(databases[0].number(idle), 0);
}

/// A shard that hangs is slow, a stopped one is away, and both go on where they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_stops_or_hangs_comes_back_to_where_it_was() {
    use doorbuster_postgres_harness::Options;
    let clusters = Clusters::private(&Options { shards: 1, ..Options::default() });
    let databases = [clusters.database(0)];
    let patience = Duration::from_secs(1);
    let mut impatient = options(&databases, Way::Direct);
    impatient = PostgresOptions { write_timeout: patience, connect_timeout: patience, ..impatient };
    let store = open(&impatient);
    let shard = shard(&store);
    shard.claim(crate::IDENTITY).await.expect("it is fresh");
    shard.write(orders(0, 10)).await.expect("the batch is next");
    let server = &clusters.shards()[0];

    server.suspend();
    let slow = shard.write(orders(10, 10)).await.expect_err("it hangs");
    assert!(slow.is_retryable(), "{slow}");
    server.resume();
    let stored = until_it_answers(&*shard).await;
    assert!(stored == 10 || stored == 20, "all or nothing, not {stored}");
    if stored == 10 {
        shard.write(orders(10, 10)).await.expect("the batch is next");
    }

    server.stop_immediate();
    let away = shard.write(orders(20, 10)).await.expect_err("it is stopped");
    assert!(matches!(away, StoreError::Away { .. }), "{away}");
    server.start();
    assert_eq!(until_it_answers(&*shard).await, 20);
    shard.write(orders(20, 10)).await.expect("the batch is next");
    assert_eq!(databases[0].number("SELECT count(*) FROM orders"), 30);
}

async fn until_it_answers(shard: &dyn Shard) -> u64 {
    let began = Instant::now();
    loop {
        match shard.checkpoints().await {
            Ok(checkpoints) => return checkpoints[0].sequence.get(),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                assert!(began.elapsed() < PATIENCE, "it never came back: {error}");
            }
        }
    }
}
