//! First come, first served: nobody overtakes who waits, and who fits does not wait.

use crate::books::Books;
use crate::books::product::ProductBook;
use crate::event::{Event, Fact, Ordered, Released, Standing};
use crate::ids::OrderId;
use crate::terms::Status;
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let Some(product) = event.fact.product() else { return };
    let Some(book) = books.product(product) else { return };
    match &event.fact {
        Fact::Ordered(ordered) => new_order(books, book, event, ordered, found),
        Fact::Cancelled(Released { order, quantity, .. })
        | Fact::Expired(Released { order, quantity, .. }) => {
            let was_held = books.order(*order).is_none_or(|it| it.status() != Status::Queued);
            let freed = if was_held { i64::from(*quantity) } else { 0 };
            served(books, book, event, Some(*order), book.available + freed, found);
        }
        Fact::Defined { terms, .. } => {
            let free = i64::from(terms.stock) - book.committed();
            served(books, book, event, None, free, found);
        }
        Fact::Restocked { units, .. } => {
            served(books, book, event, None, book.available + i64::from(*units), found);
        }
        // They free nothing.
        Fact::Paid { .. }
        | Fact::Withdrawn { .. }
        | Fact::StateSet { .. }
        | Fact::Acknowledged { .. } => {}
    }
}

fn new_order(
    books: &Books,
    book: &ProductBook,
    event: &Event,
    ordered: &Ordered,
    found: &mut Findings,
) {
    let Ordered { order, quantity, waitlist, .. } = ordered;
    let position = event.position;
    let head = book.waiting(&books.orders, None).next();
    match ordered.standing {
        Standing::Held { .. } => {
            if let Some(head) = head {
                let what = format!("order {order} overtook {}", head.id);
                let why = format!("{} orders were waiting", book.waiting);
                let events = [head.made, position];
                found.add(Kind::JumpedWaitlist, &[], &events, (what, why));
            }
        }
        Standing::Waiting { position: place } => {
            let last = book.waiting + 1;
            if place != last {
                let what = format!("order {order} was given place {place} on the waitlist");
                let why = format!("{} orders were waiting, so it is {last}", book.waiting);
                found.in_log(Kind::JumpedWaitlist, position, what, why);
            }
            if last > book.terms.waitlist_capacity || !waitlist {
                let what = format!("order {order} was put on the waitlist");
                let why = if *waitlist {
                    format!("it has {} places, all taken", book.terms.waitlist_capacity)
                } else {
                    "its buyer did not want to wait".to_owned()
                };
                found.in_log(Kind::JumpedWaitlist, position, what, why);
            }
            if head.is_none() && i64::from(*quantity) <= book.available {
                let what = format!("order {order} of {quantity} has to wait");
                let why = format!("{} units were free and nobody waited", book.available);
                found.in_log(Kind::UnservedWaitlist, position, what, why);
            }
        }
    }
}

/// Whom an event served with `free` units, when `leaving` no longer waits.
fn served(
    books: &Books,
    book: &ProductBook,
    event: &Event,
    leaving: Option<OrderId>,
    free: i64,
    found: &mut Findings,
) {
    let Some(served) = event.fact.served() else { return };
    let position = event.position;
    let leaving = leaving.and_then(|order| books.order_number(order));
    let mut heads = book.waiting(&books.orders, leaving);
    let mut left = free;
    for order in &served.orders {
        let head = heads.next();
        if head.map(|head| head.id) != Some(*order) {
            let what = format!("order {order} was served from the waitlist");
            let (why, events) = match head {
                Some(head) => (format!("order {} was before it", head.id), vec![head.made]),
                None => ("nobody was waiting".to_owned(), vec![]),
            };
            let events = [events, vec![position]].concat();
            return found.add(Kind::JumpedWaitlist, &[], &events, (what, why));
        }
        let units = head.map_or(0, |head| i64::from(head.quantity));
        if units > left {
            let what = format!("order {order} of {units} was served from the waitlist");
            let why = format!("{left} of {free} units were left for it");
            return found.in_log(Kind::Oversold, position, what, why);
        }
        left -= units;
    }
    if let Some(head) = heads.next()
        && i64::from(head.quantity) <= left
    {
        let what = format!("order {} of {} goes on waiting", head.id, head.quantity);
        let why = format!("{left} units are free, and it is the first that waits");
        found.add(Kind::UnservedWaitlist, &[], &[head.made, position], (what, why));
    }
}
