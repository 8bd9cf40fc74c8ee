//! No unit is sold twice: what is held and sold never exceeds the stock, after every event.

use crate::books::Books;
use crate::event::{Event, Fact, Ordered, Released, Standing};
use crate::ids::OrderId;
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let position = event.position;
    match &event.fact {
        Fact::Ordered(Ordered {
            product,
            quantity,
            order,
            standing: Standing::Held { .. },
            ..
        }) => {
            let Some(book) = books.product(*product) else { return };
            if i64::from(*quantity) > book.available {
                let what = format!("order {order} took {quantity} units of product {product}");
                let (held, sold, stock) = (book.held, book.sold, book.terms.stock);
                let why = format!("{held} were held and {sold} sold of {stock}");
                found.in_log(Kind::Oversold, position, what, why);
            }
        }
        Fact::Paid { order, quantity, .. } => same_units(books, event, *order, *quantity, found),
        Fact::Cancelled(Released { order, quantity, .. })
        | Fact::Expired(Released { order, quantity, .. }) => {
            same_units(books, event, *order, *quantity, found);
        }
        Fact::Defined { product, terms, .. } => {
            let Some(book) = books.product(*product) else { return };
            if i64::from(terms.stock) < book.committed() {
                let what = format!("the stock of product {product} became {}", terms.stock);
                let why = format!("{} were held and {} sold", book.held, book.sold);
                found.in_log(Kind::Oversold, position, what, why);
            }
            if terms.currency != book.terms.currency {
                let what = format!("the currency of product {product} became {}", terms.currency);
                let why = format!("it was {}, and cannot change", book.terms.currency);
                found.in_log(Kind::BrokenLog, position, what, why);
            }
        }
        Fact::Withdrawn { product, units } => {
            let Some(book) = books.product(*product) else { return };
            if i64::from(*units) > book.available {
                let what = format!("{units} units of product {product} were taken out");
                let why = format!("only {} were neither held nor sold", book.available);
                found.in_log(Kind::Oversold, position, what, why);
            }
        }
        Fact::Ordered(_)
        | Fact::Restocked { .. }
        | Fact::StateSet { .. }
        | Fact::Acknowledged { .. } => {}
    }
}

fn same_units(books: &Books, event: &Event, order: OrderId, quantity: u32, found: &mut Findings) {
    let Some(book) = books.order(order) else { return };
    if book.quantity != quantity {
        let what = format!("event {} moves {quantity} units of order {order}", event.position);
        let why = format!("the order is of {}", book.quantity);
        found.add(Kind::WrongUnits, &[], &[book.made, event.position], (what, why));
    }
}
