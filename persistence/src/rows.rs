//! What a store holds, as typed rows. Both stores spell these in SQL; nobody else sees SQL.
//!
//! Money is integer minor units and an ISO 4217 code, times are microseconds since the epoch,
//! statuses and states are the words of the contract.

use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp,
};

/// An order and what was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// The order.
    pub order: OrderId,
    /// Who ordered.
    pub buyer: BuyerId,
    /// Price of everything, in minor units.
    pub total_amount: u64,
    /// Currency of all prices of the order.
    pub currency: Currency,
    /// Where it stands.
    pub status: OrderStatus,
    /// When it was placed or queued.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its hold runs or ran out; none when it never had one.
    pub expires_at: Timestamp,
    /// The event, in the order's partition, that changed it last. What comes from an earlier event
    /// is in the row already.
    pub version: Sequence,
    /// What was ordered, at least one line, in the order of the lines.
    pub items: Vec<OrderItem>,
}

/// One line of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderItem {
    /// What.
    pub product: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// Price of one unit, in minor units.
    pub unit_price: u64,
}

/// A product as the feed and the catalog describe it. Live stock is the engine's to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductRow {
    /// The product.
    pub product: ProductId,
    /// Its name, when the catalog has one.
    pub name: Option<String>,
    /// Its description, when the catalog has one.
    pub description: Option<String>,
    /// Price of one unit, in minor units.
    pub price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// All units, sold and held ones included.
    pub stock: u32,
    /// Whether an administrator lets the sale run.
    pub state: SaleState,
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
    /// When it was first defined.
    pub created_at: Timestamp,
    /// When its terms, stock or state last changed.
    pub updated_at: Timestamp,
    /// The event, in the product's partition, that changed it last.
    pub version: Sequence,
}

/// What people call a product. The edge writes it; the projector never touches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The product; it may be unknown to the store yet.
    pub product: ProductId,
    /// Its name; `None` keeps what is there.
    pub name: Option<String>,
    /// Its description; `None` keeps what is there.
    pub description: Option<String>,
}

/// How far a partition's feed has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch of the last event written.
    pub epoch: Epoch,
    /// The last event written; zero before the first.
    pub sequence: Sequence,
}

/// A change that could not be written, kept so that somebody can look at it. The rest went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The partition of the event.
    pub partition: PartitionId,
    /// The event.
    pub sequence: Sequence,
    /// Which of the event's changes, from 0.
    pub line: u32,
    /// When the event was decided.
    pub at: Timestamp,
    /// Why the change could not be written.
    pub reason: String,
    /// The change, in words.
    pub change: String,
}
