//! Whatever was acknowledged is in the log, as it was told, and was done by one operation alone.

use super::{Case, Pins};
use crate::answer::{Answer, OrderSeen};
use crate::books::order::OrderBook;
use crate::ids::{OrderId, Position};
use crate::operation::{Ask, Operation};
use crate::terms::Status;
use crate::verdict::{Findings, Kind};
use std::collections::HashMap;
use std::fmt::{Debug, Display};

/// Finds the event of every order, payment and cancel that was acknowledged.
pub(super) fn pin(case: Case<'_>, found: &mut Findings) -> Pins {
    let mut claims: HashMap<Position, u64> = HashMap::new();
    let pin = |operation: &Operation| {
        let Answer::Order { seen, replayed: false } = &operation.answer else { return None };
        let event = match operation.ask {
            Ask::Place { .. } => placed(case, operation, seen, found),
            Ask::Pay { order } => ended(case, operation, seen, (order, Status::Paid), found),
            Ask::Cancel { order, .. } => {
                ended(case, operation, seen, (order, Status::Cancelled), found)
            }
            _ => return None,
        }?;
        found.verdict.looked.acknowledged += 1;
        if let Some(first) = claims.insert(event, operation.number) {
            let numbers = [first, operation.number];
            let what = format!("two operations were told that they did event {event}");
            let why = "one did; the other must be told that it was done already".to_owned();
            found.add(Kind::AcknowledgedTwice, &numbers, &[event], (what, why));
        }
        at_its_time(case, operation, event, found);
        Some(event)
    };
    case.operations.iter().map(pin).collect()
}

fn placed(
    case: Case<'_>,
    operation: &Operation,
    seen: &OrderSeen,
    found: &mut Findings,
) -> Option<Position> {
    let order = find_placed(case, operation, seen, found)?;
    match first_answer_differs(case, seen, order) {
        None => Some(order.made),
        Some((what, why)) => {
            found.add(Kind::WrongAnswer, &[operation.number], &[order.made], (what, why));
            None
        }
    }
}

/// The order that an operation was told it has; it must be the one that was asked for.
pub(super) fn find_placed<'a>(
    case: Case<'a>,
    operation: &Operation,
    seen: &OrderSeen,
    found: &mut Findings,
) -> Option<&'a OrderBook> {
    let Ask::Place { product, buyer, key, quantity, waitlist } = operation.ask else {
        return None;
    };
    let what = format!(
        "operation {} was told that order {} of product {product} is {}",
        operation.number, seen.order, seen.status
    );
    let Some(order) = case.books.order(seen.order) else {
        let other = key.and_then(|key| case.books.orders_of_key(key).next());
        let why = match other {
            None => "the log has no event that made it".to_owned(),
            Some(other) => format!("by the log its key made order {}", other.id),
        };
        let events: Vec<Position> = other.map(|other| other.made).into_iter().collect();
        found.add(Kind::LostAcknowledgement, &[operation.number], &events, (what, why));
        return None;
    };
    let of = case.books.products[order.product as usize].id;
    let asked = (product, buyer, key, quantity, waitlist);
    let made = (of, order.buyer, order.key, order.quantity, order.waitlist);
    if asked != made {
        let why = format!("it asked for {asked:?}, the order is {made:?}");
        found.add(Kind::WrongAnswer, &[operation.number], &[order.made], (what, why));
        return None;
    }
    Some(order)
}

/// How what a client saw differs from the first answer that the order was given.
pub(super) fn first_answer_differs(
    case: Case<'_>,
    seen: &OrderSeen,
    order: &OrderBook,
) -> Option<(String, String)> {
    differs(case, seen, order, order.made.sequence, order.place)
}

/// How what a client saw differs from an order as of an event, where it had this place on the
/// waitlist. What the client was not told does not differ.
pub(super) fn differs(
    case: Case<'_>,
    seen: &OrderSeen,
    order: &OrderBook,
    sequence: u64,
    place: u32,
) -> Option<(String, String)> {
    fn field<T: PartialEq + Debug>(
        name: &'static str,
        told: Option<T>,
        is: &T,
    ) -> Option<(&'static str, String, String)> {
        let told = told?;
        (told != *is).then(|| (name, format!("{told:?}"), format!("{is:?}")))
    }
    let of = case.books.products[order.product as usize].id;
    let status = order.status_after(sequence).unwrap_or(Status::Queued);
    let place = if status == Status::Queued { place } else { 0 };
    let wrong = [
        field("status", Some(seen.status), &status),
        field("product", seen.product, &of),
        field("buyer", seen.buyer, &order.buyer),
        field("quantity", seen.quantity, &order.quantity),
        field("unit price", seen.unit_price, &order.unit_price),
        field("time of making", seen.created_us, &order.made_us),
        field("time of change", seen.updated_us, &order.updated_after(sequence)),
        field("deadline", seen.expires_us, &order.expires_after(sequence)),
        field("place", seen.position, &place),
    ];
    let (name, told, is) = wrong.into_iter().flatten().next()?;
    let what = format!("the {name} of order {} was told to be {told}", order.id);
    Some((what, format!("by the log it is {is}")))
}

fn ended(
    case: Case<'_>,
    operation: &Operation,
    seen: &OrderSeen,
    (asked, end): (OrderId, Status),
    found: &mut Findings,
) -> Option<Position> {
    let number = operation.number;
    let what = format!("operation {number} was told that order {} is {}", seen.order, seen.status);
    if seen.order != asked || seen.status != end {
        let why = format!("it asked for order {asked} to become {end}");
        found.add(Kind::WrongAnswer, &[number], &[], (what, why));
        return None;
    }
    let lost = |why: String, events: &[Position], found: &mut Findings| {
        found.add(Kind::LostAcknowledgement, &[number], events, (what.clone(), why));
        None
    };
    let Some(order) = case.books.order(asked) else {
        return lost("the log has no event that made it".to_owned(), &[], found);
    };
    let step = match order.ended {
        Some((status, step)) if status == end => step,
        _ => {
            let why = format!("by the log it is {}", order.status());
            return lost(why, &[order.made], found);
        }
    };
    let event = Position { partition: order.made.partition, sequence: step.sequence };
    if let Ask::Cancel { buyer: Some(buyer), .. } = operation.ask
        && buyer != order.buyer
    {
        let why = format!("it is the order of buyer {}, not of {buyer}", order.buyer);
        found.add(Kind::WrongAnswer, &[number], &[order.made, event], (what, why));
        return None;
    }
    if let Some(words) = differs(case, seen, order, step.sequence, 0) {
        found.add(Kind::WrongAnswer, &[number], &[event], words);
        return None;
    }
    Some(event)
}

/// The engine's clock read some time between the request and the answer.
fn at_its_time(case: Case<'_>, operation: &Operation, event: Position, found: &mut Findings) {
    let Some(partition) = case.books.partitions.get(&event.partition) else { return };
    let (at_us, skew_us) = (partition.at_us(event.sequence), case.allowance.engine_skew_us);
    let answered_us = operation.answered_us.unwrap_or(u64::MAX);
    let mut wrong = |side: &str, by_us: u64, border: &dyn Display| {
        let what = format!("event {event} was decided {by_us} us {side} at {at_us}");
        let why = format!("that is {border}, and clocks differ by {skew_us} us at the most");
        found.add(Kind::WrongTime, &[operation.number], &[event], (what, why));
    };
    if at_us.saturating_add(skew_us) < operation.sent_us {
        let by_us = operation.sent_us - at_us;
        wrong("before its request was sent,", by_us, &"too early");
    }
    if at_us > answered_us.saturating_add(skew_us) {
        wrong("after it was answered,", at_us - answered_us, &"too late");
    }
}
