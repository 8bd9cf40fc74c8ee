//! What each fact does to the state. The only code that changes one, live and in replay alike.
//!
//! An event is taken at its word: nothing is decided again, prices, deadlines and matched orders
//! stand in it. What must hold is checked, in release builds too: a state that is wrong must not
//! go on selling, and a log that does not fit its state must not be replayed.

use super::key_index::Whereabouts;
use super::order::{Links, Order, OrderSlot};
use super::product::{Product, ProductSlot};
use super::state::State;
use doorbuster_protocol::event::{Event, Fact, Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{OrderId, ProductId, Quantity, Sequence, Timestamp, limits};

/// What an event says, and the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Contradiction(pub(super) &'static str);

/// An error that says what must hold, unless it does.
pub(super) fn ensure(holds: bool, rule: &'static str) -> Result<(), Contradiction> {
    if holds { Ok(()) } else { Err(Contradiction(rule)) }
}

/// Makes an event that was just decided part of the state, as its next sequence.
///
/// Panics when the event does not fit the state, because that is a bug.
pub fn apply(state: &mut State, event: &Event) {
    let sequence = state.sequence;
    if let Err(Contradiction(rule)) = replay(state, event) {
        panic!("partition {}, after event {sequence}: {rule}: {event:?}", state.partition);
    }
}

/// Makes an event that was read part of the state, as its next sequence.
///
/// After an error the state is neither the one before nor the one after, and must be dropped.
pub fn replay(state: &mut State, event: &Event) -> Result<(), Contradiction> {
    ensure(event.at >= state.last_at, "the time of a partition does not go back")?;
    state.sequence = state.sequence.next();
    state.last_at = event.at;
    let touched = match &event.fact {
        Fact::Acknowledged { consumer, through } => {
            return state.acknowledge(*consumer, *through, event.at);
        }
        Fact::Placed(placed) => state.place(placed, event.at)?,
        Fact::Queued(queued) => state.queue_up(queued, event.at)?,
        Fact::Paid { order, product, quantity } => {
            state.pay(*order, *product, *quantity, event.at)?
        }
        Fact::Cancelled(released) => state.give_back(released, OrderStatus::Cancelled, event.at)?,
        Fact::Expired(released) => state.give_back(released, OrderStatus::Expired, event.at)?,
        Fact::Defined { product, terms, matched } => {
            state.define(*product, *terms, matched, event.at)?
        }
        Fact::Restocked { product, units, matched } => {
            state.restock(*product, *units, matched, event.at)?
        }
        Fact::Withdrawn { product, units } => state.withdraw(*product, *units)?,
        Fact::StateSet { product, state: sale } => {
            let slot = state.known(*product)?;
            state.products[slot].state = *sale;
            slot
        }
    };
    state.last_fact = state.sequence;
    state.settle(touched)
}

impl State {
    fn known(&self, product: ProductId) -> Result<ProductSlot, Contradiction> {
        let found = self.products.find(product);
        found.ok_or(Contradiction("an event names a product that was defined"))
    }

    fn place(&mut self, placed: &Placed, at: Timestamp) -> Result<ProductSlot, Contradiction> {
        let slot = self.known(placed.product)?;
        let units = placed.quantity.get();
        let product = &mut self.products[slot];
        ensure(product.waitlist.is_empty(), "nobody overtakes the waitlist")?;
        ensure(units <= product.available, "a hold takes units that are available")?;
        ensure(placed.currency == product.terms.currency, "an order has its product's currency")?;
        product.available -= units;
        product.held += units;
        let order = self.orders.insert(Order {
            id: placed.order,
            buyer: placed.buyer,
            key: placed.key,
            unit_price: placed.unit_price,
            created_at: at,
            updated_at: at,
            expires_at: placed.expires_at,
            mark: 0,
            product: slot,
            position: 0,
            links: Links::NONE,
            quantity: placed.quantity.into(),
            status: OrderStatus::Pending,
            waitlist: placed.waitlist,
        });
        self.hold(slot, order)?;
        self.enter(order)?;
        Ok(slot)
    }

    fn queue_up(&mut self, queued: &Queued, at: Timestamp) -> Result<ProductSlot, Contradiction> {
        let slot = self.known(queued.product)?;
        let product = &mut self.products[slot];
        ensure(queued.position == product.waitlist.len() + 1, "who queues up is last")?;
        ensure(queued.position <= product.terms.waitlist_capacity, "a waitlist has its capacity")?;
        ensure(queued.currency == product.terms.currency, "an order has its product's currency")?;
        let order = self.orders.insert(Order {
            id: queued.order,
            buyer: queued.buyer,
            key: queued.key,
            unit_price: queued.unit_price,
            created_at: at,
            updated_at: at,
            expires_at: Timestamp::NONE,
            mark: 0,
            product: slot,
            position: queued.position,
            links: Links::NONE,
            quantity: queued.quantity.into(),
            status: OrderStatus::Queued,
            waitlist: true,
        });
        product.waitlist.push_back(&mut self.orders, order);
        self.enter(order)?;
        Ok(slot)
    }

    /// Makes a new order findable and counts its units.
    fn enter(&mut self, slot: OrderSlot) -> Result<(), Contradiction> {
        let Order { id, buyer, key, product, quantity, .. } = self.orders[slot];
        ensure(
            id.partition() == self.partition && id.sequence_bits() == low_bits(self.sequence),
            "an order id names its partition and its event",
        )?;
        let is_first = self.by_id.insert(self.sequence, slot);
        ensure(is_first, "an event makes one order")?;
        if !key.is_none() {
            // Another look-up for every order: in debug builds alone.
            let is_new = !cfg!(debug_assertions) || self.find_key(key).is_none();
            ensure(is_new, "a key makes one order")?;
            self.by_key.insert(key, Whereabouts::Order(slot));
        }
        let units = self.buyers.add(product, buyer, quantity.get());
        let units = units.ok_or(Contradiction("units of a buyer are bounded by stock"))?;
        let limit = self.products[product].terms.limit_per_buyer;
        ensure(limit == 0 || units <= limit, "a new order stays within its buyer's limit")
    }

    fn pay(
        &mut self,
        id: OrderId,
        product: ProductId,
        quantity: Quantity,
        at: Timestamp,
    ) -> Result<ProductSlot, Contradiction> {
        let slot = self.unfinished(id, product, quantity)?;
        let order = &self.orders[slot];
        ensure(order.status == OrderStatus::Pending, "only a hold is paid")?;
        ensure(at < order.expires_at, "a hold is paid before its deadline")?;
        let product = &mut self.products[order.product];
        product.holds.remove(&mut self.orders, slot);
        product.held -= quantity.get();
        product.sold += quantity.get();
        Ok(self.finish(slot, OrderStatus::Paid, at))
    }

    fn give_back(
        &mut self,
        released: &Released,
        end: OrderStatus,
        at: Timestamp,
    ) -> Result<ProductSlot, Contradiction> {
        let slot = self.unfinished(released.order, released.product, released.quantity)?;
        let Order { product: number, buyer, status, expires_at, .. } = self.orders[slot];
        let product = &mut self.products[number];
        let units = released.quantity.get();
        match status {
            OrderStatus::Pending => {
                product.holds.remove(&mut self.orders, slot);
                product.held -= units;
                product.available += units;
            }
            _ => product.waitlist.remove(&mut self.orders, slot),
        }
        if end == OrderStatus::Expired {
            ensure(status == OrderStatus::Pending, "only a hold runs out")?;
            ensure(expires_at <= at, "a hold runs out after its deadline")?;
        }
        ensure(self.buyers.take(number, buyer, units), "units that come back were counted")?;
        self.finish(slot, end, at);
        self.serve(number, &released.matched, at)?;
        Ok(number)
    }

    /// An order that an event is about to end.
    fn unfinished(
        &self,
        id: OrderId,
        product: ProductId,
        quantity: Quantity,
    ) -> Result<OrderSlot, Contradiction> {
        let slot = self.here(id)?;
        let order = &self.orders[slot];
        ensure(!order.status.is_final(), "an order ends once")?;
        ensure(order.quantity == quantity.into(), "an event knows the units of its order")?;
        let id = self.products[order.product].id;
        ensure(id == product, "an event knows the product of its order")?;
        Ok(slot)
    }

    fn here(&self, id: OrderId) -> Result<OrderSlot, Contradiction> {
        let found = self.find_order(id, None);
        found.ok_or(Contradiction("an event names an order that is here"))
    }

    fn finish(&mut self, slot: OrderSlot, status: OrderStatus, at: Timestamp) -> ProductSlot {
        let order = &mut self.orders[slot];
        order.status = status;
        order.updated_at = at;
        order.mark = self.sequence.get();
        let product = order.product;
        self.finals.push_back(&mut self.orders, slot);
        product
    }

    /// The matched orders leave the waitlist and hold their units.
    fn serve(
        &mut self,
        number: ProductSlot,
        matched: &Matched,
        at: Timestamp,
    ) -> Result<(), Contradiction> {
        for id in &matched.orders {
            let slot = self.here(*id)?;
            let product = &mut self.products[number];
            ensure(product.waitlist.head() == Some(slot), "the waitlist is served from its head")?;
            product.waitlist.remove(&mut self.orders, slot);
            let order = &mut self.orders[slot];
            let units = order.quantity.get();
            ensure(units <= product.available, "a hold takes units that are available")?;
            product.available -= units;
            product.held += units;
            order.status = OrderStatus::Pending;
            order.updated_at = at;
            order.expires_at = matched.expires_at;
            order.mark = 0;
            self.hold(number, slot)?;
        }
        Ok(())
    }

    /// An order joins the queue of its product's holds.
    fn hold(&mut self, number: ProductSlot, slot: OrderSlot) -> Result<(), Contradiction> {
        let product = &mut self.products[number];
        if let Some(tail) = product.holds.tail() {
            ensure(
                self.orders[tail].expires_at <= self.orders[slot].expires_at,
                "holds run out in the order of their queue",
            )?;
        }
        product.holds.push_back(&mut self.orders, slot);
        Ok(())
    }

    fn define(
        &mut self,
        id: ProductId,
        terms: Terms,
        matched: &Matched,
        at: Timestamp,
    ) -> Result<ProductSlot, Contradiction> {
        ensure(terms.price <= limits::PRICE_MAX, "a price is bounded")?;
        ensure(terms.stock <= limits::STOCK_MAX, "stock is bounded")?;
        ensure(terms.hold_seconds <= limits::HOLD_SECONDS_MAX, "a hold's time is bounded")?;
        ensure(terms.waitlist_capacity <= limits::WAITLIST_MAX, "a waitlist is bounded")?;
        let Some(slot) = self.products.find(id) else {
            ensure(matched.orders.is_empty(), "nobody waits for a new product")?;
            ensure(self.products.len() < self.bounds.products, "products are bounded")?;
            return Ok(self.products.insert(Product::new(id, terms)));
        };
        let product = &mut self.products[slot];
        ensure(terms.currency == product.terms.currency, "a product keeps its currency")?;
        let left = terms.stock.checked_sub(product.committed());
        product.available =
            left.ok_or(Contradiction("stock stays at or above what is sold and held"))?;
        product.terms = terms;
        self.serve(slot, matched, at)?;
        Ok(slot)
    }

    fn restock(
        &mut self,
        id: ProductId,
        units: u32,
        matched: &Matched,
        at: Timestamp,
    ) -> Result<ProductSlot, Contradiction> {
        let slot = self.known(id)?;
        let product = &mut self.products[slot];
        let stock = product.terms.stock.checked_add(units);
        ensure(stock.is_some_and(|stock| stock <= limits::STOCK_MAX), "stock is bounded")?;
        product.terms.stock += units;
        product.available += units;
        self.serve(slot, matched, at)?;
        Ok(slot)
    }

    fn withdraw(&mut self, id: ProductId, units: u32) -> Result<ProductSlot, Contradiction> {
        let slot = self.known(id)?;
        let product = &mut self.products[slot];
        ensure(units <= product.available, "units that are sold or held stay")?;
        product.terms.stock -= units;
        product.available -= units;
        Ok(slot)
    }

    /// After every event: what must hold for the product that it touched, and who must hear of it.
    fn settle(&mut self, slot: ProductSlot) -> Result<(), Contradiction> {
        let product = &mut self.products[slot];
        ensure(
            u64::from(product.available) + u64::from(product.held) + u64::from(product.sold)
                == u64::from(product.terms.stock),
            "available + held + sold is the stock",
        )?;
        if let Some(head) = product.waitlist.head() {
            ensure(
                self.orders[head].quantity.get() > product.available,
                "the head of a waitlist does not fit what is available",
            )?;
        }
        self.schedule(slot);
        let product = &mut self.products[slot];
        if !product.changed {
            product.changed = true;
            self.changed.push(slot);
        }
        Ok(())
    }

    /// Keeps the agenda at the product's first deadline. A hold that left its queue never comes
    /// back to it, so the same head has the same deadline.
    pub(super) fn schedule(&mut self, slot: ProductSlot) {
        let product = &mut self.products[slot];
        let head = product.holds.head().unwrap_or(OrderSlot::NONE);
        if product.agenda.0 == head {
            return;
        }
        if !product.agenda.0.is_none() {
            self.agenda.remove(&(product.agenda.1, slot));
        }
        let deadline = head.some().map(|head| self.orders[head].expires_at);
        if let Some(deadline) = deadline {
            self.agenda.insert((deadline, slot));
        }
        product.agenda = (head, deadline.unwrap_or(Timestamp::NONE));
    }

    /// Lets go of final orders that every consumer has, and of receipts whose time is over; of both
    /// together no more than the limit.
    fn acknowledge(
        &mut self,
        consumer: u8,
        through: Sequence,
        at: Timestamp,
    ) -> Result<(), Contradiction> {
        ensure(through < self.sequence, "a consumer has what was there")?;
        let known = self.acknowledged.get_mut(usize::from(consumer));
        let before = known.ok_or(Contradiction("there are so many consumers"))?.replace(through);
        ensure(before <= Some(through), "a consumer does not go back")?;
        let acknowledged = self.acknowledged();
        let mut left = limits::RELEASES_PER_EVENT_MAX;
        while left > 0
            && let Some(slot) = self.finals.head()
            && self.orders[slot].final_sequence() <= acknowledged
        {
            self.finals.remove(&mut self.orders, slot);
            let order = &self.orders[slot];
            self.by_id.remove(order.id, self.sequence, &self.orders);
            if !order.key.is_none() {
                let receipt = self.receipts.push(order);
                self.by_key.moved(order.key, slot, receipt);
            }
            self.orders.remove(slot);
            left -= 1;
        }
        while left > 0
            && self.is_receipt_old(at)
            && let Some((receipt, order)) = self.receipts.pop()
        {
            self.by_key.remove(order.key, receipt);
            left -= 1;
        }
        Ok(())
    }
}

/// The bits of a sequence that an order id carries.
fn low_bits(sequence: Sequence) -> u64 {
    sequence.get() & ((1 << 40) - 1)
}
