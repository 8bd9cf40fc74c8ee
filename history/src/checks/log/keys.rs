//! One key makes one order, for as long as keys are remembered.

use crate::books::Books;
use crate::books::order::OrderBook;
use crate::event::{Event, Fact, Ordered};
use crate::verdict::{Findings, Kind};

/// How long a key is remembered after its order ended: 24 hours.
const KEPT_US: u64 = 24 * 3_600 * 1_000_000;

/// From when on the key of an order may be forgotten; `None` while the order has not ended.
pub(in crate::checks) fn kept_until_us(order: &OrderBook) -> Option<u64> {
    order.ended.map(|(_, step)| step.at_us.saturating_add(KEPT_US))
}

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let Fact::Ordered(Ordered { order, key: Some(key), .. }) = &event.fact else { return };
    let Some(before) = books.orders_of_key(*key).next() else { return };
    if kept_until_us(before).is_none_or(|until| event.at_us < until) {
        let what = format!("key {key} made order {order}");
        let why = format!("it had made order {} before", before.id);
        found.add(Kind::TwoOrdersForKey, &[], &[before.made, event.position], (what, why));
    }
}
