//! A sale to play with: names for ids, a clock, and every command through decide and apply, with
//! all invariants checked after each.

use super::{State, apply, decide};
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::event::{Event, Matched};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, Command, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Quantity, Sequence,
    Timestamp,
};

pub(super) const SECOND: u64 = 1_000_000;
/// When every test begins.
pub(super) const START: Timestamp = Timestamp::from_micros(1_800_000_000 * SECOND);

pub(super) fn partition() -> PartitionId {
    PartitionId::new(7).expect("a partition number")
}
pub(super) fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a name")
}
pub(super) fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).expect("a name")
}
pub(super) fn units(count: u32) -> Quantity {
    Quantity::new(count).expect("a quantity")
}
/// `seconds` after the start.
pub(super) fn at(seconds: u64) -> Timestamp {
    START.plus_micros(seconds * SECOND)
}

/// A product with `stock` units and a hold of ten seconds.
pub(super) fn terms(name: &str, stock: u32) -> Define {
    Define {
        price: Some(500),
        stock: Some(stock),
        hold_seconds: Some(10),
        ..Define::new(product(name))
    }
}

/// One unit of `shoe` for a buyer, without a key, without queueing up.
pub(super) fn attempt(name: &str) -> Place {
    Place {
        product: product("shoe"),
        buyer: buyer(name),
        key: IdempotencyKey::NONE,
        quantity: Quantity::ONE,
        waitlist: false,
    }
}
/// The same, queueing up for `quantity` units.
pub(super) fn standing(name: &str, quantity: u32) -> Place {
    Place { quantity: units(quantity), waitlist: true, ..attempt(name) }
}
pub(super) fn with_key(key: &[u8], place: Place) -> Place {
    Place { key: IdempotencyKey::new(place.buyer, place.product, key), ..place }
}

/// A state, a clock, and what happened.
pub(super) struct Sale {
    pub(super) state: State,
    pub(super) now: Timestamp,
    pub(super) events: Vec<Event>,
}

impl Sale {
    /// Nothing defined yet.
    pub(super) fn empty() -> Self {
        Self::of(State::new(partition()))
    }
    pub(super) fn of(state: State) -> Self {
        Self { state, now: START, events: Vec::new() }
    }
    /// Product `shoe` on these terms.
    pub(super) fn defined(terms: &Define) -> Self {
        let mut sale = Self::empty();
        assert!(matches!(sale.run(Command::Define(*terms)), Outcome::Product(_)));
        sale
    }
    /// `shoe` with `stock` units and room for a hundred on the waitlist.
    pub(super) fn with_waitlist(stock: u32) -> Self {
        Self::defined(&Define { waitlist_capacity: Some(100), ..terms("shoe", stock) })
    }

    /// Goes through the whole path: decide, encode, decode, apply, check.
    pub(super) fn run(&mut self, command: Command) -> Outcome {
        let decision = decide(&self.state, &command, self.now);
        if let Some(event) = decision.event {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            let mut from = doorbuster_protocol::record::Reader::new(&bytes);
            let event = Event::decode(&mut from).expect("an event that was just encoded");
            apply(&mut self.state, &event);
            self.state.check_invariants();
            self.events.push(event);
        }
        decision.outcome
    }
    /// Runs it, and insists that nothing happened.
    pub(super) fn refuse(&mut self, command: Command) -> Outcome {
        let before = (self.state.sequence(), self.state.digest());
        let outcome = self.run(command);
        assert_eq!((self.state.sequence(), self.state.digest()), before, "nothing happened");
        outcome
    }

    pub(super) fn place(&mut self, place: Place) -> Outcome {
        self.run(Command::Place(place))
    }
    /// Places it, and insists on a hold.
    pub(super) fn hold(&mut self, place: Place) -> OrderId {
        match self.place(place) {
            Outcome::Placed(view) => view.order,
            other => panic!("no hold: {other:?}"),
        }
    }
    /// Places it, and insists on a place on the waitlist.
    pub(super) fn queue_up(&mut self, place: Place) -> OrderId {
        match self.place(place) {
            Outcome::Queued(view) => view.order,
            other => panic!("not queued: {other:?}"),
        }
    }
    pub(super) fn pay(&mut self, order: OrderId) -> Outcome {
        self.run(Command::Confirm { order })
    }
    pub(super) fn cancel(&mut self, order: OrderId) -> Outcome {
        self.run(Command::Cancel { order, buyer: None })
    }
    pub(super) fn restock(&mut self, units: u32) -> Outcome {
        self.run(Command::Restock { product: product("shoe"), units })
    }
    pub(super) fn set_state(&mut self, state: SaleState) -> Outcome {
        self.run(Command::SetState { product: product("shoe"), state })
    }
    /// Lets the clock run, and everything overdue expire; who did, in order.
    pub(super) fn wait(&mut self, seconds: u64) -> Vec<OrderId> {
        self.now = self.now.plus_micros(seconds * SECOND);
        let mut expired = Vec::new();
        while let Outcome::Order(view) = self.run(Command::Expire) {
            assert_eq!(view.status, OrderStatus::Expired);
            expired.push(view.order);
        }
        expired
    }
    /// The store acknowledges everything.
    pub(super) fn acknowledge_all(&mut self) {
        self.acknowledge(0, self.state.sequence());
    }
    pub(super) fn acknowledge(&mut self, consumer: u8, through: Sequence) {
        self.run(Command::Acknowledge { consumer, through });
    }

    pub(super) fn shoe(&self) -> ProductView {
        match self.state.product(product("shoe")) {
            Outcome::Product(view) => view,
            other => panic!("no shoe: {other:?}"),
        }
    }
    /// (available, held, sold) of `shoe`.
    pub(super) fn counters(&self) -> (u32, u32, u32) {
        let shoe = self.shoe();
        (shoe.available, shoe.held, shoe.sold)
    }
    pub(super) fn view(&self, order: OrderId) -> OrderView {
        match self.state.order(order, None) {
            Outcome::Order(view) => view,
            other => panic!("no order {order}: {other:?}"),
        }
    }
    pub(super) fn status(&self, order: OrderId) -> OrderStatus {
        self.view(order).status
    }
    /// Whom the last event served.
    pub(super) fn last_matched(&self) -> &Matched {
        use doorbuster_protocol::Fact;
        match &self.events.last().expect("something happened").fact {
            Fact::Cancelled(released) | Fact::Expired(released) => &released.matched,
            Fact::Defined { matched, .. } | Fact::Restocked { matched, .. } => matched,
            other => panic!("nothing is matched by {other:?}"),
        }
    }
}
