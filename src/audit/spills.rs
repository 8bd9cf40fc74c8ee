//! Everything that the events of the log leave behind for later, each sorted as it is needed.

use super::account::Edition;
use super::order_event::{self, OrderEvent, take, take_time, take_u64};
use super::spill::{Mark, Sorter};
use doorbuster_protocol::{BuyerId, IdempotencyKey, OrderId, ProductId, Sequence, Timestamp};

/// What was put down so far.
#[derive(Debug)]
pub(super) struct Spills {
    /// What happened to orders, by order and event.
    pub(super) orders: Sorter<{ order_event::BYTES }>,
    /// What products were, by product and event.
    pub(super) products: Sorter<{ Edition::BYTES }>,
    /// Units that buyers took and gave back, by product, buyer and event.
    pub(super) units: Sorter<{ Units::BYTES }>,
}

/// A place to which [`Spills::rewind`] goes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    orders: Mark,
    products: Mark,
    units: Mark,
}

impl Spills {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { orders: Sorter::new(), products: Sorter::new(), units: Sorter::new() }
    }

    /// What happened to an order.
    pub(super) fn order(&mut self, event: &OrderEvent) {
        self.orders.push(event.encode());
    }
    /// What a product is from now on.
    pub(super) fn product(&mut self, edition: &Edition) {
        self.products.push(edition.encode());
    }
    /// Units that a buyer took, or gave back when they are negative. `limit` is how many the buyer
    /// may have after it; 0: any.
    pub(super) fn units_of(
        &mut self,
        product: ProductId,
        buyer: BuyerId,
        sequence: Sequence,
        units: i64,
        limit: u32,
    ) {
        self.units.push(Units { product, buyer, sequence, units, limit }.encode());
    }

    /// The place to go back to when a partition has to be read again.
    pub(super) fn mark(&mut self) -> Marks {
        Marks {
            orders: self.orders.mark(),
            products: self.products.mark(),
            units: self.units.mark(),
        }
    }
    /// Forgets what came after `marks`.
    pub(super) fn rewind(&mut self, marks: Marks) {
        self.orders.rewind(marks.orders);
        self.products.rewind(marks.products);
        self.units.rewind(marks.units);
    }
}

/// Units that a buyer took or gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) product: ProductId,
    pub(super) buyer: BuyerId,
    pub(super) sequence: Sequence,
    pub(super) units: i64,
    pub(super) limit: u32,
}

impl Units {
    /// Bytes of a record.
    pub(super) const BYTES: usize = 16 + 16 + 8 + 8 + 4;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(self.product.as_bytes());
        bytes[16..32].copy_from_slice(self.buyer.as_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.get().to_be_bytes());
        bytes[40..48].copy_from_slice(&self.units.to_be_bytes());
        bytes[48..].copy_from_slice(&self.limit.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let rest = &mut &bytes[..];
        Self {
            product: ProductId::from_bytes(take(rest)),
            buyer: BuyerId::from_bytes(take(rest)),
            sequence: Sequence::new(take_u64(rest)),
            units: i64::from_be_bytes(take(rest)),
            limit: u32::from_be_bytes(take(rest)),
        }
    }
}

/// An order that was placed with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: IdempotencyKey,
    pub(super) sequence: Sequence,
    pub(super) order: OrderId,
    pub(super) created_at: Timestamp,
    /// The event that ended it, and when; zero and none while it has not ended.
    pub(super) ended: (Sequence, Timestamp),
}

impl Keyed {
    /// Bytes of a record, which sorts by key and event.
    pub(super) const BYTES: usize = 16 + 8 + 16 + 8 + 8 + 8;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(self.key.as_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.get().to_be_bytes());
        bytes[24..40].copy_from_slice(self.order.as_bytes());
        bytes[40..48].copy_from_slice(&self.created_at.micros().to_be_bytes());
        bytes[48..56].copy_from_slice(&self.ended.0.get().to_be_bytes());
        bytes[56..].copy_from_slice(&self.ended.1.micros().to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let rest = &mut &bytes[..];
        Self {
            key: IdempotencyKey::from_bytes(take(rest)),
            sequence: Sequence::new(take_u64(rest)),
            order: OrderId::from_bytes(take(rest)),
            created_at: take_time(rest),
            ended: (Sequence::new(take_u64(rest)), take_time(rest)),
        }
    }
}
