//! The parts of a partition put together, and every question that changes nothing.

use super::buyers::Buyers;
use super::key_index::{KeyIndex, Whereabouts};
use super::list::List;
use super::order::{Order, OrderSlot, Orders};
use super::order_index::OrderIndex;
use super::product::{Level, ProductSlot, Products};
use super::receipts::{Receipts, Shelf};
use doorbuster_protocol::limits;
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Sequence, Timestamp,
};
use std::collections::BTreeSet;

/// The whole state of one partition. Only [`super::apply`] changes it.
#[derive(Debug)]
pub struct State {
    pub(super) partition: PartitionId,
    /// The sequence of the last event.
    pub(super) sequence: Sequence,
    /// The time of the last event.
    pub(super) last_at: Timestamp,
    /// The last sequence that each registered consumer has.
    pub(super) acknowledged: [Option<Sequence>; limits::CONSUMERS_MAX as usize],
    /// The last event that was no acknowledgement: nothing after it is worth acknowledging.
    pub(super) last_fact: Sequence,
    pub(super) products: Products,
    pub(super) orders: Orders,
    pub(super) by_id: OrderIndex,
    pub(super) by_key: KeyIndex,
    pub(super) buyers: Buyers,
    /// The first deadline of every product that has holds. Ties go to the product defined first.
    pub(super) agenda: BTreeSet<(Timestamp, ProductSlot)>,
    /// Final orders that some consumer does not have, in the order in which they became final.
    pub(super) finals: List,
    /// What is kept for their keys of final orders that every consumer has, in the same order.
    pub(super) receipts: Receipts,
    pub(super) bounds: Bounds,
    /// Products whose level changed since they were last asked for. Not part of the digest.
    pub(super) changed: Vec<ProductSlot>,
}

/// How much a partition holds; the limits of the protocol, but for tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) products: usize,
    pub(super) orders: usize,
    pub(super) buyers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            products: limits::PRODUCTS_PER_PARTITION_MAX as usize,
            orders: limits::ORDERS_PER_PARTITION_MAX as usize,
            buyers: limits::BUYERS_PER_PARTITION_MAX as usize,
        }
    }
}

/// Sums over a partition, for metrics and audits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Products defined.
    pub products: u64,
    /// All units.
    pub stock: u64,
    /// Units neither held nor sold.
    pub available: u64,
    /// Units held for unpaid orders.
    pub held: u64,
    /// Units sold.
    pub sold: u64,
    /// Orders whose units are held.
    pub pending: u64,
    /// Standing orders.
    pub queued: u64,
    /// Orders in memory: pending, queued, and final ones that a consumer does not have yet.
    pub orders: u64,
    /// Orders that left and whose idempotency keys are still remembered.
    pub receipts: u64,
    /// Idempotency keys remembered.
    pub keys: u64,
    /// (product, buyer) pairs that units are counted for.
    pub buyers: u64,
}

impl State {
    /// The state before the first event. Consumer 0, the store, is registered from birth.
    pub fn new(partition: PartitionId) -> Self {
        let mut acknowledged = [None; limits::CONSUMERS_MAX as usize];
        acknowledged[0] = Some(Sequence::ZERO);
        Self {
            partition,
            sequence: Sequence::ZERO,
            last_at: Timestamp::NONE,
            acknowledged,
            last_fact: Sequence::ZERO,
            products: Products::default(),
            orders: Orders::default(),
            by_id: OrderIndex::default(),
            by_key: KeyIndex::default(),
            buyers: Buyers::default(),
            agenda: BTreeSet::new(),
            finals: List::default(),
            receipts: Receipts::default(),
            bounds: Bounds::default(),
            changed: Vec::new(),
        }
    }

    /// The same, with its receipts on `shelf` instead of in memory.
    pub fn with_shelf(partition: PartitionId, shelf: Box<dyn Shelf>) -> Self {
        Self { receipts: Receipts::on(shelf), ..Self::new(partition) }
    }

    /// A state that is full sooner.
    #[cfg(test)]
    pub(super) fn with_bounds(partition: PartitionId, bounds: Bounds) -> Self {
        Self { bounds, ..Self::new(partition) }
    }

    /// Which partition this is.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }
    /// The sequence of the last event.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }
    /// The time of the last event.
    pub fn last_at(&self) -> Timestamp {
        self.last_at
    }
    /// The earliest deadline of a hold.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(deadline, _)| *deadline)
    }

    /// The last sequence that every registered consumer has.
    pub fn acknowledged(&self) -> Sequence {
        let registered = self.acknowledged.iter().flatten();
        *registered.min().expect("the store is registered from birth")
    }
    /// The last sequence that `consumer` has; zero when it never acknowledged anything.
    pub fn acknowledged_by(&self, consumer: u8) -> Sequence {
        self.acknowledged.get(usize::from(consumer)).copied().flatten().unwrap_or(Sequence::ZERO)
    }
    /// Whether an acknowledgement without news would let something go: one event releases a bounded
    /// number of orders, and keys grow old.
    pub fn has_releasable(&self) -> bool {
        self.has_releasable_at(self.last_at)
    }

    /// One order as it stands. `buyer` limits the answer to its owner, `None` is an administrator.
    /// [`Outcome::OrderNotFound`] also when the store has taken the order over.
    pub fn order(&self, order: OrderId, buyer: Option<BuyerId>) -> Outcome {
        match self.find_order(order, buyer) {
            Some(slot) => Outcome::Order(self.view(slot)),
            None => Outcome::OrderNotFound,
        }
    }

    /// One product as it stands.
    pub fn product(&self, product: ProductId) -> Outcome {
        match self.products.find(product) {
            Some(slot) => Outcome::Product(self.products[slot].view()),
            None => Outcome::ProductNotFound,
        }
    }

    /// The stock level of one product.
    pub fn level(&self, product: ProductId) -> Option<Level> {
        self.products.find(product).map(|slot| self.products[slot].level())
    }

    /// All products, in the order of their definition.
    pub fn products(&self) -> impl Iterator<Item = ProductView> {
        self.products.iter().map(super::product::Product::view)
    }

    /// All orders that reads can see: pending, queued, and final ones that a consumer does not have
    /// yet, product by product and then the final ones.
    pub fn orders(&self) -> impl Iterator<Item = OrderView> {
        let live = self.products.iter().flat_map(|product| {
            product.holds.iter(&self.orders).chain(product.waitlist.iter(&self.orders))
        });
        live.chain(self.finals.iter(&self.orders)).map(|slot| self.view(slot))
    }

    /// Units that each buyer holds, has bought and queues for, in no order that means anything.
    pub fn units_of_buyers(&self) -> impl Iterator<Item = (ProductId, BuyerId, u32)> {
        self.buyers.iter().map(|count| (self.products[count.product].id, count.buyer, count.units))
    }

    /// The products whose level changed since this was last called, each once.
    pub fn take_changed_products(&mut self) -> Vec<ProductId> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|slot| {
                let product = &mut self.products[slot];
                product.changed = false;
                product.id
            })
            .collect()
    }

    /// Sums over all products: costs one pass over them.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            products: self.products.len() as u64,
            orders: self.by_id.len() as u64,
            receipts: self.receipts.len() as u64,
            keys: self.by_key.len() as u64,
            buyers: self.buyers.len() as u64,
            ..Totals::default()
        };
        for product in self.products.iter() {
            totals.stock += u64::from(product.terms.stock);
            totals.available += u64::from(product.available);
            totals.held += u64::from(product.held);
            totals.sold += u64::from(product.sold);
            totals.pending += u64::from(product.holds.len());
            totals.queued += u64::from(product.waitlist.len());
        }
        totals
    }

    /// Orders in memory.
    pub fn orders_in_memory(&self) -> usize {
        self.orders.len()
    }

    /// Lets go of memory of receipts that lie elsewhere meanwhile. To be called now and then.
    pub fn settle_receipts(&mut self) {
        self.receipts.settle();
    }

    /// Orders in memory, and receipts of those that left.
    pub(super) fn orders_remembered(&self) -> usize {
        self.orders.len() + self.receipts.len()
    }

    /// An order that reads and commands can see.
    pub(super) fn find_order(&self, id: OrderId, buyer: Option<BuyerId>) -> Option<OrderSlot> {
        let slot = self.by_id.find(id, self.sequence, &self.orders)?;
        match buyer {
            Some(buyer) if buyer != self.orders[slot].buyer => None,
            _ => Some(slot),
        }
    }

    /// An order as its buyer sees it now.
    pub(super) fn view(&self, slot: OrderSlot) -> OrderView {
        let order = &self.orders[slot];
        let product = &self.products[order.product];
        let position = match order.status {
            OrderStatus::Queued => product.waitlist.position(&self.orders, slot),
            _ => 0,
        };
        order.view(product.id, product.terms.currency, position)
    }

    /// The order that a key made.
    pub(super) fn find_key(&self, key: IdempotencyKey) -> Option<Whereabouts> {
        self.by_key.find(key, |at| match at {
            Whereabouts::Order(slot) => self.orders[slot].key,
            Whereabouts::Receipt(number) => self.receipts.get(number).key,
        })
    }

    /// It, or what is left of it.
    pub(super) fn order_at(&self, at: Whereabouts) -> Order {
        match at {
            Whereabouts::Order(slot) => self.orders[slot],
            Whereabouts::Receipt(number) => self.receipts.get(number),
        }
    }

    /// What the key of an order was answered first.
    pub(super) fn receipt(&self, order: &Order) -> OrderView {
        let product = &self.products[order.product];
        order.receipt(product.id, product.terms.currency)
    }

    pub(super) fn has_releasable_at(&self, now: Timestamp) -> bool {
        let acknowledged = self.acknowledged();
        let is_final_known = self
            .finals
            .head()
            .is_some_and(|slot| self.orders[slot].final_sequence() <= acknowledged);
        is_final_known || self.is_receipt_old(now)
    }

    /// Whether the time of the oldest receipt is over.
    pub(super) fn is_receipt_old(&self, now: Timestamp) -> bool {
        let oldest = self.receipts.oldest_at();
        oldest.is_some_and(|at| at.plus_micros(limits::KEY_RETENTION_US) <= now)
    }
}
