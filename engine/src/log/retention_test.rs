//! What is let go of, when, and that what is used again holds nothing that could be taken for new.

use super::sample::{
    Sale, append, append_all, config, fresh, identity, logged, names, recover, segments,
};
use super::{FeedRead, Log, LogConfig, LogError, SnapshotHandle, SnapshotTaken, take_snapshot};
use crate::storage::{MemoryDisk, Shortage, run_immediate};
use doorbuster_protocol::Sequence;

fn covers(newest: Sequence, covered: Sequence) -> SnapshotTaken {
    SnapshotTaken { newest, covered, bytes: 0 }
}

#[test]
fn a_segment_goes_when_snapshots_cover_it_and_consumers_are_past_it() {
    let (disk, batches) = logged(60);
    let firsts: Vec<u64> =
        segments(&disk).iter().map(|name| name[..20].parse().expect("digits")).collect();
    let end = batches.last().expect("there are batches").last().get();
    let second = firsts[1];
    let last = firsts[firsts.len() - 1];
    let check = |covered: u64, acknowledged: u64, kept: usize| {
        let copy = disk.duplicate();
        let (log, _) = recover(&copy).expect("a sound log");
        log.note_snapshot(&covers(Sequence::new(end), Sequence::new(covered)));
        let trimmed = run_immediate(log.trim(Sequence::new(acknowledged))).expect("a good disk");
        let context = format!("covered {covered}, acknowledged {acknowledged}");
        assert_eq!(segments(&copy).len(), kept, "{context}");
        assert_eq!(trimmed.segments as usize, firsts.len() - kept, "{context}");
        let first = firsts[firsts.len() - kept];
        for (from, is_gone) in [(1, first > 1), (first, false), (end, false)] {
            let read = run_immediate(log.read_from(Sequence::new(from), 1)).expect("sound");
            let gone = FeedRead::Gone { first: Sequence::new(first) };
            assert_eq!(read == gone, is_gone, "{context}, from {from}");
        }
    };
    check(0, 0, firsts.len());
    check(end, 0, firsts.len());
    check(0, end, firsts.len());
    check(second - 2, end, firsts.len());
    check(end, second - 2, firsts.len());
    check(second - 1, end, firsts.len() - 1);
    check(end, second - 1, firsts.len() - 1);
    check(last - 2, last - 2, 2);
    check(last - 1, last - 1, 1);
    check(end, end, 1);
}

#[test]
fn recycled_segments_are_found_out_whatever_they_hold() {
    let disk = fresh();
    let (mut log, _) = recover(&disk).expect("an empty log");
    let mut sale = Sale::new();
    let mut digest = 0;
    for round in 0..12 {
        for batch in sale.batches(8) {
            append(&log, &batch).expect("a good disk");
            run_immediate(log.prepare()).expect("a good disk");
            digest = batch.digest;
            let until = log.current_first();
            if log.snapshot().next() < until {
                let taken = take_snapshot(&disk, identity(), until).expect("a good disk");
                log.note_snapshot(&taken);
            }
            run_immediate(log.trim(log.durable())).expect("a good disk");
        }
        // Each time the log ends somewhere else in a file with a past.
        let (again, state) = recover(&disk).unwrap_or_else(|error| panic!("{round}: {error}"));
        assert_eq!(state.digest(), digest, "round {round}");
        assert_eq!(again.recovery().torn, None, "round {round}");
        log = again;
        assert!(names(&disk, ".spare").len() <= 3, "spares are bounded");
        assert!(names(&disk, ".snapshot").len() <= 2, "snapshots are bounded");
        assert!(segments(&disk).len() <= 4, "segments are let go of");
    }
    assert!(log.durable().get() > 1_000);
    assert!(!names(&disk, ".spare").is_empty(), "segments were kept for reuse");
}

#[test]
fn bytes_are_counted_by_the_segments_that_are_not_acknowledged() {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    assert_eq!((log.bytes_total(), log.bytes_unacknowledged(Sequence::ZERO)), (0, 0));
    let batches = Sale::new().batches(40);
    append_all(&log, &batches);
    assert_eq!(log.bytes_total(), log.bytes_appended());
    assert_eq!(log.bytes_unacknowledged(Sequence::ZERO), log.bytes_total());
    assert_eq!(log.bytes_unacknowledged(log.durable()), 0);
    let last_segment = log.bytes_unacknowledged(log.current_first());
    assert!(last_segment > 0 && last_segment < log.bytes_total());
    let before = Sequence::new(log.current_first().get() - 2);
    assert!(log.bytes_unacknowledged(before) > last_segment);
    let (log, _) = recover(&disk).expect("a sound log");
    assert_eq!(log.bytes_total(), log.bytes_unacknowledged(Sequence::ZERO));
}

/// A disk, and a log on it whose snapshots are made at once.
fn with_snapshots(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let place = disk.clone();
    // Whether one could be made is told to the log, which is looked at.
    let handle = SnapshotHandle::new(move |job| drop(job.run(&place)));
    let config = LogConfig { snapshots: Some(handle), snapshot_segments: 4, ..config() };
    run_immediate(Log::recover(disk.clone(), identity(), config)).expect("a sound log").0
}

/// Appends until the disk, which has no more than `space` bytes, takes nothing more and gives nothing
/// back; how many batches it took.
fn append_until_full(
    log: &Log<MemoryDisk>,
    disk: &MemoryDisk,
    sale: &mut Sale,
    space: u64,
) -> usize {
    disk.set_space(Some(space));
    let mut taken = 0;
    while taken < 1_000 {
        let batch = sale.restocks(20);
        let mut tries = 0;
        while let Err(error) = append(log, &batch) {
            assert!(matches!(error, LogError::NoRoom { .. }), "{error}");
            run_immediate(log.prepare()).expect("a full disk is no failure");
            run_immediate(log.trim(log.durable())).expect("a full disk is no failure");
            tries += 1;
            if tries > 5 {
                return taken;
            }
        }
        run_immediate(log.prepare()).expect("a full disk is no failure");
        run_immediate(log.trim(log.durable())).expect("a full disk is no failure");
        taken += 1;
    }
    taken
}

#[test]
fn on_a_full_disk_one_snapshot_is_enough_for_segments_to_go() {
    let disk = fresh();
    let log = with_snapshots(&disk);
    let mut sale = Sale::new();
    // Two snapshots, and the four segments between them, do not fit in here.
    let taken = append_until_full(&log, &disk, &mut sale, 6 * config().segment_bytes);
    assert_eq!(taken, 1_000, "it goes round and round");
    disk.set_space(None);
    let (again, state) = recover(&disk).expect("a sound log");
    assert_eq!(again.durable(), log.durable());
    assert_eq!(state.sequence(), log.durable());
}

#[test]
fn a_damaged_snapshot_lets_nothing_go_on_a_full_disk_either() {
    let disk = fresh();
    let log = with_snapshots(&disk);
    let mut sale = Sale::new();
    while log.snapshot() == Sequence::ZERO {
        append_all(&log, &[sale.restocks(20)]);
    }
    let name = names(&disk, ".snapshot").pop().expect("a snapshot");
    disk.flip(&name, 200, 3);
    let before = segments(&disk);
    // What is there, and no more.
    append_until_full(&log, &disk, &mut sale, 0);
    assert!(segments(&disk).starts_with(&before), "all of them are still there");
}

#[test]
fn a_snapshot_that_found_no_room_is_tried_again_when_there_is_some() {
    let disk = fresh();
    let log = with_snapshots(&disk);
    let mut sale = Sale::new();
    // Four segments are closed, and there was never room for a snapshot.
    while segments(&disk).len() < 4 {
        disk.set_space(None);
        append_all(&log, &[sale.restocks(20)]);
        disk.set_space(Some(0));
        run_immediate(log.prepare()).expect("a full disk is no failure");
    }
    append_until_full(&log, &disk, &mut sale, 0);
    assert_eq!((log.snapshot(), log.wants_room()), (Sequence::ZERO, true));
    // Now there is room for a snapshot, and for no segment.
    let before = segments(&disk);
    disk.set_space(Some(disk.used() + config().fill_ahead_bytes - 1));
    run_immediate(log.prepare()).expect("a full disk is no failure");
    assert!(log.wants_room());
    assert!((0..100).any(|_| log.retries_snapshot()), "it is time within ten seconds");
    for _ in 0..3 {
        run_immediate(log.prepare()).expect("a full disk is no failure");
        run_immediate(log.trim(log.durable())).expect("a good disk");
    }
    assert!(log.snapshot() > Sequence::ZERO);
    assert!(!segments(&disk).starts_with(&before), "what it covers is let go of");
    assert!(!log.wants_room());
    assert!(!log.retries_snapshot(), "nothing is owed");
    assert!(log.has_room(1_000), "it goes on");
}

#[test]
fn too_few_files_cost_no_snapshot() {
    let disk = fresh();
    let log = with_snapshots(&disk);
    let mut sale = Sale::new();
    while log.snapshot() == Sequence::ZERO {
        append_all(&log, &[sale.restocks(20)]);
    }
    let before = segments(&disk);
    let trimmed = |shortage| {
        log.short_of.set(Some(shortage));
        log.request_snapshot();
        run_immediate(log.trim(log.durable())).expect("a sound log");
        !segments(&disk).starts_with(&before)
    };
    assert!(!trimmed(Shortage::Files), "there is room for two snapshots");
    assert!(trimmed(Shortage::Space));
}
