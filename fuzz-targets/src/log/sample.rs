//! Sound logs to damage: where their frames stand, what they say, and the digest after each.

use crate::sale::{Sale, partition};
use doorbuster_engine::log::frame::HEADER_BYTES;
use doorbuster_engine::log::{Log, LogConfig, LogError, LogIdentity, create, take_snapshot};
use doorbuster_engine::state_machine::State;
use doorbuster_engine::storage::{BLOCK, MemoryDisk, Storage, run_immediate};
use doorbuster_protocol::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// A frame where it was written.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) file: String,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    /// The last event up to which the log reaches with it.
    pub(super) last: u64,
}

/// A sound log.
pub(super) struct Sample {
    pub(super) disk: MemoryDisk,
    pub(super) frames: Vec<Frame>,
    /// The state's digest after each event that ends a frame.
    pub(super) digests: BTreeMap<u64, u64>,
    /// Each event, encoded.
    pub(super) events: BTreeMap<u64, Vec<u8>>,
    /// Every snapshot's content.
    pub(super) snapshots: Vec<Vec<u8>>,
    /// Every header that stands anywhere, those of a segment's former life included.
    pub(super) headers: BTreeSet<[u8; HEADER_BYTES]>,
}

/// The logs: without an event; in one segment; in several; with snapshots and segments that are
/// used a second time; ended by a clean stop.
pub(super) static SAMPLES: LazyLock<[Sample; 5]> = LazyLock::new(|| {
    [
        Writer::new().finish(),
        Writer::new().appended(5).finish(),
        Writer::new().appended(14).finish(),
        Writer::new().appended(14).kept().appended(8).kept().appended(9).finish(),
        Writer::new().appended(9).kept().appended(2).sealed().finish(),
    ]
});

pub(super) fn identity() -> LogIdentity {
    LogIdentity { directory: 0xD00B_0057, partition: partition(), epoch: Epoch::FIRST }
}

/// Small segments, so that a few batches fill one.
pub(super) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 16 << 10,
        first_fill_bytes: 8 << 10,
        fill_ahead_bytes: 8 << 10,
        spares_max: 2,
        snapshot_segments: 2,
        snapshots: None,
    }
}

pub(super) fn recover(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, State), LogError> {
    run_immediate(Log::recover(disk.clone(), identity(), config()))
}

/// Names of the files, in order.
pub(super) fn names(disk: &MemoryDisk, suffix: &str) -> Vec<String> {
    let entries = run_immediate(disk.list()).expect("memory is listed");
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(suffix)).collect()
}

/// The first bytes of `block` when they are a header whose checksum holds.
fn header(block: &[u8]) -> Option<&[u8; HEADER_BYTES]> {
    let header: &[u8; HEADER_BYTES] = block.first_chunk()?;
    let (fields, checksum) = header.split_at(HEADER_BYTES - 4);
    (header.starts_with(b"DBLF") && checksum == crc32c::crc32c(fields).to_le_bytes())
        .then_some(header)
}

/// Every header at the front of a block whose checksum holds.
pub(super) fn headers(content: &[u8]) -> Vec<[u8; HEADER_BYTES]> {
    content.chunks(BLOCK as usize).filter_map(header).copied().collect()
}

/// The first event of a frame.
pub(super) fn first(header: &[u8; HEADER_BYTES]) -> u64 {
    u64::from(word(header, 16)) | u64::from(word(header, 20)) << 32
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

struct Writer {
    disk: MemoryDisk,
    sale: Sale,
    digests: BTreeMap<u64, u64>,
    events: BTreeMap<u64, Vec<u8>>,
}

impl Writer {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        run_immediate(create(&disk, &config())).expect("a new log");
        let sale = Sale::new(7);
        let digests = BTreeMap::from([(0, sale.state.digest())]);
        Self { disk, sale, digests, events: BTreeMap::new() }
    }

    fn appended(mut self, batches: u32) -> Self {
        let (log, _) = recover(&self.disk).expect("a sound log");
        for number in 0..batches {
            let first = self.sale.state.sequence().next();
            let mut batch = Vec::new();
            // Some batches share a block, some take two.
            let count = 1 + number * 7 % 40;
            for _ in 0..count {
                let mut bytes = Vec::new();
                self.sale.next_event().encode(&mut bytes);
                batch.extend_from_slice(&bytes);
                self.events.insert(self.sale.state.sequence().get(), bytes);
            }
            run_immediate(log.append(first, count, &batch)).expect("memory takes it");
            run_immediate(log.prepare()).expect("memory takes it");
            self.digests.insert(self.sale.state.sequence().get(), self.sale.state.digest());
        }
        self
    }

    /// A snapshot is made, and segments go that nobody needs any more.
    fn kept(self) -> Self {
        let (log, _) = recover(&self.disk).expect("a sound log");
        take_snapshot(&self.disk, identity(), log.current_first()).expect("memory takes it");
        drop(log);
        let (log, state) = recover(&self.disk).expect("a sound log");
        run_immediate(log.trim(state.sequence())).expect("memory takes it");
        self
    }

    fn sealed(self) -> Self {
        let (log, _) = recover(&self.disk).expect("a sound log");
        run_immediate(log.seal()).expect("memory takes it");
        self
    }

    fn finish(self) -> Sample {
        let mut frames = Vec::new();
        for file in names(&self.disk, ".log") {
            let content = self.disk.content(&file);
            let mut next: u64 = file[..20].parse().expect("a segment's name is its first event");
            let mut offset = 0;
            while let Some(header) = content.get(offset..).and_then(header) {
                if first(header) != next {
                    // What the segment held before it was used again.
                    break;
                }
                next += u64::from(word(header, 12));
                let length = HEADER_BYTES as u64 + u64::from(word(header, 24));
                let end = offset + (length.div_ceil(BLOCK) * BLOCK) as usize;
                let bytes = content[offset..end].to_vec();
                frames.push(Frame { file: file.clone(), offset, bytes, last: next - 1 });
                offset = end;
            }
        }
        let snapshots = names(&self.disk, ".snapshot");
        let snapshots = snapshots.iter().map(|name| self.disk.content(name)).collect();
        let files = names(&self.disk, "");
        let headers = files.iter().flat_map(|name| headers(&self.disk.content(name))).collect();
        let Self { disk, digests, events, .. } = self;
        Sample { disk: disk.duplicate(), frames, digests, events, snapshots, headers }
    }
}
