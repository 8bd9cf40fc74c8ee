//! Damage that no crash explains is refused, by file, offset and sequence, and nothing is changed.

use super::frame::{self, frame_bytes};
use super::inspect::Inspector;
use super::sample::{Batch, Sale, append_all, config, fresh, identity, logged, recover, segments};
use super::segments::segment_name;
use super::{DamageKind, Log, LogError, LogIdentity, take_snapshot};
use crate::storage::{File, MemoryDisk, Mode, Storage, run_immediate};
use doorbuster_protocol::event::Events;
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use std::path::Path;

fn refused(disk: &MemoryDisk) -> Option<LogError> {
    recover(disk).err()
}

fn overwrite(disk: &MemoryDisk, name: &str, offset: u64, bytes: Vec<u8>) {
    let file = run_immediate(disk.open(name, Mode::Write)).expect("it exists");
    run_immediate(file.write_durable(bytes, offset)).expect("a good disk");
}

/// A flipped bit of any frame, and the last one is no exception although the log has no seal.
#[test]
fn a_flipped_bit_is_refused_by_its_place() {
    let (disk, batches) = logged(4);
    let name = segments(&disk).remove(0);
    let before = disk.content(&name);
    let mut start = 0;
    for batch in &batches {
        let end = start + frame_bytes(batch.events.len());
        // Every byte, and every bit of each header.
        let header = (start..start + 64).flat_map(|byte| (0..8).map(move |bit| (byte, bit)));
        let body = (start + 64..end).map(|byte| (byte, (byte % 8) as u8));
        for (byte, bit) in header.chain(body) {
            disk.flip(&name, byte, bit);
            let error = refused(&disk);
            let Some(LogError::Damaged { file, offset, sequence, kind }) = &error else {
                panic!("byte {byte}, bit {bit}: {error:?}");
            };
            assert_eq!(file, &Path::new("memory").join(&name));
            assert_eq!((*offset, *sequence), (start, batch.first), "byte {byte}, bit {bit}");
            let right = before[byte as usize];
            assert_eq!(*kind, DamageKind::FlippedBit { byte, bit, right });
            disk.flip(&name, byte, bit);
        }
        start = end;
    }
    assert_eq!(disk.content(&name), before, "a refusal changes nothing");
    recover(&disk).expect("the damage is gone");
}

#[test]
fn after_a_clean_stop_the_last_frame_is_in_the_middle_too() {
    let (disk, batches) = logged(3);
    let (log, _) = recover(&disk).expect("a sound log");
    run_immediate(log.seal()).expect("a good disk");
    let name = segments(&disk).remove(0);
    let start: u64 = batches[..2].iter().map(|batch| frame_bytes(batch.events.len())).sum();
    disk.flip(&name, start + 100, 3);
    let error = refused(&disk).expect("damage");
    let message = error.to_string();
    let repair = format!("of='memory/{name}' bs=1 seek={} conv=notrunc", start + 100);
    for part in [&name, &format!("offset {start}"), "restore", "log verify", &repair] {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
    disk.flip(&name, start + 100, 3);
    // Two bits are more than can be told, and damage in the middle all the same.
    disk.flip(&name, start + 90, 3);
    disk.flip(&name, start + 100, 3);
    let error = refused(&disk).expect("damage");
    assert!(
        matches!(error, LogError::Damaged { offset, kind: DamageKind::Body, .. } if offset == start),
        "{error}"
    );
}

/// The mark of a clean stop holds no event: a log that loses it has lost nothing.
#[test]
fn a_rotten_seal_is_done_without() {
    let (disk, batches) = logged(3);
    let (log, _) = recover(&disk).expect("a sound log");
    run_immediate(log.seal()).expect("a good disk");
    let name = segments(&disk).remove(0);
    let seal: u64 = batches.iter().map(|batch| frame_bytes(batch.events.len())).sum();
    for (byte, bit) in (seal..seal + 4096).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let copy = disk.duplicate();
        copy.flip(&name, byte, bit);
        let (log, state) = recover(&copy).unwrap_or_else(|error| panic!("byte {byte}: {error}"));
        assert_eq!(state.digest(), batches[2].digest, "byte {byte}, bit {bit}");
        assert_eq!(log.recovery().torn.as_ref().map(|torn| torn.offset), Some(seal));
    }
}

/// In a closed segment a seal holds no event either, but the next segment follows it: what is
/// damaged is the end of the first, and that is what is named.
#[test]
fn a_rotten_seal_of_a_closed_segment_is_named() {
    let (disk, mut batches) = logged(3);
    let (log, state) = recover(&disk).expect("a sound log");
    run_immediate(log.seal()).expect("a good disk");
    let name = segments(&disk).remove(0);
    let seal: u64 = batches.iter().map(|batch| frame_bytes(batch.events.len())).sum();
    // The segment is closed right behind its seal, as when it is full.
    let whole = disk.content(&name);
    let later = Sale::resume(state).batch(2);
    let next = segment_name(later.first);
    let previous = &whole[seal as usize + 60..][..4];
    let previous = u32::from_le_bytes(previous.try_into().expect("four bytes"));
    run_immediate(disk.create(&next)).expect("it is new");
    disk.set_length(&next, 8 << 10);
    overwrite(&disk, &next, 0, forged(identity(), later.first.get(), previous, &later));
    let first = later.first;
    batches.push(later);
    let (_, state) = recover(&disk.duplicate()).expect("a sound log");
    assert_eq!(state.digest(), batches[3].digest);
    let check = |bits: &[(u64, u8)], expected: DamageKind| {
        let copy = disk.duplicate();
        bits.iter().for_each(|(byte, bit)| copy.flip(&name, *byte, *bit));
        let errors = [refused(&copy), Inspector::of(copy, identity()).verify().err()];
        for error in errors.map(|error| error.expect("damage")) {
            let LogError::Damaged { file, offset, sequence, kind } = &error else {
                panic!("{error}");
            };
            assert_eq!(file, &Path::new("memory").join(&name), "{error}");
            assert_eq!((*offset, *sequence, *kind), (seal, first, expected), "{error}");
        }
    };
    for byte in seal..seal + 4096 {
        let (bit, right) = ((byte % 8) as u8, whole[byte as usize]);
        check(&[(byte, bit)], DamageKind::FlippedBit { byte, bit, right });
    }
    // More than one bit cannot be told, but where it is can, and with which file it does not fit.
    let join = DamageKind::Join { next: first };
    check(&[(seal + 20, 1), (seal + 30, 2)], join);
    assert!(join.to_string().contains(&next));
}

/// Events under good checksums that cannot have happened: a bug wrote them, or somebody did.
#[test]
fn events_that_contradict_those_before_them_are_damage() {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    let mut sale = Sale::new();
    let sound = sale.batches(2);
    append_all(&log, &sound);
    let mut after = sale.batches(40);
    // The second event of the next batch happens before the first one.
    let Batch { first, count, events, .. } = &mut after[0];
    let mut told = Vec::new();
    for (index, event) in Events::new(events, *first, *count).enumerate() {
        let (_, mut event) = event.expect("an event of the sale");
        if index == 1 {
            event.at = Timestamp::from_micros(1);
        }
        event.encode(&mut told);
    }
    assert!(*count > 1, "the batch has a second event");
    *events = told;
    append_all(&log, &after);
    let name = segments(&disk).remove(0);
    let offset: u64 = sound.iter().map(|batch| frame_bytes(batch.events.len())).sum();
    let inspector = Inspector::of(disk.clone(), identity());
    let until = Sequence::new(segments(&disk)[1][..20].parse().expect("digits"));
    let refusals = [
        recover(&disk).err(),
        inspector.verify().err(),
        take_snapshot(&disk, identity(), until).err(),
    ];
    for error in refusals {
        let Some(LogError::Damaged { file, offset: at, sequence, kind }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(file, Path::new("memory").join(&name));
        assert_eq!((at, sequence), (offset, after[0].first.next()));
        let DamageKind::Contradiction(rule) = kind else { panic!("{kind:?}") };
        assert_eq!(rule.to_string(), "the time of a partition does not go back");
    }
}

/// A frame like those of the sample, with something about it changed.
fn forged(identity: LogIdentity, first: u64, previous: u32, events: &Batch) -> Vec<u8> {
    let mut frame = vec![0; frame_bytes(events.events.len()) as usize];
    let first = Sequence::new(first);
    frame::encode(&mut frame, &identity, first, events.count, &events.events, previous);
    frame
}

#[test]
fn a_frame_that_cannot_follow_is_told_by_kind() {
    let (disk, batches) = logged(2);
    let name = segments(&disk).remove(0);
    let second = frame_bytes(batches[0].events.len());
    let previous = {
        let content = disk.content(&name);
        u32::from_le_bytes(content[60..64].try_into().expect("four bytes"))
    };
    let first = batches[1].first.get();
    let ours = identity();
    let check = |frame: Vec<u8>, expected: Option<DamageKind>| {
        let copy = disk.duplicate();
        overwrite(&copy, &name, second, frame);
        let found = match refused(&copy) {
            Some(LogError::Damaged { kind, offset, .. }) => {
                assert_eq!(offset, second);
                Some(kind)
            }
            other => {
                assert!(other.is_none(), "{other:?}");
                None
            }
        };
        assert_eq!(found, expected);
    };
    let batch = &batches[1];
    check(forged(ours, first, previous, batch), None);
    check(forged(ours, first, previous ^ 1, batch), Some(DamageKind::Chain));
    let found = Sequence::new(first + 1);
    check(forged(ours, first + 1, previous, batch), Some(DamageKind::Gap { found }));
    let other = LogIdentity { directory: 5, ..ours };
    check(forged(other, first, previous, batch), Some(DamageKind::OtherDirectory { found: 5 }));
    let partition = PartitionId::new(9).expect("in range");
    let other = LogIdentity { partition, ..ours };
    check(forged(other, first, previous, batch), Some(DamageKind::OtherPartition { found: 9 }));
    let epoch = Epoch::new(2);
    let other = LogIdentity { epoch, ..ours };
    check(forged(other, first, previous, batch), Some(DamageKind::Epoch { found: epoch }));
    let mut unreadable = batch.clone();
    unreadable.events[3] ^= 0xFF;
    let kind = DamageKind::Event(doorbuster_protocol::record::Malformed::Oversized);
    check(forged(ours, first, previous, &unreadable), Some(kind));
}

#[test]
fn segments_that_are_missing_or_damaged_are_refused() {
    let (disk, batches) = logged(60);
    let names = segments(&disk);
    assert!(names.len() > 3);
    let second = Sequence::new(names[1][..20].parse().expect("digits"));
    let check = |damage: &dyn Fn(&MemoryDisk), file: &str, sequence: Sequence| {
        let copy = disk.duplicate();
        damage(&copy);
        let error = refused(&copy).expect("damage");
        let LogError::Damaged { file: found, sequence: at, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((found.as_path(), *at), (Path::new("memory").join(file).as_path(), sequence));
    };
    let remove = |disk: &MemoryDisk, name: &str| {
        run_immediate(disk.remove(name)).expect("it is there");
    };
    check(&|disk| remove(disk, &names[0]), &names[0], Sequence::new(1));
    check(&|disk| remove(disk, &names[1]), &names[1], second);
    check(&|disk| disk.flip(&names[1], 10, 0), &names[1], second);
    check(&|disk| disk.set_length(&names[1], 1_000), &names[1], second);
    let all: &dyn Fn(&MemoryDisk) = &|disk| names.iter().for_each(|name| remove(disk, name));
    check(all, &names[0], Sequence::new(1));
    // The last frame of a closed segment is no tail.
    let third = Sequence::new(names[2][..20].parse().expect("digits"));
    let last = batches.iter().rfind(|batch| batch.first < third).expect("it has a last batch");
    let inside = batches.iter().filter(|batch| batch.first >= second && batch.first < last.first);
    let offset: u64 = inside.map(|batch| frame_bytes(batch.events.len())).sum();
    check(&|disk| disk.flip(&names[1], offset + 70, 0), &names[1], last.first);
}

#[test]
fn a_segment_that_begins_within_another_is_refused() {
    let (disk, batches) = logged(60);
    let names = segments(&disk);
    let check = |batch: &Batch, damage: &dyn Fn(&MemoryDisk)| {
        let copy = disk.duplicate();
        let stray = segment_name(batch.first);
        run_immediate(copy.create(&stray)).expect("no segment begins here");
        copy.set_length(&stray, 8 << 10);
        damage(&copy);
        let error = refused(&copy).expect("damage");
        let LogError::Damaged { file, sequence, kind, .. } = &error else { panic!("{error}") };
        assert_eq!((*sequence, *kind), (batch.first, DamageKind::Twice), "{error}");
        assert_eq!(file, &Path::new("memory").join(stray));
        let verified = Inspector::of(copy, identity()).verify();
        assert!(matches!(verified, Err(LogError::Damaged { kind: DamageKind::Twice, .. })));
    };
    // In a closed segment, and in the last one.
    let last = names.last().expect("there are segments");
    let begins_a_segment = |batch: &&Batch| names.contains(&segment_name(batch.first));
    check(&batches[1], &|_| {});
    let within = batches.iter().rfind(|batch| !begins_a_segment(batch)).expect("there is one");
    assert!(segment_name(within.first) > *last, "it stands in the last segment");
    check(within, &|_| {});
    // Even when the very frame at its place is damaged, there are those behind it.
    let second = frame_bytes(batches[0].events.len());
    check(&batches[1], &|disk| disk.flip(&names[0], second + 1, 0));
}

#[test]
fn an_event_of_another_data_directory_is_not_read_as_ours() {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    append_all(&log, &super::sample::Sale::new().batches(2));
    let other = LogIdentity { directory: 1, ..identity() };
    let Err(error) = run_immediate(Log::recover(disk, other, config())) else {
        panic!("a foreign log was taken");
    };
    assert!(matches!(
        error,
        LogError::Damaged { kind: DamageKind::OtherDirectory { .. }, offset: 0, .. }
    ));
}
