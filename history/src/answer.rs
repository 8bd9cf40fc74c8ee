//! What a client was told.
//!
//! A client may have been told less than the engine knows (a status without times, over HTTP): what
//! it was not told is `None`, and is not compared.

use crate::ids::{BuyerId, OrderId, ProductId};
use crate::terms::{SaleState, Status, Terms};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The answer to one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Answer {
    /// None came, or one that leaves it open: it may have been done, now or later, or not.
    #[default]
    Unknown,
    /// It was not done and never will be: overloaded, rate limited, too late.
    NotDone(String),
    /// An order, as it stands.
    Order {
        /// The order.
        seen: Box<OrderSeen>,
        /// Whether it was marked as the first answer given again.
        #[serde(default)]
        replayed: bool,
    },
    /// A product, as it stands.
    Product(Box<ProductSeen>),
    /// It was declined.
    Refused(Refusal),
}

/// An order as a client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderSeen {
    /// The order.
    pub order: OrderId,
    /// Where it stands.
    pub status: Status,
    /// What was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<BuyerId>,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    /// Price of one unit, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<u64>,
    /// When it was placed or queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_us: Option<u64>,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_us: Option<u64>,
    /// When its hold runs out; 0 when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_us: Option<u64>,
    /// Its place on the waitlist, from 1; 0 when it is not on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

impl OrderSeen {
    /// An order of which nothing but the status is known.
    pub const fn new(order: OrderId, status: Status) -> Self {
        Self {
            order,
            status,
            product: None,
            buyer: None,
            quantity: None,
            unit_price: None,
            created_us: None,
            updated_us: None,
            expires_us: None,
            position: None,
        }
    }
}

/// A product as a client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductSeen {
    /// The product.
    pub product: ProductId,
    /// Its terms.
    pub terms: Terms,
    /// Whether its sale runs.
    pub state: SaleState,
    /// Units that can be ordered.
    pub available: u32,
    /// Units held for unpaid orders.
    pub held: u32,
    /// Units sold.
    pub sold: u32,
    /// Standing orders that wait.
    pub waiting: u32,
}

/// Why something was declined, by the codes of the public contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Nothing is left, and the order could not or would not queue up.
    SoldOut,
    /// The buyer would have more than the limit.
    PurchaseLimit,
    /// The sale has not begun.
    SaleNotOpen,
    /// The sale is paused.
    SalePaused,
    /// The sale is over.
    SaleEnded,
    /// There is no such product.
    ProductNotFound,
    /// There is no such order, or it is another buyer's.
    OrderNotFound,
    /// The order has come to its end; which, when that was told.
    OrderFinal(Option<Status>),
    /// The order is on the waitlist: there is nothing to pay.
    OrderQueued,
    /// The key was used with another body.
    IdempotencyMismatch,
    /// Units that are sold or held cannot be taken; how many, when that was told.
    StockCommitted(Option<u32>),
    /// The stock would be larger than can be.
    StockTooLarge,
    /// A new product needs a price and a stock.
    DefinitionIncomplete,
    /// A product's currency cannot change.
    CurrencyFixed,
    /// The sale would close before it opens.
    WindowReversed,
    /// Another reason, which the checker cannot judge. It was not done.
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SoldOut => f.write_str("sold-out"),
            Self::PurchaseLimit => f.write_str("purchase-limit"),
            Self::SaleNotOpen => f.write_str("sale-not-open"),
            Self::SalePaused => f.write_str("sale-paused"),
            Self::SaleEnded => f.write_str("sale-ended"),
            Self::ProductNotFound => f.write_str("product-not-found"),
            Self::OrderNotFound => f.write_str("order-not-found"),
            Self::OrderFinal(None) => f.write_str("order-final"),
            Self::OrderFinal(Some(status)) => write!(f, "order-final ({status})"),
            Self::OrderQueued => f.write_str("order-queued"),
            Self::IdempotencyMismatch => f.write_str("idempotency-mismatch"),
            Self::StockCommitted(None) => f.write_str("stock-committed"),
            Self::StockCommitted(Some(units)) => write!(f, "stock-committed ({units})"),
            Self::StockTooLarge => f.write_str("stock-too-large"),
            Self::DefinitionIncomplete => f.write_str("definition-incomplete"),
            Self::CurrencyFixed => f.write_str("currency-fixed"),
            Self::WindowReversed => f.write_str("window-reversed"),
            Self::Other(code) => f.write_str(code),
        }
    }
}
