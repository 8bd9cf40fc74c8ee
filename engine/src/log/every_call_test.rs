//! Every call to the disk fails in turn: with EIO, with ENOSPC, by half a write; once, and from then
//! on. Nothing is acknowledged that is not there afterwards, no sync is tried twice (the disk panics
//! at that), and the log that is recovered goes on: after a crash, and after a restart of the
//! process on a machine that went on.

use super::sample::{Batch, Sale, append, fresh, identity, recover};
use super::{Log, LogError, take_snapshot};
use crate::state_machine::State;
use crate::storage::{Failure, Fault, MemoryDisk, run_immediate};
use doorbuster_protocol::Sequence;

const BATCHES: usize = 36;

/// Works until the log fails, with everything that an engine does; says the last event that was
/// acknowledged, and how the log ended.
fn work(disk: &MemoryDisk, batches: &[Batch]) -> (Sequence, Result<(), LogError>) {
    let (log, state) = match recover(disk) {
        Ok(recovered) => recovered,
        Err(error) => return (Sequence::ZERO, Err(error)),
    };
    let mut acknowledged = state.sequence();
    let left = batches.iter().filter(|batch| batch.first > state.sequence());
    let done = left.into_iter().try_for_each(|batch| {
        if log.has_room(batch.events.len()) {
            append(&log, batch)?;
            acknowledged = batch.last();
        }
        keep(disk, &log)
    });
    let done = done.and_then(|()| run_immediate(log.seal()));
    if done.is_err() {
        is_over(disk, &log, batches);
    }
    (acknowledged, done)
}

fn keep(disk: &MemoryDisk, log: &Log<MemoryDisk>) -> Result<(), LogError> {
    run_immediate(log.prepare())?;
    let until = log.current_first();
    if log.snapshot().next() < until {
        match take_snapshot(disk, identity(), until) {
            Ok(taken) => log.note_snapshot(&taken),
            Err(error) => log.note_snapshot_failure(&error),
        }
    }
    run_immediate(log.read_from(log.durable(), 1))?;
    run_immediate(log.trim(log.durable())).map(drop)
}

/// A log that has failed takes and gives nothing any more, and lets the disk be. A read that fails
/// says so, and leaves it as it was.
fn is_over(disk: &MemoryDisk, log: &Log<MemoryDisk>, batches: &[Batch]) {
    if log.check().is_ok() {
        return;
    }
    let calls = disk.calls();
    let next = Batch { first: log.durable().next(), ..batches[0].clone() };
    let poisoned = |error| matches!(error, LogError::Poisoned(_));
    assert!(append(log, &next).is_err_and(poisoned));
    assert!(run_immediate(log.prepare()).is_err_and(poisoned));
    assert!(run_immediate(log.seal()).is_err_and(poisoned));
    assert!(run_immediate(log.trim(log.durable())).is_err_and(poisoned));
    assert!(run_immediate(log.read_from(Sequence::new(1), 1)).is_err_and(poisoned));
    assert_eq!((log.room(), disk.calls()), (0, calls));
}

/// Recovers, and finds what was acknowledged, and no more than a prefix of what was written.
fn stands(disk: &MemoryDisk, batches: &[Batch], acknowledged: Sequence, what: &str) -> State {
    let (_, state) = recover(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let last = state.sequence();
    assert!(last >= acknowledged, "{what}: event {acknowledged} is lost, {last} is the last");
    if last > Sequence::ZERO {
        let batch = batches.iter().find(|batch| batch.last() == last);
        let batch = batch.unwrap_or_else(|| panic!("{what}: {last} ends no batch"));
        assert_eq!(state.digest(), batch.digest, "{what}");
    }
    state
}

fn check(batches: &[Batch], fault: Fault, what: &str) -> bool {
    let disk = fresh();
    disk.inject(fault);
    let (acknowledged, done) = work(&disk, batches);
    let is_harmless = done.is_ok();
    if let Err(error) = &done {
        let is_told = matches!(error, LogError::Io { .. } | LogError::Poisoned(_));
        assert!(is_told, "{what}: {error}");
    }
    // The machine goes on, and what it reads need not be on its disk. Then its power goes out.
    let machine = disk.clone();
    let seed = what.len() as u64 ^ acknowledged.get();
    machine.restart();
    let (more, done) = work(&machine, batches);
    done.unwrap_or_else(|error| panic!("{what}, restarted: {error}"));
    assert!(more >= acknowledged, "{what}, restarted: event {acknowledged} is lost");
    machine.crash(seed);
    stands(&machine, batches, more, &format!("{what}, restarted, crashed"));

    // The same again, and the power goes out at once.
    let disk = fresh();
    disk.inject(fault);
    let (acknowledged, _) = work(&disk, batches);
    disk.crash(seed);
    stands(&disk, batches, acknowledged, &format!("{what}, crashed"));
    let (last, done) = work(&disk, batches);
    done.unwrap_or_else(|error| panic!("{what}, crashed: {error}"));
    assert_eq!(last, batches[batches.len() - 1].last(), "{what}, crashed");
    is_harmless
}

#[test]
fn every_call_fails_in_turn_and_nothing_false_is_acknowledged() {
    let batches = Sale::new().batches(BATCHES);
    let disk = fresh();
    let (last, done) = work(&disk, &batches);
    done.expect("a good disk");
    assert_eq!(last, batches[BATCHES - 1].last());
    let calls = disk.calls();
    assert!(calls > 150, "the work has many calls: {calls}");
    let (mut runs, mut harmless) = (0, 0);
    for call in 1..=calls {
        for failure in [Failure::Broken, Failure::Full, Failure::Short] {
            for fault in [Fault::Call(call, failure), Fault::CallsFrom(call, failure)] {
                runs += 1;
                harmless += usize::from(check(&batches, fault, &format!("{fault:?}")));
            }
        }
    }
    let told = runs - harmless;
    println!(
        "failing calls: {runs} runs, {told} that were told, {harmless} that did no harm; \
         0 violations at {calls} places"
    );
    assert!(harmless > 0 && harmless < runs, "{harmless} of {runs}");
}
