//! The projector against a real connection: whatever breaks off, every row is there once.

mod engine;
mod flaky;
mod several;
mod sharded;

use doorbuster_persistence::conformance::{
    History, Model, checkpoints, claim, dead_letters, scan_orders,
};
use doorbuster_persistence::projector::run;
use doorbuster_persistence::{
    ProjectorConfig, ProjectorError, ProjectorMetrics, SqliteStore, Store, StoreError,
    StoreIdentity,
};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::routing::PartitionCount;
use engine::{DIRECTORY, Engine, Faults, KEY, Logs};
use flaky::FlakyStore;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PARTITIONS: u16 = 4;

/// A seed by chance, or the one that is to be run again.
fn seed() -> u64 {
    let seed = std::env::var("DOORBUSTER_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a seed is a number"));
    println!(
        "replay: DOORBUSTER_SEED={seed} cargo nextest run -p doorbuster-persistence --test projector"
    );
    seed
}

struct Running {
    task: JoinHandle<Result<(), ProjectorError>>,
    metrics: Arc<ProjectorMetrics>,
    shutdown: watch::Sender<bool>,
}

impl Running {
    fn start(engine: &Engine, store: &Arc<dyn Store>) -> Self {
        let mut config = ProjectorConfig::new(engine.addresses.clone(), PreSharedKey::new(KEY));
        config.batch_rows_max = 200;
        config.batch_delay = Duration::from_millis(2);
        config.look_every = Duration::from_millis(20);
        Self::start_with(config, store)
    }

    fn start_with(config: ProjectorConfig, store: &Arc<dyn Store>) -> Self {
        let metrics = Arc::new(ProjectorMetrics::new());
        let (shutdown, stops) = watch::channel(false);
        let task = tokio::spawn(run(config, Arc::clone(store), Arc::clone(&metrics), stops));
        Self { task, metrics, shutdown }
    }

    async fn stop(self) {
        self.shutdown.send_replace(true);
        self.task.await.expect("no panic").expect("a stop is no error");
    }

    async fn error(self) -> ProjectorError {
        self.task.await.expect("no panic").expect_err("it cannot go on")
    }
}

/// Waits until something is so. What is waited for tells nobody.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    while !is_so().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn sqlite(directory: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(directory.join("store.db")).expect("the store opens"))
}

fn history(seed: u64, events: usize) -> (Logs, Model) {
    let mut history = History::new(seed, PARTITIONS);
    let (mut logs, mut model) = (Logs::new(PARTITIONS), Model::default());
    for _ in 0..events {
        let step = history.step();
        model.apply(step.sequence, &step.event);
        logs.push(step.partition, &step.event);
    }
    (logs, model)
}

async fn assert_complete(store: &dyn Store, model: &Model, logs: &Logs) {
    let checkpoints = checkpoints(store).await.expect("the store answers");
    let stored: Vec<_> = checkpoints.iter().map(|stored| stored.sequence.get()).collect();
    assert_eq!(stored, logs.last_sequences());
    model.assert_matches(store).await;
}

/// Connections that break off anywhere, a store that fails before and after its commits, and a
/// projector that is stopped and started: the rows are those of the events, each once.
#[tokio::test]
async fn rows_are_exact_whatever_breaks_off() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_exact_whatever_breaks_off(sqlite(directory.path())).await;
}

async fn assert_exact_whatever_breaks_off(inner: Arc<dyn Store>) {
    let seed = seed();
    let (logs, model) = history(seed, 8_000);
    let store: Arc<dyn Store> = Arc::new(FlakyStore::new(Arc::clone(&inner), seed));
    let engine = Engine::start(logs.clone(), 2, Faults::Random(seed), inner).await;

    let mut random = fastrand::Rng::with_seed(seed);
    let (mut rows, mut connections) = (0, 0);
    loop {
        let running = Running::start(&engine, &store);
        let pause = random.u64(500..4_000);
        let goal = engine.acknowledged_sum() + pause;
        let complete = engine.reached(goal).await;
        rows += running.metrics.rows();
        connections += running.metrics.connections();
        if complete {
            // A run that found nothing left to do may not have asked the store yet.
            let no_lags = [0; PARTITIONS as usize];
            until(async || running.metrics.lag_events().map(|(_, lag)| lag).eq(no_lags)).await;
            running.stop().await;
            break;
        }
        running.stop().await;
    }
    println!("{rows} rows over {connections} connections");
    assert_complete(&*store, &model, &logs).await;
}

#[tokio::test]
async fn a_quiet_engine_is_followed_event_by_event() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = sqlite(directory.path());
    let (all, model) = history(7, 50);
    let engine = Engine::start(Logs::new(PARTITIONS), 1, Faults::None, Arc::clone(&store)).await;
    let running = Running::start(&engine, &store);
    for (partition, event) in all.in_order() {
        let sum = engine.acknowledged_sum();
        engine.append(partition, event);
        engine.reached(sum + 1).await;
    }
    assert_eq!(running.metrics.events(), 50);
    assert_eq!(running.metrics.batch_buckets().iter().sum::<u64>(), 50);
    assert!(running.metrics.is_connected());
    running.stop().await;
    assert_complete(&*store, &model, &all).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_becomes_a_dead_letter_and_the_rest_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = sqlite(directory.path());
    let (mut logs, model) = history(3, 300);
    let poisoned = logs.push_archive(1, &[0xFF; 40]);
    let engine = Engine::start(logs, 1, Faults::None, Arc::clone(&store)).await;
    let running = Running::start(&engine, &store);
    assert!(engine.reached(u64::MAX).await);
    assert_eq!(running.metrics.dead_letters(), 1);
    running.stop().await;
    let letters = dead_letters(&*store, None, 10).await.expect("the store answers");
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].partition.get(), letters[0].sequence.get()), (1, poisoned));
    let orders = scan_orders(&*store, None, None, 10_000).await.expect("the store answers");
    assert!(orders.iter().eq(model.orders.values()));
}

#[tokio::test]
async fn what_no_waiting_mends_ends_it_with_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = sqlite(directory.path());
    let (logs, _) = history(5, 100);

    let engine = Engine::start(logs.clone(), 1, Faults::Trimmed, Arc::clone(&store)).await;
    let gone = Running::start(&engine, &store).error().await;
    let of_shard = matches!(&gone, ProjectorError::Gone { shard, .. } if shard == "sqlite");
    assert!(of_shard, "{gone}");

    let engine = Engine::start(logs.clone(), 1, Faults::Torn, Arc::clone(&store)).await;
    let unsound = Running::start(&engine, &store).error().await;
    assert!(matches!(unsound, ProjectorError::Unsound { .. }), "{unsound}");

    let engine = Engine::start(logs.clone(), 1, Faults::Skipping, Arc::clone(&store)).await;
    let unsound = Running::start(&engine, &store).error().await;
    assert!(matches!(unsound, ProjectorError::Unsound { .. }), "{unsound}");

    let engine = Engine::start(logs.clone(), 1, Faults::None, Arc::clone(&store)).await;
    let config = ProjectorConfig::new(engine.addresses.clone(), PreSharedKey::new([9; 32]));
    let refused = Running::start_with(config, &store).error().await;
    assert!(matches!(refused, ProjectorError::Refused(_)), "{refused}");

    let config = ProjectorConfig::new(Vec::new(), PreSharedKey::new(KEY));
    let nowhere = Running::start_with(config, &store).error().await;
    assert!(matches!(nowhere, ProjectorError::NoAddress), "{nowhere}");

    let other = tempfile::tempdir().expect("a temporary directory");
    let store = sqlite(other.path());
    let partitions = PartitionCount::new(PARTITIONS).expect("in range");
    let identity = StoreIdentity { directory: DIRECTORY + 1, partitions };
    claim(&*store, identity).await.expect("it is fresh");
    let foreign = Running::start(&engine, &store).error().await;
    let expected = matches!(foreign, ProjectorError::Store(StoreError::Foreign { .. }));
    assert!(expected, "{foreign}");
}

#[tokio::test]
async fn it_waits_for_an_engine_that_is_not_there_and_stops_when_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = sqlite(directory.path());
    let (logs, model) = history(11, 500);
    let engine = Engine::start(logs.clone(), 2, Faults::None, Arc::clone(&store)).await;
    let running = Running::start(&engine, &store);
    assert!(engine.reached(u64::MAX).await);

    // The engine dies; another takes its addresses, with more events.
    let (more, more_model) = history(11, 900);
    let addresses = engine.stop().await;
    let engine = Engine::start_at(&addresses, more.clone(), Faults::None, Arc::clone(&store)).await;
    assert!(engine.reached(u64::MAX).await);
    assert!(running.metrics.connections() >= 2);
    assert!(model.orders.len() < more_model.orders.len());
    engine.stop().await;
    running.stop().await;
    assert_complete(&*store, &more_model, &more).await;
}
