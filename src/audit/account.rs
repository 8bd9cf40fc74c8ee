//! The entries of the books: what is kept of a product and of an order.

use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, Currency, IdempotencyKey, OrderId, ProductId, Quantity, Sequence, Timestamp,
};
use std::collections::VecDeque;

/// The books of one product.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its terms now; `terms.stock` follows restocks and withdrawals.
    pub(crate) terms: Terms,
    /// Whether the sale runs.
    pub(crate) state: SaleState,
    /// Units free. Signed, so that an oversale shows as a number and not as a panic.
    pub(crate) available: i64,
    /// Units held.
    pub(crate) held: i64,
    /// Units sold.
    pub(crate) sold: i64,
    /// Orders that wait, first come first. Cancelled ones are skipped, see [`super::ledger`].
    pub(super) queue: VecDeque<OrderId>,
    /// How many of them still wait.
    pub(crate) queued: u32,
    /// Waiting orders that became holds.
    pub(crate) served_from_waitlist: u64,
}

/// What became of an order, and at which events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// What.
    pub(crate) product: ProductId,
    /// Who.
    pub(crate) buyer: BuyerId,
    /// The key it was placed with.
    pub(crate) key: IdempotencyKey,
    /// How many.
    pub(crate) quantity: Quantity,
    /// Price of one unit.
    pub(crate) unit_price: u64,
    /// Currency of the price.
    pub(crate) currency: Currency,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When its hold runs out; none before it has one.
    pub(crate) expires_at: Timestamp,
    /// The event that made it.
    pub(crate) created: Sequence,
    /// The event that gave it a hold; zero before that.
    pub(crate) held: Sequence,
    /// The event that ended it and its status since; zero before that.
    pub(crate) ended: (Sequence, OrderStatus, Timestamp),
}

impl Entry {
    /// Its status after event `sequence`, which is not before its creation.
    pub(crate) fn status_after(&self, sequence: Sequence) -> OrderStatus {
        let has_passed = |event: Sequence| event != Sequence::ZERO && event <= sequence;
        if has_passed(self.ended.0) {
            self.ended.1
        } else if has_passed(self.held) {
            OrderStatus::Pending
        } else {
            OrderStatus::Queued
        }
    }
    /// Its status at the end of the log.
    pub(crate) fn status(&self) -> OrderStatus {
        self.status_after(Sequence::new(u64::MAX))
    }
}

impl Entry {
    /// An order as a snapshot of event `opened` has it: when it changed before, nobody knows.
    pub(super) fn opened_with(view: &OrderView, opened: Sequence) -> Self {
        let ended = match view.status.is_final() {
            true => (opened, view.status, view.updated_at),
            false => (Sequence::ZERO, view.status, Timestamp::NONE),
        };
        let held = if view.expires_at.is_none() { Sequence::ZERO } else { opened };
        Self {
            product: view.product,
            buyer: view.buyer,
            key: IdempotencyKey::NONE,
            quantity: view.quantity,
            unit_price: view.unit_price,
            currency: view.currency,
            created_at: view.created_at,
            expires_at: view.expires_at,
            created: Sequence::new(view.order.sequence_bits()),
            held,
            ended,
        }
    }
}

impl Account {
    /// A product as a snapshot has it.
    pub(super) fn opened_with(view: &ProductView) -> Self {
        let terms = Terms {
            price: view.price,
            currency: view.currency,
            stock: view.stock,
            opens_at: view.opens_at,
            closes_at: view.closes_at,
            limit_per_buyer: view.limit_per_buyer,
            hold_seconds: view.hold_seconds,
            waitlist_capacity: view.waitlist_capacity,
        };
        Self {
            state: view.state,
            available: i64::from(view.available),
            held: i64::from(view.held),
            sold: i64::from(view.sold),
            ..Self::new(terms)
        }
    }

    /// A new product: all of its stock is available.
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            state: SaleState::Open,
            available: i64::from(terms.stock),
            held: 0,
            sold: 0,
            queue: VecDeque::new(),
            queued: 0,
            served_from_waitlist: 0,
        }
    }
}
