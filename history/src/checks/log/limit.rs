//! With a new order a buyer has no more units than one may: held, sold and waited for together.

use crate::books::Books;
use crate::event::{Event, Fact, Ordered};
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let Fact::Ordered(Ordered { order, product, buyer, quantity, .. }) = &event.fact else {
        return;
    };
    let Some(number) = books.product_number(*product) else { return };
    let limit = books.products[number as usize].terms.limit_per_buyer;
    let units = books.units_now(number, *buyer);
    if limit != 0 && units + i64::from(*quantity) > i64::from(limit) {
        let what = format!("order {order} of {quantity} was accepted from buyer {buyer}");
        let why = format!("the buyer had {units} units of product {product}, of at most {limit}");
        found.in_log(Kind::OverLimit, event.position, what, why);
    }
}
