//! Reading a log event by event without making its state: for whoever keeps books of a log that is
//! larger than the memory.
//!
//! Every frame is checked as a replay checks it. Snapshots are not, but for the one that the log
//! begins with when its first events were let go of.

use super::{ATTEMPTS_MAX, Inspector};
use crate::log::error::{DamageKind, LogError};
use crate::log::recovery::check_end;
use crate::log::segments::Listing;
use crate::log::snapshot_file;
use crate::log::walk::{Step, Walk};
use crate::state_machine::snapshot::SnapshotVisitor;
use crate::storage::{Immediate, run_immediate};
use doorbuster_protocol::Sequence;
use doorbuster_protocol::event::{Event, Events};

/// Sees every retained event of a log, and before them what the snapshot holds that they go on top
/// of, when they are not the first events of all.
pub trait EventReader: SnapshotVisitor {
    /// The reading begins. `first` is the first event that is retained; `base` is that of the
    /// snapshot, zero when there is none. A snapshot may be newer than the first events, which are
    /// shown nevertheless. Called again when the reading has to start over.
    fn begin(&mut self, first: Sequence, base: Sequence);
    /// The next event.
    fn event(&mut self, sequence: Sequence, event: &Event);
}

/// What was read of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first event that is retained; the one after the last when there is none.
    pub first: Sequence,
    /// The last event.
    pub last: Sequence,
    /// How many events were read.
    pub events: u64,
}

impl<S: Immediate> Inspector<S> {
    /// Checks every frame and shows each event to `reader`, in memory that does not grow with the
    /// log.
    pub fn read(&self, reader: &mut impl EventReader) -> Result<Extent, LogError> {
        let mut attempts = 0;
        loop {
            let listing = self.list()?;
            let error = match self.read_once(&listing, reader) {
                Ok(extent) => return Ok(extent),
                Err(error) => error,
            };
            attempts += 1;
            if attempts == ATTEMPTS_MAX || !self.has_changed(&listing)? {
                return Err(error);
            }
        }
    }

    fn read_once(
        &self,
        listing: &Listing,
        reader: &mut impl EventReader,
    ) -> Result<Extent, LogError> {
        let first = listing.segments[0].sequence;
        let snapshot = self.base_snapshot(listing)?;
        reader.begin(first, snapshot.map_or(Sequence::ZERO, |named| named.sequence));
        if let Some(named) = snapshot {
            snapshot_file::visit(&self.storage, &self.identity, named, reader)
                .map_err(|why| why.error(&self.storage, named))?;
        }
        let segments = listing.segments.clone();
        let mut walk = Walk::new(self.storage.clone(), self.identity, segments, None);
        let mut events = 0;
        loop {
            if let Step::End(tail) = run_immediate(walk.step())? {
                check_end(&walk, listing, tail.offset)?;
                let last = Sequence::new(walk.expected().get() - 1);
                return Ok(Extent { first, last, events });
            }
            let header = walk.header();
            let mut next = header.first;
            for event in Events::new(walk.events(), header.first, header.count) {
                let (sequence, event) =
                    event.map_err(|kind| walk.damaged_frame(next, DamageKind::Event(kind)))?;
                next = sequence.next();
                reader.event(sequence, &event);
                events += 1;
            }
        }
    }

    /// The sequence and bytes of each snapshot. A state is about as large in memory as in its file.
    pub fn snapshots(&self) -> Result<Vec<(Sequence, u64)>, LogError> {
        let listing = self.list()?;
        Ok(listing.snapshots.iter().map(|named| (named.sequence, named.bytes)).collect())
    }
}
