//! What cannot be done with an order: it has ended, it waits, or it is not there.

use super::unjustified;
use crate::answer::Refusal;
use crate::books::order::OrderBook;
use crate::checks::clients::sweep::{Judged, Look};
use crate::checks::clients::window::Window;
use crate::ids::{BuyerId, OrderId};
use crate::operation::Ask;
use crate::terms::Status;
use crate::verdict::Kind;

pub(super) fn judge(
    look: &Look<'_>,
    order: OrderId,
    buyer: Option<BuyerId>,
    refusal: &Refusal,
) -> Judged {
    let is_look = matches!(look.operation.ask, Ask::LookAtOrder { .. });
    let is_pay = matches!(look.operation.ask, Ask::Pay { .. });
    let fits = match refusal {
        Refusal::OrderNotFound => true,
        Refusal::OrderFinal(_) => !is_look,
        Refusal::OrderQueued => is_pay,
        _ => false,
    };
    if !fits {
        let why = format!("{refusal} is no answer to {}", look.operation.ask.word());
        return Judged::nowhere(Kind::WrongAnswer, &[], why);
    }
    let Some(book) = look.case.books.order(order) else {
        return match refusal {
            Refusal::OrderNotFound => Judged::Anywhere,
            _ => {
                let why = "the log has no event that made it".to_owned();
                Judged::nowhere(Kind::LostAcknowledgement, &[], why)
            }
        };
    };
    let window = look.window(book.made.partition);
    match refusal {
        Refusal::OrderNotFound => not_found(look, book, buyer, window),
        Refusal::OrderFinal(told) => ended(book, *told, window),
        _ => within(book, Status::Queued, window)
            .unwrap_or_else(|| unjustified(window, "it did not wait at any time")),
    }
}

/// The first place in the window at which an order had a status.
fn within(book: &OrderBook, status: Status, window: Window) -> Option<Judged> {
    let first = book.first_with(status)?.max(window.first);
    let last = book.last_with(status)?.min(window.last);
    (first <= last).then(|| Judged::At(window.at(first)))
}

fn not_found(look: &Look<'_>, book: &OrderBook, buyer: Option<BuyerId>, window: Window) -> Judged {
    if buyer.is_some_and(|buyer| buyer != book.buyer) {
        return Judged::Anywhere;
    }
    if window.first < book.made.sequence {
        return Judged::At(window.at(window.first));
    }
    if look.case.allowance.orders_leave
        && let Some((_, end)) = book.ended
        && let Some(partition) = look.case.books.partitions.get(&window.partition)
        && let Some(left) = partition.acknowledged_from(end.sequence)
        && left <= window.last
    {
        return Judged::At(window.at(window.first.max(left)));
    }
    let status = book.status_after(window.first).unwrap_or(Status::Queued);
    let why = format!("event {} had made it, and it was {status} at the first", book.made);
    unjustified(window, &why)
}

/// It had ended; or its deadline had passed, which nobody survives.
fn ended(book: &OrderBook, told: Option<Status>, window: Window) -> Judged {
    let end = book.ended.map(|(status, _)| status);
    // An overdue hold is told to have run out before the event that says so: being told does not mean
    // that the event was there.
    let runs_out = matches!(end, None | Some(Status::Expired));
    let is_overdue = book.expires_us != 0 && book.expires_us <= window.latest_us;
    if told.is_none_or(|told| told == Status::Expired)
        && runs_out
        && is_overdue
        && let Some(judged) = within(book, Status::Pending, window)
    {
        return judged;
    }
    if let Some(status) = end
        && told.is_none_or(|told| told == status)
        && let Some(judged) = within(book, status, window)
    {
        return judged;
    }
    let (first, last) = (book.status_after(window.first), book.status_after(window.last));
    let why = format!(
        "it was {first:?} at the first and {last:?} at the last; its deadline is {} and the clock \
         read {} at the latest",
        book.expires_us, window.latest_us
    );
    unjustified(window, &why)
}
