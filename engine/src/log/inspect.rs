//! Looking at a log from outside: verify, stats, dump, tail. Reads only, also beside a live engine.
//!
//! A live log changes while it is read. Its end may look torn, because a write is in the works:
//! that is noted, and is no damage. Segments may be closed, recycled or removed underneath: before
//! anything is called damaged, the directory is listed again, and when it changed the look starts
//! over.

mod follow;
mod read;

pub use follow::{LogTail, LoggedEvents};
pub use read::{EventReader, Extent};

use super::error::{DamageKind, LogError, LogIdentity};
use super::recovery::{TornTail, apply_frame, check_end};
use super::segments::{Listing, Named, missing};
use super::snapshot_file;
use super::walk::{Step, Walk};
use crate::directory::DataDirectory;
use crate::state_machine::{State, replay};
use crate::storage::{Immediate, StdDisk, run_immediate};
use doorbuster_protocol::event::{Event, Events};
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use std::path::PathBuf;

/// Looks that were begun anew because the directory changed underneath, before giving up.
const ATTEMPTS_MAX: u32 = 20;

/// Looks at one partition's log.
#[derive(Clone, Debug)]
pub struct Inspector<S> {
    storage: S,
    identity: LogIdentity,
}

/// One event of a log, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its sequence.
    pub sequence: Sequence,
    /// What happened, and when.
    pub event: Event,
    /// The segment.
    pub file: PathBuf,
    /// Where the event's frame begins in it.
    pub offset: u64,
}

/// A sound log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// The partition.
    pub partition: PartitionId,
    /// Segments, the one that is being written included.
    pub segments: u32,
    /// Snapshots.
    pub snapshots: u32,
    /// Bytes of frames, padding included.
    pub bytes: u64,
    /// Frames with events.
    pub frames: u64,
    /// Events that are retained.
    pub events: u64,
    /// Bytes of these events.
    pub event_bytes: u64,
    /// Events of the largest frame.
    pub frame_events_max: u32,
    /// The first event that is retained; the one after the last when there is none.
    pub first: Sequence,
    /// The last event.
    pub last: Sequence,
    /// When the last event was decided; none when there was no event.
    pub last_at: Timestamp,
    /// The digest of the state after the last event.
    pub digest: u64,
    /// Whether the log ends with the mark of a clean stop.
    pub is_sealed: bool,
    /// What stands behind the last frame, when it is no frame: the rest of a write that a crash cut
    /// off, or a write that is in the works. No damage.
    pub tail: Option<TornTail>,
}

/// Sees every event of a replay.
pub trait Visitor {
    /// The replay begins: with the empty state, or with that of a snapshot when the log does not
    /// reach back to the first event. Called again when the replay has to start over.
    fn begin(&mut self, base: &State);
    /// The next event, after `state` took it.
    fn event(&mut self, event: &LoggedEvent, state: &State);
}

/// Sees nothing.
impl Visitor for () {
    fn begin(&mut self, _base: &State) {}
    fn event(&mut self, _event: &LoggedEvent, _state: &State) {}
}

impl Inspector<StdDisk> {
    /// Looks at the log of `partition` in a data directory.
    pub fn new(directory: &DataDirectory, partition: PartitionId) -> Self {
        let storage = StdDisk::new(directory.partition_path(partition));
        let identity =
            LogIdentity { directory: directory.id(), partition, epoch: Epoch::new(u32::MAX) };
        Self { storage, identity }
    }
}

impl<S: Immediate> Inspector<S> {
    /// Looks at the log in `storage`, whose frames are of `identity` or an earlier epoch.
    pub fn of(storage: S, identity: LogIdentity) -> Self {
        Self { storage, identity }
    }

    /// Checks every frame and every snapshot that there is, and replays the events.
    pub fn verify(&self) -> Result<PartitionReport, LogError> {
        self.replay(&mut ()).map(|(_, report)| report)
    }

    /// Checks everything, shows each event to `visitor`, and returns the state at the end.
    ///
    /// Snapshots are not trusted where the log can tell the same: when it reaches back to the first
    /// event, the replay begins there, and what it gives is compared with each snapshot.
    pub fn replay(&self, visitor: &mut impl Visitor) -> Result<(State, PartitionReport), LogError> {
        let mut attempts = 0;
        loop {
            let listing = self.list()?;
            let error = match self.replay_once(&listing, visitor) {
                Ok(replayed) => return Ok(replayed),
                Err(error) => error,
            };
            attempts += 1;
            if attempts == ATTEMPTS_MAX || !self.has_changed(&listing)? {
                return Err(error);
            }
        }
    }

    /// The events that are retained, from `from` on. Of a live log that lets go of segments while
    /// it is read, the sequences jump to what is retained then.
    pub fn events(&self, from: Sequence) -> LoggedEvents<S> {
        LoggedEvents::new(self.tail(from))
    }

    /// Follows the log from `from` on.
    pub fn tail(&self, from: Sequence) -> LogTail<S> {
        LogTail::new(self.clone(), from)
    }

    fn list(&self) -> Result<Listing, LogError> {
        let listing = run_immediate(Listing::read(&self.storage))?;
        if listing.segments.is_empty() {
            return Err(missing(self.storage.path().to_owned(), Sequence::new(1)));
        }
        Ok(listing)
    }
    /// Whether files came or went since `before`. Growth is no change.
    fn has_changed(&self, before: &Listing) -> Result<bool, LogError> {
        let names = |named: &[Named]| named.iter().map(|n| n.sequence).collect::<Vec<_>>();
        let now = self.list()?;
        Ok(names(&now.segments) != names(&before.segments)
            || names(&now.snapshots) != names(&before.snapshots))
    }

    fn replay_once(
        &self,
        listing: &Listing,
        visitor: &mut impl Visitor,
    ) -> Result<(State, PartitionReport), LogError> {
        let snapshots = self.read_snapshots(listing)?;
        let mut state = self.base(listing)?;
        visitor.begin(&state);
        let first = listing.segments[0].sequence;
        let mut report = PartitionReport {
            partition: self.identity.partition,
            segments: listing.segments.len() as u32,
            snapshots: snapshots.len() as u32,
            bytes: 0,
            frames: 0,
            events: 0,
            event_bytes: 0,
            frame_events_max: 0,
            first,
            last: Sequence::ZERO,
            last_at: Timestamp::NONE,
            digest: 0,
            is_sealed: false,
            tail: None,
        };
        let segments = listing.segments.clone();
        let mut walk = Walk::new(self.storage.clone(), self.identity, segments, None);
        self.compare(&walk, &state, &snapshots)?;
        let tail = loop {
            match run_immediate(walk.step())? {
                Step::End(tail) => break tail,
                Step::Frame => {}
            }
            let header = *walk.header();
            report.bytes += header.frame_bytes();
            report.is_sealed = header.is_seal;
            report.frames += u64::from(!header.is_seal);
            report.events += u64::from(header.count);
            report.event_bytes += u64::from(header.body_length);
            report.frame_events_max = report.frame_events_max.max(header.count);
            self.visit_frame(&walk, &mut state, visitor)?;
            self.compare(&walk, &state, &snapshots)?;
        };
        check_end(&walk, listing, tail.offset)?;
        report.tail = tail.is_torn.then(|| TornTail {
            file: walk.file(),
            offset: tail.offset,
            sequence: walk.expected(),
        });
        report.last = state.sequence();
        report.last_at = state.last_at();
        report.digest = state.digest();
        Ok((state, report))
    }

    /// Every snapshot's sequence and digest, each read in full.
    fn read_snapshots(&self, listing: &Listing) -> Result<Vec<(Sequence, u64)>, LogError> {
        let mut read = Vec::new();
        for named in &listing.snapshots {
            let (state, digest) =
                snapshot_file::load(&self.storage, &self.identity, named, self.empty())
                    .map_err(|why| why.error(&self.storage, named))?;
            if state.digest() != digest {
                return Err(LogError::Damaged {
                    file: self.storage.path().join(&named.name),
                    offset: 0,
                    sequence: named.sequence,
                    kind: DamageKind::SnapshotDisagrees,
                });
            }
            read.push((named.sequence, digest));
        }
        Ok(read)
    }

    /// The state that the log's first events go on top of.
    fn base(&self, listing: &Listing) -> Result<State, LogError> {
        let Some(oldest) = self.base_snapshot(listing)? else {
            return Ok(self.empty());
        };
        let loaded = snapshot_file::load(&self.storage, &self.identity, oldest, self.empty());
        loaded.map(|(state, _)| state).map_err(|why| why.error(&self.storage, oldest))
    }

    /// In memory whole: who inspects writes nothing into the directory.
    fn empty(&self) -> State {
        State::new(self.identity.partition)
    }

    /// The oldest snapshot that the log's first events go on top of; `None` when the log reaches back
    /// to the first event of all.
    fn base_snapshot<'a>(&self, listing: &'a Listing) -> Result<Option<&'a Named>, LogError> {
        let first = listing.segments[0].sequence;
        if first == Sequence::new(1) {
            return Ok(None);
        }
        let oldest = listing.snapshots.iter().find(|named| named.sequence.next() >= first);
        if oldest.is_some() {
            return Ok(oldest);
        }
        let kind = match listing.snapshots.last() {
            Some(_) => DamageKind::MissingSegment,
            None => DamageKind::NoSnapshot,
        };
        let file = self.storage.path().join(&listing.segments[0].name);
        Err(LogError::Damaged { file, offset: 0, sequence: first, kind })
    }

    /// Checks `state` against the snapshot of the same event, when there is one.
    fn compare(
        &self,
        walk: &Walk<S>,
        state: &State,
        snapshots: &[(Sequence, u64)],
    ) -> Result<(), LogError> {
        let twin = snapshots.iter().find(|(sequence, _)| *sequence == state.sequence());
        match twin {
            // Events before the base are walked over without being applied: compare once.
            Some((sequence, digest))
                if walk.expected() == sequence.next() && state.digest() != *digest =>
            {
                Err(LogError::Damaged {
                    file: self.storage.path().join(super::segments::snapshot_name(*sequence)),
                    offset: 0,
                    sequence: *sequence,
                    kind: DamageKind::SnapshotDisagrees,
                })
            }
            _ => Ok(()),
        }
    }

    fn visit_frame(
        &self,
        walk: &Walk<S>,
        state: &mut State,
        visitor: &mut impl Visitor,
    ) -> Result<(), LogError> {
        let before = state.sequence();
        // One event at a time, because the visitor sees the state after each.
        for logged in logged_events(walk)? {
            if logged.sequence > before {
                replay(state, &logged.event).map_err(|contradiction| {
                    walk.damaged_frame(logged.sequence, DamageKind::Contradiction(contradiction))
                })?;
                visitor.event(&logged, state);
            }
        }
        debug_assert_eq!(apply_frame(walk, state).ok(), Some(0), "the frame was applied whole");
        Ok(())
    }
}

/// The events of the frame that a walk is at.
fn logged_events<S: Immediate>(walk: &Walk<S>) -> Result<Vec<LoggedEvent>, LogError> {
    let header = walk.header();
    // No more than there are: the count is only what the header says.
    let mut logged = Vec::new();
    let mut next = header.first;
    for event in Events::new(walk.events(), header.first, header.count) {
        let (sequence, event) =
            event.map_err(|kind| walk.damaged_frame(next, DamageKind::Event(kind)))?;
        next = sequence.next();
        logged.push(LoggedEvent {
            sequence,
            event,
            file: walk.file(),
            offset: walk.frame_offset(),
        });
    }
    Ok(logged)
}
