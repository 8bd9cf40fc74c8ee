//! What the log holds: facts that were decided. The feed carries the same bytes.
//!
//! An event on disk and on the wire is `length u32 (little-endian) · archive`, where the archive is
//! an rkyv 0.8 archive of [`Event`] (little-endian, unaligned, 32-bit relative pointers) with its
//! root at the end. Sequences are not written: the frame names the first, and events are dense.
//!
//! An event says everything that `apply` and a consumer need, so that neither depends on the rules
//! that made it: prices, deadlines, and who was matched from the waitlist stand in it.

#[allow(missing_docs, reason = "the derive leaves the fields of the facts' resolvers undocumented")]
mod fact;

pub use fact::{Fact, Matched, Placed, Queued, Released, Terms};

use crate::limits;
use crate::record::{Malformed, Reader};
use crate::{Sequence, Timestamp};
use rkyv::{Archive, Deserialize, Serialize, rancor};

/// One fact and when it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Event {
    /// The partition's time, never less than that of the event before.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}

// The layout is frozen: logs written yesterday are read tomorrow.
const _: () = assert!(size_of::<rkyv::Archived<Placed>>() == 16 * 4 + 4 + 8 + 3 + 8 + 1);
const _: () = assert!(size_of::<rkyv::Archived<Terms>>() == 8 + 3 + 4 + 8 + 8 + 4 + 4 + 4);
const _: () = assert!(size_of::<rkyv::Archived<Event>>() == 97);
const _: () = assert!(align_of::<rkyv::Archived<Event>>() == 1);

impl Event {
    /// Appends `length u32 · archive`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let buffer = std::mem::take(out);
        *out = rkyv::api::high::to_bytes_in::<_, rancor::Panic>(self, buffer)
            .unwrap_or_else(|never| match never {});
        let length = out.len() - start - 4;
        assert!(length + 4 <= limits::EVENT_BYTES_MAX, "an event is bounded by its waitlist");
        out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    }

    /// Reads one event off the front of `from`, checking every byte that it trusts.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let length = from.u32()? as usize;
        if length + 4 > limits::EVENT_BYTES_MAX {
            return Err(Malformed::Oversized);
        }
        let bytes = from.bytes(length)?;
        let archived = rkyv::access::<rkyv::Archived<Self>, rancor::Failure>(bytes)
            .map_err(|_| Malformed::Archive)?;
        let event = rkyv::deserialize::<Self, rancor::Failure>(archived);
        let event = event.map_err(|_| Malformed::Archive)?;
        event.fact.check()?;
        Ok(event)
    }
}

/// The events of a batch, with their sequences.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    body: Reader<'a>,
    next: Sequence,
    left: u32,
}

impl<'a> Events<'a> {
    /// `count` events in `body`, the first of which has sequence `first`.
    pub const fn new(body: &'a [u8], first: Sequence, count: u32) -> Self {
        Self { body: Reader::new(body), next: first, left: count }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<(Sequence, Event), Malformed>;

    /// Ends after an error, and says [`Malformed::Oversized`] when bytes are left over.
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.body.is_empty() {
                return None;
            }
            self.body = Reader::new(&[]);
            return Some(Err(Malformed::Oversized));
        }
        match Event::decode(&mut self.body) {
            Ok(event) => {
                let sequence = self.next;
                self.left -= 1;
                self.next = sequence.next();
                Some(Ok((sequence, event)))
            }
            Err(error) => {
                self.left = 0;
                self.body = Reader::new(&[]);
                Some(Err(error))
            }
        }
    }
}
