//! What the twin decides: it tries every event on a copy, and tells what it sees there.

use super::Twin;
use crate::state_machine::Decision;
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::event::{Event, Fact, Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{
    BuyerId, Command, Currency, IdempotencyKey, OrderId, Outcome, ProductId, Sequence, Timestamp,
    limits,
};

impl Twin {
    pub(in crate::state_machine) fn decide(&self, command: &Command, now: Timestamp) -> Decision {
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
}
