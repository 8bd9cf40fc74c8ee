//! A key that made an order gets its first answer again, word for word.

use super::acknowledged::first_answer_differs;
use super::sweep::{Judged, Look};
use crate::answer::OrderSeen;
use crate::operation::Ask;
use crate::verdict::Kind;

pub(super) fn judge(look: &Look<'_>, seen: &OrderSeen) -> Judged {
    let Ask::Place { product, buyer, key, quantity, waitlist } = look.operation.ask else {
        return Judged::Skipped;
    };
    let books = look.case.books;
    let Some(key) = key else {
        let why = "it had no key, so there was no first answer".to_owned();
        return Judged::nowhere(Kind::WrongAnswer, &[], why);
    };
    let Some(order) = books.order(seen.order) else {
        let other = books.orders_of_key(key).next();
        let (why, events) = match other {
            None => ("the log has no event that made the order".to_owned(), vec![]),
            Some(other) => {
                (format!("by the log its key made order {}", other.id), vec![other.made])
            }
        };
        return Judged::nowhere(Kind::LostAcknowledgement, &events, why);
    };
    let of = books.products[order.product as usize].id;
    let asked = (product, buyer, Some(key), quantity, waitlist);
    let made = (of, order.buyer, order.key, order.quantity, order.waitlist);
    if asked != made {
        let why = format!("it asked for {asked:?}, the order is {made:?}");
        return Judged::nowhere(Kind::WrongAnswer, &[order.made], why);
    }
    if let Some((what, why)) = first_answer_differs(look.case, seen, order) {
        return Judged::nowhere(Kind::ChangedAnswer, &[order.made], format!("{what}; {why}"));
    }
    let window = look.window(order.made.partition);
    if order.made.sequence > window.last {
        let why = format!("event {} made the order, and {}", order.made, window.describe());
        return Judged::nowhere(Kind::RealTimeInversion, &[order.made], why);
    }
    Judged::At(window.at(window.first.max(order.made.sequence)))
}
