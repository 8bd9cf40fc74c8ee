//! The store keeps the promises of every store, and each fault does what it says.

use super::*;
use crate::dials::{Dials, Group, StoreDials};
use crate::process::Process;
use doorbuster_persistence::conformance::{self, History, Step, batches, share};
use doorbuster_persistence::{Shard, Store, StoreError, StoreIdentity};
use doorbuster_protocol::routing::PartitionCount;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::sleep;

const PARTITIONS: u16 = 3;

/// A store in a world without other faults.
fn store(seed: u64, shards: usize, dials: StoreDials, keeps: LogKeeps) -> SimStore {
    let mut all = Dials::draw(&Chance::new(seed));
    Group::ALL.into_iter().for_each(|group| all.quiet(group));
    (all.size.shards, all.store) = (shards, dials);
    SimStore::new(World::new(seed, all, false), keeps)
}

fn view(store: &SimStore) -> StoreView {
    store.view(Process::new("projector").life().clone())
}

fn in_simulated_time<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, story)
}

#[test]
fn it_conforms() {
    for shards in [1, 3] {
        in_simulated_time(async {
            let fresh = || {
                let store = store(5, shards, StoreDials::quiet(), LogKeeps::Unacknowledged);
                let open: conformance::Open = Box::new(move || {
                    let view = Arc::new(view(&store)) as Arc<dyn Store>;
                    Box::pin(std::future::ready(Ok(view)))
                });
                open
            };
            conformance::run(fresh, 42).await;
        });
    }
}

fn identity() -> StoreIdentity {
    let partitions = PartitionCount::new(PARTITIONS).expect("in range");
    StoreIdentity { directory: 9, partitions }
}

fn history(seed: u64, events: usize) -> Vec<Step> {
    let mut history = History::new(seed, PARTITIONS);
    (0..events).map(|_| history.step()).collect()
}

/// Writes the events of a history as a projector does that gives nothing up: each shard from where it
/// stands.
async fn fill(view: &StoreView, steps: &[Step], random: &mut fastrand::Rng) {
    for shard in view.shards() {
        again(async || shard.claim(identity()).await).await;
    }
    loop {
        again(async || view.refresh().await).await;
        let mut is_complete = true;
        for shard in view.shards() {
            is_complete &= fill_one(&*shard, steps, random).await;
        }
        if is_complete {
            return;
        }
    }
}

/// Whether a shard has everything, and goes on having it.
async fn fill_one(shard: &dyn Shard, steps: &[Step], random: &mut fastrand::Rng) -> bool {
    let stored = again(async || shard.checkpoints().await).await;
    let lacks = |step: &&Step| stored[step.partition.index()].sequence < step.sequence;
    let missing: Vec<Step> = steps.iter().filter(lacks).cloned().collect();
    for batch in batches(&missing, random, 40) {
        let batch = Arc::new(share(&batch, shard.buckets()));
        match shard.write(batch).await {
            Ok(_) => {}
            Err(error) => {
                let is_passing = error.is_retryable()
                    || matches!(error, StoreError::OutOfStep { .. } | StoreError::Moved { .. });
                assert!(is_passing, "{error}");
                return false;
            }
        }
    }
    missing.is_empty()
}

async fn again<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn events(
    steps: &[Step],
) -> impl Iterator<Item = (PartitionId, Sequence, &doorbuster_protocol::Event)> {
    steps.iter().map(|step| (step.partition, step.sequence, &step.event))
}

/// Fills a store through faults; its differences from the log, and what happened.
fn filled(seed: u64, shards: usize, dials: StoreDials) -> (Vec<String>, u64, u64, String) {
    in_simulated_time(async {
        let store = store(seed, shards, dials, LogKeeps::Everything);
        tokio::task::spawn_local(store.clone().keep_failing(|| {}));
        let steps = history(seed, 400);
        let mut random = fastrand::Rng::with_seed(seed);
        for part in 1..=20 {
            fill(&view(&store), &steps[..20 * part], &mut random).await;
            sleep(Duration::from_millis(500)).await;
        }
        store.0.world.heal();
        sleep(Duration::from_secs(10)).await;
        fill(&view(&store), &steps, &mut random).await;
        assert_eq!(store.0.world.is_broken(), None, "seed {seed}");
        let trace = store.0.world.trace();
        let counts = format!("{:?}", store.0.world.counts());
        (compare(&store, events(&steps)), trace.hash(), trace.lines(), counts)
    })
}

fn wild() -> StoreDials {
    StoreDials {
        delayed: 0.5,
        delay_max: Duration::from_millis(100),
        busy: 0.1,
        lost_reply: 0.1,
        away_every: Some(Duration::from_secs(3)),
        away_max: Duration::from_secs(4),
        rollback_every: Some(Duration::from_secs(2)),
        rollback_max: Duration::from_secs(3),
        rolls_back_acknowledged: true,
        move_every: Some(Duration::from_secs(3)),
        poisoned_one_in: 10,
    }
}

#[test]
fn whatever_happens_to_the_shards_their_rows_are_those_of_the_events() {
    let mut all = String::new();
    for seed in 0..20 {
        let (differences, _, _, counts) = filled(seed, 1 + seed as usize % 3, wild());
        assert_eq!(differences, [""; 0], "seed {seed}: {counts}");
        all += &counts;
    }
    for fault in [
        "calls refused by a shard",
        "answers of a shard lost",
        "absences of a shard",
        "failovers that lost transactions",
        "moves of buckets",
    ] {
        assert!(all.contains(fault), "{fault} never happened: {all}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let (one, again, other) = (filled(1, 2, wild()), filled(1, 2, wild()), filled(2, 2, wild()));
    assert_eq!(one, again);
    assert_ne!(one.1, other.1);
}

/// A difference of every kind, each planted by hand.
#[test]
fn what_differs_is_told() {
    type Plant = fn(&mut Cluster, &[Step]);
    fn any_order(cluster: &Cluster) -> (usize, doorbuster_protocol::OrderId) {
        let has = |index: &usize| !cluster.members[*index].database.orders.is_empty();
        let index = (0..cluster.members.len()).find(has).expect("there is an order");
        (index, *cluster.members[index].database.orders.keys().next().expect("it has one"))
    }
    let plants: [(&str, Plant); 6] = [
        ("an order is", |cluster, _| {
            let (index, order) = any_order(cluster);
            let orders = &mut cluster.members[index].database.orders;
            orders.get_mut(&order).expect("it is there").expires_at =
                doorbuster_protocol::Timestamp::from_micros(7);
        }),
        ("an order is None", |cluster, _| {
            let (index, order) = any_order(cluster);
            cluster.members[index].database.orders.remove(&order);
        }),
        ("of another shard", |cluster, _| {
            let (index, order) = any_order(cluster);
            let row = cluster.members[index].database.orders.remove(&order).expect("it is there");
            cluster.members[1 - index].database.orders.insert(order, row);
        }),
        ("a product is", |cluster, _| {
            let products = &mut cluster.members[1].database.products;
            products.values_mut().next().expect("there is one").stock += 1;
        }),
        ("stands at", |cluster, steps| {
            let stored = cluster.members[0].database.checkpoints.get_mut(&steps[0].partition);
            let stored = stored.expect("it is claimed");
            stored.sequence = stored.sequence.next();
        }),
        ("the dead letter", |cluster, _| {
            let letters = &mut cluster.members[0].database.dead_letters;
            assert!(
                letters.pop_first().is_some() || {
                    cluster.members[1].database.dead_letters.pop_first().is_some()
                }
            );
        }),
    ];
    for (told, plant) in plants {
        in_simulated_time(async {
            let dials = StoreDials { poisoned_one_in: 5, ..StoreDials::quiet() };
            let store = store(1, 2, dials, LogKeeps::Unacknowledged);
            let steps = history(1, 300);
            fill(&view(&store), &steps, &mut fastrand::Rng::with_seed(1)).await;
            assert_eq!(compare(&store, events(&steps)), [""; 0]);
            plant(&mut store.0.cluster(), &steps);
            let differences = compare(&store, events(&steps));
            assert!(differences.iter().any(|what| what.contains(told)), "{told}: {differences:?}");
        });
    }
}

#[test]
fn an_acknowledgement_that_a_shard_cannot_stand_for_is_told() {
    in_simulated_time(async {
        let store = store(1, 2, StoreDials::quiet(), LogKeeps::Unacknowledged);
        let steps = history(1, 300);
        fill(&view(&store), &steps, &mut fastrand::Rng::with_seed(1)).await;
        let partition = steps[0].partition;
        let reached = store.reached(partition);
        store.acknowledged(partition, reached);
        assert_eq!(store.0.world.is_broken(), None);
        store.acknowledged(partition, reached.next());
        assert!(store.0.world.is_broken().is_some_and(|why| why.contains("acknowledged")));
    });
}

/// A store that lost what the engine was told of would want it back from a log that may have let go
/// of it: no failover of a run goes so far, unless the log keeps everything.
#[test]
fn a_shard_falls_back_as_far_as_the_log_reaches() {
    for (keeps, least) in [(LogKeeps::Unacknowledged, 300), (LogKeeps::Everything, 0)] {
        in_simulated_time(async {
            let dials =
                StoreDials { rollback_max: Duration::from_secs(3_600), ..StoreDials::quiet() };
            let store = store(1, 1, dials, keeps);
            let steps = history(1, 300);
            fill(&view(&store), &steps, &mut fastrand::Rng::with_seed(1)).await;
            let lost = store.0.cluster().fall_back(0, usize::MAX);
            let all = identity().partitions.all();
            let sum: u64 = all.map(|partition| store.reached(partition).get()).sum();
            assert_eq!((sum, lost == 0), (least, least > 0), "{keeps:?}");
        });
    }
}
