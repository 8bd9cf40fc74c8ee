//! What a client did: what it asked, when it sent it, and what it was answered when.
//!
//! Times are microseconds since the epoch by the client's clock, which for one client never goes
//! back: only their order and rough distance to the log's times are used.

use crate::answer::Answer;
use crate::ids::{BuyerId, KeyId, OrderId, ProductId};
use crate::terms::{Currency, SaleState, Terms};
use serde::{Deserialize, Serialize};

/// One request of one client, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number, by which violations name it. Unique in its history.
    pub number: u64,
    /// Who sent it. One client may have many operations under way.
    pub client: u32,
    /// When it was sent.
    pub sent_us: u64,
    /// What was asked.
    pub ask: Ask,
    /// When the answer came; `None` when none did.
    pub answered_us: Option<u64>,
    /// The answer.
    pub answer: Answer,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Ask {
    /// Buy, or queue up.
    Place {
        /// What.
        product: ProductId,
        /// Who.
        buyer: BuyerId,
        /// The idempotency key, when one was sent.
        key: Option<KeyId>,
        /// How many.
        quantity: u32,
        /// Whether to queue up when it is sold out.
        waitlist: bool,
    },
    /// Turn a hold into a sale.
    Pay {
        /// The order.
        order: OrderId,
    },
    /// Give an order back.
    Cancel {
        /// The order.
        order: OrderId,
        /// Whose it must be; `None`: an administrator asks.
        buyer: Option<BuyerId>,
    },
    /// Look at an order.
    LookAtOrder {
        /// The order.
        order: OrderId,
        /// Whose it must be; `None`: an administrator asks.
        buyer: Option<BuyerId>,
    },
    /// Look at a product.
    LookAtProduct {
        /// The product.
        product: ProductId,
    },
    /// Make a product, or change its terms.
    Define {
        /// The product.
        product: ProductId,
        /// What is to change.
        change: Change,
    },
    /// Add units.
    Restock {
        /// The product.
        product: ProductId,
        /// Units to add.
        units: u32,
    },
    /// Take units out.
    Withdraw {
        /// The product.
        product: ProductId,
        /// Units to take.
        units: u32,
    },
    /// Pause or open the sale.
    SetState {
        /// The product.
        product: ProductId,
        /// The state to take.
        state: SaleState,
    },
}

/// Terms to set; `None` keeps what is there. A time of zero stands for "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Price of one unit, in minor units. A new product needs one.
    pub price: Option<u64>,
    /// Currency of the price.
    pub currency: Option<Currency>,
    /// All units. A new product needs it.
    pub stock: Option<u32>,
    /// When the sale opens.
    pub opens_us: Option<u64>,
    /// When it closes.
    pub closes_us: Option<u64>,
    /// Units that one buyer may have.
    pub limit_per_buyer: Option<u32>,
    /// Seconds that a hold lasts.
    pub hold_seconds: Option<u32>,
    /// Standing orders that may wait.
    pub waitlist_capacity: Option<u32>,
}

/// Seconds that a hold of a product lasts whose definition did not say.
const HOLD_SECONDS_DEFAULT: u32 = 600;

impl Change {
    /// What the terms are after the change; `None` when they are those of a new product, and price
    /// or stock is missing.
    pub fn applied_to(&self, terms: Option<&Terms>) -> Option<Terms> {
        let new = || {
            Some(Terms {
                price: self.price?,
                currency: Currency::USD,
                stock: self.stock?,
                opens_us: 0,
                closes_us: 0,
                limit_per_buyer: 0,
                hold_seconds: HOLD_SECONDS_DEFAULT,
                waitlist_capacity: 0,
            })
        };
        let terms = terms.copied().or_else(new)?;
        Some(Terms {
            price: self.price.unwrap_or(terms.price),
            currency: self.currency.unwrap_or(terms.currency),
            stock: self.stock.unwrap_or(terms.stock),
            opens_us: self.opens_us.unwrap_or(terms.opens_us),
            closes_us: self.closes_us.unwrap_or(terms.closes_us),
            limit_per_buyer: self.limit_per_buyer.unwrap_or(terms.limit_per_buyer),
            hold_seconds: self.hold_seconds.unwrap_or(terms.hold_seconds),
            waitlist_capacity: self.waitlist_capacity.unwrap_or(terms.waitlist_capacity),
        })
    }
}

impl Ask {
    /// What kind of request it is, in one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place",
            Self::Pay { .. } => "pay",
            Self::Cancel { .. } => "cancel",
            Self::LookAtOrder { .. } => "look-at-order",
            Self::LookAtProduct { .. } => "look-at-product",
            Self::Define { .. } => "define",
            Self::Restock { .. } => "restock",
            Self::Withdraw { .. } => "withdraw",
            Self::SetState { .. } => "set-state",
        }
    }

    /// The product that it names.
    pub const fn product(&self) -> Option<ProductId> {
        match self {
            Self::Place { product, .. }
            | Self::LookAtProduct { product }
            | Self::Define { product, .. }
            | Self::Restock { product, .. }
            | Self::Withdraw { product, .. }
            | Self::SetState { product, .. } => Some(*product),
            Self::Pay { .. } | Self::Cancel { .. } | Self::LookAtOrder { .. } => None,
        }
    }

    /// The order that it names.
    pub const fn order(&self) -> Option<OrderId> {
        match self {
            Self::Pay { order } | Self::Cancel { order, .. } | Self::LookAtOrder { order, .. } => {
                Some(*order)
            }
            _ => None,
        }
    }

    /// Whether only administrators ask this, and it may change a product.
    pub const fn is_administration(&self) -> bool {
        matches!(
            self,
            Self::Define { .. }
                | Self::Restock { .. }
                | Self::Withdraw { .. }
                | Self::SetState { .. }
        )
    }
}
