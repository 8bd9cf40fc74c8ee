//! The end of a run: what clients saw, what the log holds and what the store holds, before the
//! history checker.

use crate::dials::Dials;
use crate::engine_node::EngineNode;
use crate::history_of;
use crate::store::{SimStore, compare};
use crate::workload::Workload;
use crate::world::World;
use doorbuster_history::{Allowance, History, Others};
use doorbuster_protocol::event::Event;
use doorbuster_protocol::{PartitionId, Sequence};

/// Longer than any run: what nobody can bound.
const FOREVER_US: u64 = 10 * 24 * 3_600 * 1_000_000;

/// Compares the rows of every shard with what the events make of them.
pub fn compare_store(world: &World, engine: &EngineNode, store: &SimStore) {
    let log = log_of(engine);
    let differences = compare(store, in_order(&log));
    if !differences.is_empty() {
        world.broken(format!("the store is not as the log: {}", differences.join("\n")));
    }
}

/// Every partition with its events, from the first on.
fn log_of(engine: &EngineNode) -> Vec<(PartitionId, Vec<Event>)> {
    let of = |partition| (partition, engine.observer().events(partition));
    engine.partitions().all().map(of).collect()
}

fn in_order(
    log: &[(PartitionId, Vec<Event>)],
) -> impl Iterator<Item = (PartitionId, Sequence, &Event)> {
    log.iter().flat_map(|(partition, events)| {
        events.iter().zip(1..).map(|(event, number)| (*partition, Sequence::new(number), event))
    })
}

/// Judges what clients saw by the log.
pub fn check_history(world: &World, engine: &EngineNode, workload: &Workload) {
    let log = log_of(engine);
    let events = in_order(&log)
        .map(|(partition, sequence, event)| history_of::event(partition, sequence, event));
    let operations = workload.recorder().operations().to_vec();
    // Rows were compared before, dead letters included.
    let history = History { operations, events: events.collect(), rows: None };
    let verdict = doorbuster_history::check(&history, &allowance(world.dials()));
    if !verdict.is_clean() {
        let listed: Vec<String> =
            verdict.violations.iter().take(3).map(ToString::to_string).collect();
        world.broken(format!("{} violations: {}", verdict.violations.len(), listed.join("\n")));
    }
}

/// How far things may be apart in this run.
fn allowance(dials: &Dials) -> Allowance {
    let clock = &dials.clock;
    // A core's time may stand where a step has put the wall clock at a restart; steps may add up.
    let engine_skew_us = match clock.step_every {
        Some(_) => FOREVER_US,
        None => clock.offset_us_max + dials.size.faulty_for.as_micros() as u64 / 1_000 + 100_000,
    };
    // An edge that is cut off does not hear that units came back. With a sound network it does.
    let is_heard = dials.is_quiet(crate::dials::Group::Network)
        && dials.process.freeze_every.is_none()
        && dials.disk.slow_sync == 0.0;
    Allowance {
        engine_skew_us,
        client_skew_us: 0,
        flag_staleness_us: if is_heard { 300_000 } else { FOREVER_US },
        decision_us: 60_000_000,
        orders_leave: true,
        others: Others::Nobody,
        operations_are_complete: true,
    }
}
