//! What the log holds: facts that were decided. The feed carries the same bytes.
//!
//! An event on disk and on the wire is `length u32 (little-endian) · archive`, where the archive is
//! an rkyv 0.8 archive of [`Event`] (little-endian, unaligned, 32-bit relative pointers) with its
//! root at the end. Sequences are not written: the frame names the first, and events are dense.
//!
//! An event says everything that `apply` and a consumer need, so that neither depends on the rules
//! that made it: prices, deadlines, and who was matched from the waitlist stand in it.

use crate::command::SaleState;
use crate::limits;
use crate::record::{Malformed, Reader};
use crate::{BuyerId, Currency, IdempotencyKey, OrderId, ProductId, Quantity, Sequence, Timestamp};
use rkyv::{Archive, Deserialize, Serialize, rancor};

/// One fact and when it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Event {
    /// The partition's time, never less than that of the event before.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Fact {
    /// Units are held for a new order.
    Placed(Placed),
    /// A new order stands on the waitlist.
    Queued(Queued),
    /// A hold became a sale.
    Paid {
        /// The order.
        order: OrderId,
        /// Its product.
        product: ProductId,
        /// Its units.
        quantity: Quantity,
    },
    /// A hold or a place on the waitlist was given back.
    Cancelled(Released),
    /// A hold ran out.
    Expired(Released),
    /// A product was made, or its terms changed. All terms stand here.
    Defined {
        /// The product.
        product: ProductId,
        /// Its terms from now on.
        terms: Terms,
        /// Standing orders that more stock served.
        matched: Matched,
    },
    /// Units were added.
    Restocked {
        /// The product.
        product: ProductId,
        /// Units added.
        units: u32,
        /// Standing orders that they served.
        matched: Matched,
    },
    /// Units were taken out.
    Withdrawn {
        /// The product.
        product: ProductId,
        /// Units taken.
        units: u32,
    },
    /// The sale was paused or opened.
    StateSet {
        /// The product.
        product: ProductId,
        /// Its state from now on.
        state: SaleState,
    },
    /// A consumer has everything up to a sequence: final orders up to there leave the engine.
    Acknowledged {
        /// The consumer.
        consumer: u8,
        /// The last sequence that it has.
        through: Sequence,
    },
}

/// A hold for a new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Placed {
    /// The new order.
    pub order: OrderId,
    /// What.
    pub product: ProductId,
    /// Who.
    pub buyer: BuyerId,
    /// The idempotency key, or none.
    pub key: IdempotencyKey,
    /// Units held.
    pub quantity: Quantity,
    /// Price of one unit, in minor units.
    pub unit_price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// When the hold runs out.
    pub expires_at: Timestamp,
    /// Whether the buyer would have queued up: part of what the key stands for.
    pub waitlist: bool,
}

/// A new standing order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Queued {
    /// The new order.
    pub order: OrderId,
    /// What.
    pub product: ProductId,
    /// Who.
    pub buyer: BuyerId,
    /// The idempotency key, or none.
    pub key: IdempotencyKey,
    /// Units wanted.
    pub quantity: Quantity,
    /// Price of one unit, in minor units, kept for when it is served.
    pub unit_price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// Its place, from 1, when it queued up.
    pub position: u32,
}

/// Units that came back, or a place that became free.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Released {
    /// The order that ended.
    pub order: OrderId,
    /// Its product.
    pub product: ProductId,
    /// Its units.
    pub quantity: Quantity,
    /// Standing orders that the units served, or that move up.
    pub matched: Matched,
}

/// Standing orders that became holds in this event, first come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Matched {
    /// The orders, in the order of the waitlist.
    pub orders: Vec<OrderId>,
    /// When their holds run out; none when there are no orders.
    pub expires_at: Timestamp,
}

/// The terms of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Terms {
    /// Price of one unit, in minor units.
    pub price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// All units, sold and held ones included.
    pub stock: u32,
    /// When the sale opens; none: it is open from the start.
    pub opens_at: Timestamp,
    /// When it closes; none: never.
    pub closes_at: Timestamp,
    /// Units that one buyer may have; 0: no limit.
    pub limit_per_buyer: u32,
    /// Seconds that a hold lasts.
    pub hold_seconds: u32,
    /// Standing orders that may wait.
    pub waitlist_capacity: u32,
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
        rkyv::deserialize::<Self, rancor::Failure>(archived).map_err(|_| Malformed::Archive)
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
