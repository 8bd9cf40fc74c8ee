//! The end of a run: what clients saw, what the log holds and what the store holds, before the
//! history checker.

use crate::dials::Dials;
use crate::engine_node::EngineNode;
use crate::history_of;
use crate::network::PROBED_FOR;
use crate::store::{self, SimStore};
use crate::workload::Workload;
use crate::world::World;
use doorbuster_history::{Allowance, History, Others, Verdict};
use doorbuster_protocol::event::Event;
use doorbuster_protocol::{PartitionId, Sequence};
use std::time::Duration;

/// Longer than any run: what nobody can bound.
const FOREVER_US: u64 = 10 * 24 * 3_600 * 1_000_000;

/// Compares the rows of every shard with what the events make of them.
pub fn compare_store(world: &World, engine: &EngineNode, store: &SimStore) {
    let log = log_of(engine);
    let differences = store::compare(store, in_order(&log));
    if !differences.is_empty() {
        world.broken(format!("the store is not as the log: {}", differences.join("\n")));
    }
    // Once more by the history checker, which has nothing in common with all that.
    let rows = store::rows(store, log.iter().flat_map(|(_, events)| events));
    let history = History { operations: Vec::new(), events: in_words(&log), rows: Some(rows) };
    let allowance = Allowance { others: Others::Strangers, ..allowance(world.dials()) };
    let verdict = doorbuster_history::check(&history, &allowance);
    world.add("judged: rows", verdict.looked.rows);
    tell(world, &verdict);
}

/// Every partition with its events, from the first on.
fn log_of(engine: &EngineNode) -> Vec<(PartitionId, Vec<Event>)> {
    let of = |partition| (partition, engine.observer().events(partition));
    engine.partitions().all().map(of).collect()
}

fn in_words(log: &[(PartitionId, Vec<Event>)]) -> Vec<doorbuster_history::event::Event> {
    let events = in_order(log);
    events.map(|(id, sequence, event)| history_of::event(id, sequence, event)).collect()
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
    let operations = workload.recorder().operations().to_vec();
    // Rows were compared before the engine drained.
    let history = History { operations, events: in_words(&log), rows: None };
    let verdict = doorbuster_history::check(&history, &allowance(world.dials()));
    world.add("judged: acknowledged", verdict.looked.acknowledged);
    world.add("judged: first answers again", verdict.looked.replayed);
    world.add("judged: refusals", verdict.looked.refused);
    world.add("judged: looks", verdict.looked.read);
    world.add("judged: had to wait", verdict.looked.waited);
    tell(world, &verdict);
}

fn tell(world: &World, verdict: &Verdict) {
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
    Allowance {
        engine_skew_us,
        client_skew_us: 0,
        flag_staleness_us: flag_staleness(dials).as_micros() as u64,
        decision_us: 60_000_000,
        orders_leave: true,
        others: Others::Nobody,
        operations_are_complete: true,
    }
}

/// How long an edge may go on refusing what it heard to be sold out after units came back: for as
/// long as nothing gets from the engine to it, and it does not know that its connection is gone.
fn flag_staleness(dials: &Dials) -> Duration {
    let (network, process) = (&dials.network, &dials.process);
    // A tick, and the way to the edge piece by piece.
    let mut stale = Duration::from_millis(100) + 16 * network.delay_max;
    let loses_power = process.engine_kill_every.is_some() && process.power_loss > 0.0;
    if network.silent > 0.0 || network.partition_every.is_some() || loses_power {
        // Then its kernel gives the connection up, and it knows of no level any more.
        stale += PROBED_FOR;
    }
    if process.freeze_every.is_some() {
        // First the engine that should tell it, then the edge that should hear it.
        stale += 2 * process.freeze_max;
    }
    stale
}
