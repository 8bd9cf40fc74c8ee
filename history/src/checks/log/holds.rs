//! A hold lasts as long as was promised: no shorter deadline, no expiry before it, no payment after.
//!
//! Holds of a product run out in the order in which they were made, so a hold that is made after the
//! time was shortened lasts at least as long as the one before it.

use crate::books::{Books, OrderNumber};
use crate::event::{Event, Fact, Ordered, Released, Served, Standing};
use crate::ids::{OrderId, ProductId};
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let position = event.position;
    match &event.fact {
        Fact::Ordered(Ordered {
            order, product, standing: Standing::Held { expires_us }, ..
        }) => {
            deadline(books, event, *product, None, None, (*order, *expires_us), found);
        }
        Fact::Paid { order, .. } => {
            let Some(book) = books.order(*order) else { return };
            if book.expires_us <= event.at_us {
                let late = event.at_us - book.expires_us;
                let what = format!("order {order} was paid {late} us after its deadline");
                let why = "its units were promised to others from the deadline on".to_owned();
                found.add(Kind::LatePayment, &[], &[book.made, position], (what, why));
            }
        }
        Fact::Cancelled(Released { order, product, served, .. }) => {
            let leaving = books.order_number(*order);
            all_served(books, event, *product, leaving, None, served, found);
        }
        Fact::Expired(Released { order, product, served, .. }) => {
            if let Some(book) = books.order(*order)
                && event.at_us < book.expires_us
            {
                let early = book.expires_us - event.at_us;
                let what = format!("order {order} ran out {early} us before its deadline");
                let why = "a hold lasts until its deadline".to_owned();
                found.add(Kind::EarlyExpiry, &[], &[book.made, position], (what, why));
            }
            let leaving = books.order_number(*order);
            all_served(books, event, *product, leaving, None, served, found);
        }
        Fact::Defined { product, terms, served } => {
            let seconds = Some(terms.hold_seconds);
            all_served(books, event, *product, None, seconds, served, found);
        }
        Fact::Restocked { product, served, .. } => {
            all_served(books, event, *product, None, None, served, found);
        }
        Fact::Ordered(_)
        | Fact::Withdrawn { .. }
        | Fact::StateSet { .. }
        | Fact::Acknowledged { .. } => {}
    }
}

fn all_served(
    books: &Books,
    event: &Event,
    product: ProductId,
    leaving: Option<OrderNumber>,
    seconds: Option<u32>,
    served: &Served,
    found: &mut Findings,
) {
    if let Some(first) = served.orders.first() {
        let hold = (*first, served.expires_us);
        deadline(books, event, product, leaving, seconds, hold, found);
    }
}

/// The deadline of a new hold, when `leaving` is no longer held, and a hold lasts `seconds` (or as
/// long as the terms say).
fn deadline(
    books: &Books,
    event: &Event,
    product: ProductId,
    leaving: Option<OrderNumber>,
    seconds: Option<u32>,
    (order, expires_us): (OrderId, u64),
    found: &mut Findings,
) {
    let Some(book) = books.product(product) else { return };
    let seconds = seconds.unwrap_or(book.terms.hold_seconds);
    let promised = event.at_us.saturating_add(u64::from(seconds) * 1_000_000);
    let due = promised.max(book.last_deadline(&books.orders, leaving));
    if expires_us != due {
        let what = format!("the hold of order {order} runs out at {expires_us}");
        let why = format!(
            "it was made at {}, holds last {seconds} s and run out in their order: that is {due}",
            event.at_us
        );
        found.in_log(Kind::WrongDeadline, event.position, what, why);
    }
}
