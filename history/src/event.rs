//! What the log holds: the facts that an engine decided, in their order.

use crate::ids::{BuyerId, KeyId, OrderId, Position, ProductId};
use crate::terms::{Currency, SaleState, Terms};

/// One fact, where it stands and when it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub position: Position,
    /// When it was decided, by the engine's clock.
    pub at_us: u64,
    /// What happened.
    pub fact: Fact,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Units are held for a new order, or it stands on the waitlist.
    Ordered(Ordered),
    /// A hold became a sale.
    Paid {
        /// The order.
        order: OrderId,
        /// Its product.
        product: ProductId,
        /// Its units.
        quantity: u32,
    },
    /// A hold or a place on the waitlist was given back.
    Cancelled(Released),
    /// A hold ran out.
    Expired(Released),
    /// A product was made, or its terms changed.
    Defined {
        /// The product.
        product: ProductId,
        /// All its terms from now on.
        terms: Terms,
        /// Standing orders that more stock served.
        served: Served,
    },
    /// Units were added.
    Restocked {
        /// The product.
        product: ProductId,
        /// Units added.
        units: u32,
        /// Standing orders that they served.
        served: Served,
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
    /// A consumer of the log has everything up to an event: final orders up to there may leave.
    Acknowledged {
        /// The consumer.
        consumer: u8,
        /// The number of the last event that it has.
        through: u64,
    },
}

/// A new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The order.
    pub order: OrderId,
    /// What.
    pub product: ProductId,
    /// Who.
    pub buyer: BuyerId,
    /// The idempotency key, if there was one.
    pub key: Option<KeyId>,
    /// Units.
    pub quantity: u32,
    /// Price of one unit, in minor units.
    pub unit_price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// Whether the buyer would have queued up, or did: part of what the key stands for.
    pub waitlist: bool,
    /// Whether units are held, or the order waits.
    pub standing: Standing,
}

/// Where a new order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its units are held.
    Held {
        /// When the hold runs out.
        expires_us: u64,
    },
    /// It waits.
    Waiting {
        /// Its place on the waitlist, from 1.
        position: u32,
    },
}

/// An order that ended without a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The order.
    pub order: OrderId,
    /// Its product.
    pub product: ProductId,
    /// Its units.
    pub quantity: u32,
    /// Standing orders that its units served, or that move up.
    pub served: Served,
}

/// Standing orders that became holds in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The orders, first come first.
    pub orders: Vec<OrderId>,
    /// When their holds run out; 0 when there are none.
    pub expires_us: u64,
}

impl Fact {
    /// The product that it is about.
    pub const fn product(&self) -> Option<ProductId> {
        match self {
            Self::Ordered(Ordered { product, .. })
            | Self::Paid { product, .. }
            | Self::Cancelled(Released { product, .. })
            | Self::Expired(Released { product, .. })
            | Self::Defined { product, .. }
            | Self::Restocked { product, .. }
            | Self::Withdrawn { product, .. }
            | Self::StateSet { product, .. } => Some(*product),
            Self::Acknowledged { .. } => None,
        }
    }

    /// The standing orders that it served, when it is of a kind that can serve any.
    pub const fn served(&self) -> Option<&Served> {
        match self {
            Self::Cancelled(Released { served, .. })
            | Self::Expired(Released { served, .. })
            | Self::Defined { served, .. }
            | Self::Restocked { served, .. } => Some(served),
            _ => None,
        }
    }

    /// What kind of fact it is, in one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Ordered(Ordered { standing: Standing::Held { .. }, .. }) => "placed",
            Self::Ordered(Ordered { standing: Standing::Waiting { .. }, .. }) => "queued",
            Self::Paid { .. } => "paid",
            Self::Cancelled(_) => "cancelled",
            Self::Expired(_) => "expired",
            Self::Defined { .. } => "defined",
            Self::Restocked { .. } => "restocked",
            Self::Withdrawn { .. } => "withdrawn",
            Self::StateSet { .. } => "state-set",
            Self::Acknowledged { .. } => "acknowledged",
        }
    }
}
