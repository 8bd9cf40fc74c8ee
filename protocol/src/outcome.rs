//! What a partition answers: a closed set. A business refusal is an outcome, never an error.
//!
//! A reply record is `correlation u64 · kind u8 · flags u8 · reserved u16 · number u32` and then
//! the order view, the product view, a time, or nothing, by its kind.

use crate::command::SaleState;
use crate::record::{Malformed, Reader, Write};
use crate::{BuyerId, Currency, OrderId, ProductId, Quantity, Timestamp};

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Units are held for the buyer.
    Placed(OrderView),
    /// The key was seen before with the same body: the first answer, word for word. Its status says
    /// which answer that was: pending (placed) or queued.
    Replayed(OrderView),
    /// Sold out, and queued up; the view's `position` counts from 1.
    Queued(OrderView),
    /// The hold became a sale.
    Paid(OrderView),
    /// The hold or the place on the waitlist was given back.
    Cancelled(OrderView),
    /// An order that was read.
    Order(OrderView),
    /// A product that was read, defined or changed.
    Product(ProductView),

    /// Nothing is left for this order, and it did not or could not queue up.
    SoldOut,
    /// The buyer would have more than the limit.
    LimitExceeded {
        /// Units that one buyer may have.
        limit: u32,
    },
    /// The sale has not begun.
    NotOpen {
        /// When it does.
        opens_at: Timestamp,
    },
    /// An administrator has paused the sale.
    Paused {
        /// When the sale's window opened or opens; none when it has no start.
        opens_at: Timestamp,
    },
    /// The sale is over.
    Ended {
        /// When it ended.
        closes_at: Timestamp,
    },
    /// The partition knows no such product.
    ProductNotFound,
    /// The partition holds no such order, or it is another buyer's. The store may know it.
    OrderNotFound,
    /// The order has come to its end (its status says which).
    OrderFinal(OrderStatus),
    /// The order is on the waitlist: there is nothing to pay yet.
    NotPayable,
    /// The key was used with another body.
    KeyMismatch,
    /// Fewer units than are sold and held cannot be.
    StockCommitted {
        /// Units sold and held.
        committed: u32,
    },
    /// More units than [`crate::limits::STOCK_MAX`] cannot be.
    StockTooLarge,
    /// A new product needs a price and a stock.
    DefinitionIncomplete,
    /// A product's currency cannot change.
    CurrencyFixed,
    /// The sale would close before it opens.
    WindowReversed,
    /// The partition is at one of its limits (products, orders, buyers).
    Full,
    /// The log has no room, or too much of it waits for the store. Nothing was done.
    Overloaded,
    /// The partition takes no requests now (it drains or stops). Nothing was done.
    Unavailable,
    /// The deadline had passed when the request was looked at. Nothing was done.
    DeadlinePassed,
    /// Another core owns the partition.
    WrongOwner {
        /// Its number in the partition map.
        core: u16,
    },
}

/// Where an order stands. The engine knows the first five; what comes after belongs to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OrderStatus {
    /// On the waitlist.
    Queued = 1,
    /// Units are held until a deadline.
    Pending = 2,
    /// Sold.
    Paid = 3,
    /// Given back by the buyer or an administrator.
    Cancelled = 4,
    /// The hold ran out.
    Expired = 5,
    /// Sent.
    Shipped = 6,
    /// Arrived.
    Completed = 7,
    /// Paid back.
    Refunded = 8,
}

impl OrderStatus {
    /// Every status, in order of code.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Pending,
        Self::Paid,
        Self::Cancelled,
        Self::Expired,
        Self::Shipped,
        Self::Completed,
        Self::Refunded,
    ];
    /// Its byte on the wire and in the log.
    pub const fn code(self) -> u8 {
        self as u8
    }
    /// The status of a byte.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
    /// Its word in JSON and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Shipped => "shipped",
            Self::Completed => "completed",
            Self::Refunded => "refunded",
        }
    }
    /// The status of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
    /// Whether the engine will not change it any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Pending)
    }
}

/// An order as its buyer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// The order.
    pub order: OrderId,
    /// What was ordered.
    pub product: ProductId,
    /// By whom.
    pub buyer: BuyerId,
    /// How many.
    pub quantity: Quantity,
    /// Where it stands.
    pub status: OrderStatus,
    /// Currency of the price.
    pub currency: Currency,
    /// Price of one unit, in minor units.
    pub unit_price: u64,
    /// When it was placed or queued.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its hold runs out; none while it is queued.
    pub expires_at: Timestamp,
    /// Its place on the waitlist, from 1; 0 when it is not on it.
    pub position: u32,
}

impl OrderView {
    /// Price of the whole order, in minor units.
    pub fn total(&self) -> u64 {
        self.unit_price * u64::from(self.quantity.get())
    }
}

/// A product as the engine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductView {
    /// The product.
    pub product: ProductId,
    /// Price of one unit, in minor units.
    pub price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// Whether an administrator lets the sale run.
    pub state: SaleState,
    /// When the sale opens; none: it is open from the start.
    pub opens_at: Timestamp,
    /// When it closes; none: never.
    pub closes_at: Timestamp,
    /// All units.
    pub stock: u32,
    /// Units that can be ordered.
    pub available: u32,
    /// Units held for unpaid orders.
    pub held: u32,
    /// Units sold.
    pub sold: u32,
    /// Units that one buyer may have; 0: no limit.
    pub limit_per_buyer: u32,
    /// Seconds that a hold lasts.
    pub hold_seconds: u32,
    /// Standing orders that may wait.
    pub waitlist_capacity: u32,
    /// Standing orders that wait.
    pub waitlist_length: u32,
}

/// One answer, with the correlation id of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which request it answers.
    pub correlation: u64,
    /// The answer.
    pub outcome: Outcome,
}

const HEADER_BYTES: usize = 16;
const ORDER_VIEW_BYTES: usize = 16 * 3 + 4 + 4 + 4 + 4 + 8 * 4;
const PRODUCT_VIEW_BYTES: usize = 16 + 8 + 4 + 4 + 8 + 8 + 4 * 8;
/// Bytes of the longest reply record (an order).
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + ORDER_VIEW_BYTES;
const _: () = assert!(PRODUCT_VIEW_BYTES <= ORDER_VIEW_BYTES);

mod kind {
    pub(super) const PLACED: u8 = 1;
    pub(super) const REPLAYED: u8 = 2;
    pub(super) const QUEUED: u8 = 3;
    pub(super) const PAID: u8 = 4;
    pub(super) const CANCELLED: u8 = 5;
    pub(super) const ORDER: u8 = 6;
    pub(super) const PRODUCT: u8 = 7;
    pub(super) const SOLD_OUT: u8 = 16;
    pub(super) const LIMIT_EXCEEDED: u8 = 17;
    pub(super) const NOT_OPEN: u8 = 18;
    pub(super) const PAUSED: u8 = 19;
    pub(super) const ENDED: u8 = 20;
    pub(super) const PRODUCT_NOT_FOUND: u8 = 21;
    pub(super) const ORDER_NOT_FOUND: u8 = 22;
    pub(super) const ORDER_FINAL: u8 = 23;
    pub(super) const KEY_MISMATCH: u8 = 24;
    pub(super) const STOCK_COMMITTED: u8 = 25;
    pub(super) const STOCK_TOO_LARGE: u8 = 26;
    pub(super) const DEFINITION_INCOMPLETE: u8 = 27;
    pub(super) const CURRENCY_FIXED: u8 = 28;
    pub(super) const WINDOW_REVERSED: u8 = 29;
    pub(super) const NOT_PAYABLE: u8 = 30;
    pub(super) const FULL: u8 = 48;
    pub(super) const OVERLOADED: u8 = 49;
    pub(super) const UNAVAILABLE: u8 = 50;
    pub(super) const DEADLINE_PASSED: u8 = 51;
    pub(super) const WRONG_OWNER: u8 = 52;
}

enum Payload<'a> {
    None,
    Order(&'a OrderView),
    Product(&'a ProductView),
    Time(Timestamp),
}

impl Outcome {
    fn parts(&self) -> (u8, u32, Payload<'_>) {
        match self {
            Self::Placed(view) => (kind::PLACED, 0, Payload::Order(view)),
            Self::Replayed(view) => (kind::REPLAYED, 0, Payload::Order(view)),
            Self::Queued(view) => (kind::QUEUED, 0, Payload::Order(view)),
            Self::Paid(view) => (kind::PAID, 0, Payload::Order(view)),
            Self::Cancelled(view) => (kind::CANCELLED, 0, Payload::Order(view)),
            Self::Order(view) => (kind::ORDER, 0, Payload::Order(view)),
            Self::Product(view) => (kind::PRODUCT, 0, Payload::Product(view)),
            Self::SoldOut => (kind::SOLD_OUT, 0, Payload::None),
            Self::LimitExceeded { limit } => (kind::LIMIT_EXCEEDED, *limit, Payload::None),
            Self::NotOpen { opens_at } => (kind::NOT_OPEN, 0, Payload::Time(*opens_at)),
            Self::Paused { opens_at } => (kind::PAUSED, 0, Payload::Time(*opens_at)),
            Self::Ended { closes_at } => (kind::ENDED, 0, Payload::Time(*closes_at)),
            Self::ProductNotFound => (kind::PRODUCT_NOT_FOUND, 0, Payload::None),
            Self::OrderNotFound => (kind::ORDER_NOT_FOUND, 0, Payload::None),
            Self::OrderFinal(status) => {
                (kind::ORDER_FINAL, u32::from(status.code()), Payload::None)
            }
            Self::NotPayable => (kind::NOT_PAYABLE, 0, Payload::None),
            Self::KeyMismatch => (kind::KEY_MISMATCH, 0, Payload::None),
            Self::StockCommitted { committed } => {
                (kind::STOCK_COMMITTED, *committed, Payload::None)
            }
            Self::StockTooLarge => (kind::STOCK_TOO_LARGE, 0, Payload::None),
            Self::DefinitionIncomplete => (kind::DEFINITION_INCOMPLETE, 0, Payload::None),
            Self::CurrencyFixed => (kind::CURRENCY_FIXED, 0, Payload::None),
            Self::WindowReversed => (kind::WINDOW_REVERSED, 0, Payload::None),
            Self::Full => (kind::FULL, 0, Payload::None),
            Self::Overloaded => (kind::OVERLOADED, 0, Payload::None),
            Self::Unavailable => (kind::UNAVAILABLE, 0, Payload::None),
            Self::DeadlinePassed => (kind::DEADLINE_PASSED, 0, Payload::None),
            Self::WrongOwner { core } => (kind::WRONG_OWNER, u32::from(*core), Payload::None),
        }
    }
}

impl Reply {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, number, payload) = self.outcome.parts();
        out.put_u64(self.correlation);
        out.put_u8(kind);
        out.put_u8(0);
        out.put_u16(0);
        out.put_u32(number);
        match payload {
            Payload::None => {}
            Payload::Order(view) => view.encode(out),
            Payload::Product(view) => view.encode(out),
            Payload::Time(time) => out.put_timestamp(time),
        }
    }

    /// Reads one record off the front of `from`.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let correlation = from.u64()?;
        let record_kind = from.u8()?;
        if from.u8()? != 0 || from.u16()? != 0 {
            return Err(Malformed::OutOfRange("reserved"));
        }
        let number = from.u32()?;
        let outcome = match record_kind {
            kind::PLACED => Outcome::Placed(OrderView::decode(from)?),
            kind::REPLAYED => Outcome::Replayed(OrderView::decode(from)?),
            kind::QUEUED => Outcome::Queued(OrderView::decode(from)?),
            kind::PAID => Outcome::Paid(OrderView::decode(from)?),
            kind::CANCELLED => Outcome::Cancelled(OrderView::decode(from)?),
            kind::ORDER => Outcome::Order(OrderView::decode(from)?),
            kind::PRODUCT => Outcome::Product(ProductView::decode(from)?),
            kind::SOLD_OUT => Outcome::SoldOut,
            kind::LIMIT_EXCEEDED => Outcome::LimitExceeded { limit: number },
            kind::NOT_OPEN => Outcome::NotOpen { opens_at: from.timestamp()? },
            kind::PAUSED => Outcome::Paused { opens_at: from.timestamp()? },
            kind::ENDED => Outcome::Ended { closes_at: from.timestamp()? },
            kind::PRODUCT_NOT_FOUND => Outcome::ProductNotFound,
            kind::ORDER_NOT_FOUND => Outcome::OrderNotFound,
            kind::ORDER_FINAL => Outcome::OrderFinal(status(number)?),
            kind::NOT_PAYABLE => Outcome::NotPayable,
            kind::KEY_MISMATCH => Outcome::KeyMismatch,
            kind::STOCK_COMMITTED => Outcome::StockCommitted { committed: number },
            kind::STOCK_TOO_LARGE => Outcome::StockTooLarge,
            kind::DEFINITION_INCOMPLETE => Outcome::DefinitionIncomplete,
            kind::CURRENCY_FIXED => Outcome::CurrencyFixed,
            kind::WINDOW_REVERSED => Outcome::WindowReversed,
            kind::FULL => Outcome::Full,
            kind::OVERLOADED => Outcome::Overloaded,
            kind::UNAVAILABLE => Outcome::Unavailable,
            kind::DEADLINE_PASSED => Outcome::DeadlinePassed,
            kind::WRONG_OWNER => Outcome::WrongOwner {
                core: u16::try_from(number).map_err(|_| Malformed::OutOfRange("core"))?,
            },
            other => return Err(Malformed::UnknownKind(other)),
        };
        Ok(Self { correlation, outcome })
    }
}

fn status(code: u32) -> Result<OrderStatus, Malformed> {
    u8::try_from(code).ok().and_then(OrderStatus::from_code).ok_or(Malformed::OutOfRange("status"))
}

impl OrderView {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.order.as_bytes());
        out.put(self.product.as_bytes());
        out.put(self.buyer.as_bytes());
        out.put_u32(self.quantity.get());
        out.put_u32(u32::from(self.status.code()));
        out.put_currency(self.currency);
        out.put_u32(self.position);
        out.put_u64(self.unit_price);
        out.put_timestamp(self.created_at);
        out.put_timestamp(self.updated_at);
        out.put_timestamp(self.expires_at);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (order, product, buyer) = (from.order()?, from.product()?, from.buyer()?);
        let quantity = from.quantity()?;
        let status = status(from.u32()?)?;
        let currency = from.currency()?;
        let position = from.u32()?;
        Ok(Self {
            order,
            product,
            buyer,
            quantity,
            status,
            currency,
            unit_price: from.u64()?,
            created_at: from.timestamp()?,
            updated_at: from.timestamp()?,
            expires_at: from.timestamp()?,
            position,
        })
    }
}

impl ProductView {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.product.as_bytes());
        out.put_u64(self.price);
        out.put_currency(self.currency);
        out.put_u32(u32::from(self.state.code()));
        out.put_timestamp(self.opens_at);
        out.put_timestamp(self.closes_at);
        for number in [
            self.stock,
            self.available,
            self.held,
            self.sold,
            self.limit_per_buyer,
            self.hold_seconds,
            self.waitlist_capacity,
            self.waitlist_length,
        ] {
            out.put_u32(number);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            product: from.product()?,
            price: from.u64()?,
            currency: from.currency()?,
            state: u8::try_from(from.u32()?)
                .ok()
                .and_then(SaleState::from_code)
                .ok_or(Malformed::OutOfRange("state"))?,
            opens_at: from.timestamp()?,
            closes_at: from.timestamp()?,
            stock: from.u32()?,
            available: from.u32()?,
            held: from.u32()?,
            sold: from.u32()?,
            limit_per_buyer: from.u32()?,
            hold_seconds: from.u32()?,
            waitlist_capacity: from.u32()?,
            waitlist_length: from.u32()?,
        })
    }
}

#[cfg(test)]
#[path = "outcome_test.rs"]
mod outcome_test;
