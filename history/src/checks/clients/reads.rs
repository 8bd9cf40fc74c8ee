//! What was read was true at some time between the request and the answer.

use super::acknowledged::differs;
use super::places::Place;
use super::sweep::{Judged, Look};
use crate::answer::{OrderSeen, ProductSeen};
use crate::ids::{BuyerId, OrderId};
use crate::operation::Ask;
use crate::terms::Status;
use crate::verdict::Kind;

pub(super) fn judge_order(
    look: &Look<'_>,
    (asked, buyer): (OrderId, Option<BuyerId>),
    seen: &OrderSeen,
    places: &mut Vec<Place>,
) -> Judged {
    if seen.order != asked {
        let why = format!("it asked for order {asked}");
        return Judged::nowhere(Kind::WrongAnswer, &[], why);
    }
    let Some(order) = look.case.books.order(asked) else {
        let why = "the log has no event that made it".to_owned();
        return Judged::nowhere(Kind::LostAcknowledgement, &[], why);
    };
    if let Some(buyer) = buyer
        && buyer != order.buyer
    {
        let why = format!("buyer {buyer} was shown an order of buyer {}", order.buyer);
        return Judged::nowhere(Kind::WrongAnswer, &[order.made], why);
    }
    let window = look.window(order.made.partition);
    let spans = (order.first_with(seen.status), order.last_with(seen.status));
    let (Some(first), Some(last)) = spans else {
        let why = format!("it never was {}: by the log it is {}", seen.status, order.status());
        return Judged::nowhere(Kind::StaleRead, &[order.made], why);
    };
    let (first, last) = (first.max(window.first), last.min(window.last));
    if first > last {
        let was = order.status_after(window.first);
        let was = was.map_or("not there".to_owned(), |status| status.to_string());
        let why = format!("{}; the order was {was} at the first", window.describe());
        let events = [window.at(window.first), window.at(window.last)];
        return Judged::nowhere(Kind::StaleRead, &events, why);
    }
    // The place of an order that waits changes with those before it: looked at together later.
    let place = seen.position.unwrap_or(0);
    if let Some((what, why)) = differs(look.case, seen, order, first, place) {
        return Judged::nowhere(Kind::StaleRead, &[window.at(first)], format!("{what}; {why}"));
    }
    if seen.status == Status::Queued && seen.position.is_some() {
        places.push(Place {
            operation: look.operation.number,
            product: order.product,
            order: order.id,
            turn: order.turn,
            told: place,
            first,
            last,
        });
    }
    Judged::At(window.at(first))
}

/// A product that was looked at, or one that a request left as it was.
pub(super) fn judge_product(look: &Look<'_>, ask: &Ask, seen: &ProductSeen) -> Judged {
    let changes_nothing = match ask {
        Ask::LookAtProduct { .. } => true,
        Ask::Define { change, .. } => change.applied_to(Some(&seen.terms)) == Some(seen.terms),
        Ask::SetState { state, .. } => seen.state == *state,
        _ => false,
    };
    let lost = "no event of the log did what it asked, with this result".to_owned();
    let lost = Judged::nowhere(Kind::LostAcknowledgement, &[], lost);
    if !changes_nothing {
        return lost;
    }
    let book = look.case.books.product(seen.product);
    let Some(book) = book.filter(|_| ask.product() == Some(seen.product)) else {
        let why = "the log has no event that defined it".to_owned();
        return Judged::nowhere(Kind::LostAcknowledgement, &[], why);
    };
    let window = look.window(book.first.partition);
    let first = book.level_at(window.first).unwrap_or(0);
    let levels = book.levels[first..].iter().take_while(|level| level.sequence <= window.last);
    let mut levels = levels.peekable();
    let nearest = levels.peek().copied();
    if let Some(level) = levels.find(|level| book.seen(level).as_ref() == Some(seen)) {
        return Judged::At(window.at(window.first.max(level.sequence)));
    }
    if ask.is_administration() {
        return lost;
    }
    let first = match nearest {
        Some(level) => format!(
            "at the first {} were available, {} held, {} sold and {} waiting",
            level.available, level.held, level.sold, level.waiting
        ),
        None => "it was not defined yet".to_owned(),
    };
    let events = [window.at(window.first), window.at(window.last)];
    Judged::nowhere(Kind::StaleRead, &events, format!("{}; {first}", window.describe()))
}
