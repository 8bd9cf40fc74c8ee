//! The end of a hold or of a wait: paid, given back, or run out.

use super::Decision;
use crate::state_machine::matching;
use crate::state_machine::order::OrderSlot;
use crate::state_machine::state::State;
use doorbuster_protocol::event::{Fact, Released};
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{BuyerId, OrderId, Outcome, Timestamp};

pub(super) fn confirm(state: &State, id: OrderId, now: Timestamp) -> Decision {
    let Some(slot) = state.find_order(id, None) else {
        return Decision::answer(Outcome::OrderNotFound);
    };
    match status_at(state, slot, now) {
        OrderStatus::Queued => Decision::answer(Outcome::NotPayable),
        OrderStatus::Pending => {
            let view = ended(state, slot, OrderStatus::Paid, now);
            let OrderView { order, product, quantity, .. } = view;
            let fact = Fact::Paid { order, product, quantity };
            Decision::happens(Outcome::Paid(view), now, fact)
        }
        status => Decision::answer(Outcome::OrderFinal(status)),
    }
}

pub(super) fn cancel(
    state: &State,
    id: OrderId,
    buyer: Option<BuyerId>,
    now: Timestamp,
) -> Decision {
    let Some(slot) = state.find_order(id, buyer) else {
        return Decision::answer(Outcome::OrderNotFound);
    };
    match status_at(state, slot, now) {
        OrderStatus::Queued | OrderStatus::Pending => {
            let view = ended(state, slot, OrderStatus::Cancelled, now);
            let fact = Fact::Cancelled(released(state, slot, now));
            Decision::happens(Outcome::Cancelled(view), now, fact)
        }
        status => Decision::answer(Outcome::OrderFinal(status)),
    }
}

/// The earliest overdue hold ends; of products with equal deadlines, the one defined first.
pub(super) fn expire(state: &State, now: Timestamp) -> Decision {
    let due = state.agenda.first().filter(|(deadline, _)| *deadline <= now);
    let Some((_, product)) = due else {
        return Decision::answer(Outcome::OrderNotFound);
    };
    let slot = state.products[*product].holds.head().expect("the agenda names products with holds");
    let view = ended(state, slot, OrderStatus::Expired, now);
    Decision::happens(Outcome::Order(view), now, Fact::Expired(released(state, slot, now)))
}

/// The status, where a hold whose deadline has passed counts as expired: the event will follow, and
/// nobody is told two ends.
fn status_at(state: &State, slot: OrderSlot, now: Timestamp) -> OrderStatus {
    let order = &state.orders[slot];
    match order.status {
        OrderStatus::Pending if order.expires_at <= now => OrderStatus::Expired,
        status => status,
    }
}

fn ended(state: &State, slot: OrderSlot, status: OrderStatus, now: Timestamp) -> OrderView {
    let order = &state.orders[slot];
    let product = &state.products[order.product];
    let view = order.view(product.id, product.terms.currency, 0);
    OrderView { status, updated_at: now, ..view }
}

/// What comes back with an order, and whom it serves. A queued order frees no units, but those
/// behind it may fit what is available.
fn released(state: &State, slot: OrderSlot, now: Timestamp) -> Released {
    let order = &state.orders[slot];
    let product = &state.products[order.product];
    let freed = if order.status == OrderStatus::Pending { order.quantity.get() } else { 0 };
    let free = product.available + freed;
    let hold_seconds = product.terms.hold_seconds;
    let (matched, _) = matching::matched(state, product, free, Some(slot), hold_seconds, now);
    Released { order: order.id, product: product.id, quantity: order.quantity.full(), matched }
}

#[cfg(test)]
#[path = "settle_test.rs"]
mod tests;
