//! The log of a running partition: append a batch, have it durable, go to the next segment.
//!
//! One append is in flight at a time. Its future must be driven to its end; one that was dropped
//! half-way leaves a log that takes nothing more.
//!
//! The first write or sync that fails poisons the log: what is on disk is unknown from then on, a
//! second sync would lie, and only recovery, after a restart, can tell. A full disk is no failure,
//! because appends go only to space that was filled before: it shows as [`Log::room`] running out.

use super::config::LogConfig;
use super::error::{LogError, LogIdentity};
use super::feed::Cursor;
use super::frame::{self, HEADER_BYTES};
use super::recovery::Recovery;
use super::segments::{Spare, segment_name};
use super::snapshots::SnapshotState;
use crate::signal::Signal;
use crate::storage::{BLOCK, File, Shortage, Storage, check_complete};
use doorbuster_protocol::limits::BATCH_BYTES_MAX;
use doorbuster_protocol::{Epoch, Sequence};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// A segment of the log, whether open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Sequence of its first event.
    pub(super) first: Sequence,
    /// Bytes of frames in it; of a segment that recovery did not need to read, of its file.
    pub(super) bytes: u64,
    /// Bytes of its file that were written before; of the current segment not kept up.
    pub(super) file_bytes: u64,
}

/// A file that frames can go to.
pub(super) struct OpenFile<F> {
    pub(super) file: F,
    /// Where the next frame goes.
    pub(super) tail: Cell<u64>,
    /// Up to where there is space that was written before.
    pub(super) filled: Cell<u64>,
    /// Whether something else than zeros may stand behind the tail.
    pub(super) is_used: bool,
}

/// The next segment, which has no name yet.
pub(super) struct Prepared<F> {
    pub(super) number: u64,
    pub(super) open: Rc<OpenFile<F>>,
}

/// The log of one partition, for one task that appends and others that read and keep it.
pub struct Log<S: Storage> {
    pub(super) storage: S,
    pub(super) identity: LogIdentity,
    pub(super) config: LogConfig,
    pub(super) recovery: Recovery,
    pub(super) failure: RefCell<Option<String>>,
    /// By first sequence; the last one is being written.
    pub(super) segments: RefCell<VecDeque<Segment>>,
    pub(super) current: RefCell<Rc<OpenFile<S::File>>>,
    pub(super) next: RefCell<Option<Prepared<S::File>>>,
    pub(super) spares: RefCell<Vec<Spare>>,
    pub(super) next_spare: Cell<u64>,
    /// Why no more room is prepared, while that lasts.
    pub(super) short_of: Cell<Option<Shortage>>,
    pub(super) durable: Cell<Sequence>,
    pub(super) previous: Cell<u32>,
    pub(super) is_sealed: Cell<bool>,
    pub(super) appended_bytes: Cell<u64>,
    pub(super) is_appending: Cell<bool>,
    pub(super) is_kept: Cell<bool>,
    pub(super) kept: Signal,
    pub(super) snapshots: Arc<SnapshotState>,
    pub(super) cursors: RefCell<Vec<Cursor<S::File>>>,
}

impl<S: Storage> Log<S> {
    /// The last event that is on disk.
    pub fn durable(&self) -> Sequence {
        self.durable.get()
    }
    /// The reign in which this log writes.
    pub fn epoch(&self) -> Epoch {
        self.identity.epoch
    }
    /// What recovery found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
    /// The first event of the segment that is being written; those before it are closed.
    pub fn current_first(&self) -> Sequence {
        self.segments.borrow().back().expect("a log has a segment").first
    }
    /// Bytes of all frames that are retained.
    pub fn bytes_total(&self) -> u64 {
        self.segments.borrow().iter().map(|segment| segment.bytes).sum()
    }
    /// Bytes appended since the start.
    pub fn bytes_appended(&self) -> u64 {
        self.appended_bytes.get()
    }
    /// Bytes of the segments that hold events after `acknowledged`.
    pub fn bytes_unacknowledged(&self, acknowledged: Sequence) -> u64 {
        if acknowledged >= self.durable.get() {
            return 0;
        }
        let segments = self.segments.borrow();
        let from = segments
            .partition_point(|segment| segment.first <= acknowledged.next())
            .saturating_sub(1);
        segments.range(from..).map(|segment| segment.bytes).sum()
    }

    /// Bytes of events that the next append can take: 0 when the disk is full or the log failed.
    pub fn room(&self) -> usize {
        if self.check().is_err() {
            return 0;
        }
        let current = self.current.borrow();
        let here = current.filled.get() - current.tail.get();
        let next = match &*self.next.borrow() {
            Some(prepared) if self.can_rotate() => prepared.open.filled.get(),
            _ => 0,
        };
        let bytes = here.max(next).saturating_sub(HEADER_BYTES as u64);
        bytes.min(BATCH_BYTES_MAX as u64) as usize
    }
    /// Whether an append of `bytes` bytes of events finds room.
    pub fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.room()
    }

    /// Writes a batch and makes it durable: one write, one sync.
    ///
    /// `first` follows the last event appended. [`LogError::NoRoom`] changes nothing; any other
    /// error is the log's end.
    pub async fn append(&self, first: Sequence, count: u32, events: &[u8]) -> Result<(), LogError> {
        self.check()?;
        assert_eq!(first, self.durable.get().next(), "batches are dense");
        assert!(count > 0, "a batch has events");
        assert!(!events.is_empty(), "events have bytes");
        self.write(first, count, events).await
    }

    /// Marks a clean stop, so that damage to what stands before it can be proven. Without room for
    /// the mark the log is sound all the same.
    pub async fn seal(&self) -> Result<(), LogError> {
        self.check()?;
        let is_empty = self.segments.borrow().iter().all(|segment| segment.bytes == 0);
        if is_empty || self.is_sealed.get() || !self.has_room(0) {
            return Ok(());
        }
        match self.write(self.durable.get().next(), 0, &[]).await {
            Err(LogError::NoRoom { .. }) => Ok(()),
            other => other,
        }
    }

    async fn write(&self, first: Sequence, count: u32, events: &[u8]) -> Result<(), LogError> {
        assert!(!self.is_appending.replace(true), "one append at a time, each to its end");
        let bytes = frame::frame_bytes(events.len());
        let Some(open) = self.file_for(bytes, first).await? else {
            self.is_appending.set(false);
            return Err(LogError::NoRoom { bytes: events.len() });
        };
        let tail = open.tail.get();
        // Where the file was used before, the frame takes a block of zeros along, so that the end
        // of the log is told from the rest of a torn write.
        let has_block_behind = tail + bytes + BLOCK <= open.filled.get();
        let closing = if open.is_used && has_block_behind { BLOCK } else { 0 };
        let mut buffer = open.file.buffer((bytes + closing) as usize);
        let (frame, zeros) = buffer.as_mut().split_at_mut(bytes as usize);
        zeros.fill(0);
        let previous = self.previous.get();
        let checksum = frame::encode(frame, &self.identity, first, count, events, previous);
        let whole = buffer.as_ref().len();
        let written = open.file.write_at(buffer, tail).await;
        if let Err(source) = written.and_then(|bytes| check_complete(bytes, whole)) {
            return Err(self.fail("write", &self.current_name(), source));
        }
        // Told apart: a device that fails a write and one that fails a sync are mended otherwise.
        if let Err(source) = open.file.sync().await {
            return Err(self.fail("sync", &self.current_name(), source));
        }
        // The upkeep may have met the first failure in the meantime.
        self.check()?;
        open.tail.set(tail + bytes);
        self.previous.set(checksum);
        self.is_sealed.set(count == 0);
        self.durable.set(Sequence::new(first.get() - 1 + u64::from(count)));
        self.appended_bytes.set(self.appended_bytes.get() + bytes);
        if let Some(segment) = self.segments.borrow_mut().back_mut() {
            segment.bytes += bytes;
        }
        self.is_appending.set(false);
        Ok(())
    }

    /// The file that a frame of `bytes` goes to: the current one, or the next one after a rotation.
    async fn file_for(
        &self,
        bytes: u64,
        first: Sequence,
    ) -> Result<Option<Rc<OpenFile<S::File>>>, LogError> {
        let current = self.current_file();
        if current.tail.get() + bytes <= current.filled.get() {
            return Ok(Some(current));
        }
        let fits = |next: &Prepared<S::File>| bytes <= next.open.filled.get();
        if !self.can_rotate() || !self.next.borrow().as_ref().is_some_and(fits) {
            return Ok(None);
        }
        let next = self.next.borrow_mut().take().expect("a next segment is there");
        self.rotate(next, first).await.map(Some)
    }

    /// A segment without events cannot be closed: the next one would have its name.
    fn can_rotate(&self) -> bool {
        let segments = self.segments.borrow();
        segments.back().is_some_and(|current| self.durable.get() >= current.first)
    }

    /// Gives the prepared file its name, durably, before anything is written to it.
    async fn rotate(
        &self,
        next: Prepared<S::File>,
        first: Sequence,
    ) -> Result<Rc<OpenFile<S::File>>, LogError> {
        let name = segment_name(first);
        let spare = super::segments::spare_name(next.number);
        if let Err(source) = self.storage.rename(&spare, &name).await {
            return Err(self.fail("rename a segment to", &name, source));
        }
        if let Err(source) = self.storage.sync_directory().await {
            return Err(self.fail("sync the directory of", &name, source));
        }
        let file_bytes = self.current_file().filled.get();
        let mut segments = self.segments.borrow_mut();
        if let Some(closed) = segments.back_mut() {
            closed.file_bytes = file_bytes;
        }
        segments.push_back(Segment { first, bytes: 0, file_bytes: next.open.filled.get() });
        drop(segments);
        *self.current.borrow_mut() = Rc::clone(&next.open);
        Ok(next.open)
    }

    pub(super) fn current_file(&self) -> Rc<OpenFile<S::File>> {
        Rc::clone(&self.current.borrow())
    }
    pub(super) fn current_name(&self) -> String {
        segment_name(self.current_first())
    }

    /// Whether the log has failed, here or in the snapshot thread. Every call says so, too.
    pub fn has_failed(&self) -> bool {
        self.check().is_err()
    }
    /// An error when the log has failed before.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.failure.borrow().as_ref().or(self.snapshots.failure()) {
            Some(failure) => Err(LogError::Poisoned(failure.clone())),
            None => Ok(()),
        }
    }
    /// Keeps the first failure: from now on every call is refused.
    pub(super) fn fail(&self, doing: &'static str, name: &str, source: io::Error) -> LogError {
        let error = self.io(doing, name, source);
        self.failure.borrow_mut().get_or_insert_with(|| error.to_string());
        error
    }
    /// An error of the disk that leaves the log as it is.
    pub(super) fn io(&self, doing: &'static str, name: &str, source: io::Error) -> LogError {
        LogError::Io { doing, file: self.storage.path().join(name), source }
    }
}
