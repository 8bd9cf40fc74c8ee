//! A log whose files were damaged: flipped, overwritten, zeroed, cut, moved, lost; and files that
//! hold anything.
//!
//! Recovery refuses it, or gives a state that the log went through, with nothing lost that still
//! stands behind it in its place. `log verify`, `log dump` and the audit's reader never show an
//! event that was not written, and what verifies can be recovered to the same event.
//!
//! A frame or a snapshot that was forged, checksums included, is no damage: nothing can be said of
//! what it tells, so it is only read, and not replayed.

mod sample;

use crate::Seed;
use crate::sale::Sale;
use crate::script::Script;
use doorbuster_engine::log::frame::HEADER_BYTES;
use doorbuster_engine::log::inspect::{EventReader, Inspector};
use doorbuster_engine::state_machine::snapshot::{self, SnapshotVisitor};
use doorbuster_engine::storage::{File, MemoryDisk, Storage, run_immediate};
use doorbuster_protocol::outcome::{OrderView, ProductView};
use doorbuster_protocol::{BuyerId, Event, ProductId, Sequence};
use sample::{SAMPLES, Sample, headers, identity, names, recover};

/// Bytes of a file at the most.
const FILE_BYTES_MAX: usize = 256 << 10;
const SECTOR: usize = 512;

/// One input: a log, and what happens to its files.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let sample = &SAMPLES[script.below(SAMPLES.len())];
    let disk = sample.disk.duplicate();
    for _ in 0..script.below(6) {
        damage(&mut script, sample, &disk);
    }
    let is_forged = is_forged(sample, &disk);
    read_events(sample, &disk, is_forged);
    if !is_forged {
        replay(sample, &disk);
    }
}

/// What verification and recovery make of it, and whether the log goes on.
fn replay(sample: &Sample, disk: &MemoryDisk) {
    let verified = Inspector::of(disk.duplicate(), identity()).verify();
    let standing = standing(sample, disk);
    let last_of_spares = last_of_spares(disk);
    let recovered = recover(disk);
    if let Ok(report) = &verified {
        let last = report.last.get();
        assert_eq!(sample.digests.get(&last), Some(&report.digest), "what verifies was written");
        let (_, state) = recovered.as_ref().expect("what verifies is recovered");
        assert_eq!(state.sequence().get(), last, "both read to the same end");
    }
    let Ok((log, state)) = recovered else { return };
    let last = state.sequence().get();
    assert_eq!(sample.digests.get(&last), Some(&state.digest()), "what was recovered was written");
    assert!(standing <= last, "event {standing} stands in its place, and was let go of at {last}");
    // Only a log makes spares, of segments whose events lie behind it, and trusts them.
    if last_of_spares > last {
        return;
    }
    let mut sale = Sale::resume(state, 99);
    let first = sale.state.sequence().next();
    let events = sale.events(3);
    run_immediate(log.append(first, 3, &events)).expect("a log that was recovered goes on");
    drop(log);
    let (_, again) = recover(disk).expect("it was recovered before");
    assert_eq!(again.digest(), sale.state.digest(), "what was appended after a recovery is kept");
}

/// The highest first event of the frames in segments that were given a spare's name.
fn last_of_spares(disk: &MemoryDisk) -> u64 {
    let spares = names(disk, ".spare");
    let headers = spares.iter().flat_map(|name| headers(&disk.content(name)));
    headers.map(|header| sample::first(&header)).max().unwrap_or(0)
}

/// The last event of the last frame that stands where it was written, as it was written.
fn standing(sample: &Sample, disk: &MemoryDisk) -> u64 {
    let present = names(disk, ".log");
    let stands = |frame: &&sample::Frame| {
        present.contains(&frame.file) && {
            let content = disk.content(&frame.file);
            content.get(frame.offset..frame.offset + frame.bytes.len()) == Some(&frame.bytes[..])
        }
    };
    sample.frames.iter().rev().find(stands).map_or(0, |frame| frame.last)
}

/// Whether something was made up whose checksums hold.
fn is_forged(sample: &Sample, disk: &MemoryDisk) -> bool {
    let has_forged_frame = names(disk, ".log").iter().any(|name| {
        headers(&disk.content(name)).iter().any(|header| !sample.headers.contains(header))
    });
    let has_forged_snapshot = names(disk, ".snapshot").iter().any(|name| {
        let content = disk.content(name);
        !sample.snapshots.contains(&content) && is_snapshot(&content)
    });
    has_forged_frame || has_forged_snapshot
}

/// Whether both checksums of a snapshot hold: of its preamble, and of the state behind that.
fn is_snapshot(content: &[u8]) -> bool {
    let Some((preamble, mut state)) = content.split_at_checked(64) else { return false };
    let (fields, checksum) = preamble.split_at(60);
    checksum == crc32c::crc32c(fields).to_le_bytes()
        && snapshot::read(&mut state, identity().partition).is_ok()
}

/// Reads events as `log dump` does, and as the audit does. Only forged frames show what was not
/// written.
fn read_events(sample: &Sample, disk: &MemoryDisk, is_forged: bool) {
    let check = |sequence: Sequence, event: &Event| {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        let expected = sample.events.get(&sequence.get());
        assert!(is_forged || expected == Some(&bytes), "event {sequence} was written so");
    };
    let inspector = Inspector::of(disk.clone(), identity());
    for logged in inspector.events(Sequence::new(1)).flatten() {
        check(logged.sequence, &logged.event);
    }
    let _ = inspector.read(&mut Checked(check));
}

/// Gives every event to a check.
struct Checked<F>(F);

impl<F> SnapshotVisitor for Checked<F> {
    fn product(&mut self, _: &ProductView) {}
    fn order(&mut self, _: &OrderView) {}
    fn units(&mut self, _: ProductId, _: BuyerId, _: u32) {}
}

impl<F: Fn(Sequence, &Event)> EventReader for Checked<F> {
    fn begin(&mut self, _: Sequence, _: Sequence) {}
    fn event(&mut self, sequence: Sequence, event: &Event) {
        (self.0)(sequence, event);
    }
}

/// One thing that happens to the files.
fn damage(script: &mut Script<'_>, sample: &Sample, disk: &MemoryDisk) {
    let all = names(disk, "");
    if all.is_empty() {
        return;
    }
    let kind = script.below(12);
    let (file, at) = place(script, sample, &all);
    if kind == 9 {
        return forge(script, sample, disk);
    }
    let mut content = disk.content(&file);
    let at = at.min(content.len());
    match kind {
        0 if at < content.len() => content[at] ^= 1 << script.below(8),
        1 => put(&mut content, at, script.bytes(64)),
        2 => put(&mut content, at / SECTOR * SECTOR, &vec![0; SECTOR * (1 + script.below(16))]),
        3 => {
            // What was meant for another place, or what once stood there.
            let (from, start) = place(script, sample, &all);
            let other = disk.content(&from);
            let start = start.min(other.len()) / SECTOR * SECTOR;
            let end = (start + SECTOR * (1 + script.below(24))).min(other.len());
            put(&mut content, at / SECTOR * SECTOR, &other[start..end]);
        }
        4 => content.truncate(at),
        5 => content.resize((content.len() + script.below(20_000)).min(FILE_BYTES_MAX), 0),
        6 => return run_immediate(disk.remove(&file)).expect("it is there"),
        7 => {
            let to = name(script);
            return run_immediate(disk.rename(&file, &to)).expect("it is there");
        }
        8 => {
            let (to, _) = place(script, sample, &all);
            return run_immediate(disk.rename(&file, &to)).expect("it is there");
        }
        10 => return replace(disk, &name(script), script.rest()),
        11 => content = script.rest().to_vec(),
        _ => {}
    }
    replace(disk, &file, &content);
}

/// A file and an offset in it: mostly in or near a frame.
fn place(script: &mut Script<'_>, sample: &Sample, all: &[String]) -> (String, usize) {
    let frames = sample.frames.len();
    match script.below(4) {
        0 => {
            let file = all[script.below(all.len())].clone();
            (file, script.word() as usize % FILE_BYTES_MAX)
        }
        choice if frames > 0 => {
            let frame = &sample.frames[script.below(frames)];
            let within = match choice {
                1 => script.below(HEADER_BYTES),
                _ => usize::from(script.short()) % (2 * frame.bytes.len()),
            };
            let file = if all.contains(&frame.file) { &frame.file } else { &all[0] };
            (file.clone(), frame.offset + within)
        }
        _ => (all[0].clone(), usize::from(script.short())),
    }
}

fn name(script: &mut Script<'_>) -> String {
    let number = match script.below(4) {
        0 => u64::from(script.byte()),
        1 => u64::from(script.short()),
        2 => u64::MAX - u64::from(script.byte()),
        _ => script.long(),
    };
    match script.below(5) {
        0 | 1 => format!("{number:020}.log"),
        2 => format!("{number:020}.snapshot"),
        3 => format!("{number}.spare"),
        _ => format!("{number:020}.tmp"),
    }
}

/// Changes a field of a frame's header, and makes its checksum good again.
fn forge(script: &mut Script<'_>, sample: &Sample, disk: &MemoryDisk) {
    let Some(last) = sample.frames.len().checked_sub(1) else { return };
    let frame = &sample.frames[script.below(last + 1)];
    if !names(disk, ".log").contains(&frame.file) {
        return;
    }
    let mut content = disk.content(&frame.file);
    let Some(header) = content.get_mut(frame.offset..frame.offset + HEADER_BYTES) else { return };
    let at = script.below(HEADER_BYTES - 4);
    let bytes = script.bytes(8);
    put_within(&mut header[..HEADER_BYTES - 4], at, bytes);
    let checksum = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    replace(disk, &frame.file, &content);
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let at = at.min(FILE_BYTES_MAX);
    let end = (at + bytes.len()).min(FILE_BYTES_MAX);
    if content.len() < end {
        content.resize(end, 0);
    }
    put_within(content, at, bytes);
}

fn put_within(content: &mut [u8], at: usize, bytes: &[u8]) {
    let count = bytes.len().min(content.len() - at);
    content[at..at + count].copy_from_slice(&bytes[..count]);
}

/// Gives a file this content, durably; makes it when there is none.
fn replace(disk: &MemoryDisk, name: &str, content: &[u8]) {
    // What was there before is gone, if there was anything.
    let _ = run_immediate(disk.remove(name));
    let file = run_immediate(disk.create(name)).expect("the name is free");
    run_immediate(file.write_durable(content.to_vec(), 0)).expect("memory takes it");
    run_immediate(disk.sync_directory()).expect("memory takes it");
}

/// Each way to damage each log, in several places.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = vec![("untouched".into(), vec![3, 0])];
    for log in 1..SAMPLES.len() as u8 {
        for kind in 0..12_u8 {
            let place = [1 + kind % 3, log * 3, 40, 0];
            let script = [&[log, 1, kind], place.as_slice(), &[3, 1, 200, 0, 9, 9, 9]].concat();
            seeds.push((format!("damage-{log}-{kind}"), script));
        }
    }
    let disk = &SAMPLES[1].disk;
    let segment = disk.content(&names(disk, ".log")[0]);
    let script = [&[0, 1, 11, 0, 0, 0, 0, 0, 0], &segment[..8192]].concat();
    seeds.push(("segment".into(), script));
    seeds
}
