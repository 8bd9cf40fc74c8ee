//! Several shards: each gets its own rows at its own pace, and the engine forgets what all have. At
//! every acknowledgement the engine of these tests checks that no shard is behind it.

use crate::engine::{DIRECTORY, Engine, Faults, Logs};
use crate::flaky::FlakyStore;
use crate::sharded::ShardedStore;
use crate::{
    PARTITIONS, Running, assert_complete, assert_exact_whatever_breaks_off, history, seed, until,
};
use doorbuster_persistence::conformance;
use doorbuster_persistence::{Repair, Shard, Store, StoreIdentity};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{PartitionId, Sequence, Timestamp};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A store of `shards` shards, as it is and as the projector meets it.
fn store(directory: &tempfile::TempDir, shards: usize) -> (Arc<ShardedStore>, Arc<FlakyStore>) {
    let plain = Arc::new(ShardedStore::new(directory.path(), shards));
    let met = FlakyStore::steady(Arc::clone(&plain) as Arc<dyn Store>);
    (plain, Arc::new(met))
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

async fn sequences(shard: &dyn Shard) -> Vec<u64> {
    let stored = shard.checkpoints().await.expect("the shard answers");
    stored.iter().map(|stored| stored.sequence.get()).collect()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_micros(since.as_micros() as u64)
}

#[tokio::test]
async fn rows_of_many_shards_are_exact_whatever_breaks_off() {
    let directory = directory();
    assert_exact_whatever_breaks_off(Arc::new(ShardedStore::new(directory.path(), 3))).await;
}

/// The store of these tests keeps the promises of every store, so that what is shown with it holds.
#[tokio::test]
async fn the_store_of_these_tests_conforms() {
    let directory = directory();
    let mut number = 0;
    let fresh = || {
        number += 1;
        let path = directory.path().join(number.to_string());
        std::fs::create_dir(&path).expect("it is new");
        let open: conformance::Open = Box::new(move || {
            let store = Arc::new(ShardedStore::new(&path, 3)) as Arc<dyn Store>;
            Box::pin(std::future::ready(Ok(store)))
        });
        open
    };
    conformance::run(fresh, seed()).await;
}

/// A shard that never comes up: the others get everything, and the engine keeps everything.
#[tokio::test]
async fn a_shard_that_is_away_holds_up_no_other_and_is_waited_for() {
    let directory = directory();
    let (plain, met) = store(&directory, 3);
    let (logs, model) = history(21, 3_000);
    met.send_away("shard-1");
    let engine = Engine::start(logs.clone(), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    let shards = plain.shards();
    until(async || {
        sequences(&*shards[0]).await == logs.last_sequences()
            && sequences(&*shards[2]).await == logs.last_sequences()
            // Counted a moment after it is committed.
            && running.metrics.shards(now()).iter().filter(|view| view.lag.is_zero()).count() == 2
    })
    .await;
    assert_eq!(engine.acknowledged_sum(), 0, "the engine keeps the log for the third");
    let views = running.metrics.shards(now());
    let is_up: Vec<_> = views.iter().map(|view| (view.name.as_str(), view.is_up)).collect();
    assert_eq!(is_up, [("shard-0", true), ("shard-1", false), ("shard-2", true)]);
    assert_eq!((views[0].lag_events_max(), views[0].lag), (0, Duration::ZERO));
    assert!(running.metrics.is_connected(), "what is up is connected");

    met.bring_back("shard-1");
    assert!(engine.reached(u64::MAX).await);
    assert!(running.metrics.shards(now()).iter().all(|view| view.is_up));
    running.stop().await;
    assert_complete(&*plain, &model, &logs).await;
}

/// A shard that goes away in the middle: nothing is acknowledged beyond it, and it catches up when
/// it returns.
#[tokio::test]
async fn a_shard_that_goes_away_catches_up_when_it_returns() {
    let directory = directory();
    let (plain, met) = store(&directory, 3);
    let (all, model) = history(22, 2_000);
    let mut events = all.in_order();
    let engine =
        Engine::start(Logs::new(PARTITIONS), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    events.by_ref().take(500).for_each(|(partition, event)| engine.append(partition, event));
    engine.reached(500).await;
    met.send_away("shard-2");
    let shards = plain.shards();
    let stood = sequences(&*shards[2]).await;
    events.for_each(|(partition, event)| engine.append(partition, event));
    until(async || {
        sequences(&*shards[0]).await == all.last_sequences()
            && sequences(&*shards[1]).await == all.last_sequences()
    })
    .await;
    assert_eq!(sequences(&*shards[2]).await, stood);
    assert_eq!(engine.acknowledged_sum(), stood.iter().sum::<u64>());
    met.bring_back("shard-2");
    assert!(engine.reached(u64::MAX).await);
    running.stop().await;
    assert_complete(&*plain, &model, &all).await;
}

/// Half of all buckets go to a shard that joins while events come in.
#[tokio::test]
async fn moved_buckets_are_followed_to_a_shard_that_joins() {
    let directory = directory();
    let (plain, met) = store(&directory, 2);
    let (all, model) = history(23, 4_000);
    let mut events = all.in_order();
    let engine =
        Engine::start(Logs::new(PARTITIONS), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    let partitions = PartitionCount::new(PARTITIONS).expect("in range");
    let identity = StoreIdentity { directory: DIRECTORY, partitions };
    for part in 1..=4_u64 {
        events.by_ref().take(1_000).for_each(|(partition, event)| engine.append(partition, event));
        // Somewhere in the middle of these.
        engine.reached(part * 1_000 - 500).await;
        if part == 2 {
            plain.halve_into_a_new_shard(identity).await;
        }
    }
    until(async || running.metrics.shards(now()).len() == 3).await;
    assert!(engine.reached(u64::MAX).await);
    running.stop().await;
    assert_eq!(plain.shards().len(), 3);
    for shard in plain.shards() {
        let rows = shard.scan_orders(None, None, 10_000).await.expect("the shard answers");
        assert!(!rows.is_empty(), "{} has orders", shard.name());
    }
    assert_complete(&*plain, &model, &all).await;
}

/// A shard that falls back to an older state, as after a failover to a replica that lagged.
#[tokio::test]
async fn a_shard_that_is_set_back_is_healed_by_what_the_log_has() {
    let directory = directory();
    let (plain, met) = store(&directory, 2);
    let (all, model) = history(24, 1_500);
    let mut events = all.in_order();
    let engine =
        Engine::start(Logs::new(PARTITIONS), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    events.by_ref().take(1_000).for_each(|(partition, event)| engine.append(partition, event));
    engine.reached(1_000).await;
    let shard = plain.shards().remove(1);
    for stored in shard.checkpoints().await.expect("the shard answers") {
        let back = Repair {
            partition: stored.partition,
            at: stored.sequence,
            checkpoint: Some(Sequence::new(stored.sequence.get() / 3)),
            orders: Vec::new(),
            without_orders: Vec::new(),
            products: Vec::new(),
            without_products: Vec::new(),
            settled: Vec::new(),
        };
        shard.repair(Arc::new(back)).await.expect("nobody writes");
    }
    events.for_each(|(partition, event)| engine.append(partition, event));
    until(async || {
        let mut are_complete = true;
        for shard in plain.shards() {
            are_complete &= sequences(&*shard).await == all.last_sequences();
        }
        are_complete
    })
    .await;
    assert!(engine.reached(u64::MAX).await);
    running.stop().await;
    assert_complete(&*plain, &model, &all).await;
}

/// The same when nothing follows that would be refused: the shard is asked where it stands.
#[tokio::test]
async fn a_shard_that_is_set_back_while_all_is_quiet_is_healed_too() {
    let directory = directory();
    let (plain, met) = store(&directory, 2);
    let (logs, model) = history(28, 600);
    let engine = Engine::start(logs.clone(), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    assert!(engine.reached(u64::MAX).await);
    let shard = plain.shards().remove(0);
    let stored = shard.checkpoints().await.expect("the shard answers").remove(2);
    let lost = Repair {
        partition: stored.partition,
        at: stored.sequence,
        checkpoint: Some(Sequence::ZERO),
        orders: Vec::new(),
        without_orders: (model.orders.keys().copied())
            .filter(|order| order.partition() == stored.partition)
            .collect(),
        products: Vec::new(),
        without_products: Vec::new(),
        settled: Vec::new(),
    };
    shard.repair(Arc::new(lost)).await.expect("nobody writes");
    until(async || sequences(&*shard).await == logs.last_sequences()).await;
    running.stop().await;
    assert_complete(&*plain, &model, &logs).await;
}

/// What a stuck store does not read is counted all the same.
#[tokio::test]
async fn lag_grows_while_a_shard_is_away() {
    let directory = directory();
    let (plain, met) = store(&directory, 2);
    let (all, model) = history(25, 900);
    let mut events = all.in_order();
    let engine =
        Engine::start(Logs::new(PARTITIONS), 2, Faults::None, Arc::clone(&plain) as _).await;
    met.send_away("shard-0");
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    let metrics = Arc::clone(&running.metrics);
    let lag_events = |shard: usize| -> u64 {
        metrics.shards(now())[shard].lag_events.iter().map(|(_, lag)| lag).sum()
    };

    // Away from the start: nobody knows what it has, but what comes from now on it has not.
    until(async || metrics.shards(now()).iter().any(|view| !view.lag_events.is_empty())).await;
    until(async || metrics.shards(now())[0].lag > Duration::ZERO).await;
    until(async || !metrics.shards(now())[0].lag_events.is_empty()).await;
    let before = metrics.lag(now());
    events.by_ref().take(300).for_each(|(partition, event)| engine.append(partition, event));
    until(async || lag_events(0) == 300).await;
    assert!(metrics.lag(now()) > before, "the lag grows");
    assert_eq!(metrics.lag_events().map(|(_, lag)| lag).sum::<u64>(), 300, "the worst counts");
    met.bring_back("shard-0");
    engine.reached(300).await;
    until(async || metrics.lag(now()) == Duration::ZERO).await;

    // Away after it had worked: what is missing is known, to the event.
    met.send_away("shard-1");
    events.by_ref().take(300).for_each(|(partition, event)| engine.append(partition, event));
    until(async || lag_events(1) == 300).await;
    let before = metrics.shards(now())[1].lag;
    events.for_each(|(partition, event)| engine.append(partition, event));
    until(async || lag_events(1) == 600).await;
    assert!(metrics.shards(now())[1].lag > before, "the lag grows");
    until(async || lag_events(0) == 0).await;
    met.bring_back("shard-1");
    assert!(engine.reached(u64::MAX).await);
    until(async || metrics.lag(now()) == Duration::ZERO).await;
    running.stop().await;
    assert_complete(&*plain, &model, &all).await;
}

/// A shard that fails for good after it had worked holds up no other, and goes on when it is mended.
#[tokio::test]
async fn a_shard_that_fails_holds_up_no_other_and_goes_on_when_mended() {
    let directory = directory();
    let (plain, met) = store(&directory, 3);
    let (all, model) = history(27, 1_000);
    let mut events = all.in_order();
    let engine =
        Engine::start(Logs::new(PARTITIONS), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    events.by_ref().take(500).for_each(|(partition, event)| engine.append(partition, event));
    engine.reached(500).await;
    met.break_down("shard-1");
    events.for_each(|(partition, event)| engine.append(partition, event));
    let metrics = Arc::clone(&running.metrics);
    let others_are_complete = async || {
        let shards = metrics.shards(now());
        let is_up: Vec<_> = shards.iter().map(|view| view.is_up).collect();
        let behind: Vec<_> = shards.iter().map(|view| view.lag_events_max() > 0).collect();
        is_up == [true, false, true] && behind == [false, true, false]
    };
    until(others_are_complete).await;
    met.mend("shard-1");
    assert!(engine.reached(u64::MAX).await);
    running.stop().await;
    assert_complete(&*plain, &model, &all).await;
}

/// The acknowledgements do not wait for a projector that is restarted: it says where all stand.
#[tokio::test]
async fn a_projector_that_starts_again_tells_what_is_there_already() {
    let directory = directory();
    let (plain, met) = store(&directory, 2);
    let (logs, _) = history(26, 400);
    let engine = Engine::start(logs.clone(), 2, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&engine, &(Arc::clone(&met) as _));
    assert!(engine.reached(u64::MAX).await);
    running.stop().await;
    let addresses = engine.stop().await;
    let again = Engine::start_at(&addresses, logs, Faults::None, Arc::clone(&plain) as _).await;
    let running = Running::start(&again, &(Arc::clone(&met) as _));
    assert!(again.reached(u64::MAX).await);
    running.stop().await;
    let first = PartitionId::new(0).expect("in range");
    assert!(
        plain.shards()[0].checkpoints().await.expect("it answers")[first.index()].sequence
            > Sequence::ZERO
    );
}
