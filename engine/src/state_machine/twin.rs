//! The naive twin: the same rules over plain ordered maps, written without an eye for speed.
//!
//! It shares nothing with the real state machine but the protocol's types, keeps no counter that it
//! can compute, and looks at everything to answer anything. What both agree on is most likely
//! meant.
//!
//! It can also be shown the events of a log alone: [`Twin::replay`] asks of each which command it
//! came from, and whether the twin would have made that event of it.

mod check;
mod rules;

use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::{Event, Fact, Matched, Terms};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Sequence, Timestamp, limits,
};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Product {
    defined: Sequence,
    terms: Terms,
    state: SaleState,
    sold: BTreeMap<BuyerId, u32>,
    holds: Vec<OrderId>,
    waitlist: Vec<OrderId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    view: OrderView,
    ended: Option<Sequence>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Receipt {
    order: OrderId,
    first: OrderView,
    waitlist: bool,
    /// When the order left the engine, it had ended at this sequence and time.
    released: Option<(Sequence, Timestamp)>,
}

/// The naive state of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    partition: PartitionId,
    sequence: Sequence,
    last_at: Timestamp,
    last_fact: Sequence,
    acknowledged: BTreeMap<u8, Sequence>,
    products: BTreeMap<ProductId, Product>,
    orders: BTreeMap<OrderId, Order>,
    receipts: BTreeMap<[u8; 16], Receipt>,
}

impl Twin {
    /// A partition in which nothing has happened.
    pub fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            sequence: Sequence::ZERO,
            last_at: Timestamp::NONE,
            last_fact: Sequence::ZERO,
            acknowledged: BTreeMap::from([(0, Sequence::ZERO)]),
            products: BTreeMap::new(),
            orders: BTreeMap::new(),
            receipts: BTreeMap::new(),
        }
    }

    /// The last event that it knows.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    pub(super) fn product(&self, id: ProductId) -> Outcome {
        match self.products.get(&id) {
            Some(_) => Outcome::Product(self.product_view(id)),
            None => Outcome::ProductNotFound,
        }
    }

    pub(super) fn order(&self, id: OrderId, buyer: Option<BuyerId>) -> Outcome {
        match self.orders.get(&id) {
            Some(order) if buyer.is_none_or(|buyer| buyer == order.view.buyer) => {
                Outcome::Order(self.current(id))
            }
            _ => Outcome::OrderNotFound,
        }
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = OrderView> {
        self.orders.keys().map(|id| self.current(*id))
    }

    pub(super) fn receipt_count(&self) -> u64 {
        self.receipts.values().filter(|receipt| receipt.released.is_some()).count() as u64
    }
    pub(super) fn key_count(&self) -> u64 {
        self.receipts.len() as u64
    }
    pub(super) fn acknowledged(&self) -> Sequence {
        self.acknowledged.values().copied().min().unwrap_or(Sequence::ZERO)
    }
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        let pending = self.orders.values().filter(|o| o.view.status == OrderStatus::Pending);
        pending.map(|order| order.view.expires_at).min()
    }
    pub(super) fn units_of_buyers(&self) -> BTreeMap<(ProductId, BuyerId), u32> {
        let mut units = BTreeMap::new();
        for (id, product) in &self.products {
            for (buyer, sold) in &product.sold {
                *units.entry((*id, *buyer)).or_insert(0) += sold;
            }
        }
        for order in self.orders.values().filter(|order| !order.view.status.is_final()) {
            let view = &order.view;
            *units.entry((view.product, view.buyer)).or_insert(0) += view.quantity.get();
        }
        units
    }

    fn current(&self, id: OrderId) -> OrderView {
        let view = self.orders[&id].view;
        let waitlist = &self.products[&view.product].waitlist;
        let place = waitlist.iter().position(|waiting| *waiting == id);
        OrderView { position: place.map_or(0, |index| index as u32 + 1), ..view }
    }

    fn held(&self, id: ProductId) -> u32 {
        let holds = &self.products[&id].holds;
        holds.iter().map(|order| self.orders[order].view.quantity.get()).sum()
    }
    fn sold(&self, id: ProductId) -> u32 {
        self.products[&id].sold.values().sum()
    }
    fn available(&self, id: ProductId) -> u32 {
        self.products[&id].terms.stock - self.held(id) - self.sold(id)
    }

    fn product_view(&self, id: ProductId) -> ProductView {
        let product = &self.products[&id];
        ProductView {
            product: id,
            price: product.terms.price,
            currency: product.terms.currency,
            state: product.state,
            opens_at: product.terms.opens_at,
            closes_at: product.terms.closes_at,
            stock: product.terms.stock,
            available: self.available(id),
            held: self.held(id),
            sold: self.sold(id),
            limit_per_buyer: product.terms.limit_per_buyer,
            hold_seconds: product.terms.hold_seconds,
            waitlist_capacity: product.terms.waitlist_capacity,
            waitlist_length: product.waitlist.len() as u32,
        }
    }

    /// Does what an event says.
    pub(super) fn apply(&mut self, event: &Event) {
        let at = event.at;
        self.sequence = self.sequence.next();
        self.last_at = at;
        if !matches!(event.fact, Fact::Acknowledged { .. }) {
            self.last_fact = self.sequence;
        }
        match &event.fact {
            Fact::Placed(placed) => {
                let view = OrderView {
                    order: placed.order,
                    product: placed.product,
                    buyer: placed.buyer,
                    quantity: placed.quantity,
                    status: OrderStatus::Pending,
                    currency: placed.currency,
                    unit_price: placed.unit_price,
                    created_at: at,
                    updated_at: at,
                    expires_at: placed.expires_at,
                    position: 0,
                };
                self.enter(view, placed.key, placed.waitlist);
                self.known(placed.product).holds.push(placed.order);
            }
            Fact::Queued(queued) => {
                let view = OrderView {
                    order: queued.order,
                    product: queued.product,
                    buyer: queued.buyer,
                    quantity: queued.quantity,
                    status: OrderStatus::Queued,
                    currency: queued.currency,
                    unit_price: queued.unit_price,
                    created_at: at,
                    updated_at: at,
                    expires_at: Timestamp::NONE,
                    position: queued.position,
                };
                self.enter(view, queued.key, true);
                self.known(queued.product).waitlist.push(queued.order);
            }
            Fact::Paid { order, product, quantity } => {
                let buyer = self.orders[order].view.buyer;
                self.end(*order, OrderStatus::Paid, at);
                *self.known(*product).sold.entry(buyer).or_insert(0) += quantity.get();
            }
            Fact::Cancelled(released) => {
                self.end(released.order, OrderStatus::Cancelled, at);
                self.serve(released.product, &released.matched, at);
            }
            Fact::Expired(released) => {
                self.end(released.order, OrderStatus::Expired, at);
                self.serve(released.product, &released.matched, at);
            }
            Fact::Defined { product, terms, matched } => {
                let defined = self.sequence;
                let product_now = self.products.entry(*product).or_insert_with(|| Product {
                    defined,
                    terms: *terms,
                    state: SaleState::Open,
                    sold: BTreeMap::new(),
                    holds: Vec::new(),
                    waitlist: Vec::new(),
                });
                product_now.terms = *terms;
                self.serve(*product, matched, at);
            }
            Fact::Restocked { product, units, matched } => {
                self.known(*product).terms.stock += units;
                self.serve(*product, matched, at);
            }
            Fact::Withdrawn { product, units } => self.known(*product).terms.stock -= units,
            Fact::StateSet { product, state } => self.known(*product).state = *state,
            Fact::Acknowledged { consumer, through } => {
                self.acknowledged.insert(*consumer, *through);
                self.release(at);
            }
        }
    }

    fn known(&mut self, id: ProductId) -> &mut Product {
        self.products.get_mut(&id).expect("a product")
    }

    fn enter(&mut self, view: OrderView, key: IdempotencyKey, waitlist: bool) {
        self.orders.insert(view.order, Order { view, ended: None });
        if key != IdempotencyKey::NONE {
            let receipt = Receipt { order: view.order, first: view, waitlist, released: None };
            assert!(self.receipts.insert(*key.as_bytes(), receipt).is_none(), "one per key");
        }
    }

    fn end(&mut self, id: OrderId, status: OrderStatus, at: Timestamp) {
        let sequence = self.sequence;
        let order = self.orders.get_mut(&id).expect("an order");
        assert!(!order.view.status.is_final());
        order.view.status = status;
        order.view.updated_at = at;
        order.ended = Some(sequence);
        let product = order.view.product;
        let product = self.known(product);
        product.holds.retain(|hold| *hold != id);
        product.waitlist.retain(|waiting| *waiting != id);
    }

    fn serve(&mut self, product: ProductId, matched: &Matched, at: Timestamp) {
        for id in &matched.orders {
            assert_eq!(self.known(product).waitlist.remove(0), *id);
            self.known(product).holds.push(*id);
            let order = self.orders.get_mut(id).expect("an order");
            order.view.status = OrderStatus::Pending;
            order.view.updated_at = at;
            order.view.expires_at = matched.expires_at;
        }
    }

    /// As the limit never binds where there is a twin, everything that may go goes.
    fn release(&mut self, at: Timestamp) {
        let least = self.acknowledged();
        let gone: Vec<OrderId> = self
            .orders
            .iter()
            .filter(|(_, order)| order.ended.is_some_and(|sequence| sequence <= least))
            .map(|(id, _)| *id)
            .collect();
        assert!(gone.len() < limits::RELEASES_PER_EVENT_MAX as usize, "too many for a twin");
        for id in gone {
            let order = self.orders.remove(&id).expect("an order");
            let ended = (order.ended.expect("an end"), order.view.updated_at);
            for receipt in self.receipts.values_mut().filter(|receipt| receipt.order == id) {
                receipt.released = Some(ended);
            }
        }
        self.receipts.retain(|_, receipt| match receipt.released {
            Some((_, ended_at)) => ended_at.micros() + limits::KEY_RETENTION_US > at.micros(),
            None => true,
        });
    }
}
