//! An order is made once and ends once: queued, then pending, then paid; or cancelled or expired.

use crate::books::Books;
use crate::event::{Event, Fact, Ordered, Released};
use crate::ids::{OrderId, ProductId};
use crate::terms::Status;
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    match &event.fact {
        Fact::Ordered(Ordered { order, .. }) => {
            if let Some(before) = books.order(*order) {
                let what = format!("event {} makes order {order}", event.position);
                let why = format!("event {} made it already", before.made);
                found.add(Kind::BrokenLog, &[], &[before.made, event.position], (what, why));
            }
        }
        Fact::Paid { order, product, .. } => {
            end(books, event, *order, *product, &[Status::Pending], found);
        }
        Fact::Cancelled(Released { order, product, .. }) => {
            let from = [Status::Pending, Status::Queued];
            end(books, event, *order, *product, &from, found);
        }
        Fact::Expired(Released { order, product, .. }) => {
            end(books, event, *order, *product, &[Status::Pending], found);
        }
        _ => {}
    }
}

fn end(
    books: &Books,
    event: &Event,
    order: OrderId,
    product: ProductId,
    from: &[Status],
    found: &mut Findings,
) {
    let position = event.position;
    let what = format!("event {position} says that order {order} is {}", event.fact.word());
    let Some(book) = books.order(order) else {
        let why = "no event before it made the order".to_owned();
        return found.in_log(Kind::WrongEnd, position, what, why);
    };
    let is_its_product = books.product_number(product) == Some(book.product);
    if book.made.partition != position.partition || !is_its_product {
        let why = format!("event {} made it for another product", book.made);
        found.add(Kind::WrongEnd, &[], &[book.made, position], (what, why));
    } else if !from.contains(&book.status()) {
        let why = format!("it was {} then", book.status());
        found.add(Kind::WrongEnd, &[], &[book.made, position], (what, why));
    }
}
