//! The embedded store keeps every promise of a store, and some of its own: it survives a crash in
//! mid-transaction, a full disk and another writer, and refuses files that are not for it.

use doorbuster_persistence::conformance::{self, History, Model, batches, claim, write};
use doorbuster_persistence::{
    Freshness, SqliteOptions, SqliteStore, Store, StoreError, StoreIdentity,
};
use doorbuster_protocol::Sequence;
use doorbuster_protocol::routing::PartitionCount;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const IDENTITY: StoreIdentity =
    StoreIdentity { directory: 7, partitions: PartitionCount::new(2).unwrap() };

/// A seed by chance, or the one that is to be run again.
fn seed() -> u64 {
    let seed = std::env::var("DOORBUSTER_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a seed is a number"));
    println!(
        "replay: DOORBUSTER_SEED={seed} cargo nextest run -p doorbuster-persistence --test sqlite"
    );
    seed
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).expect("the store opens")
}

fn impatient() -> SqliteOptions {
    SqliteOptions { busy_timeout: Duration::ZERO, ..SqliteOptions::default() }
}

#[tokio::test]
async fn it_conforms() {
    conforms(&SqliteOptions::default()).await;
}

/// Pages are put together from runs, whose orders are of any time.
#[tokio::test]
async fn it_conforms_with_an_index_of_many_runs() {
    conforms(&SqliteOptions { run_orders: 30, ..SqliteOptions::default() }).await;
}

async fn conforms(options: &SqliteOptions) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut number = 0;
    let fresh = || {
        number += 1;
        let path: PathBuf = directory.path().join(format!("{number}.db"));
        let options = options.clone();
        let open: conformance::Open = Box::new(move || {
            let (path, options) = (path.clone(), options.clone());
            Box::pin(async move {
                Ok(Arc::new(SqliteStore::open_with(path, &options)?) as Arc<dyn Store>)
            })
        });
        open
    };
    conformance::run(fresh, seed()).await;
}

/// What a crash leaves: the files as they are in the middle of a transaction.
#[tokio::test]
async fn a_crash_in_the_middle_of_a_batch_leaves_the_batch_before() {
    let seed = seed();
    let mut history = History::new(seed, 2);
    let steps: Vec<_> = (0..2_000).map(|_| history.step()).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    let batches: Vec<_> = batches(&steps, &mut random, 400);

    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut path = directory.path().join("0.db");
    claim(&open(&path), IDENTITY).await.expect("it is fresh");
    for (number, batch) in batches.iter().enumerate() {
        // Rows without a commit, spilled to the file by a cache that holds next to nothing.
        let mut torn = Connection::open(&path).expect("it opens");
        torn.execute_batch("PRAGMA cache_size = 2; PRAGMA cache_spill = 1;").expect("it is set");
        let torn = torn.transaction().expect("it begins");
        torn.execute("UPDATE checkpoints SET sequence = sequence + 1", []).expect("it is written");
        torn.execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO orders
             SELECT randomblob(16), randomblob(16), 1, 'USD', 'paid', i, i, NULL, i, 0 FROM n",
        )
        .expect("it is written");
        let next = directory.path().join(format!("{}.db", number + 1));
        for suffix in ["", "-wal"] {
            let file = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            if file(&path).exists() {
                std::fs::copy(file(&path), file(&next)).expect("it is copied");
            }
        }
        path = next;
        let store = open(&path);
        write(&store, batch).await.expect("the batch is next");
    }
    let mut model = Model::default();
    steps.iter().for_each(|step| model.apply(step.sequence, &step.event));
    model.assert_matches(&open(&path)).await;
}

#[tokio::test]
async fn another_writer_makes_it_busy_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.db");
    let store = SqliteStore::open_with(&path, &impatient()).expect("it opens");
    claim(&store, IDENTITY).await.expect("it is fresh");
    let mut history = History::new(1, 2);
    let steps: Vec<_> = (0..100).map(|_| history.step()).collect();
    let batch = batches(&steps, &mut fastrand::Rng::with_seed(1), 100).remove(0);

    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("it begins");
    let busy = write(&store, &batch).await.expect_err("the other writes");
    assert!(matches!(busy, StoreError::Busy { .. }) && busy.is_retryable(), "{busy}");
    assert!(store.product(steps_product(&steps)).await.is_ok(), "readers do not wait");
    other.execute_batch("ROLLBACK").expect("it ends");
    write(&store, &batch).await.expect("it is free");
}

fn steps_product(steps: &[conformance::Step]) -> doorbuster_protocol::ProductId {
    use doorbuster_protocol::event::Fact;
    let product = steps.iter().find_map(|step| match &step.event.fact {
        Fact::Defined { product, .. } => Some(*product),
        _ => None,
    });
    product.expect("a history begins with a product")
}

#[test]
fn files_that_are_not_for_it_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| directory.path().join(name);

    std::fs::write(file("text.db"), "not a database, but long enough to be looked at".repeat(99))
        .expect("it is written");
    let other = Connection::open(file("other.db")).expect("it opens");
    other.execute_batch("CREATE TABLE songs (name TEXT)").expect("it is written");
    drop(open(&file("newer.db")));
    let newer = Connection::open(file("newer.db")).expect("it opens");
    newer.execute_batch("PRAGMA user_version = 1000").expect("it is written");

    let existing = SqliteOptions { create: false, ..SqliteOptions::default() };
    let refusal = |name: &str| match SqliteStore::open_with(file(name), &existing) {
        Ok(_) => panic!("{name} was opened"),
        Err(error) => {
            assert!(!error.is_retryable(), "{error}");
            error
        }
    };
    assert!(matches!(refusal("missing.db"), StoreError::Missing { .. }));
    assert!(!file("missing.db").exists());
    assert!(matches!(refusal("text.db"), StoreError::NotAStore { .. }));
    assert!(matches!(refusal("other.db"), StoreError::NotAStore { .. }));
    let newest = refusal("newer.db");
    assert!(matches!(newest, StoreError::NewerSchema { found: 1000, .. }), "{newest}");
    let tables: i64 = other
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .expect("it is still a database");
    assert_eq!(tables, 1);
}

/// Rows from before versions were kept are older than every event.
#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_and_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("old.db");
    let mut history = History::new(5, 2);
    let steps: Vec<_> = (0..400).map(|_| history.step()).collect();
    let (old, new) = steps.split_at(200);
    let mut random = fastrand::Rng::with_seed(5);
    {
        let store = open(&path);
        claim(&store, IDENTITY).await.expect("it is fresh");
        for batch in batches(old, &mut random, 50) {
            write(&store, &batch).await.expect("the batch is next");
        }
    }
    Connection::open(&path)
        .and_then(|connection| {
            connection.execute_batch(
                "DROP TABLE order_runs;
                 DROP INDEX orders_by_run;
                 ALTER TABLE orders DROP COLUMN run;
                 CREATE INDEX orders_by_user ON orders (user_id, created_at);
                 ALTER TABLE orders DROP COLUMN version;
                 ALTER TABLE products DROP COLUMN version;
                 PRAGMA user_version = 1;",
            )
        })
        .expect("it is as the first version left it");
    let of_runs = SqliteOptions { run_orders: 30, ..SqliteOptions::default() };
    let store = SqliteStore::open_with(&path, &of_runs).expect("it opens");
    for batch in batches(new, &mut random, 50) {
        let written = write(&store, &batch).await.expect("the batch is next");
        assert_eq!(written.dead_letters, 0);
    }
    let mut model = Model::default();
    steps.iter().for_each(|step| model.apply(step.sequence, &step.event));
    let rows = conformance::scan_orders(&store, None, None, 10_000).await.expect("it answers");
    assert_eq!(rows.len(), model.orders.len());
    for row in rows {
        let mut expected = model.orders[&row.order].clone();
        if row.version == Sequence::ZERO {
            expected.version = Sequence::ZERO;
        }
        assert_eq!(row, expected);
    }
    for buyer in model.orders.values().map(|row| row.buyer) {
        let of_buyer = model.orders.values().filter(|row| row.buyer == buyer);
        let mut expected: Vec<_> = of_buyer.map(|row| (row.created_at, row.order)).collect();
        expected.sort_unstable();
        expected.reverse();
        let page = store.orders_of(buyer, None, 1_000, Freshness::Latest).await;
        let found = page.expect("it answers").rows.into_iter();
        assert!(found.map(|row| (row.created_at, row.order)).eq(expected), "buyer {buyer}");
    }
}

#[test]
fn many_may_open_a_new_file_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for round in 0..20 {
        let path = directory.path().join(format!("{round}.db"));
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    SqliteStore::open(&path).map(drop).expect("everybody gets a turn");
                });
            }
        });
    }
}
