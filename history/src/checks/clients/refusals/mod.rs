//! A refusal was right at some time between the request and the answer.
//!
//! Where several refusals would be right, any of them is taken as an answer: which comes first is
//! the engine's to choose. But for a key that made an order there is one answer only, and no refusal
//! is right.

mod administration;
mod closed;
mod order;
mod over_limit;
mod sold_out;

use super::Case;
use super::sweep::{Judged, Look};
use super::window::Window;
use crate::answer::Refusal;
use crate::books::product::ProductBook;
use crate::checks::log::kept_until_us;
use crate::ids::{BuyerId, KeyId, ProductId};
use crate::operation::Ask;
use crate::verdict::Kind;
use sold_out::SoldOut;

/// Judges refusals, and keeps what it computes for one for the next.
pub(super) struct Refusals<'a> {
    sold_out: SoldOut<'a>,
}

/// An attempt to buy, as far as refusals depend on it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    product: ProductId,
    buyer: BuyerId,
    key: Option<KeyId>,
    quantity: u32,
    waitlist: bool,
}

impl<'a> Refusals<'a> {
    pub(super) fn new(case: Case<'a>) -> Self {
        Self { sold_out: SoldOut::new(case.books) }
    }

    pub(super) fn judge(&mut self, look: &Look<'_>, refusal: &Refusal) -> Judged {
        match look.operation.ask {
            Ask::Place { product, buyer, key, quantity, waitlist } => {
                let wanted = Wanted { product, buyer, key, quantity, waitlist };
                self.judge_place(look, wanted, refusal)
            }
            Ask::Pay { order } => order::judge(look, order, None, refusal),
            Ask::Cancel { order, buyer } | Ask::LookAtOrder { order, buyer } => {
                order::judge(look, order, buyer, refusal)
            }
            ask => administration::judge(look, &ask, refusal),
        }
    }

    fn judge_place(&mut self, look: &Look<'_>, wanted: Wanted, refusal: &Refusal) -> Judged {
        let Some(number) = look.case.books.product_number(wanted.product) else {
            return match refusal {
                Refusal::ProductNotFound => Judged::Anywhere,
                _ => Judged::nowhere(
                    Kind::UnjustifiedRefusal,
                    &[],
                    "the product was never defined".to_owned(),
                ),
            };
        };
        let book = &look.case.books.products[number as usize];
        // An edge answers for itself when its flag says so, but never for a key.
        let is_flagged = *refusal == Refusal::SoldOut && wanted.key.is_none();
        let stale_us = if is_flagged { look.case.allowance.flag_staleness_us } else { 0 };
        let window = look.window_with(book.first.partition, stale_us);
        if *refusal == Refusal::IdempotencyMismatch {
            return mismatch(look, wanted, window);
        }
        let window = match without_order(look, wanted, window) {
            Ok(window) => window,
            Err(judged) => return judged,
        };
        match refusal {
            Refusal::SoldOut => self.sold_out.judge(number, wanted, window),
            Refusal::PurchaseLimit => over_limit::judge(look.case.books, number, wanted, window),
            Refusal::SaleNotOpen | Refusal::SalePaused | Refusal::SaleEnded => {
                closed::judge(look.case.books, book, refusal, window)
            }
            Refusal::ProductNotFound => not_found(book, window),
            other => Judged::nowhere(
                Kind::WrongAnswer,
                &[],
                format!("{other} is no answer to an attempt to buy"),
            ),
        }
    }
}

/// The part of the window in which the key had made no order yet, or was forgotten again.
fn without_order(look: &Look<'_>, wanted: Wanted, window: Window) -> Result<Window, Judged> {
    let Some(key) = wanted.key else { return Ok(window) };
    let mut orders = look.case.books.orders_of_key(key);
    let Some(order) = orders.find(|order| order.made.sequence <= window.last) else {
        return Ok(window);
    };
    if kept_until_us(order).is_some_and(|until| until <= window.latest_us) {
        return Ok(window);
    }
    if order.made.sequence <= window.first {
        let why = format!("its key had made order {}, whose first answer it must get", order.id);
        return Err(Judged::nowhere(Kind::ChangedAnswer, &[order.made], why));
    }
    Ok(Window { last: order.made.sequence - 1, ..window })
}

/// The key had made an order with another body.
fn mismatch(look: &Look<'_>, wanted: Wanted, window: Window) -> Judged {
    let Wanted { product, buyer, key, quantity, waitlist } = wanted;
    let orders = key.into_iter().flat_map(|key| look.case.books.orders_of_key(key));
    for order in orders {
        if order.made.sequence > window.last {
            continue;
        }
        let of = look.case.books.products[order.product as usize].id;
        let made = (of, order.buyer, order.quantity, order.waitlist);
        if made == (product, buyer, quantity, waitlist) {
            let why = format!("its key had made order {} with the same body", order.id);
            return Judged::nowhere(Kind::ChangedAnswer, &[order.made], why);
        }
        return Judged::At(window.at(window.first.max(order.made.sequence)));
    }
    let why = format!("its key had made no order; {}", window.describe());
    Judged::nowhere(Kind::UnjustifiedRefusal, &[], why)
}

fn not_found(book: &ProductBook, window: Window) -> Judged {
    if window.first < book.first.sequence {
        return Judged::At(window.at(window.first));
    }
    let why = format!("event {} had defined it, and {}", book.first, window.describe());
    Judged::nowhere(Kind::UnjustifiedRefusal, &[book.first], why)
}

/// A refusal that was right nowhere in its window.
fn unjustified(window: Window, why: &str) -> Judged {
    let why = format!("{}; {why}", window.describe());
    let events = [window.at(window.first), window.at(window.last)];
    let events = if window.first == window.last { &events[..1] } else { &events[..] };
    Judged::nowhere(Kind::UnjustifiedRefusal, events, why)
}
