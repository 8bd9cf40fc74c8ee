//! What a partition can be asked: commands that may change it, and reads that do not.
//!
//! A request record is `kind u8 · flags u8 · partition u16 · reserved u32 · deadline u64` and then
//! the fields of its kind, in the order in which they stand below. The client names the partition;
//! the server checks it against the product or the order, and answers `WrongOwner` when it lives
//! elsewhere. The deadline is a time (0: none) after which the request is not worth doing; clocks
//! of clients and engine are taken to agree within milliseconds, as NTP keeps them.

use crate::limits;
use crate::record::{Malformed, Reader, Write};
use crate::{BuyerId, Currency, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity};
use crate::{Sequence, Timestamp};

/// One record of a request frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The partition that owns the product or the order.
    pub partition: PartitionId,
    /// When the asker stops waiting; [`Timestamp::NONE`] when it waits forever.
    pub deadline: Timestamp,
    /// What is asked.
    pub ask: Ask,
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Something that may change the partition.
    Command(Command),
    /// Something that does not.
    Read(Read),
}

impl Ask {
    /// Whether it asks for a new order. When there is not room for all, whatever finishes, changes
    /// or looks at what is there already goes before.
    pub const fn is_new_order(&self) -> bool {
        matches!(self, Self::Command(Command::Place(_)))
    }
}

/// A question that changes nothing. Answered once everything that it saw is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// One order; `buyer` limits the answer to its owner, `None` is an administrator.
    Order {
        /// The order.
        order: OrderId,
        /// Who asks.
        buyer: Option<BuyerId>,
    },
    /// One product.
    Product {
        /// The product.
        product: ProductId,
    },
}

/// A request to change a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Buy, or queue up.
    Place(Place),
    /// The payment arrived: turn a hold into a sale.
    Confirm {
        /// The order.
        order: OrderId,
    },
    /// Give a hold or a place on the waitlist back.
    Cancel {
        /// The order.
        order: OrderId,
        /// Who asks; `None` is an administrator.
        buyer: Option<BuyerId>,
    },
    /// Create a product or change its terms.
    Define(Define),
    /// Add units to the stock.
    Restock {
        /// The product.
        product: ProductId,
        /// Units to add, at least 1.
        units: u32,
    },
    /// Take units out of the stock, never below sold + held.
    Withdraw {
        /// The product.
        product: ProductId,
        /// Units to take, at least 1.
        units: u32,
    },
    /// Pause or open the sale.
    SetState {
        /// The product.
        product: ProductId,
        /// The state to take.
        state: SaleState,
    },
    /// Internal, never on the wire: expire the earliest overdue hold, if there is one.
    Expire,
    /// Internal, never a request record: a consumer has made events durable up to a sequence.
    Acknowledge {
        /// The consumer, below [`limits::CONSUMERS_MAX`].
        consumer: u8,
        /// The last sequence that it has.
        through: Sequence,
    },
}

/// An attempt to buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What.
    pub product: ProductId,
    /// Who.
    pub buyer: BuyerId,
    /// The idempotency key, or [`IdempotencyKey::NONE`].
    pub key: IdempotencyKey,
    /// How many.
    pub quantity: Quantity,
    /// Whether to queue up when the product is sold out.
    pub waitlist: bool,
}

/// The terms to set; `None` keeps what is there (a new product needs price and stock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Define {
    /// The product.
    pub product: ProductId,
    /// Price of one unit in minor units, at most [`limits::PRICE_MAX`].
    pub price: Option<u64>,
    /// Currency; cannot change once the product exists.
    pub currency: Option<Currency>,
    /// All units, sold and held ones included, at most [`limits::STOCK_MAX`].
    pub stock: Option<u32>,
    /// When the sale opens; `Some(NONE)`: at once.
    pub opens_at: Option<Timestamp>,
    /// When it closes; `Some(NONE)`: never.
    pub closes_at: Option<Timestamp>,
    /// Units that one buyer may hold, buy and queue for; 0: no limit.
    pub limit_per_buyer: Option<u32>,
    /// Seconds until an unpaid order expires, 1 to [`limits::HOLD_SECONDS_MAX`].
    pub hold_seconds: Option<u32>,
    /// Standing orders that may wait, at most [`limits::WAITLIST_MAX`].
    pub waitlist_capacity: Option<u32>,
}

impl Define {
    /// A definition that sets nothing yet.
    pub const fn new(product: ProductId) -> Self {
        Self {
            product,
            price: None,
            currency: None,
            stock: None,
            opens_at: None,
            closes_at: None,
            limit_per_buyer: None,
            hold_seconds: None,
            waitlist_capacity: None,
        }
    }
}

/// Whether an administrator lets the sale run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum SaleState {
    /// It runs within its window.
    Open,
    /// It takes no new orders; payments, cancels and expiries go on.
    Paused,
}

impl SaleState {
    /// Its byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Paused => 2,
        }
    }
    /// The state of a byte.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Paused),
            _ => None,
        }
    }
}

const HEADER_BYTES: usize = 16;
/// Bytes of the longest request record (a definition).
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + 16 + 8 + 4 + 4 + 8 + 8 + 4 + 4 + 4 + 4;

mod kind {
    pub(super) const PLACE: u8 = 1;
    pub(super) const CONFIRM: u8 = 2;
    pub(super) const CANCEL: u8 = 3;
    pub(super) const DEFINE: u8 = 4;
    pub(super) const RESTOCK: u8 = 5;
    pub(super) const WITHDRAW: u8 = 6;
    pub(super) const SET_STATE: u8 = 7;
    pub(super) const READ_ORDER: u8 = 16;
    pub(super) const READ_PRODUCT: u8 = 17;
}

/// Place: queue up when sold out.
const FLAG_WAITLIST: u8 = 1;
/// Cancel, read order: the asker is an administrator; the buyer field is zero.
const FLAG_ADMINISTRATOR: u8 = 2;

impl Request {
    /// Whether the record of this request would be taken; the name of the first field that is out
    /// of range otherwise. Internal commands have no record.
    pub fn check(&self) -> Result<(), Malformed> {
        match &self.ask {
            Ask::Command(Command::Define(define)) => define.check(),
            Ask::Command(Command::Restock { units, .. } | Command::Withdraw { units, .. })
                if !(1..=limits::STOCK_MAX).contains(units) =>
            {
                Err(Malformed::OutOfRange("units"))
            }
            Ask::Command(Command::Expire | Command::Acknowledge { .. }) => {
                Err(Malformed::OutOfRange("kind"))
            }
            Ask::Command(_) | Ask::Read(_) => Ok(()),
        }
    }

    /// Appends the record. Panics on an internal command, which has no record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, flags) = self.kind_and_flags();
        out.put_u8(kind);
        out.put_u8(flags);
        out.put_u16(self.partition.get());
        out.put_u32(0);
        out.put_timestamp(self.deadline);
        match &self.ask {
            Ask::Command(command) => command.encode_fields(out),
            Ask::Read(Read::Order { order, buyer }) => {
                out.put(order.as_bytes());
                out.put(buyer.map_or([0; 16], |buyer| *buyer.as_bytes()).as_slice());
            }
            Ask::Read(Read::Product { product }) => out.put(product.as_bytes()),
        }
    }

    fn kind_and_flags(&self) -> (u8, u8) {
        let administrator = |buyer: &Option<BuyerId>| match buyer {
            Some(_) => 0,
            None => FLAG_ADMINISTRATOR,
        };
        match &self.ask {
            Ask::Command(Command::Place(place)) => {
                (kind::PLACE, if place.waitlist { FLAG_WAITLIST } else { 0 })
            }
            Ask::Command(Command::Confirm { .. }) => (kind::CONFIRM, 0),
            Ask::Command(Command::Cancel { buyer, .. }) => (kind::CANCEL, administrator(buyer)),
            Ask::Command(Command::Define(_)) => (kind::DEFINE, 0),
            Ask::Command(Command::Restock { .. }) => (kind::RESTOCK, 0),
            Ask::Command(Command::Withdraw { .. }) => (kind::WITHDRAW, 0),
            Ask::Command(Command::SetState { .. }) => (kind::SET_STATE, 0),
            Ask::Command(Command::Expire | Command::Acknowledge { .. }) => {
                panic!("an internal command has no record")
            }
            Ask::Read(Read::Order { buyer, .. }) => (kind::READ_ORDER, administrator(buyer)),
            Ask::Read(Read::Product { .. }) => (kind::READ_PRODUCT, 0),
        }
    }

    /// Reads one record off the front of `from`.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let record_kind = from.u8()?;
        let flags = from.u8()?;
        let partition = from.partition()?;
        if from.u32()? != 0 {
            return Err(Malformed::OutOfRange("reserved"));
        }
        let deadline = from.timestamp()?;
        let allowed = match record_kind {
            kind::PLACE => FLAG_WAITLIST,
            kind::CANCEL | kind::READ_ORDER => FLAG_ADMINISTRATOR,
            _ => 0,
        };
        if flags & !allowed != 0 {
            return Err(Malformed::OutOfRange("flags"));
        }
        let ask = match record_kind {
            kind::PLACE => Ask::Command(Command::Place(Place {
                product: from.product()?,
                buyer: from.buyer()?,
                key: from.key()?,
                quantity: from.quantity()?,
                waitlist: {
                    reserved(from)?;
                    flags & FLAG_WAITLIST != 0
                },
            })),
            kind::CONFIRM => Ask::Command(Command::Confirm { order: from.order()? }),
            kind::CANCEL => Ask::Command(Command::Cancel {
                order: from.order()?,
                buyer: optional_buyer(from, flags)?,
            }),
            kind::DEFINE => Ask::Command(Command::Define(Define::decode_fields(from)?)),
            kind::RESTOCK => {
                Ask::Command(Command::Restock { product: from.product()?, units: units(from)? })
            }
            kind::WITHDRAW => {
                Ask::Command(Command::Withdraw { product: from.product()?, units: units(from)? })
            }
            kind::SET_STATE => Ask::Command(Command::SetState {
                product: from.product()?,
                state: {
                    let code = from.u32()?;
                    let code = u8::try_from(code).ok().and_then(SaleState::from_code);
                    reserved(from)?;
                    code.ok_or(Malformed::OutOfRange("state"))?
                },
            }),
            kind::READ_ORDER => {
                Ask::Read(Read::Order { order: from.order()?, buyer: optional_buyer(from, flags)? })
            }
            kind::READ_PRODUCT => Ask::Read(Read::Product { product: from.product()? }),
            other => return Err(Malformed::UnknownKind(other)),
        };
        Ok(Self { partition, deadline, ask })
    }
}

fn reserved(from: &mut Reader<'_>) -> Result<(), Malformed> {
    if from.u32()? == 0 { Ok(()) } else { Err(Malformed::OutOfRange("reserved")) }
}

fn optional_buyer(from: &mut Reader<'_>, flags: u8) -> Result<Option<BuyerId>, Malformed> {
    let buyer = from.buyer()?;
    Ok(if flags & FLAG_ADMINISTRATOR == 0 { Some(buyer) } else { None })
}

fn units(from: &mut Reader<'_>) -> Result<u32, Malformed> {
    let units = from.u32()?;
    reserved(from)?;
    if (1..=limits::STOCK_MAX).contains(&units) {
        Ok(units)
    } else {
        Err(Malformed::OutOfRange("units"))
    }
}

impl Command {
    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::Place(place) => {
                out.put(place.product.as_bytes());
                out.put(place.buyer.as_bytes());
                out.put(place.key.as_bytes());
                out.put_u32(place.quantity.get());
                out.put_u32(0);
            }
            Self::Confirm { order } => out.put(order.as_bytes()),
            Self::Cancel { order, buyer } => {
                out.put(order.as_bytes());
                out.put(buyer.map_or([0; 16], |buyer| *buyer.as_bytes()).as_slice());
            }
            Self::Define(define) => define.encode_fields(out),
            Self::Restock { product, units } | Self::Withdraw { product, units } => {
                out.put(product.as_bytes());
                out.put_u32(*units);
                out.put_u32(0);
            }
            Self::SetState { product, state } => {
                out.put(product.as_bytes());
                out.put_u32(u32::from(state.code()));
                out.put_u32(0);
            }
            Self::Expire | Self::Acknowledge { .. } => {
                unreachable!("an internal command has no record")
            }
        }
    }
}

impl Define {
    fn encode_fields(&self, out: &mut Vec<u8>) {
        let mut present = 0u32;
        let fields = [
            self.price.is_some(),
            self.currency.is_some(),
            self.stock.is_some(),
            self.opens_at.is_some(),
            self.closes_at.is_some(),
            self.limit_per_buyer.is_some(),
            self.hold_seconds.is_some(),
            self.waitlist_capacity.is_some(),
        ];
        for (bit, is_present) in fields.into_iter().enumerate() {
            present |= u32::from(is_present) << bit;
        }
        out.put(self.product.as_bytes());
        out.put_u32(present);
        out.put_currency(self.currency.unwrap_or(Currency::USD));
        out.put_u64(self.price.unwrap_or(0));
        out.put_timestamp(self.opens_at.unwrap_or(Timestamp::NONE));
        out.put_timestamp(self.closes_at.unwrap_or(Timestamp::NONE));
        out.put_u32(self.stock.unwrap_or(0));
        out.put_u32(self.limit_per_buyer.unwrap_or(0));
        out.put_u32(self.hold_seconds.unwrap_or(0));
        out.put_u32(self.waitlist_capacity.unwrap_or(0));
    }

    fn decode_fields(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let product = from.product()?;
        let present = from.u32()?;
        if present >> 8 != 0 {
            return Err(Malformed::OutOfRange("present"));
        }
        let has = |bit: u32| present & (1 << bit) != 0;
        let currency = from.currency()?;
        let price = from.u64()?;
        let opens_at = from.timestamp()?;
        let closes_at = from.timestamp()?;
        let stock = from.u32()?;
        let limit_per_buyer = from.u32()?;
        let hold_seconds = from.u32()?;
        let waitlist_capacity = from.u32()?;
        let define = Self {
            product,
            price: has(0).then_some(price),
            currency: has(1).then_some(currency),
            stock: has(2).then_some(stock),
            opens_at: has(3).then_some(opens_at),
            closes_at: has(4).then_some(closes_at),
            limit_per_buyer: has(5).then_some(limit_per_buyer),
            hold_seconds: has(6).then_some(hold_seconds),
            waitlist_capacity: has(7).then_some(waitlist_capacity),
        };
        define.check()?;
        Ok(define)
    }

    /// Whether every field is in its range; the name of the first that is not.
    pub fn check(&self) -> Result<(), Malformed> {
        if self.price.is_some_and(|price| price > limits::PRICE_MAX) {
            return Err(Malformed::OutOfRange("price"));
        }
        if self.stock.is_some_and(|stock| stock > limits::STOCK_MAX) {
            return Err(Malformed::OutOfRange("stock"));
        }
        if self.hold_seconds.is_some_and(|s| !(1..=limits::HOLD_SECONDS_MAX).contains(&s)) {
            return Err(Malformed::OutOfRange("holdSeconds"));
        }
        if self.waitlist_capacity.is_some_and(|capacity| capacity > limits::WAITLIST_MAX) {
            return Err(Malformed::OutOfRange("waitlistCapacity"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "command_test.rs"]
mod command_test;
