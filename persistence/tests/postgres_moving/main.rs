//! Buckets move between shards while a projector fills them and buyers look at their orders: no
//! question fails, nobody's order disappears, and in the end every row stands where it belongs, as
//! the events say, wherever the move broke off.

#[allow(dead_code, reason = "the projector's own tests use the rest of it")]
#[path = "../projector/engine.rs"]
mod engine;

use doorbuster_persistence::conformance::{History, Model, claim};
use doorbuster_persistence::postgres::{
    MoveStep, PostgresOptions, PostgresStore, ShardOptions, WhenAway,
};
use doorbuster_persistence::projector::run;
use doorbuster_persistence::{
    BucketSet, Freshness, ProjectorConfig, ProjectorMetrics, Store, StoreError, StoreIdentity,
};
use doorbuster_postgres_harness::{Clusters, Database};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{BuyerId, PartitionId};
use engine::{DIRECTORY, Engine, Faults, KEY, Logs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

const PARTITIONS: u16 = 4;
const SHARED_KEY: [u8; 32] = [9; 32];

fn seed() -> u64 {
    let seed = std::env::var("DOORBUSTER_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a seed is a number"));
    println!(
        "replay: DOORBUSTER_SEED={seed} cargo nextest run -p doorbuster-persistence --test \
         postgres_moving"
    );
    seed
}

fn shard(database: &Database) -> ShardOptions {
    ShardOptions::new(database.url().parse().expect("the harness gives URLs"))
}

/// A store of these shards, which finds others through them.
fn options(databases: &[&Database]) -> PostgresOptions {
    PostgresOptions {
        key: Some(SHARED_KEY),
        ..PostgresOptions::new(databases.iter().map(|database| shard(database)).collect())
    }
}

fn set(text: &str) -> BucketSet {
    text.parse().expect("buckets")
}

async fn claimed(databases: &[&Database]) -> Arc<PostgresStore> {
    let store = Arc::new(PostgresStore::open(options(databases)).expect("it opens"));
    let partitions = PartitionCount::new(PARTITIONS).expect("in range");
    let identity = StoreIdentity { directory: DIRECTORY, partitions };
    claim(store.as_ref(), identity).await.expect("it is fresh");
    store
}

/// A move in a thread of its own, as it is a process of its own.
async fn moved(
    from: PostgresOptions,
    buckets: BucketSet,
    to: ShardOptions,
    told: impl Fn(MoveStep) + Send + 'static,
) -> Result<Vec<String>, StoreError> {
    let work = move || PostgresStore::move_buckets(from, buckets, to, &told).map(|it| it.from);
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// Events that are there already, and events to come.
fn history(seed: u64, events: usize) -> (Logs, Vec<(PartitionId, Vec<u8>)>, Model) {
    let mut history = History::new(seed, PARTITIONS);
    let (mut all, mut logs, mut model) =
        (Logs::new(PARTITIONS), Logs::new(PARTITIONS), Model::default());
    let mut later = Vec::new();
    for number in 0..events {
        let step = history.step();
        model.apply(step.sequence, &step.event);
        all.push(step.partition, &step.event);
        if number < events / 3 {
            logs.push(step.partition, &step.event);
        } else {
            let mut bytes = Vec::new();
            step.event.encode(&mut bytes);
            later.push((step.partition, bytes));
        }
    }
    (logs, later, model)
}

/// Looks at the buyers' own orders again and again: each answers, and none becomes shorter.
async fn watch_orders(
    store: Arc<PostgresStore>,
    buyers: Vec<BuyerId>,
    ends: Arc<AtomicBool>,
) -> u64 {
    let mut seen: BTreeMap<BuyerId, usize> = BTreeMap::new();
    let mut looks = 0;
    while !ends.load(Ordering::Relaxed) {
        for buyer in &buyers {
            let page = store.orders_of(*buyer, None, 10_000, Freshness::Latest).await;
            let count = page.expect("a question never fails").rows.len();
            let before = seen.insert(*buyer, count).unwrap_or(0);
            assert!(count >= before, "{before} orders of {buyer} became {count}");
            looks += 1;
        }
    }
    looks
}

fn buyers(model: &Model) -> Vec<BuyerId> {
    let mut buyers: Vec<_> = model.orders.values().map(|row| row.buyer).collect();
    buyers.sort_unstable();
    buyers.dedup();
    buyers
}

struct Projecting {
    task: tokio::task::JoinHandle<Result<(), doorbuster_persistence::ProjectorError>>,
    shutdown: watch::Sender<bool>,
}

fn project(engine: &Engine, store: &Arc<PostgresStore>) -> Projecting {
    let mut config = ProjectorConfig::new(engine.addresses.clone(), PreSharedKey::new(KEY));
    config.batch_rows_max = 100;
    config.batch_delay = Duration::from_millis(2);
    let (shutdown, stops) = watch::channel(false);
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    let task = tokio::spawn(run(config, store, Arc::new(ProjectorMetrics::new()), stops));
    Projecting { task, shutdown }
}

impl Projecting {
    async fn stop(self) {
        self.shutdown.send_replace(true);
        self.task.await.expect("no panic").expect("a stop is no error");
    }
}

/// Appends events until there are no more, a few at a time, as long as the store follows.
async fn append_all(engine: &Engine, later: Vec<(PartitionId, Vec<u8>)>) {
    for (number, (partition, event)) in later.into_iter().enumerate() {
        let sum = engine.acknowledged_sum();
        engine.append(partition, event);
        if number % 10 == 9 {
            engine.reached(sum + 1).await;
        }
    }
    assert!(engine.reached(u64::MAX).await);
}

fn count(databases: &[Database], what: &str) -> i64 {
    databases.iter().map(|database| database.number(&format!("SELECT count(*) FROM {what}"))).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards_become_four_under_load() {
    let seed = seed();
    let databases = Clusters::shared().databases(4);
    let [a, b, c, d] = &databases[..] else { unreachable!("four were made") };
    let store = claimed(&[a, b]).await;
    let (logs, later, model) = history(seed, 6_000);
    let engine = Engine::start(logs, 2, Faults::None, Arc::clone(&store) as _).await;
    let projecting = project(&engine, &store);
    let ends = Arc::new(AtomicBool::new(false));
    let watching =
        tokio::spawn(watch_orders(Arc::clone(&store), buyers(&model), Arc::clone(&ends)));

    let moving = async {
        let switched = moved(options(&[a, b]), set("0-255"), shard(c), |_| ()).await;
        assert_eq!(switched, Ok(vec!["shard-0".to_owned()]));
        let switched = moved(options(&[a, b]), set("300-700"), shard(d), |_| ()).await;
        assert_eq!(switched, Ok(vec!["shard-0".to_owned(), "shard-1".to_owned()]));
        // Back and forth: to a shard that has some already, and again where nothing is to do.
        let back = moved(options(&[a, b, c]), set("650-700"), shard(b), |_| ()).await;
        assert_eq!(back, Ok(vec!["shard-3".to_owned()]));
        let again = moved(options(&[a, b, c]), set("650-700"), shard(b), |_| ()).await;
        assert_eq!(again, Ok(vec![]));
    };
    tokio::join!(append_all(&engine, later), moving);
    assert!(engine.reached(u64::MAX).await);
    ends.store(true, Ordering::Relaxed);
    let looks = watching.await.expect("no panic");
    println!("{looks} looks");
    projecting.stop().await;

    let owned = |database: &Database| database.psql("SELECT buckets FROM shard").trim().to_owned();
    let all: Vec<_> = databases.iter().map(owned).collect();
    assert_eq!(all, ["256-299", "650-1023", "0-255", "300-649"]);
    assert_eq!(count(&databases, "orders"), model.orders.len() as i64, "each order once");
    assert_eq!(count(&databases, "moving_changes"), 0);
    assert_eq!(count(&databases, "users"), buyers(&model).len() as i64, "each buyer once");
    store.refresh().await.expect("it knows the new shards");
    model.assert_matches(store.as_ref()).await;

    // Who starts with the first two alone finds the others; without the key it says who is missing.
    drop(store);
    let store = PostgresStore::open(options(&[a, b])).expect("it finds them");
    assert_eq!(store.shards().len(), 4);
    model.assert_matches(&store).await;
    let blind = PostgresOptions { key: None, ..options(&[a, b]) };
    let refused = PostgresStore::open(blind).err().expect("buckets are missing").to_string();
    assert!(refused.contains("buckets 0-255,300-649"), "{refused}");
}

/// A shard whose buckets moved on is nobody's to wait for: when it is heard of again, because another
/// one is away, the log is not kept for its checkpoints, which nobody moves any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_was_emptied_is_not_taken_in_again() {
    let databases = Clusters::shared().databases(3);
    let [first, second, third] = &databases[..] else { panic!("three were asked for") };
    drop(claimed(&[first, second]).await);
    let known = || options(&[first, second]);
    let to = |database, name: &str| ShardOptions { name: Some(name.into()), ..shard(database) };
    let away = || PostgresOptions {
        shards: vec![
            ShardOptions::new("postgres://nobody@127.0.0.1:1/gone".parse().expect("a URL")),
            shard(second),
        ],
        away: WhenAway::Tolerate,
        ..known()
    };
    let names = |store: PostgresStore| -> Vec<String> {
        store.shards().iter().map(|shard| shard.name().to_owned()).collect()
    };
    let buckets = set("0-255");
    moved(known(), buckets, to(third, "shard-2"), |_| {}).await.expect("it is moved");
    let opened = PostgresStore::open(away()).expect("one may be away");
    assert_eq!(names(opened), ["shard-0", "shard-1", "shard-2"]);
    moved(known(), buckets, to(first, "shard-0"), |_| {}).await.expect("it is moved back");
    let opened = PostgresStore::open(away()).expect("one may be away");
    assert_eq!(names(opened), ["shard-0", "shard-1"]);
}

/// The mover's connections are cut at random moments, until a move comes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_breaks_off_is_finished_by_the_next() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let databases = Clusters::shared().databases(3);
    let [a, b, c] = &databases[..] else { unreachable!("three were made") };
    let store = claimed(&[a, b]).await;
    let (logs, later, model) = history(seed, 4_000);
    let engine = Engine::start(logs, 1, Faults::None, Arc::clone(&store) as _).await;
    let projecting = project(&engine, &store);
    let moving = async {
        let mut cut_off = 0;
        for (buckets, to) in [("0-600", c), ("200-300", b), ("500-1023", a)] {
            // Cut ever later, so that each step is cut somewhere, and in the end none.
            for delay in 0.. {
                let micros = delay * random.u64(500..6_000);
                let mut from = options(&[a, b]);
                let name = "doorbuster mover";
                for shard in &mut from.shards {
                    let url = shard_url(shard, &databases, name);
                    *shard = ShardOptions::new(url);
                }
                let target = named(to, name);
                let attempt = moved(from, set(buckets), ShardOptions::new(target), |_| ());
                let cutting = async {
                    tokio::time::sleep(Duration::from_micros(micros)).await;
                    for database in &databases {
                        database.terminate_backends("application_name = 'doorbuster mover'");
                    }
                };
                match tokio::join!(attempt, cutting).0 {
                    Ok(_) => break,
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        cut_off += 1;
                    }
                }
            }
        }
        println!("{cut_off} moves were cut off");
    };
    tokio::join!(append_all(&engine, later), moving);
    projecting.stop().await;
    let owned = |database: &Database| database.psql("SELECT buckets FROM shard").trim().to_owned();
    let all: Vec<_> = databases.iter().map(owned).collect();
    assert_eq!(all, ["500-1023", "200-300", "0-199,301-499"]);
    assert_eq!(count(&databases, "orders"), model.orders.len() as i64, "each order once");
    store.refresh().await.expect("it knows the new shard");
    model.assert_matches(store.as_ref()).await;
    let placed = databases.iter().flat_map(|database| {
        let buckets = set(&owned(database));
        let rows = database.rows("SELECT DISTINCT order_bucket(id) FROM orders");
        rows.into_iter().map(move |row| (buckets, row[0].parse().expect("a bucket")))
    });
    for (buckets, bucket) in placed {
        assert!(buckets.contains(bucket), "orders of bucket {bucket} stand where it belongs");
    }
}

/// The same database under another name of the program, so that its backends can be told apart.
fn named(database: &Database, name: &str) -> doorbuster_persistence::postgres::ShardUrl {
    let url = database.url();
    let sign = if url.contains('?') { '&' } else { '?' };
    let name = name.replace(' ', "%20");
    format!("{url}{sign}application_name={name}").parse().expect("a URL")
}

fn shard_url(
    shard: &ShardOptions,
    databases: &[Database],
    name: &str,
) -> doorbuster_persistence::postgres::ShardUrl {
    let database = databases.iter().find(|it| it.url().parse().as_ref() == Ok(&shard.url));
    named(database.expect("it is one of them"), name)
}
