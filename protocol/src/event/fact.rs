//! The facts that an event can state.
//!
//! Their order, their fields and the order of these are frozen by the golden bytes beside this
//! file: a new fact goes to the end, and an old one never changes.

use crate::command::SaleState;
use crate::record::Malformed;
use crate::{BuyerId, Currency, IdempotencyKey, OrderId, ProductId, Quantity, Sequence, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

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

impl Fact {
    /// Whether its numbers are in range; the name of the first that is not. An archive's own checks
    /// are about its shape alone.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        let (quantity, currency) = match self {
            Self::Placed(Placed { quantity, currency, .. })
            | Self::Queued(Queued { quantity, currency, .. }) => (Some(quantity), Some(currency)),
            Self::Paid { quantity, .. }
            | Self::Cancelled(Released { quantity, .. })
            | Self::Expired(Released { quantity, .. }) => (Some(quantity), None),
            Self::Defined { terms, .. } => (None, Some(&terms.currency)),
            Self::Restocked { .. }
            | Self::Withdrawn { .. }
            | Self::StateSet { .. }
            | Self::Acknowledged { .. } => (None, None),
        };
        if quantity.is_some_and(|quantity| Quantity::new(quantity.get()).is_none()) {
            return Err(Malformed::OutOfRange("quantity"));
        }
        if currency.is_some_and(|currency| Currency::new(currency.bytes()).is_none()) {
            return Err(Malformed::OutOfRange("currency"));
        }
        Ok(())
    }
}
