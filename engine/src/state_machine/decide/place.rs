//! An attempt to buy: a hold, a place on the waitlist, or the reason why not.

use super::Decision;
use crate::state_machine::matching;
use crate::state_machine::product::{Product, ProductSlot};
use crate::state_machine::state::State;
use doorbuster_protocol::command::{Place, SaleState};
use doorbuster_protocol::event::{Fact, Placed, Queued};
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{OrderId, Outcome, Timestamp};

pub(super) fn place(state: &State, wanted: &Place, now: Timestamp) -> Decision {
    let Some(slot) = state.products.find(wanted.product) else {
        return Decision::answer(Outcome::ProductNotFound);
    };
    if let Some(outcome) = seen_before(state, slot, wanted) {
        return Decision::answer(outcome);
    }
    let product = &state.products[slot];
    if let Some(refusal) = closed(product, now).or_else(|| exceeds(state, slot, wanted)) {
        return Decision::answer(refusal);
    }
    if product.waitlist.is_empty() && wanted.quantity.get() <= product.available {
        hold(state, product, wanted, now)
    } else if wanted.waitlist && product.waitlist.len() < product.terms.waitlist_capacity {
        queue_up(state, product, wanted, now)
    } else {
        Decision::answer(Outcome::SoldOut)
    }
}

/// The answer to a key that made an order before.
fn seen_before(state: &State, product: ProductSlot, wanted: &Place) -> Option<Outcome> {
    if wanted.key.is_none() {
        return None;
    }
    let order = state.order_at(state.find_key(wanted.key)?);
    let body = (wanted.quantity, wanted.waitlist);
    Some(if order.is_of_request(product, wanted.buyer, body) {
        Outcome::Replayed(state.receipt(&order))
    } else {
        Outcome::KeyMismatch
    })
}

/// Why the product takes no orders at `now`.
fn closed(product: &Product, now: Timestamp) -> Option<Outcome> {
    let terms = &product.terms;
    if product.state == SaleState::Paused {
        return Some(Outcome::Paused { opens_at: terms.opens_at });
    }
    if now < terms.opens_at {
        return Some(Outcome::NotOpen { opens_at: terms.opens_at });
    }
    match terms.closes_at.some() {
        Some(closes_at) if closes_at <= now => Some(Outcome::Ended { closes_at }),
        _ => None,
    }
}

/// Which bound the order would break: the partition's, then the buyer's.
fn exceeds(state: &State, slot: ProductSlot, wanted: &Place) -> Option<Outcome> {
    if state.orders_remembered() >= state.bounds.orders {
        return Some(Outcome::Full);
    }
    let units = state.buyers.units(slot, wanted.buyer);
    if units == 0 && state.buyers.len() >= state.bounds.buyers {
        return Some(Outcome::Full);
    }
    let limit = state.products[slot].terms.limit_per_buyer;
    if limit != 0 && units.saturating_add(wanted.quantity.get()) > limit {
        return Some(Outcome::LimitExceeded { limit });
    }
    None
}

/// Out of line the id would come back as two halves in memory, read as one: a load that waits until
/// every older store is done, so also those of the order before that missed all caches.
#[inline(always)]
fn new_order(state: &State, wanted: &Place, now: Timestamp) -> OrderId {
    OrderId::new(now, state.partition, wanted.buyer, state.sequence.next())
}

fn hold(state: &State, product: &Product, wanted: &Place, now: Timestamp) -> Decision {
    let placed = Placed {
        order: new_order(state, wanted, now),
        product: wanted.product,
        buyer: wanted.buyer,
        key: wanted.key,
        quantity: wanted.quantity,
        unit_price: product.terms.price,
        currency: product.terms.currency,
        expires_at: matching::deadline(state, product, None, product.terms.hold_seconds, now),
        waitlist: wanted.waitlist,
    };
    let view = OrderView {
        order: placed.order,
        product: wanted.product,
        buyer: wanted.buyer,
        quantity: wanted.quantity,
        status: OrderStatus::Pending,
        currency: placed.currency,
        unit_price: placed.unit_price,
        created_at: now,
        updated_at: now,
        expires_at: placed.expires_at,
        position: 0,
    };
    Decision::happens(Outcome::Placed(view), now, Fact::Placed(placed))
}

fn queue_up(state: &State, product: &Product, wanted: &Place, now: Timestamp) -> Decision {
    let queued = Queued {
        order: new_order(state, wanted, now),
        product: wanted.product,
        buyer: wanted.buyer,
        key: wanted.key,
        quantity: wanted.quantity,
        unit_price: product.terms.price,
        currency: product.terms.currency,
        position: product.waitlist.len() + 1,
    };
    let view = OrderView {
        order: queued.order,
        product: wanted.product,
        buyer: wanted.buyer,
        quantity: wanted.quantity,
        status: OrderStatus::Queued,
        currency: queued.currency,
        unit_price: queued.unit_price,
        created_at: now,
        updated_at: now,
        expires_at: Timestamp::NONE,
        position: queued.position,
    };
    Decision::happens(Outcome::Queued(view), now, Fact::Queued(queued))
}

#[cfg(test)]
#[path = "place_test.rs"]
mod tests;
