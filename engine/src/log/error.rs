//! What can be wrong with a log: the disk failed, or what it gives back is not what was written.

use super::segments::segment_name;
use crate::state_machine::Contradiction;
use crate::storage::shortage;
use doorbuster_protocol::record::Malformed;
use doorbuster_protocol::{Epoch, PartitionId, Sequence};
use std::io;
use std::path::{Path, PathBuf};

/// Why a log cannot be used, or cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// What is on disk is not what was written, and no crash explains it.
    #[error(
        "the log is damaged: {} at offset {offset}, event {sequence}: {kind}. Nothing was changed. \
         Keep a copy of its directory, then {}; `doorbuster log verify --data DIR` checks the rest, \
         `doorbuster log dump` shows what can be read", file.display(), mending(file, kind)
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// The event that should stand there.
        sequence: Sequence,
        /// What is wrong.
        kind: DamageKind,
    },
    /// The disk refused something. Of a running log: the first failure, after which nothing is
    /// known about what is on disk, so that only a restart, with its recovery, goes on.
    #[error(
        "cannot {doing} {}: {source}. Check the disk (`dmesg`, `df`, permissions), then start \
         again: recovery keeps every acknowledged event", file.display()
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A log's directory could not be synced. Whoever shares it knows no better which of its names
    /// are durable, and no later sync tells: the log ends, too.
    #[error(
        "cannot sync the directory {}: {source}. Check the disk (`dmesg`, `df`), then start again: \
         recovery keeps every acknowledged event", directory.display()
    )]
    NamesUncertain {
        /// The log's directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log failed before; it takes and gives nothing any more.
    #[error("the log stopped at its first failure: {0}")]
    Poisoned(String),
    /// No room is prepared for a frame of this size. Nothing was written; the log goes on.
    #[error("no room is prepared for {bytes} bytes of events; free some disk space")]
    NoRoom {
        /// Bytes of events that were to be written.
        bytes: usize,
    },
}

impl LogError {
    /// Whether there was too little room, so that it may work later.
    pub(super) fn is_no_room(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        // A full disk may also take a part of a write.
        shortage(source).is_some() || source.kind() == io::ErrorKind::WriteZero
    }
}

/// What can be done about damage, once there is a copy.
fn mending(file: &Path, kind: &DamageKind) -> String {
    match kind {
        DamageKind::FlippedBit { byte, right, .. } => format!(
            "look for what flips bits (`dmesg`, `smartctl -a`, a test of the memory), and restore \
             the file from a backup, or set the bit right: `printf '\\{right:03o}' | dd of='{}' \
             bs=1 seek={byte} conv=notrunc`",
            file.display()
        ),
        DamageKind::Join { .. } => "restore both files from one backup".to_owned(),
        _ => "restore the file from a backup".to_owned(),
    }
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// A header does not match its checksum, or there is none where one must be.
    #[error("the frame's header is missing or does not match its checksum")]
    Header,
    /// All of a frame is as it was written, but for one bit. Also of a last frame: it may have
    /// been acknowledged, and no crash flips a bit.
    #[error(
        "one bit of the frame is flipped, bit {bit} of the byte at {byte}: with 0x{right:02x} there \
         the frame matches its checksums"
    )]
    FlippedBit {
        /// Where in the file, in bytes.
        byte: u64,
        /// Which bit, from the lowest.
        bit: u8,
        /// What the byte should be.
        right: u8,
    },
    /// A header matches its checksum, and its fields contradict each other.
    #[error("the frame's header matches its checksum, and makes no sense")]
    Senseless,
    /// A body does not match its checksum, or is cut off.
    #[error("the frame's body does not match its checksum")]
    Body,
    /// A frame is not the successor of the one before it.
    #[error("the frame does not carry the checksum of the frame before it")]
    Chain,
    /// A segment ends with all its events, and what follows it is not what the next one follows.
    #[error(
        "the segment ends here, and {} follows another frame than its last one: the mark of a clean \
         stop that stood here is lost, or one of the two files is of another copy",
        segment_name(*next)
    )]
    Join {
        /// The first event of the next segment, which names it.
        next: Sequence,
    },
    /// Events are missing between two frames, or stand there twice.
    #[error("the frame begins with event {found}")]
    Gap {
        /// The sequence that stands there.
        found: Sequence,
    },
    /// A segment begins where the one before it has not ended.
    #[error("the segment before it goes on with this event, or holds later ones")]
    Twice,
    /// A file between others, or the first one, is not there.
    #[error("the segment that holds this event is missing")]
    MissingSegment,
    /// The log ends before the snapshot that was made from it.
    #[error("the log ends before event {snapshot}, which a snapshot was made from")]
    EndsBeforeSnapshot {
        /// The snapshot's last event.
        snapshot: Sequence,
    },
    /// A frame of another data directory.
    #[error("the frame belongs to data directory {found:016x}")]
    OtherDirectory {
        /// The directory that it names.
        found: u64,
    },
    /// A frame of another partition.
    #[error("the frame belongs to partition {found}")]
    OtherPartition {
        /// The partition that it names.
        found: u16,
    },
    /// A frame of an epoch that ended before, or has not begun.
    #[error("the frame is of epoch {found}, which cannot follow here")]
    Epoch {
        /// The epoch that it names.
        found: Epoch,
    },
    /// A frame of a format that this program does not know.
    #[error("the frame has format version {found}; a newer doorbuster wrote it")]
    Version {
        /// The version that it names.
        found: u16,
    },
    /// A frame's events cannot be read, although its checksum is good.
    #[error("an event cannot be read: {0}")]
    Event(Malformed),
    /// An event can be read, and cannot have happened after those before it.
    #[error("an event contradicts those before it: {0}")]
    Contradiction(Contradiction),
    /// No snapshot can be read, and the log does not reach back to the first event.
    #[error("no snapshot can be read, and the log before this event is gone")]
    NoSnapshot,
    /// A snapshot cannot be read.
    #[error("the snapshot does not match its checksum, or is no snapshot of this log")]
    Snapshot,
    /// Replaying the log does not give the state that a snapshot holds.
    #[error("replaying the log up to here does not give the snapshot's state")]
    SnapshotDisagrees,
}

/// Which log this is. Stands in every frame and in every snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The random id of the data directory.
    pub directory: u64,
    /// The partition.
    pub partition: PartitionId,
    /// The reign in which frames are written from now on.
    pub epoch: Epoch,
}
