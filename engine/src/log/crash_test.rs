//! Power loss at every step of a working log: appends, fills, rotations, snapshots, trims.
//!
//! After each crash, with whatever subset of unsynced sectors and names the seed chose: every
//! acknowledged event is there, what is there is a prefix of what was written, and the log goes on.
//! A failure names its step and seed; `CRASH_SEEDS=200 cargo test -p doorbuster-engine crash_test`
//! tries more of them, always from 0.

use super::sample::{Batch, Sale, append, fresh, identity, recover};
use super::{Log, LogError, take_snapshot};
use crate::state_machine::State;
use crate::storage::{Fault, MemoryDisk, run_immediate};
use doorbuster_protocol::Sequence;

const BATCHES: usize = 48;

/// Works until something fails; says the last event that was acknowledged.
fn work(disk: &MemoryDisk, batches: &[Batch]) -> (Sequence, Result<(), LogError>) {
    let (log, state) = match recover(disk) {
        Ok(recovered) => recovered,
        Err(error) => return (Sequence::ZERO, Err(error)),
    };
    let mut acknowledged = state.sequence();
    let left = batches.iter().filter(|batch| batch.first > state.sequence());
    let result = left.into_iter().try_for_each(|batch| {
        append(&log, batch)?;
        acknowledged = batch.last();
        keep(disk, &log, acknowledged)
    });
    let result = result.and_then(|()| run_immediate(log.seal()));
    (acknowledged, result)
}

/// The upkeep of an engine, and a snapshot at each rotation.
fn keep(disk: &MemoryDisk, log: &Log<MemoryDisk>, acknowledged: Sequence) -> Result<(), LogError> {
    run_immediate(log.prepare())?;
    let until = log.current_first();
    if log.snapshot().next() < until {
        log.note_snapshot(&take_snapshot(disk, identity(), until)?);
    }
    run_immediate(log.trim(acknowledged)).map(|_| ())
}

/// Checks what a crash left: at least `acknowledged`, and a prefix of `batches`.
fn check(disk: &MemoryDisk, batches: &[Batch], acknowledged: Sequence, context: &str) -> State {
    let (_, state) = recover(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let last = state.sequence();
    assert!(last >= acknowledged, "{context}: event {acknowledged} is lost, {last} is the last");
    if last > Sequence::ZERO {
        let batch = batches.iter().find(|batch| batch.last() == last);
        let batch = batch.unwrap_or_else(|| panic!("{context}: {last} ends no batch"));
        assert_eq!(state.digest(), batch.digest, "{context}");
    }
    state
}

#[test]
fn power_loss_at_every_step_loses_nothing_acknowledged() {
    let batches = Sale::new().batches(BATCHES);
    let disk = fresh();
    let (acknowledged, result) = work(&disk, &batches);
    result.expect("a good disk");
    assert_eq!(acknowledged, batches[BATCHES - 1].last());
    let steps = disk.counts().3;
    assert!(steps > 100, "the work has many steps");
    let seeds = std::env::var("CRASH_SEEDS");
    let seeds: u64 = seeds.map_or(5, |seeds| seeds.parse().expect("CRASH_SEEDS is a number"));
    for step in 1..=steps {
        for seed in 0..seeds {
            let context = format!("step {step}, seed {seed}");
            let disk = fresh();
            disk.inject(Fault::Power(step));
            let (acknowledged, result) = work(&disk, &batches);
            assert!(result.is_err(), "{context}: the power was lost");
            disk.crash(seed);
            check(&disk, &batches, acknowledged, &context);
            // A second crash, in the recovery itself or soon after, changes nothing about that.
            disk.reset();
            disk.inject(Fault::Power(1 + seed % 6));
            let (more, _) = work(&disk, &batches);
            disk.crash(seed ^ 0x5EED);
            check(&disk, &batches, acknowledged.max(more), &context);
            disk.reset();
            let (last, result) = work(&disk, &batches);
            result.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(last, batches[BATCHES - 1].last(), "{context}");
            let state = check(&disk, &batches, last, &context);
            assert_eq!(state.digest(), batches[BATCHES - 1].digest, "{context}");
        }
    }
}
