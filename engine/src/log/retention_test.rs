//! What is let go of, when, and that what is used again holds nothing that could be taken for new.

use super::sample::{Sale, append, append_all, fresh, identity, logged, names, recover, segments};
use super::{FeedRead, SnapshotTaken, take_snapshot};
use crate::storage::run_immediate;
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
