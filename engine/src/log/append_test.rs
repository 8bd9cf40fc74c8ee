//! What is appended comes back: after a restart, to consumers, and up to any place where a crash
//! cut the last write.

use super::frame::frame_bytes;
use super::sample::{Batch, Sale, append, append_all, fresh, logged, recover, segments};
use super::{FeedRead, Log, LogError, TornTail};
use crate::storage::{MemoryDisk, run_immediate};
use doorbuster_protocol::Sequence;

/// Offsets of the frames of a log that fits its first segment, and where it ends.
fn offsets(batches: &[Batch]) -> Vec<u64> {
    let mut offsets = vec![0];
    for batch in batches {
        offsets.push(offsets[offsets.len() - 1] + frame_bytes(batch.events.len()));
    }
    offsets
}

fn read_all(log: &Log<MemoryDisk>, from: Sequence, max_bytes: usize) -> Vec<u8> {
    let mut next = from;
    let mut events = Vec::new();
    while next <= log.durable() {
        let read = run_immediate(log.read_from(next, max_bytes)).expect("a sound log");
        let FeedRead::Batches(batches) = read else { panic!("gone at {next}") };
        assert!(!batches.is_empty(), "nothing at {next}");
        for batch in batches {
            assert!(batch.first <= next, "a gap at {next}");
            next = batch.first.plus(u64::from(batch.count));
            events.extend(batch.events);
        }
    }
    events
}

#[test]
fn what_was_appended_is_recovered_and_can_be_read() {
    let (disk, batches) = logged(60);
    assert!(segments(&disk).len() > 3, "the log was rotated");
    let last = batches.last().expect("there are batches");
    let (log, state) = recover(&disk).expect("a sound log");
    assert_eq!(state.digest(), last.digest);
    assert_eq!(log.durable(), last.last());
    assert_eq!(log.recovery().torn, None);
    let whole: Vec<u8> = batches.iter().flat_map(|batch| batch.events.clone()).collect();
    for max_bytes in [1, 5_000, 1 << 20] {
        assert_eq!(read_all(&log, Sequence::new(1), max_bytes), whole);
    }
    let middle = &batches[30];
    let read = run_immediate(log.read_from(middle.last(), 1)).expect("a sound log");
    let FeedRead::Batches(read) = read else { panic!("gone") };
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].first, read[0].count), (middle.first, middle.count));
    let read = run_immediate(log.read_from(log.durable().next(), 1)).expect("a sound log");
    assert_eq!(read, FeedRead::Batches(Vec::new()));
}

#[test]
fn a_log_goes_on_after_each_restart_and_seal() {
    let disk = fresh();
    let mut digest = None;
    for restart in 0..12 {
        let (log, state) = recover(&disk).expect("a sound log");
        digest.inspect(|digest| assert_eq!(state.digest(), *digest, "restart {restart}"));
        let batches = Sale::resume(state).batches(3);
        run_immediate(log.prepare()).expect("a good disk");
        append_all(&log, &batches);
        digest = batches.last().map(|batch| batch.digest);
        if restart % 2 == 0 {
            run_immediate(log.seal()).expect("a good disk");
            run_immediate(log.seal()).expect("a second one is none");
        }
    }
    let (log, _) = recover(&disk).expect("a sound log");
    let from_memory = read_all(&log, Sequence::new(1), 10_000);
    assert!(!from_memory.is_empty());
}

#[test]
fn the_last_frame_cut_at_every_byte_leaves_the_frame_before() {
    let (disk, batches) = logged(4);
    let name = segments(&disk).remove(0);
    let offsets = offsets(&batches);
    let (start, end) = (offsets[3], offsets[4]);
    let check = |cut: u64, is_filled: bool| {
        let copy = disk.duplicate();
        let whole = copy.content(&name).len() as u64;
        copy.set_length(&name, cut);
        if is_filled {
            // As in a segment that was filled with zeros: the file keeps its length.
            copy.set_length(&name, whole);
        }
        let context = format!("cut at {cut}, filled: {is_filled}");
        let (log, state) = recover(&copy).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(state.digest(), batches[2].digest, "{context}");
        let torn = TornTail { file: copy_path(&name), offset: start, sequence: batches[3].first };
        assert_eq!(log.recovery().torn, (cut > start).then_some(torn), "{context}");
        // What was cut off does not come back, and the log goes on.
        run_immediate(log.prepare()).expect("a good disk");
        append(&log, &batches[3]).unwrap_or_else(|error| panic!("{context}: {error}"));
        let (_, state) = recover(&copy).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(state.digest(), batches[3].digest, "{context}");
    };
    let content = disk.content(&name);
    for cut in start..end {
        check(cut, false);
        // Where only zeros follow, zeros in their place are no cut.
        let lost = &content[cut as usize..end as usize];
        if cut > start && lost.iter().any(|byte| *byte != 0) {
            check(cut, true);
        }
    }
}

fn copy_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new("memory").join(name)
}

#[test]
fn a_batch_without_room_changes_nothing() {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    let mut sale = Sale::new();
    let large = sale.batch(300);
    assert!(!log.has_room(large.events.len()));
    let refused = append(&log, &large);
    assert!(matches!(refused, Err(LogError::NoRoom { .. })), "{refused:?}");
    let small = Sale::new().batch(1);
    append(&log, &small).expect("a smaller one still fits");
}
