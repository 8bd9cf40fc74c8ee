//! What every byte of a log's files is, read off them without the log's own code.

use crc32c::crc32c;
use doorbuster_engine::storage::{MemoryDisk, Storage, run_immediate};
use std::ops::Range;

const BLOCK: usize = 4096;
const HEADER: usize = 64;

/// What some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Header,
    Events,
    Padding,
    /// Of the last frame of all that has events.
    LastHeader,
    LastEvents,
    LastPadding,
    /// A clean stop's mark, wherever it stands.
    Seal,
    /// Behind the last frame of a segment: zeros.
    Zeros,
    /// Behind the last frame of a segment: what was there before, or the rest of a write.
    Remains,
    Spare,
    Snapshot,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Header,
        Self::Events,
        Self::Padding,
        Self::LastHeader,
        Self::LastEvents,
        Self::LastPadding,
        Self::Seal,
        Self::Zeros,
        Self::Remains,
        Self::Spare,
        Self::Snapshot,
    ];
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Header => "in headers",
            Self::Events => "in events",
            Self::Padding => "in padding",
            Self::LastHeader => "in last headers",
            Self::LastEvents => "in last events",
            Self::LastPadding => "in last padding",
            Self::Seal => "in seals",
            Self::Zeros => "in zeros",
            Self::Remains => "in remains",
            Self::Spare => "in spares",
            Self::Snapshot => "in snapshots",
        }
    }
    /// Whether events that were acknowledged depend on it.
    pub(crate) fn is_of_events(self) -> bool {
        use Kind::{Events, Header, LastEvents, LastHeader, LastPadding, Padding};
        matches!(self, Header | Events | Padding | LastHeader | LastEvents | LastPadding)
    }
}

/// Some bytes of a file, all of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) file: String,
    pub(crate) bytes: Range<usize>,
    pub(crate) kind: Kind,
    /// Of a frame, the first event.
    pub(crate) first: u64,
}

struct Frame {
    first: u64,
    count: u32,
    events: usize,
    bytes: usize,
}

/// The frame at the front of `rest`, when its checksums match.
fn frame(rest: &[u8]) -> Option<Frame> {
    let header = rest.get(..HEADER)?;
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let is_sound = &header[..4] == b"DBLF" && word(60) == crc32c(&header[..60]);
    let events = word(24) as usize;
    let bytes = (HEADER + events).next_multiple_of(BLOCK);
    let first = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
    let body = rest.get(HEADER..bytes).filter(|_| is_sound)?;
    (crc32c(body) == word(28)).then_some(Frame { first, count: word(12), events, bytes })
}

/// All regions of a log's directory.
pub(crate) fn regions(disk: &MemoryDisk) -> Vec<Region> {
    let mut names: Vec<String> = run_immediate(disk.list())
        .expect("a good disk")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    let mut regions = Vec::new();
    for file in names {
        let content = disk.content(&file);
        let mut whole = |kind| {
            let bytes = 0..content.len();
            regions.push(Region { file: file.clone(), bytes, kind, first: 0 });
        };
        if file.ends_with(".snapshot") {
            whole(Kind::Snapshot);
        } else if file.ends_with(".spare") {
            whole(Kind::Spare);
        } else if let Some(first) = file.strip_suffix(".log") {
            segment(&file, &content, first.parse().expect("a number"), &mut regions);
        }
    }
    let last = regions.iter().rposition(|region| region.kind == Kind::Header);
    if let Some(last) = last {
        for region in &mut regions[last..last + 3] {
            region.kind = match region.kind {
                Kind::Header => Kind::LastHeader,
                Kind::Events => Kind::LastEvents,
                _ => Kind::LastPadding,
            };
        }
    }
    regions.retain(|region| !region.bytes.is_empty());
    regions
}

/// The first event of the newest frame that stands in any segment, wherever in it.
pub(crate) fn newest_frame(disk: &MemoryDisk) -> u64 {
    let entries = run_immediate(disk.list()).expect("a good disk");
    let segments = entries.iter().filter(|entry| entry.name.ends_with(".log"));
    let newest = segments.filter_map(|entry| {
        let content = disk.content(&entry.name);
        let frames = (0..content.len()).step_by(BLOCK).filter_map(|at| frame(&content[at..]));
        frames.map(|frame| frame.first).max()
    });
    newest.max().unwrap_or(0)
}

fn segment(file: &str, content: &[u8], first: u64, regions: &mut Vec<Region>) {
    let mut expected = first;
    let mut at = 0;
    let mut add = |bytes, kind, first| {
        regions.push(Region { file: file.to_owned(), bytes, kind, first });
    };
    while let Some(frame) = frame(&content[at..]).filter(|frame| frame.first == expected) {
        let end = at + frame.bytes;
        if frame.count == 0 {
            add(at..end, Kind::Seal, expected);
        } else {
            let events = at + HEADER;
            add(at..events, Kind::Header, expected);
            add(events..events + frame.events, Kind::Events, expected);
            add(events + frame.events..end, Kind::Padding, expected);
        }
        expected += u64::from(frame.count);
        at = end;
    }
    for (index, block) in content[at..].chunks(BLOCK).enumerate() {
        let is_empty = block.iter().all(|byte| *byte == 0);
        let kind = if is_empty { Kind::Zeros } else { Kind::Remains };
        let start = at + index * BLOCK;
        add(start..start + block.len(), kind, 0);
    }
}
