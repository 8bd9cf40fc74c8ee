//! Letting go of segments: one goes when snapshots cover it **and** every consumer is past it.
//!
//! "Covered" means by the second newest snapshot, so that a newest one that turns out damaged can
//! be done without; on a full disk by the newest, once it was read back (`snapshots.rs`). What goes
//! becomes a spare, or is removed when there are enough spares. One after the other, each durably:
//! a directory never lacks a segment in the middle, whatever a crash makes of it.

use super::error::LogError;
use super::segments::{Spare, segment_name, spare_name};
use super::writer::{Log, Segment};
use crate::storage::Storage;
use doorbuster_protocol::Sequence;

/// What a trim let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments.
    pub segments: u32,
    /// Bytes of frames in them.
    pub bytes: u64,
}

impl<S: Storage> Log<S> {
    /// Lets go of what snapshots cover and consumers have `acknowledged`. Cheap when that is
    /// nothing.
    pub async fn trim(&self, acknowledged: Sequence) -> Result<Trimmed, LogError> {
        self.check()?;
        let mut trimmed = Trimmed::default();
        if self.releasable(acknowledged).is_none() {
            return Ok(trimmed);
        }
        self.begin_upkeep().await;
        let released = self.release_all(acknowledged, &mut trimmed).await;
        self.end_upkeep();
        released.map(|()| trimmed)
    }

    async fn release_all(
        &self,
        acknowledged: Sequence,
        trimmed: &mut Trimmed,
    ) -> Result<(), LogError> {
        while let Some(segment) = self.releasable(acknowledged) {
            self.check()?;
            self.release(segment).await?;
            trimmed.segments += 1;
            trimmed.bytes += segment.bytes;
        }
        Ok(())
    }

    /// The oldest segment, when nobody needs it.
    fn releasable(&self, acknowledged: Sequence) -> Option<Segment> {
        let segments = self.segments.borrow();
        let needed_from = acknowledged.min(self.snapshots.covered()).next();
        let next = segments.get(1)?;
        (next.first <= needed_from).then(|| segments[0])
    }

    async fn release(&self, segment: Segment) -> Result<(), LogError> {
        // First out of the list: a reader that comes now is told so.
        self.segments.borrow_mut().pop_front();
        self.cursors.borrow_mut().retain(|cursor| cursor.segment != segment.first);
        let name = segment_name(segment.first);
        let keeps = self.spares.borrow().len() < self.config.spares_max
            && segment.file_bytes >= self.config.segment_bytes;
        let number = self.next_spare.get();
        let (doing, moved) = if keeps {
            self.next_spare.set(number + 1);
            ("rename", self.storage.rename(&name, &spare_name(number)).await)
        } else {
            ("remove", self.storage.remove(&name).await)
        };
        if let Err(source) = moved {
            return Err(self.fail(doing, &name, source));
        }
        if let Err(source) = self.storage.sync_directory().await {
            return Err(self.fail("sync the directory of", &name, source));
        }
        if keeps {
            self.spares.borrow_mut().push(Spare { number, bytes: segment.file_bytes });
        }
        Ok(())
    }
}
