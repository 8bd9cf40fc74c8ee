//! From a directory to a running log: the newest good snapshot, and the frames after it.
//!
//! It repairs one thing: a torn tail, the rest of a write that was never acknowledged, is
//! overwritten with zeros, durably, before anything is appended. Everything else that is not as it
//! was written is [`LogError::Damaged`], and nothing is changed.

use super::config::LogConfig;
use super::error::{DamageKind, LogError, LogIdentity};
use super::frame::{FRAME_BYTES_MAX, HEADER_BYTES, Header, Parsed};
use super::room;
use super::segments::{Listing, Named, missing, segment_name, spare_name};
use super::snapshot_file::{Base, Unreadable, newest};
use super::snapshots::SnapshotState;
use super::walk::{Step, Tail, Walk};
use super::writer::{Log, OpenFile, Segment};
use crate::signal::Signal;
use crate::state_machine::{State, replay};
use crate::storage::{BLOCK, File, Mode, Storage, block_down, block_up, check_complete};
use doorbuster_protocol::Sequence;
use doorbuster_protocol::event::Events;
use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last event of the snapshot that it began with.
    pub snapshot: Option<Sequence>,
    /// Snapshots that could not be read.
    pub unreadable_snapshots: Vec<PathBuf>,
    /// Events that were replayed.
    pub replayed: u64,
    /// The rest of a write that was cut off.
    pub torn: Option<TornTail>,
}

/// Where a write was cut off by a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The last segment.
    pub file: PathBuf,
    /// Where the log ends in it.
    pub offset: u64,
    /// The event that would have been the next.
    pub sequence: Sequence,
}

/// Makes the log of a new partition: its first segment, durably. The directory must be there.
///
/// A log without any segment is damaged, not new: so this is asked for, once.
pub async fn create<S: Storage>(storage: &S, config: &LogConfig) -> Result<(), LogError> {
    config.check();
    let name = segment_name(Sequence::new(1));
    let bytes = config.first_fill_bytes.min(config.segment_bytes);
    let made = async {
        storage.create(&name).await?;
        room::fill(storage, &name, 0, bytes).await?;
        storage.sync_directory().await
    };
    made.await.map_err(|source| LogError::Io {
        doing: "make",
        file: storage.path().join(&name),
        source,
    })
}

/// Applies what `state` does not have yet of the frame that `walk` is at; says how many events.
pub(super) fn apply_frame<S: Storage>(walk: &Walk<S>, state: &mut State) -> Result<u64, LogError> {
    let header = walk.header();
    let mut applied = 0;
    if header.end() <= state.sequence().next() {
        return Ok(applied);
    }
    let mut next = header.first;
    for event in Events::new(walk.events(), header.first, header.count) {
        match event {
            Ok((sequence, event)) if sequence > state.sequence() => {
                replay(state, &event).map_err(|contradiction| {
                    walk.damaged_frame(sequence, DamageKind::Contradiction(contradiction))
                })?;
                applied += 1;
                next = sequence.next();
            }
            Ok((sequence, _)) => next = sequence.next(),
            Err(malformed) => {
                return Err(walk.damaged_frame(next, DamageKind::Event(malformed)));
            }
        }
    }
    assert_eq!(state.sequence().next(), header.end(), "every event of a frame is applied");
    Ok(applied)
}

/// The segments that have to be read on top of `base`: from the one that holds its last event, so
/// that the chain goes on, or from the one that holds the next.
pub(super) fn first_to_read<S: Storage>(
    storage: &S,
    listing: &Listing,
    base: &Base,
) -> Result<usize, LogError> {
    let last = base.state.sequence();
    let found = listing.segment_of(last).or_else(|| listing.segment_of(last.next()));
    let Some(index) = found else {
        let file = storage.path().join(segment_name(last.next()));
        // What the disk did not give back comes first: it may be whole, and do.
        let is_of_device = |(_, why): &&(Named, Unreadable)| matches!(why, Unreadable::Device(_));
        let unreadable = base.unreadable.iter().find(is_of_device);
        return Err(match unreadable.or(base.unreadable.first()) {
            Some((named, why)) => {
                let sequence = listing.first().unwrap_or_default();
                why.error_as(storage, named, sequence, DamageKind::NoSnapshot)
            }
            None => LogError::Damaged {
                file,
                offset: 0,
                sequence: last.next(),
                kind: DamageKind::MissingSegment,
            },
        });
    };
    Ok(index)
}

/// Checks that no snapshot goes further than the log, which ends at `offset` of its last segment.
pub(super) fn check_end<S: Storage>(
    walk: &Walk<S>,
    listing: &Listing,
    offset: u64,
) -> Result<(), LogError> {
    match listing.snapshots.last() {
        Some(newest) if newest.sequence >= walk.expected() => Err(LogError::Damaged {
            file: walk.file(),
            offset,
            sequence: walk.expected(),
            kind: DamageKind::EndsBeforeSnapshot { snapshot: newest.sequence },
        }),
        _ => Ok(()),
    }
}

impl<S: Storage> Log<S> {
    /// Recovers the log in `storage`, and the state that it tells.
    pub async fn recover(
        storage: S,
        identity: LogIdentity,
        config: LogConfig,
    ) -> Result<(Self, State), LogError> {
        config.check();
        let mut listing = Listing::read(&storage).await?;
        if listing.segments.is_empty() {
            return Err(missing(storage.path().to_owned(), Sequence::new(1)));
        }
        let mut base = newest(&storage, &identity, &listing);
        let from = first_to_read(&storage, &listing, &base)?;
        let mut recovery = Recovery {
            snapshot: base.digest.map(|_| base.state.sequence()),
            unreadable_snapshots: base
                .unreadable
                .iter()
                .map(|(named, _)| storage.path().join(&named.name))
                .collect(),
            ..Recovery::default()
        };
        let mut segments: Vec<Segment> = listing
            .segments
            .iter()
            .map(|named| Segment {
                first: named.sequence,
                bytes: named.bytes,
                file_bytes: block_down(named.bytes),
            })
            .collect();
        let to_read = listing.segments[from..].to_vec();
        let mut walk = Walk::new(storage.clone(), identity, to_read, None);
        let mut is_sealed = false;
        // Where the last frame begins, when it is in the last segment.
        let mut last_frame = None;
        for segment in &mut segments[from..] {
            segment.bytes = 0;
        }
        let tail = loop {
            match walk.step().await? {
                Step::Frame => {
                    recovery.replayed += apply_frame(&walk, &mut base.state)?;
                    is_sealed = walk.header().is_seal;
                    let first = walk.segment().sequence;
                    last_frame = Some((first, walk.frame_offset()));
                    let index = segments.partition_point(|segment| segment.first < first);
                    segments[index].bytes = walk.frame_offset() + walk.header().frame_bytes();
                }
                Step::End(tail) => break tail,
            }
        };
        check_end(&walk, &listing, tail.offset)?;
        assert_eq!(base.state.sequence().next(), walk.expected(), "the state is as far as the log");
        if tail.is_torn {
            recovery.torn = Some(TornTail {
                file: walk.file(),
                offset: tail.offset,
                sequence: walk.expected(),
            });
        }
        let name = walk.segment().name.clone();
        let in_last = |(first, offset)| (first == walk.segment().sequence).then_some(offset);
        let last_frame = last_frame.and_then(in_last).zip(walk.previous());
        let opened = open_tail(&storage, &name, &tail, last_frame).await;
        let current = opened.map_err(|source| LogError::Io {
            doing: "repair the tail of",
            file: storage.path().join(&name),
            source,
        })?;
        tidy(&storage, &mut listing, &config).await?;
        let older = listing.snapshots.iter().map(|named| named.sequence);
        let newest = recovery.snapshot.unwrap_or_default();
        let covered = older.filter(|sequence| *sequence < newest).max().unwrap_or_default();
        let newest_bytes = listing
            .snapshots
            .iter()
            .find(|named| named.sequence == newest)
            .map_or(0, |named| named.bytes);
        let next_spare = listing.spares.iter().map(|spare| spare.number + 1).max().unwrap_or(1);
        let durable = base.state.sequence();
        let log = Self {
            storage,
            identity,
            config,
            recovery,
            failure: RefCell::default(),
            segments: RefCell::new(segments.into()),
            current: RefCell::new(Rc::new(current)),
            next: RefCell::default(),
            spares: RefCell::new(listing.spares),
            next_spare: Cell::new(next_spare),
            short_of: Cell::new(None),
            durable: Cell::new(durable),
            previous: Cell::new(walk.previous().unwrap_or(0)),
            is_sealed: Cell::new(is_sealed),
            appended_bytes: Cell::new(0),
            is_appending: Cell::new(false),
            is_kept: Cell::new(false),
            kept: Signal::default(),
            snapshots: Arc::new(SnapshotState::new(newest, covered, newest_bytes)),
            cursors: RefCell::default(),
        };
        // The first batch finds room, wherever the log ended.
        log.prepare().await?;
        Ok((log, base.state))
    }
}

/// Opens the last segment for appending, its torn tail overwritten and synced, and its last
/// frame, when there is one, written once more. Of that one the offset and the checksum are given.
async fn open_tail<S: Storage>(
    storage: &S,
    name: &str,
    tail: &Tail,
    last_frame: Option<(u64, u32)>,
) -> io::Result<OpenFile<S::File>> {
    let file = storage.open(name, Mode::Write).await?;
    let size = file.size().await?;
    let is_ragged = !size.is_multiple_of(BLOCK);
    if tail.is_torn || is_ragged {
        let end = block_up(size).min(tail.offset + FRAME_BYTES_MAX);
        room::zero(&file, tail.offset, end).await?;
    }
    // A process that was killed between a write and its sync left a frame that we have read, and
    // that the device may not have: it must be synced. A process whose sync failed left one that
    // looks synced, because the kernel gives such pages up and keeps what they hold: it must be
    // written, too, or what is appended next would be acknowledged on top of nothing.
    if let Some((start, checksum)) = last_frame {
        rewrite(&file, start, tail.offset, checksum).await?;
    }
    file.sync().await?;
    storage.sync_directory().await?;
    let filled = block_down(file.size().await?).max(tail.offset);
    Ok(OpenFile {
        file,
        tail: Cell::new(tail.offset),
        filled: Cell::new(filled),
        is_used: tail.has_remains,
    })
}

/// Writes what stands there once more. A crash meanwhile cannot harm it: each sector is as it was,
/// before and after.
///
/// It is read for the second time here, and may come as something else: once written, that would be
/// what was acknowledged.
async fn rewrite<F: File>(file: &F, start: u64, end: u64, checksum: u32) -> io::Result<()> {
    let mut buffer = file.buffer((end - start) as usize);
    let expected = buffer.as_ref().len();
    if file.read_at(start, buffer.as_mut()).await? < expected {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let frame = buffer.as_ref();
    let is_same = match Header::parse(frame) {
        Parsed::Header(header) => {
            header.checksum == checksum && header.matches_body(&frame[HEADER_BYTES..])
        }
        _ => false,
    };
    if !is_same {
        let why = "the last frame was read twice, and was not the same";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    check_complete(file.write_at(buffer, start).await?, expected)
}

/// Removes what a crash left behind: unfinished snapshots, and spares beyond those to be kept.
async fn tidy<S: Storage>(
    storage: &S,
    listing: &mut Listing,
    config: &LogConfig,
) -> Result<(), LogError> {
    let mut names = std::mem::take(&mut listing.temporary);
    while listing.spares.len() > config.spares_max {
        let spare = listing.spares.pop().expect("there are more than enough");
        names.push(spare_name(spare.number));
    }
    for name in &names {
        match storage.remove(name).await {
            // Where a process opens a log again, the snapshot thread of before may just have
            // finished its work, and what was listed has its final name now.
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|source| LogError::Io {
                doing: "remove",
                file: storage.path().join(name),
                source,
            })?,
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    storage.sync_directory().await.map_err(|source| LogError::Io {
        doing: "sync",
        file: storage.path().to_owned(),
        source,
    })
}
