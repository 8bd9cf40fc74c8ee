//! The naive twin: the same rules over plain ordered maps, written without an eye for speed.
//!
//! It shares nothing with the real state machine but the protocol's types, keeps no counter that it
//! can compute, and looks at everything to answer anything. What both agree on is most likely meant.

use super::Decision;
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::event::{Event, Fact, Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, Command, Currency, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Sequence,
    Timestamp, limits,
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
pub(super) struct Twin {
    partition: PartitionId,
    pub(super) sequence: Sequence,
    last_at: Timestamp,
    last_fact: Sequence,
    acknowledged: BTreeMap<u8, Sequence>,
    products: BTreeMap<ProductId, Product>,
    orders: BTreeMap<OrderId, Order>,
    receipts: BTreeMap<[u8; 16], Receipt>,
}

impl Twin {
    pub(super) fn new(partition: PartitionId) -> Self {
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

    // Questions.

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

    // Decisions: who decides tries it on a copy, and tells what it sees there.

    pub(super) fn decide(&self, command: &Command, now: Timestamp) -> Decision {
        let now = std::cmp::max(now, self.last_at);
        let no = |outcome| Decision { outcome, event: None };
        let fact = match command {
            Command::Place(place) => match self.try_place(place, now) {
                Ok(fact) => fact,
                Err(outcome) => return no(outcome),
            },
            Command::Confirm { order } => match self.standing(*order, None, now) {
                Ok(view) if view.status == OrderStatus::Queued => return no(Outcome::NotPayable),
                Ok(OrderView { order, product, quantity, .. }) => {
                    Fact::Paid { order, product, quantity }
                }
                Err(outcome) => return no(outcome),
            },
            Command::Cancel { order, buyer } => match self.standing(*order, *buyer, now) {
                Ok(view) => Fact::Cancelled(self.released(view, now)),
                Err(outcome) => return no(outcome),
            },
            Command::Define(define) => match self.try_define(define, now) {
                Ok(fact) => fact,
                Err(outcome) => return no(outcome),
            },
            Command::Restock { product, .. }
            | Command::Withdraw { product, .. }
            | Command::SetState { product, .. }
                if !self.products.contains_key(product) =>
            {
                return no(Outcome::ProductNotFound);
            }
            Command::Restock { product, units } => {
                let stock = u64::from(self.products[product].terms.stock) + u64::from(*units);
                if stock > u64::from(limits::STOCK_MAX) {
                    return no(Outcome::StockTooLarge);
                }
                let available = self.available(*product) + units;
                let seconds = self.products[product].terms.hold_seconds;
                let matched = self.matched(*product, available, None, seconds, now);
                Fact::Restocked { product: *product, units: *units, matched }
            }
            Command::Withdraw { product, units } => {
                if *units > self.available(*product) {
                    let committed = self.held(*product) + self.sold(*product);
                    return no(Outcome::StockCommitted { committed });
                }
                Fact::Withdrawn { product: *product, units: *units }
            }
            Command::SetState { product, state } => {
                if self.products[product].state == *state {
                    return no(self.product(*product));
                }
                Fact::StateSet { product: *product, state: *state }
            }
            Command::Expire => match self.overdue(now) {
                Some(view) => Fact::Expired(self.released(view, now)),
                None => return no(Outcome::OrderNotFound),
            },
            Command::Acknowledge { consumer, through } => {
                if !self.is_worth_it(*consumer, *through, now) {
                    return no(Outcome::OrderNotFound);
                }
                Fact::Acknowledged { consumer: *consumer, through: *through }
            }
        };
        let event = Event { at: now, fact };
        let mut after = self.clone();
        after.apply(&event);
        Decision { outcome: after.answer(&event.fact), event: Some(event) }
    }

    /// What is said of a fact once it is one.
    fn answer(&self, fact: &Fact) -> Outcome {
        match fact {
            Fact::Placed(placed) => Outcome::Placed(self.current(placed.order)),
            Fact::Queued(queued) => Outcome::Queued(self.current(queued.order)),
            Fact::Paid { order, .. } => Outcome::Paid(self.current(*order)),
            Fact::Cancelled(released) => Outcome::Cancelled(self.current(released.order)),
            Fact::Expired(released) => Outcome::Order(self.current(released.order)),
            Fact::Defined { product, .. }
            | Fact::Restocked { product, .. }
            | Fact::Withdrawn { product, .. }
            | Fact::StateSet { product, .. } => self.product(*product),
            Fact::Acknowledged { .. } => Outcome::OrderNotFound,
        }
    }

    fn try_place(&self, place: &Place, now: Timestamp) -> Result<Fact, Outcome> {
        let product = self.products.get(&place.product).ok_or(Outcome::ProductNotFound)?;
        if place.key != IdempotencyKey::NONE
            && let Some(receipt) = self.receipts.get(place.key.as_bytes())
        {
            let first = &receipt.first;
            let is_same = first.product == place.product
                && first.buyer == place.buyer
                && first.quantity == place.quantity
                && receipt.waitlist == place.waitlist;
            return Err(if is_same { Outcome::Replayed(*first) } else { Outcome::KeyMismatch });
        }
        let terms = &product.terms;
        if product.state == SaleState::Paused {
            return Err(Outcome::Paused { opens_at: terms.opens_at });
        }
        if terms.opens_at != Timestamp::NONE && now < terms.opens_at {
            return Err(Outcome::NotOpen { opens_at: terms.opens_at });
        }
        if terms.closes_at != Timestamp::NONE && now >= terms.closes_at {
            return Err(Outcome::Ended { closes_at: terms.closes_at });
        }
        let has = self.units_of_buyers();
        let has = has.get(&(place.product, place.buyer)).copied().unwrap_or(0);
        if terms.limit_per_buyer > 0 && has + place.quantity.get() > terms.limit_per_buyer {
            return Err(Outcome::LimitExceeded { limit: terms.limit_per_buyer });
        }
        let order = OrderId::new(now, self.partition, place.buyer, self.sequence.next());
        if product.waitlist.is_empty() && self.available(place.product) >= place.quantity.get() {
            return Ok(Fact::Placed(Placed {
                order,
                product: place.product,
                buyer: place.buyer,
                key: place.key,
                quantity: place.quantity,
                unit_price: terms.price,
                currency: terms.currency,
                expires_at: self.deadline(place.product, None, terms.hold_seconds, now),
                waitlist: place.waitlist,
            }));
        }
        if place.waitlist && (product.waitlist.len() as u32) < terms.waitlist_capacity {
            return Ok(Fact::Queued(Queued {
                order,
                product: place.product,
                buyer: place.buyer,
                key: place.key,
                quantity: place.quantity,
                unit_price: terms.price,
                currency: terms.currency,
                position: product.waitlist.len() as u32 + 1,
            }));
        }
        Err(Outcome::SoldOut)
    }

    /// An order that has not ended at `now`.
    fn standing(
        &self,
        id: OrderId,
        buyer: Option<BuyerId>,
        now: Timestamp,
    ) -> Result<OrderView, Outcome> {
        let Outcome::Order(view) = self.order(id, buyer) else {
            return Err(Outcome::OrderNotFound);
        };
        match view.status {
            OrderStatus::Pending if now >= view.expires_at => {
                Err(Outcome::OrderFinal(OrderStatus::Expired))
            }
            OrderStatus::Pending | OrderStatus::Queued => Ok(view),
            ended => Err(Outcome::OrderFinal(ended)),
        }
    }

    /// The earliest overdue hold; the product defined first, then the hold made first.
    fn overdue(&self, now: Timestamp) -> Option<OrderView> {
        let mut heads = Vec::new();
        for product in self.products.values() {
            if let Some(head) = product.holds.first() {
                let view = self.orders[head].view;
                if view.expires_at <= now {
                    heads.push((view.expires_at, product.defined, view));
                }
            }
        }
        heads.sort_by_key(|(deadline, defined, _)| (*deadline, *defined));
        heads.first().map(|(_, _, view)| *view)
    }

    fn released(&self, view: OrderView, now: Timestamp) -> Released {
        let OrderView { order, product, quantity, status, .. } = view;
        let mut available = self.available(product);
        if status == OrderStatus::Pending {
            available += quantity.get();
        }
        let seconds = self.products[&product].terms.hold_seconds;
        let matched = self.matched(product, available, Some(order), seconds, now);
        Released { order, product, quantity, matched }
    }

    fn matched(
        &self,
        product: ProductId,
        mut available: u32,
        without: Option<OrderId>,
        hold_seconds: u32,
        now: Timestamp,
    ) -> Matched {
        let mut orders = Vec::new();
        for id in self.products[&product].waitlist.iter().filter(|id| Some(**id) != without) {
            let wanted = self.orders[id].view.quantity.get();
            if wanted > available {
                break;
            }
            available -= wanted;
            orders.push(*id);
        }
        if orders.is_empty() {
            return Matched::default();
        }
        Matched { orders, expires_at: self.deadline(product, without, hold_seconds, now) }
    }

    fn deadline(
        &self,
        product: ProductId,
        without: Option<OrderId>,
        hold_seconds: u32,
        now: Timestamp,
    ) -> Timestamp {
        let holds = self.products[&product].holds.iter().filter(|id| Some(**id) != without);
        let latest = holds.map(|id| self.orders[id].view.expires_at).max();
        let own = Timestamp::from_micros(now.micros() + u64::from(hold_seconds) * 1_000_000);
        latest.map_or(own, |latest| latest.max(own))
    }

    fn try_define(&self, define: &Define, now: Timestamp) -> Result<Fact, Outcome> {
        let old = self.products.get(&define.product);
        if old.is_none() && (define.price.is_none() || define.stock.is_none()) {
            return Err(Outcome::DefinitionIncomplete);
        }
        let mut terms = old.map_or(
            Terms {
                price: 0,
                currency: Currency::USD,
                stock: 0,
                opens_at: Timestamp::NONE,
                closes_at: Timestamp::NONE,
                limit_per_buyer: 0,
                hold_seconds: 600,
                waitlist_capacity: 0,
            },
            |product| product.terms,
        );
        if old.is_some() && define.currency.is_some_and(|currency| currency != terms.currency) {
            return Err(Outcome::CurrencyFixed);
        }
        macro_rules! take {
            ($($field:ident)*) => { $(if let Some(value) = define.$field { terms.$field = value; })* };
        }
        take!(price currency stock opens_at closes_at limit_per_buyer hold_seconds waitlist_capacity);
        if terms.closes_at != Timestamp::NONE && terms.closes_at <= terms.opens_at {
            return Err(Outcome::WindowReversed);
        }
        let mut matched = Matched::default();
        if let Some(old) = old {
            let committed = self.held(define.product) + self.sold(define.product);
            if terms.stock < committed {
                return Err(Outcome::StockCommitted { committed });
            }
            if terms == old.terms {
                return Err(self.product(define.product));
            }
            let available = terms.stock - committed;
            matched = self.matched(define.product, available, None, terms.hold_seconds, now);
        }
        Ok(Fact::Defined { product: define.product, terms, matched })
    }

    fn is_worth_it(&self, consumer: u8, through: Sequence, now: Timestamp) -> bool {
        let before = self.acknowledged.get(&consumer).copied().unwrap_or(Sequence::ZERO);
        if consumer >= 8 || through.get() == 0 || through < before || through > self.sequence {
            return false;
        }
        let covers_a_fact = through > before && self.last_fact > before;
        let least = self.acknowledged();
        let mut ended = self.orders.values().filter_map(|order| order.ended);
        let has_release = ended.any(|sequence| sequence <= least);
        let mut released = self.receipts.values().filter_map(|receipt| receipt.released);
        let has_old =
            released.any(|(_, at)| at.micros() + limits::KEY_RETENTION_US <= now.micros());
        covers_a_fact || has_release || has_old
    }

    // Facts.

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

    /// As the limit never binds in these tests, everything that may go goes.
    fn release(&mut self, at: Timestamp) {
        let least = self.acknowledged();
        let gone: Vec<OrderId> = self
            .orders
            .iter()
            .filter(|(_, order)| order.ended.is_some_and(|sequence| sequence <= least))
            .map(|(id, _)| *id)
            .collect();
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
