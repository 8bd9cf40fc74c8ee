//! Snapshots: the state with them is the state without them, and a damaged one is done without.

use super::inspect::Inspector;
use super::sample::{Batch, config, fresh, identity, logged, names, recover, segments};
use super::{DamageKind, Log, LogError, SnapshotTaken, take_snapshot};
use crate::storage::{Failure, Fault, MemoryDisk, Storage, run_immediate};
use doorbuster_protocol::Sequence;

/// The first sequences of the segments.
fn firsts(disk: &MemoryDisk) -> Vec<Sequence> {
    let number = |name: &String| Sequence::new(name[..20].parse().expect("digits"));
    segments(disk).iter().map(number).collect()
}

/// A log with a snapshot at the end of its second and of its last closed segment.
fn with_two_snapshots() -> (MemoryDisk, Vec<Batch>, [Sequence; 2]) {
    let (disk, batches) = logged(60);
    let firsts = firsts(&disk);
    let older = firsts[2];
    let newer = firsts[firsts.len() - 1];
    let taken = take_snapshot(&disk, identity(), older).expect("a good disk");
    assert_eq!((taken.newest.next(), taken.covered), (older, Sequence::ZERO));
    let taken = take_snapshot(&disk, identity(), newer).expect("a good disk");
    assert_eq!((taken.newest.next(), taken.covered.next()), (newer, older));
    let nothing = take_snapshot(&disk, identity(), newer).expect("a good disk");
    assert_eq!(nothing, SnapshotTaken { bytes: 0, ..taken });
    (disk, batches, [older, newer].map(|until| Sequence::new(until.get() - 1)))
}

fn trim(disk: &MemoryDisk) {
    let (log, _) = recover(disk).expect("a sound log");
    run_immediate(log.trim(log.durable())).expect("a good disk");
}

#[test]
fn a_snapshot_and_the_tail_give_what_the_whole_log_gives() {
    let (disk, batches, [_, newer]) = with_two_snapshots();
    let digest = batches[batches.len() - 1].digest;
    let (log, state) = recover(&disk).expect("a sound log");
    assert_eq!(state.digest(), digest);
    assert_eq!(log.recovery().snapshot, Some(newer));
    assert_eq!(log.recovery().replayed, state.sequence().get() - newer.get());
    for name in names(&disk, ".snapshot") {
        run_immediate(disk.remove(&name)).expect("it is there");
    }
    let (log, state) = recover(&disk).expect("a sound log");
    assert_eq!(state.digest(), digest);
    assert_eq!(log.recovery().snapshot, None);
    assert_eq!(log.recovery().replayed, state.sequence().get());
}

/// Nobody has to restore a file that is whole: the next start may read it.
#[test]
fn a_snapshot_that_the_disk_does_not_give_back_is_not_called_damaged() {
    let (disk, ..) = with_two_snapshots();
    trim(&disk);
    let calls = |read: &dyn Fn(&MemoryDisk) -> Option<LogError>| {
        let mut told = 0;
        for call in 1.. {
            let copy = disk.duplicate();
            copy.inject(Fault::CallsFrom(call, Failure::Broken));
            match read(&copy) {
                None => break,
                Some(LogError::Io { .. }) => told += 1,
                Some(error) => panic!("call {call}: {error}"),
            }
        }
        assert!(told > 3, "{told} calls failed");
    };
    calls(&|disk| recover(disk).err());
    calls(&|disk| Inspector::of(disk.clone(), identity()).verify().err());
}

#[test]
fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let (disk, batches, [older, newer]) = with_two_snapshots();
    trim(&disk);
    assert_eq!(firsts(&disk)[0], older.next(), "the older snapshot covers what was trimmed");
    let [older_name, newer_name] = names(&disk, ".snapshot").try_into().expect("two");
    let digest = batches[batches.len() - 1].digest;
    let content = disk.content(&newer_name);
    // Some bytes of its preamble, its state, its last checksum; and cut short.
    let damages = [0, 5, 17, 63, 64, 100, content.len() / 2, content.len() - 1];
    for damage in damages {
        let copy = disk.duplicate();
        copy.flip(&newer_name, damage as u64, 2);
        let (log, state) = recover(&copy).unwrap_or_else(|error| panic!("{damage}: {error}"));
        assert_eq!(state.digest(), digest, "byte {damage}");
        assert_eq!(log.recovery().snapshot, Some(older), "byte {damage}");
        assert_eq!(log.recovery().unreadable_snapshots.len(), 1, "byte {damage}");
        // The next snapshot is made from the older one, and takes the damaged one's place.
        let taken = take_snapshot(&copy, identity(), newer.next());
        assert_eq!(taken.expect("a good disk").covered, older);
        let (log, _) = recover(&copy).expect("a sound log");
        assert_eq!(log.recovery().snapshot, Some(newer), "byte {damage}");
    }
    disk.set_length(&newer_name, content.len() as u64 / 3);
    let (log, _) = recover(&disk).expect("a sound log");
    assert_eq!(log.recovery().snapshot, Some(older));
    // Without any snapshot, the beginning is lost.
    disk.flip(&older_name, 70, 0);
    let Err(error) = recover(&disk) else { panic!("a log without its beginning was taken") };
    assert!(matches!(error, LogError::Damaged { kind: DamageKind::NoSnapshot, .. }), "{error}");
}

#[test]
fn a_log_that_ends_before_its_snapshot_is_refused() {
    let (disk, _, [_, newer]) = with_two_snapshots();
    for name in segments(&disk).split_off(2) {
        run_immediate(disk.remove(&name)).expect("it is there");
    }
    let Err(error) = recover(&disk) else { panic!("a log that lost its end was taken") };
    let expected = DamageKind::EndsBeforeSnapshot { snapshot: newer };
    assert!(
        matches!(
            error,
            LogError::Damaged { kind, .. } if kind == expected || kind == DamageKind::MissingSegment
        ),
        "{error}"
    );
}

#[test]
fn power_loss_while_a_snapshot_is_written_costs_only_the_snapshot() {
    let (disk, batches) = logged(30);
    let until = firsts(&disk)[1];
    let digest = batches[batches.len() - 1].digest;
    let copy = disk.duplicate();
    take_snapshot(&copy, identity(), until).expect("a good disk");
    let steps = copy.counts().3;
    for step in 1..=steps {
        for seed in 0..16 {
            let copy = disk.duplicate();
            copy.inject(Fault::Power(step));
            assert!(take_snapshot(&copy, identity(), until).is_err());
            copy.crash(seed);
            let (log, state) = recover(&copy).expect("a sound log");
            assert_eq!(state.digest(), digest, "step {step}, seed {seed}");
            assert!(log.recovery().unreadable_snapshots.is_empty(), "step {step}, seed {seed}");
            assert!(names(&copy, ".tmp").is_empty(), "step {step}, seed {seed}");
            take_snapshot(&copy, identity(), until).expect("a good disk");
        }
    }
}

#[test]
fn a_full_disk_costs_only_the_snapshot() {
    let (disk, _) = logged(30);
    let until = firsts(&disk)[1];
    disk.set_space(Some(disk.used() + 200));
    assert!(take_snapshot(&disk, identity(), until).is_err());
    assert!(names(&disk, ".tmp").is_empty(), "its space was given back");
    disk.set_space(None);
    take_snapshot(&disk, identity(), until).expect("a good disk");
}

#[test]
fn a_log_without_segments_is_damaged_and_not_new() {
    let disk = MemoryDisk::new();
    let Err(error) = run_immediate(Log::recover(disk, identity(), config())) else {
        panic!("a missing log was taken for a new one");
    };
    assert!(matches!(error, LogError::Damaged { kind: DamageKind::MissingSegment, .. }));
    let (log, state) = recover(&fresh()).expect("a new log");
    assert_eq!((log.durable(), state.sequence()), (Sequence::ZERO, Sequence::ZERO));
}
