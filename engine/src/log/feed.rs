//! Reading what is durable from a running log: for consumers that are further behind than memory.
//!
//! Reads go beside the appends and stop at the last durable frame. Each reader that reads on finds
//! its place again by the sequence that it wants next, so nobody scans a segment twice.

use super::error::{DamageKind, LogError};
use super::frame::{HEADER_BYTES, Header, Parsed};
use super::segments::segment_name;
use super::window::Window;
use super::writer::Log;
use crate::storage::{BLOCK, Mode, Storage, block_up};
use doorbuster_protocol::{Epoch, Sequence, limits};

/// Places that are remembered: two for each consumer there can be.
const CURSORS_MAX: usize = 2 * limits::CONSUMERS_MAX as usize;
/// Bytes of one read at the least.
const READ_BYTES: usize = 64 << 10;

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedRead {
    /// Durable batches, in order; the first one holds the event asked for. None when there is no
    /// such event yet.
    Batches(Vec<LoggedBatch>),
    /// The event is not retained any more.
    Gone {
        /// The first event that is.
        first: Sequence,
    },
}

/// One batch, as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBatch {
    /// Sequence of its first event.
    pub first: Sequence,
    /// Events in it.
    pub count: u32,
    /// The epoch in which it was written.
    pub epoch: Epoch,
    /// The encoded events.
    pub events: Vec<u8>,
}

/// Where a reader will read on.
pub(super) struct Cursor<F> {
    /// First sequence of the segment.
    pub(super) segment: Sequence,
    /// The next event, and the offset of its frame.
    next: Sequence,
    offset: u64,
    window: Window<F>,
}

impl<S: Storage> Log<S> {
    /// Reads durable batches from the one that holds event `from`: as many whole ones as fit into
    /// `max_bytes` of events, and at least one.
    pub async fn read_from(&self, from: Sequence, max_bytes: usize) -> Result<FeedRead, LogError> {
        self.check()?;
        let mut batches = Vec::new();
        if from > self.durable.get() {
            return Ok(FeedRead::Batches(batches));
        }
        let Some(mut cursor) = self.cursor_for(from).await? else {
            return Ok(self.gone());
        };
        let read = self.read_batches(&mut cursor, from, max_bytes, &mut batches).await;
        // Nothing that was read counts when the segment was let go in the meantime.
        if self.segment_end(cursor.segment).is_none() {
            return Ok(self.gone());
        }
        read?;
        let mut cursors = self.cursors.borrow_mut();
        if cursors.len() == CURSORS_MAX {
            cursors.remove(0);
        }
        cursors.push(cursor);
        Ok(FeedRead::Batches(batches))
    }

    fn gone(&self) -> FeedRead {
        FeedRead::Gone { first: self.segments.borrow()[0].first }
    }

    /// Bytes of frames of a segment, and the sequence at which the next one begins.
    fn segment_end(&self, first: Sequence) -> Option<(u64, Option<Sequence>)> {
        let segments = self.segments.borrow();
        let index = segments.binary_search_by_key(&first, |segment| segment.first).ok()?;
        Some((segments[index].bytes, segments.get(index + 1).map(|next| next.first)))
    }

    /// A remembered place, or the front of the segment that holds `from`.
    async fn cursor_for(&self, from: Sequence) -> Result<Option<Cursor<S::File>>, LogError> {
        let segment = {
            let segments = self.segments.borrow();
            let after = segments.partition_point(|segment| segment.first <= from);
            let Some(index) = after.checked_sub(1) else { return Ok(None) };
            segments[index].first
        };
        {
            let mut cursors = self.cursors.borrow_mut();
            let known = |cursor: &Cursor<_>| cursor.segment == segment && cursor.next == from;
            if let Some(index) = cursors.iter().position(known) {
                return Ok(Some(cursors.remove(index)));
            }
        }
        let name = segment_name(segment);
        match self.storage.open(&name, Mode::Read).await {
            Ok(file) => {
                let window = Window::new(file, READ_BYTES);
                Ok(Some(Cursor { segment, next: segment, offset: 0, window }))
            }
            Err(_) if self.segment_end(segment).is_none() => Ok(None),
            Err(source) => Err(self.io("open", &name, source)),
        }
    }

    async fn read_batches(
        &self,
        cursor: &mut Cursor<S::File>,
        from: Sequence,
        max_bytes: usize,
        batches: &mut Vec<LoggedBatch>,
    ) -> Result<(), LogError> {
        let mut bytes = 0;
        loop {
            let Some((end, closes_at)) = self.segment_end(cursor.segment) else { return Ok(()) };
            if closes_at == Some(cursor.next) || cursor.offset >= end {
                // Reading on in the next segment is another read's work.
                return Ok(());
            }
            let wanted = block_up(max_bytes.saturating_sub(bytes) as u64).max(BLOCK);
            let wanted = wanted.min(end - cursor.offset) as usize;
            let header = self.load_frame(cursor, wanted).await?;
            cursor.window.forget_from(end);
            let length = header.body_length as usize;
            if header.end() > from {
                if !batches.is_empty() && bytes + length > max_bytes {
                    return Ok(());
                }
                if !header.is_seal {
                    let body = cursor.window.view(cursor.offset + HEADER_BYTES as u64, length);
                    batches.push(LoggedBatch {
                        first: header.first,
                        count: header.count,
                        epoch: header.epoch,
                        events: body.to_vec(),
                    });
                }
                bytes += length;
            }
            cursor.next = header.end();
            cursor.offset += header.frame_bytes();
        }
    }

    /// Makes the cursor's frame readable, whole, and checks it.
    async fn load_frame(
        &self,
        cursor: &mut Cursor<S::File>,
        wanted: usize,
    ) -> Result<Header, LogError> {
        let name = segment_name(cursor.segment);
        let damaged = |kind| LogError::Damaged {
            file: self.storage.path().join(&name),
            offset: cursor.offset,
            sequence: cursor.next,
            kind,
        };
        let (offset, window) = (cursor.offset, &mut cursor.window);
        let io = |source| self.io("read", &name, source);
        window.load(offset, wanted).await.map_err(io)?;
        let header = match Header::parse(window.view(offset, BLOCK as usize)) {
            Parsed::Header(header) => header,
            Parsed::UnknownVersion(found) => return Err(damaged(DamageKind::Version { found })),
            Parsed::Senseless => return Err(damaged(DamageKind::Senseless)),
            Parsed::Nothing => return Err(damaged(DamageKind::Header)),
        };
        header.check_identity(&self.identity).map_err(damaged)?;
        if header.first != cursor.next {
            return Err(damaged(DamageKind::Gap { found: header.first }));
        }
        let frame_bytes = header.frame_bytes() as usize;
        window.load(offset, frame_bytes).await.map_err(io)?;
        match window.view(offset, frame_bytes).get(HEADER_BYTES..) {
            Some(rest) if header.matches_body(rest) => Ok(header),
            _ => Err(damaged(DamageKind::Body)),
        }
    }
}
