//! Whom freed units go to: strictly the head of the waitlist, as long as it fits, and until when.
//!
//! Decided here and written into the event that frees the units, so that nobody comes between.

use super::order::OrderSlot;
use super::product::Product;
use super::state::State;
use doorbuster_protocol::Timestamp;
use doorbuster_protocol::event::Matched;

/// The deadline of a new hold, when `leaving` stands no longer in the queue of holds. Holds run out
/// in the order of the queue, so a shorter hold time than the last one's counts from the last one
/// on.
pub(super) fn deadline(
    state: &State,
    product: &Product,
    leaving: Option<OrderSlot>,
    hold_seconds: u32,
    now: Timestamp,
) -> Timestamp {
    let last = match product.holds.tail() {
        Some(tail) if leaving == Some(tail) => state.orders[tail].links.previous.some(),
        tail => tail,
    };
    let earliest = last.map_or(Timestamp::NONE, |last| state.orders[last].expires_at);
    earliest.max(now.plus_seconds(hold_seconds))
}

/// Who is served with `free` units, when `leaving` stands no longer on the waitlist or among the
/// holds; and how many units that takes.
pub(super) fn matched(
    state: &State,
    product: &Product,
    free: u32,
    leaving: Option<OrderSlot>,
    hold_seconds: u32,
    now: Timestamp,
) -> (Matched, u32) {
    let mut matched = Matched::default();
    let mut left = free;
    for slot in product.waitlist.iter(&state.orders) {
        if leaving == Some(slot) {
            continue;
        }
        let order = &state.orders[slot];
        let Some(rest) = left.checked_sub(order.quantity.get()) else { break };
        left = rest;
        matched.orders.push(order.id);
    }
    if !matched.orders.is_empty() {
        matched.expires_at = deadline(state, product, leaving, hold_seconds, now);
    }
    (matched, free - left)
}
