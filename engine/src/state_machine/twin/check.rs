//! The twin as a judge: of a state, and of a log's events.

use super::Twin;
use crate::state_machine::State;
use doorbuster_protocol::Command;
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::event::{Event, Fact, Terms};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{ProductId, Sequence};

impl Twin {
    /// Panics unless `state` shows what the twin shows.
    pub fn compare(&self, state: &State) {
        assert_eq!(state.sequence(), self.sequence);
        assert_eq!(state.last_at(), self.last_at);
        assert_eq!(state.next_expiry(), self.next_expiry());
        assert_eq!(state.acknowledged(), self.acknowledged());
        for id in self.products.keys() {
            assert_eq!(state.product(*id), self.product(*id));
        }
        assert_eq!(state.products().count(), self.products.len());
        let mut orders: Vec<_> = state.orders().collect();
        orders.sort_by_key(|view| view.order);
        assert!(orders.iter().copied().eq(self.orders()), "the same orders");
        let totals = state.totals();
        assert_eq!(totals.orders, orders.len() as u64);
        assert_eq!(totals.receipts, self.receipt_count());
        assert_eq!(totals.keys, self.key_count());
        let waits = orders.iter().filter(|view| view.status == OrderStatus::Queued);
        assert_eq!(totals.queued, waits.count() as u64);
        let mut units: Vec<_> = state.units_of_buyers().collect();
        units.sort_unstable();
        let expected = self.units_of_buyers();
        assert!(units.into_iter().eq(expected.into_iter().map(|((p, b), n)| (p, b, n))));
    }

    /// Takes the next event of a log. An error says why it should not be there: because no command
    /// leads to it at that time, or because something does not hold after it.
    pub fn replay(&mut self, sequence: Sequence, event: &Event) -> Result<(), String> {
        if sequence != self.sequence.next() {
            return Err(format!("event {sequence} follows event {}", self.sequence));
        }
        if event.at < self.last_at {
            return Err(format!("event {sequence} is from before the one before it: {event:?}"));
        }
        let command = self.command_of(event);
        let expected = self.decide(&command, event.at);
        if expected.event.as_ref() != Some(event) {
            return Err(format!("event {sequence} is {event:?}, not {expected:?}"));
        }
        self.apply(event);
        self.products
            .keys()
            .try_for_each(|id| self.check_product(*id))
            .map_err(|why| format!("after event {sequence}, {event:?}: {why}"))
    }

    /// The command that may have led to an event.
    fn command_of(&self, event: &Event) -> Command {
        match &event.fact {
            Fact::Placed(placed) => Command::Place(Place {
                product: placed.product,
                buyer: placed.buyer,
                key: placed.key,
                quantity: placed.quantity,
                waitlist: placed.waitlist,
            }),
            Fact::Queued(queued) => Command::Place(Place {
                product: queued.product,
                buyer: queued.buyer,
                key: queued.key,
                quantity: queued.quantity,
                waitlist: true,
            }),
            Fact::Paid { order, .. } => Command::Confirm { order: *order },
            Fact::Cancelled(released) => Command::Cancel { order: released.order, buyer: None },
            Fact::Expired(_) => Command::Expire,
            Fact::Defined { product, terms, .. } => Command::Define(define(*product, terms)),
            Fact::Restocked { product, units, .. } => {
                Command::Restock { product: *product, units: *units }
            }
            Fact::Withdrawn { product, units } => {
                Command::Withdraw { product: *product, units: *units }
            }
            Fact::StateSet { product, state } => {
                Command::SetState { product: *product, state: *state }
            }
            Fact::Acknowledged { consumer, through } => {
                Command::Acknowledge { consumer: *consumer, through: *through }
            }
        }
    }

    /// What must hold of a product, whatever happened.
    fn check_product(&self, id: ProductId) -> Result<(), String> {
        let product = &self.products[&id];
        let (held, sold, stock) = (self.held(id), self.sold(id), product.terms.stock);
        let Some(available) = stock.checked_sub(held).and_then(|rest| rest.checked_sub(sold))
        else {
            return Err(format!("{id} has {held} held and {sold} sold of {stock}"));
        };
        match product.waitlist.first().map(|order| self.orders[order].view.quantity.get()) {
            Some(wanted) if wanted <= available => {
                Err(format!("{id} has {available} available, and somebody waits for {wanted}"))
            }
            _ => Ok(()),
        }
    }
}

/// The definition that says all terms.
fn define(product: ProductId, terms: &Terms) -> Define {
    Define {
        product,
        price: Some(terms.price),
        currency: Some(terms.currency),
        stock: Some(terms.stock),
        opens_at: Some(terms.opens_at),
        closes_at: Some(terms.closes_at),
        limit_per_buyer: Some(terms.limit_per_buyer),
        hold_seconds: Some(terms.hold_seconds),
        waitlist_capacity: Some(terms.waitlist_capacity),
    }
}
