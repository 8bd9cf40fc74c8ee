//! The files of a log's directory, by their names.
//!
//! | name | what it is |
//! |---|---|
//! | `00000000000000000001.log` | a segment: frames from the event with this sequence on |
//! | `00000000000000000042.snapshot` | the state after the event with this sequence |
//! | `7.spare` | a segment without a name yet: new and zero-filled, or used before |
//! | `….tmp` | a snapshot that was being written |
//!
//! A spare becomes a segment by a rename, made durable before the first frame goes into it. What
//! it held before are frames of lower sequences, which no reader takes for new ones.

use super::error::{DamageKind, LogError};
use super::frame::SEQUENCE_MAX;
use crate::storage::Storage;
use doorbuster_protocol::Sequence;
use std::path::PathBuf;

const SEGMENT: &str = ".log";
const SNAPSHOT: &str = ".snapshot";
const SPARE: &str = ".spare";
const TEMPORARY: &str = ".tmp";
const DIGITS: usize = 20;

pub(crate) fn segment_name(first: Sequence) -> String {
    format!("{:0DIGITS$}{SEGMENT}", first.get())
}
pub(crate) fn snapshot_name(sequence: Sequence) -> String {
    format!("{:0DIGITS$}{SNAPSHOT}", sequence.get())
}
pub(crate) fn temporary_name(sequence: Sequence) -> String {
    format!("{:0DIGITS$}{TEMPORARY}", sequence.get())
}
pub(crate) fn spare_name(number: u64) -> String {
    format!("{number}{SPARE}")
}

fn sequence_of(name: &str, suffix: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // No event has the sequence 0: such a file is none of a log's.
    let known = 1..SEQUENCE_MAX;
    digits.parse().ok().filter(|number| known.contains(number)).map(Sequence::new)
}

/// The number in a spare's name, spelled as it is here; there is always a next one.
fn number_of_spare(name: &str) -> Option<u64> {
    let number = name.strip_suffix(SPARE)?.parse().ok()?;
    (number < u64::MAX && spare_name(number) == name).then_some(number)
}

/// A segment or a snapshot: its name, and the sequence that the name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) sequence: Sequence,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// A segment that holds nothing of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// What a log's directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// By first sequence. The last one is being written, the others are closed.
    pub(crate) segments: Vec<Named>,
    /// By last sequence.
    pub(crate) snapshots: Vec<Named>,
    pub(crate) spares: Vec<Spare>,
    /// Snapshots that were being written.
    pub(crate) temporary: Vec<String>,
}

impl Listing {
    /// Lists a directory. Names of no known form are left alone.
    pub(crate) async fn read<S: Storage>(storage: &S) -> Result<Self, LogError> {
        let entries = storage.list().await.map_err(|source| LogError::Io {
            doing: "list",
            file: storage.path().to_owned(),
            source,
        })?;
        let mut listing = Self::default();
        for entry in entries {
            let name = entry.name;
            if let Some(sequence) = sequence_of(&name, SEGMENT) {
                listing.segments.push(Named { sequence, name, bytes: entry.bytes });
            } else if let Some(sequence) = sequence_of(&name, SNAPSHOT) {
                listing.snapshots.push(Named { sequence, name, bytes: entry.bytes });
            } else if let Some(number) = number_of_spare(&name) {
                listing.spares.push(Spare { number, bytes: entry.bytes });
            } else if name.ends_with(TEMPORARY) {
                listing.temporary.push(name);
            }
        }
        listing.segments.sort_by_key(|segment| segment.sequence);
        listing.snapshots.sort_by_key(|snapshot| snapshot.sequence);
        listing.spares.sort_by_key(|spare| spare.number);
        Ok(listing)
    }

    /// The index of the segment that holds `sequence`, or would hold it next.
    pub(crate) fn segment_of(&self, sequence: Sequence) -> Option<usize> {
        self.segments.partition_point(|segment| segment.sequence <= sequence).checked_sub(1)
    }
    /// The first sequence that a segment is there for.
    pub(crate) fn first(&self) -> Option<Sequence> {
        self.segments.first().map(|segment| segment.sequence)
    }
}

/// The error of a directory that lacks the segment that begins with, or holds, `sequence`.
pub(crate) fn missing(directory: PathBuf, sequence: Sequence) -> LogError {
    let mut file = directory;
    file.push(segment_name(sequence));
    LogError::Damaged { file, offset: 0, sequence, kind: DamageKind::MissingSegment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryDisk, Storage, run_immediate};

    #[test]
    fn files_are_known_by_their_names() {
        let disk = MemoryDisk::new();
        for name in [
            "00000000000000000900.log",
            "00000000000000000001.log",
            "00000000000000000899.snapshot",
            "3.spare",
            "03.spare",
            "+4.spare",
            "18446744073709551615.spare",
            "00000000000000000899.tmp",
            "900.log",
            "18446744073709551615.log",
            "notes.txt",
            "+0000000000000000001.log",
            "00000000000000000000.log",
            "00000000000000000000.snapshot",
        ] {
            run_immediate(disk.create(name)).expect("a new file");
        }
        let listing = run_immediate(Listing::read(&disk)).expect("a listing");
        let firsts: Vec<u64> = listing.segments.iter().map(|s| s.sequence.get()).collect();
        assert_eq!(firsts, [1, 900]);
        assert_eq!(listing.snapshots.len(), 1);
        assert_eq!(listing.snapshots[0].sequence.get(), 899);
        assert_eq!(listing.spares, [Spare { number: 3, bytes: 0 }]);
        assert_eq!(listing.temporary.len(), 1);
        assert_eq!(listing.segment_of(Sequence::new(899)), Some(0));
        assert_eq!(listing.segment_of(Sequence::new(900)), Some(1));
        assert_eq!(listing.segment_of(Sequence::ZERO), None);
    }
}
