//! Errors of the disk: the first one is the last thing that a log does, and a full disk is none.

use super::LogError;
use super::sample::{Batch, Sale, append, config, fresh, recover};
use crate::storage::{BLOCK, Fault, File as _, MemoryDisk, Storage as _, run_immediate};
use doorbuster_protocol::Sequence;

/// Appends until something fails; says the last acknowledged event.
fn work(disk: &MemoryDisk, batches: &[Batch]) -> (Sequence, Option<LogError>) {
    let (log, _) = match recover(disk) {
        Ok(recovered) => recovered,
        Err(error) => return (Sequence::ZERO, Some(error)),
    };
    for batch in batches {
        let done = append(&log, batch).and_then(|()| run_immediate(log.prepare()));
        if let Err(error) = done {
            // Nothing is taken or given any more, and the disk is not touched again.
            let counts = disk.counts();
            let next = Batch { first: log.durable().next(), ..batch.clone() };
            let poisoned = |error| matches!(error, LogError::Poisoned(_));
            assert!(append(&log, &next).is_err_and(poisoned));
            assert!(run_immediate(log.prepare()).is_err_and(poisoned));
            assert!(run_immediate(log.seal()).is_err_and(poisoned));
            assert!(run_immediate(log.trim(log.durable())).is_err_and(poisoned));
            assert!(run_immediate(log.read_from(Sequence::new(1), 1)).is_err_and(poisoned));
            assert_eq!(log.room(), 0);
            assert_eq!(disk.counts(), counts);
            return (log.durable(), Some(error));
        }
    }
    (log.durable(), None)
}

/// A process that ends at a failed sync is started again, without the machine: what the sync lost is
/// readable, and the kernel takes it for clean. Only later the power goes, too.
#[test]
fn what_a_failed_sync_lost_is_written_again_by_the_next_process() {
    let batches = Sale::new().batches(12);
    let disk = fresh();
    work(&disk, &batches);
    let (_, syncs, _, _) = disk.counts();
    for nth in 1..=syncs {
        for seed in 0..8 {
            let disk = fresh();
            disk.inject(Fault::Sync(nth));
            let (acknowledged, error) = work(&disk, &batches);
            assert!(error.is_some(), "sync {nth}");
            disk.restart();
            disk.reset();
            let (_, state) = recover(&disk).unwrap_or_else(|e| panic!("sync {nth}: {e}"));
            assert!(state.sequence() >= acknowledged, "sync {nth}");
            // From here on whoever reads relies on what was recovered.
            let relied_on = state.sequence();
            let rest: Vec<Batch> =
                batches.iter().filter(|batch| batch.first > relied_on).cloned().collect();
            let (acknowledged, error) = work(&disk, &rest[..rest.len().min(2)]);
            assert!(error.is_none(), "sync {nth}: {error:?}");
            disk.crash(seed);
            let recovered = recover(&disk);
            let (_, state) = recovered.unwrap_or_else(|e| panic!("sync {nth} {seed}: {e}"));
            assert!(state.sequence() >= acknowledged.max(relied_on), "sync {nth} {seed}");
        }
    }
}

#[test]
fn an_error_at_any_write_sync_or_rename_poisons_and_loses_nothing() {
    let batches = Sale::new().batches(12);
    let disk = fresh();
    let (_, error) = work(&disk, &batches);
    assert!(error.is_none());
    let (writes, syncs, renames, _) = disk.counts();
    assert!(renames > 0, "the log was rotated");
    let faults = (1..=writes)
        .flat_map(|nth| [Fault::Write(nth), Fault::ShortWrite(nth)])
        .chain((1..=syncs).map(Fault::Sync))
        .chain((1..=renames).map(Fault::Rename));
    for fault in faults {
        for seed in 0..8 {
            let disk = fresh();
            disk.inject(fault);
            let (acknowledged, error) = work(&disk, &batches);
            match (&error, fault) {
                (Some(LogError::Io { file, .. }), _) => {
                    assert!(file.starts_with("memory"), "{fault:?}: {file:?}");
                }
                // A fill that is cut short is a full disk, and tried again.
                (None, Fault::ShortWrite(_)) => {}
                other => panic!("{other:?}"),
            }
            disk.crash(seed);
            let (_, state) = recover(&disk).unwrap_or_else(|e| panic!("{fault:?} {seed}: {e}"));
            assert!(state.sequence() >= acknowledged, "{fault:?}, seed {seed}");
            if state.sequence() > Sequence::ZERO {
                let known = batches.iter().any(|batch| batch.digest == state.digest());
                assert!(known, "{fault:?}, seed {seed}: not a prefix");
            }
        }
    }
}

#[test]
fn a_full_disk_is_refused_softly_and_forgiven() {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    let mut sale = Sale::new();
    disk.set_space(Some(disk.used() + 8_192));
    let mut last = Sequence::ZERO;
    loop {
        let batch = sale.batch(20);
        if !log.has_room(batch.events.len()) {
            assert!(log.wants_room());
            assert!(matches!(append(&log, &batch), Err(LogError::NoRoom { .. })));
            // Still full: asking again is no error, and makes no room.
            run_immediate(log.prepare()).expect("a full disk is no error");
            assert!(!log.has_room(batch.events.len()));
            disk.set_space(None);
            run_immediate(log.prepare()).expect("a good disk");
            assert!(!log.wants_room());
            assert!(log.has_room(batch.events.len()));
            append(&log, &batch).expect("there is room again");
            last = last.max(batch.last());
            break;
        }
        append(&log, &batch).expect("room was promised");
        last = batch.last();
        run_immediate(log.prepare()).expect("a full disk is no error");
    }
    // And on to further segments.
    for batch in sale.batches(30) {
        append(&log, &batch).expect("a good disk");
        run_immediate(log.prepare()).expect("a good disk");
        last = batch.last();
    }
    drop(log);
    let (log, _) = recover(&disk).expect("a sound log");
    assert_eq!(log.durable(), last);
}

/// A crash while a spare is filled leaves one that is short, or empty.
#[test]
fn a_spare_that_is_too_short_for_use_is_filled_when_there_is_room_again() {
    for blocks in [0, 1] {
        let disk = fresh();
        let spare = run_immediate(disk.create("7.spare")).expect("a new file");
        run_immediate(spare.write_at(vec![0; (blocks * BLOCK) as usize], 0)).expect("a good disk");
        let space = config().segment_bytes + blocks * BLOCK;
        disk.set_space(Some(space));
        let (log, _) = recover(&disk).expect("a sound log");
        let mut sale = Sale::new();
        let mut batch = sale.restocks(20);
        while append(&log, &batch).is_ok() {
            run_immediate(log.prepare()).expect("a full disk is no failure");
            batch = sale.restocks(20);
        }
        assert!(log.wants_room(), "{blocks} blocks: it is known that the disk is full");
        disk.set_space(None);
        run_immediate(log.prepare()).expect("a good disk");
        append(&log, &batch).unwrap_or_else(|error| panic!("{blocks} blocks: {error}"));
    }
}

#[test]
fn a_disk_that_fills_at_any_byte_never_fails_a_log() {
    let batches = Sale::new().batches(20);
    for extra in (0..96 << 10).step_by(1_111) {
        let disk = fresh();
        let (log, _) = recover(&disk).expect("an empty log");
        disk.set_space(Some(disk.used() + extra));
        for batch in &batches {
            if !log.has_room(batch.events.len()) {
                assert!(log.wants_room(), "{extra}: no room, and nobody says why");
                disk.set_space(None);
                run_immediate(log.prepare()).expect("a good disk");
            }
            append(&log, batch).unwrap_or_else(|error| panic!("{extra}: {error}"));
            run_immediate(log.prepare()).unwrap_or_else(|error| panic!("{extra}: {error}"));
        }
        drop(log);
        let (_, state) = recover(&disk).expect("a sound log");
        assert_eq!(state.digest(), batches[19].digest);
    }
}
