//! Orders are accepted while the sale runs, at the price of the moment.

use crate::books::Books;
use crate::event::{Event, Fact, Ordered};
use crate::terms::SaleState;
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let Fact::Ordered(ordered) = &event.fact else { return };
    let Ordered { order, product, unit_price, currency, .. } = ordered;
    let Some(book) = books.product(*product) else { return };
    let (terms, at_us) = (&book.terms, event.at_us);
    let mut wrong = |why: String| {
        let what = format!("order {order} of product {product} was accepted at {at_us}");
        found.in_log(Kind::OutsideSale, event.position, what, why);
    };
    if book.state == SaleState::Paused {
        wrong("the sale was paused".to_owned());
    }
    if at_us < terms.opens_us {
        wrong(format!("the sale opens at {}", terms.opens_us));
    }
    if terms.closes_us != 0 && terms.closes_us <= at_us {
        wrong(format!("the sale closed at {}", terms.closes_us));
    }
    if (*unit_price, *currency) != (terms.price, terms.currency) {
        let is = (terms.price, terms.currency);
        wrong(format!("it costs {unit_price} {currency}, the price was {} {}", is.0, is.1));
    }
}
