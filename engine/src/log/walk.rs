//! Walking a log: frame after frame, segment after segment, with every check there is.
//!
//! Recovery, the snapshot worker and the tools all read through this, so that one place decides
//! what is a torn tail and what is damage:
//!
//! - A frame counts when its header and body match their checksums, it is of this log, it begins
//!   with the next sequence, and it carries the checksum of the frame before it.
//! - What follows the last frame of the last segment is a **tail**: nothing, zeros, or the rest of
//!   a write that a crash cut off. One write is in flight at most, so a torn frame has no good one
//!   after it. Nor is it all there but for one bit: see [`super::flip`].
//! - Anything else is **damage**. Nothing is repaired that could have been acknowledged.

use super::error::{DamageKind, LogError, LogIdentity};
use super::flip::{self, Flip};
use super::frame::{HEADER_BYTES, Header, Parsed};
use super::segments::{Named, missing, segment_name};
use super::window::Window;
use crate::storage::{BLOCK, File, Mode, Storage, block_up};
use doorbuster_protocol::{Epoch, Sequence};
use std::io;
use std::path::PathBuf;

/// Bytes of one read at the most. Large, because a replay reads everything once and in order.
const READ_BYTES: usize = 1 << 20;

/// What is wrong with the bytes at a frame's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// The end of the file, or zeros.
    Absent,
    /// A frame of lower sequences: the segment's former life.
    Former,
    /// No header.
    Header,
    /// A header that is good, and a body that is not.
    Body,
    /// What no crash explains.
    Damage(DamageKind),
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where in the last segment the next frame goes.
    pub(crate) offset: u64,
    /// Whether something stands there that is no frame: the rest of a write.
    pub(crate) is_torn: bool,
    /// Whether anything but zeros stands behind it.
    pub(crate) has_remains: bool,
}

/// Where the walk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// At a good frame: see [`Walk::header`], [`Walk::events`].
    Frame,
    /// Behind the last one.
    End(Tail),
}

/// A walk over the segments of a log.
pub(crate) struct Walk<S: Storage> {
    storage: S,
    identity: LogIdentity,
    segments: Vec<Named>,
    /// Where the last of the segments ends, when it is closed, too.
    until: Option<Sequence>,
    index: usize,
    window: Option<Window<S::File>>,
    /// Of the next frame.
    offset: u64,
    /// Where the segment before this one ended.
    joined_at: u64,
    expected: Sequence,
    previous: Option<u32>,
    epoch: Epoch,
    /// The frame that the walk is at, and its offset.
    frame: Option<(Header, u64)>,
    /// Whether the end is where a writer is at work, so that it is no place for verdicts.
    is_following: bool,
}

impl<S: Storage> Walk<S> {
    /// A walk over `segments`, beginning with the first event of the first one. With `until` all of
    /// them are closed, and the last one ends before that sequence.
    pub(crate) fn new(
        storage: S,
        identity: LogIdentity,
        segments: Vec<Named>,
        until: Option<Sequence>,
    ) -> Self {
        let expected = segments.first().expect("a walk has segments").sequence;
        Self {
            storage,
            identity,
            segments,
            until,
            index: 0,
            window: None,
            offset: 0,
            joined_at: 0,
            expected,
            // Nothing comes before the first event; before any other one, who knows.
            previous: (expected == Sequence::new(1)).then_some(0),
            epoch: Epoch::new(0),
            frame: None,
            is_following: false,
        }
    }

    /// From now on the end is looked at afresh each time, and never judged.
    pub(crate) fn follow(&mut self) {
        self.is_following = true;
    }
    /// Segments that were made since, for a walk that follows.
    pub(crate) fn extend(&mut self, segments: impl IntoIterator<Item = Named>) {
        let last = self.segments.last().map(|segment| segment.sequence);
        self.segments.extend(segments.into_iter().filter(|new| Some(new.sequence) > last));
    }

    /// The sequence of the next event.
    pub(crate) fn expected(&self) -> Sequence {
        self.expected
    }
    /// The checksum of the last header, unless no frame was seen.
    pub(crate) fn previous(&self) -> Option<u32> {
        self.previous
    }
    /// The segment that the walk is in.
    pub(crate) fn segment(&self) -> &Named {
        &self.segments[self.index]
    }
    /// The segment's file, for messages.
    pub(crate) fn file(&self) -> PathBuf {
        self.storage.path().join(&self.segment().name)
    }
    /// The header of the frame that the walk is at.
    pub(crate) fn header(&self) -> &Header {
        &self.frame.as_ref().expect("the walk is at a frame").0
    }
    /// The offset of the frame that the walk is at.
    pub(crate) fn frame_offset(&self) -> u64 {
        self.frame.as_ref().expect("the walk is at a frame").1
    }
    /// The events of the frame that the walk is at.
    pub(crate) fn events(&self) -> &[u8] {
        let window = self.window.as_ref().expect("the walk is at a frame");
        window.view(self.frame_offset() + HEADER_BYTES as u64, self.header().body_length as usize)
    }
    /// An error about the frame that the walk is at.
    pub(crate) fn damaged_frame(&self, sequence: Sequence, kind: DamageKind) -> LogError {
        LogError::Damaged { file: self.file(), offset: self.frame_offset(), sequence, kind }
    }

    fn io(&self, source: io::Error) -> LogError {
        LogError::Io { doing: "read", file: self.file(), source }
    }
    fn damaged(&self, kind: DamageKind) -> LogError {
        let (offset, sequence) = (self.offset, self.expected);
        LogError::Damaged { file: self.file(), offset, sequence, kind }
    }

    fn flipped(&self, Flip { byte, bit, right }: Flip) -> LogError {
        let byte = self.offset + byte as u64;
        self.damaged(DamageKind::FlippedBit { byte, bit, right })
    }

    /// Goes to the next frame, or finds the end.
    pub(crate) async fn step(&mut self) -> Result<Step, LogError> {
        self.frame = None;
        loop {
            self.open().await?;
            let closes_at = self.segments.get(self.index + 1).map(|next| next.sequence);
            let closes_at = closes_at.or(self.until);
            let found = self.look().await?;
            if closes_at == Some(self.expected) && !found.is_ok_and(|header| header.is_seal) {
                self.check_closed(found.is_ok()).await?;
                if self.index + 1 == self.segments.len() {
                    let offset = self.offset;
                    return Ok(Step::End(Tail { offset, is_torn: false, has_remains: true }));
                }
                self.index += 1;
                self.joined_at = std::mem::take(&mut self.offset);
                self.window = None;
                continue;
            }
            let is_broken = found == Err(Flaw::Damage(DamageKind::Chain));
            if is_broken && self.index > 0 && self.offset == 0 {
                self.look_back().await?;
                continue;
            }
            let flaw = match found {
                Ok(header) if closes_at.is_some_and(|end| header.end() > end) => {
                    Flaw::Damage(DamageKind::Gap { found: header.first })
                }
                Ok(header) => {
                    self.accept(header);
                    return Ok(Step::Frame);
                }
                Err(flaw) => flaw,
            };
            if let Some(tail) = self.judge(flaw, closes_at.is_some()).await? {
                return Ok(Step::End(tail));
            }
        }
    }

    fn accept(&mut self, header: Header) {
        self.frame = Some((header, self.offset));
        self.offset += header.frame_bytes();
        self.expected = header.end();
        self.previous = Some(header.checksum);
        self.epoch = header.epoch;
    }

    async fn open(&mut self) -> Result<(), LogError> {
        if self.window.is_none() {
            let opened = self.storage.open(&self.segment().name, Mode::Read).await;
            let file = opened.map_err(|source| self.io(source))?;
            if !self.is_following {
                file.read_on();
            }
            let read_bytes = block_up(self.segment().bytes).clamp(BLOCK, READ_BYTES as u64);
            self.window = Some(Window::new(file, read_bytes as usize));
        }
        Ok(())
    }

    /// Makes bytes of the current segment readable.
    async fn load(&mut self, offset: u64, bytes: usize) -> Result<&[u8], LogError> {
        let window = self.window.as_mut().expect("a segment is open");
        match window.load(offset, bytes).await {
            Ok(()) => Ok(self.window.as_ref().expect("a segment is open").view(offset, bytes)),
            Err(source) => Err(self.io(source)),
        }
    }

    /// The frame at the current offset, or what is wrong with it.
    async fn look(&mut self) -> Result<Result<Header, Flaw>, LogError> {
        let block = self.load(self.offset, BLOCK as usize).await?;
        let header = match Header::parse(block) {
            Parsed::Header(header) => header,
            Parsed::UnknownVersion(found) => {
                return Ok(Err(Flaw::Damage(DamageKind::Version { found })));
            }
            Parsed::Senseless => return Ok(Err(Flaw::Damage(DamageKind::Senseless))),
            Parsed::Nothing if block.iter().all(|byte| *byte == 0) => {
                return Ok(Err(Flaw::Absent));
            }
            Parsed::Nothing => return Ok(Err(Flaw::Header)),
        };
        if let Err(kind) = header.check_identity(&self.identity) {
            return Ok(Err(Flaw::Damage(kind)));
        }
        if header.first < self.expected {
            return Ok(Err(Flaw::Former));
        }
        if header.first > self.expected {
            return Ok(Err(Flaw::Damage(DamageKind::Gap { found: header.first })));
        }
        if header.epoch < self.epoch {
            return Ok(Err(Flaw::Damage(DamageKind::Epoch { found: header.epoch })));
        }
        if self.previous.is_some_and(|previous| previous != header.previous) {
            return Ok(Err(Flaw::Damage(DamageKind::Chain)));
        }
        let frame = self.load(self.offset, header.frame_bytes() as usize).await?;
        let sound = frame.get(HEADER_BYTES..).is_some_and(|rest| header.matches_body(rest));
        Ok(if sound { Ok(header) } else { Err(Flaw::Body) })
    }

    /// What a flaw at the current offset means. `None`: look again, a writer was faster.
    async fn judge(&mut self, flaw: Flaw, is_closed: bool) -> Result<Option<Tail>, LogError> {
        let is_torn = matches!(flaw, Flaw::Header | Flaw::Body);
        if self.is_following && !is_closed && !matches!(flaw, Flaw::Damage(_)) {
            if let Some(window) = &mut self.window {
                window.forget_from(0);
            }
            return Ok(Some(Tail { offset: self.offset, is_torn, has_remains: true }));
        }
        // What was read wrong once would be cut off for ever.
        if is_torn && !self.reads_the_same().await? {
            return Ok(None);
        }
        // Before anything else moves the window: what was compared is what is judged.
        let flip = if is_torn { self.flipped_bit().await? } else { None };
        let behind = self.look_behind().await?;
        let is_rotten = flip.is_some_and(|(_, is_at_stake)| is_at_stake);
        let explained = !matches!(flaw, Flaw::Damage(_)) && !behind.has_good_frame && !is_rotten;
        if explained && !is_closed {
            let has_remains = is_torn || flaw == Flaw::Former || behind.has_content;
            return Ok(Some(Tail { offset: self.offset, is_torn, has_remains }));
        }
        if !is_closed {
            // Before the verdict, once more and fresh: of a log that is being written, what was
            // the end when we came may be a frame by now.
            if let Some(window) = &mut self.window {
                window.forget_from(0);
            }
            if self.look().await?.is_ok() {
                return Ok(None);
            }
        }
        if let Some((flip, _)) = flip {
            return Err(self.flipped(flip));
        }
        Err(match flaw {
            Flaw::Absent | Flaw::Former if explained => {
                missing(self.storage.path().to_owned(), self.expected)
            }
            Flaw::Absent | Flaw::Former | Flaw::Header => self.damaged(DamageKind::Header),
            Flaw::Body => self.damaged(DamageKind::Body),
            Flaw::Damage(kind) => self.damaged(kind),
        })
    }

    /// Goes back to where the segment before ended: this one does not follow. Its first frame is as
    /// it was written, so it is the end of the other one that is not: a seal, whose events nobody
    /// misses, so that only the checksum tells. If that can be read this time the walk goes on.
    async fn look_back(&mut self) -> Result<(), LogError> {
        self.index -= 1;
        self.offset = self.joined_at;
        self.window = None;
        self.open().await?;
        if self.look().await?.is_ok_and(|header| header.is_seal) {
            return Ok(());
        }
        Err(match self.flipped_bit().await? {
            Some((flip, _)) => self.flipped(flip),
            None => self.damaged(DamageKind::Join { next: self.expected }),
        })
    }

    /// Whether the frame that was just looked at reads the same once more. A wrong bit that comes from
    /// a cable or from memory is not there the second time.
    async fn reads_the_same(&mut self) -> Result<bool, LogError> {
        let window = self.window.as_mut().expect("a segment is open");
        let block = window.view(self.offset, BLOCK as usize);
        let header = match Header::parse(block) {
            Parsed::Header(header) => Some(header),
            _ => flip::in_header(block).map(|(header, _)| header),
        };
        // All of the frame that is judged afterwards.
        let bytes = header.map_or(BLOCK, |header| header.frame_bytes()) as usize;
        let before = self.load(self.offset, bytes).await?.to_vec();
        self.window.as_mut().expect("a segment is open").forget_from(0);
        Ok(self.load(self.offset, bytes).await? == before)
    }

    /// The one bit that is not as it was written, if that is all; and whether something would be
    /// lost that no cut explains, should the frame be cut off.
    async fn flipped_bit(&mut self) -> Result<Option<(Flip, bool)>, LogError> {
        let block = self.load(self.offset, BLOCK as usize).await?;
        let (header, in_header) = match Header::parse(block) {
            Parsed::Header(header) => (header, None),
            _ => match flip::in_header(block) {
                Some((header, flip)) => (header, Some(flip)),
                None => return Ok(None),
            },
        };
        // A frame of a former life may rot as it likes.
        if !header.belongs_to(&self.identity) || header.first < self.expected {
            return Ok(None);
        }
        let frame = self.load(self.offset, header.frame_bytes() as usize).await?;
        let has_events = !header.is_seal;
        Ok(match in_header {
            // The rest matches its checksum: the frame was written whole.
            Some(flip) => {
                let rest = frame.get(HEADER_BYTES..);
                rest.is_some_and(|rest| header.matches_body(rest)).then_some((flip, has_events))
            }
            None => flip::in_body(&header, frame)
                .map(|flip| (flip, has_events && !flip::lacks_a_sector(frame))),
        })
    }

    /// Checks that a segment ends where the next one begins: an event that stands in both would be
    /// lost with the rest of the first.
    async fn check_closed(&mut self, has_frame: bool) -> Result<(), LogError> {
        if !has_frame && !self.look_behind().await?.has_good_frame {
            return Ok(());
        }
        let file = self.storage.path().join(segment_name(self.expected));
        let (sequence, kind) = (self.expected, DamageKind::Twice);
        Err(LogError::Damaged { file, offset: 0, sequence, kind })
    }

    /// Reads the segment behind the current offset to its end.
    async fn look_behind(&mut self) -> Result<Behind, LogError> {
        let (expected, identity) = (self.expected, self.identity);
        let mut behind = Behind { has_good_frame: false, has_content: false };
        let mut offset = self.offset + BLOCK;
        loop {
            let block = self.load(offset, BLOCK as usize).await?;
            if block.is_empty() {
                return Ok(behind);
            }
            if let Parsed::Header(header) = Header::parse(block)
                && header.belongs_to(&identity)
                && header.first >= expected
            {
                behind.has_good_frame = true;
                return Ok(behind);
            }
            behind.has_content = behind.has_content || block.iter().any(|byte| *byte != 0);
            offset += BLOCK;
        }
    }
}

/// What stands behind the end of a log.
struct Behind {
    has_good_frame: bool,
    has_content: bool,
}
