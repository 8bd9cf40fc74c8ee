//! Takes all operations in the order in which they were sent, and finds each its place in the log.

use super::places::{self, Place};
use super::refusals::Refusals;
use super::window::{Ceilings, Floors, Window, window_of};
use super::{Case, Pins, administration, reads, replays};
use crate::answer::{Answer, Refusal};
use crate::ids::Position;
use crate::operation::{Ask, Operation};
use crate::verdict::{Findings, Kind};
use std::collections::HashSet;

/// What came of looking for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Here is the first that fits.
    At(Position),
    /// It fits whatever the log says, at any time.
    Anywhere,
    /// It fits nowhere.
    Nowhere {
        /// Which promise that breaks.
        kind: Kind,
        /// Why it fits nowhere.
        why: String,
        /// Events that show it.
        events: Vec<Position>,
    },
    /// There is nothing to judge.
    Skipped,
}

impl Judged {
    pub(super) fn nowhere(kind: Kind, events: &[Position], why: String) -> Self {
        Self::Nowhere { kind, why, events: events.to_vec() }
    }
}

/// What an operation that is looked at has around it.
pub(super) struct Look<'a> {
    pub(super) case: Case<'a>,
    pub(super) operation: &'a Operation,
    floors: &'a Floors,
    ceilings: &'a Ceilings,
}

impl Look<'_> {
    /// When it can have taken place, in a partition.
    pub(super) fn window(&self, partition: u16) -> Window {
        self.window_with(partition, 0)
    }

    /// The same for what may have been seen `stale_us` earlier.
    pub(super) fn window_with(&self, partition: u16, stale_us: u64) -> Window {
        let bounds = (self.floors, self.ceilings);
        window_of(self.case, bounds, self.operation, partition, stale_us)
    }
}

/// `guessed`: operations, by index, whose pin is one of several that fit.
pub(super) fn sweep(case: Case<'_>, pins: &Pins, guessed: &HashSet<usize>, found: &mut Findings) {
    let operations = case.operations;
    let mut by_sent: Vec<usize> = (0..operations.len()).collect();
    by_sent.sort_by_key(|index| (operations[*index].sent_us, operations[*index].number));
    let mut by_answer: Vec<usize> = by_sent.clone();
    by_answer.retain(|index| operations[*index].answered_us.is_some());
    by_answer.sort_by_key(|index| (operations[*index].answered_us, operations[*index].number));
    let mut answered = by_answer.into_iter().peekable();

    let certain =
        |(index, pin): (usize, &Option<Position>)| pin.filter(|_| !guessed.contains(&index));
    let ceilings = Ceilings::of_pins(case, &pins.iter().enumerate().map(certain).collect());
    let mut floors = Floors::default();
    let mut refusals = Refusals::new(case);
    let mut places: Vec<Place> = Vec::new();
    let mut positions: Pins = vec![None; operations.len()];
    for index in by_sent {
        let operation = &operations[index];
        // Those that were answered before this one was sent were sent before it, too: they have
        // their places.
        while let Some(told) = answered.next_if(|other| {
            operations[*other].answered_us.is_some_and(|at_us| at_us < operation.sent_us)
        }) {
            if let (Some(at_us), Some(position)) = (operations[told].answered_us, positions[told]) {
                floors.raise(case, at_us, position, operations[told].number);
            }
        }
        let look = Look { case, operation, floors: &floors, ceilings: &ceilings };
        if let Some(event) = pins[index] {
            let is_guess = guessed.contains(&index);
            let soonest = is_guess.then(|| administration::soonest(&look)).flatten();
            let event = soonest.unwrap_or(event);
            in_real_time(case, operation, event, &floors, found);
            positions[index] = Some(event);
            continue;
        }
        let judged = judge(&look, &mut refusals, &mut places);
        positions[index] = settle(operation, judged, found);
    }
    places::check(case, places, found);
}

/// An event stands after all that was known when its request was sent.
fn in_real_time(
    case: Case<'_>,
    operation: &Operation,
    event: Position,
    floors: &Floors,
    found: &mut Findings,
) {
    let Some(floor) = floors.before(event.partition, operation.sent_us) else { return };
    if event.sequence > floor.sequence {
        return;
    }
    let known = Position { partition: event.partition, sequence: floor.sequence };
    let numbers = [floor.operation, operation.number];
    let what = format!(
        "operation {} was sent after operation {} had been answered",
        operation.number, floor.operation
    );
    let skew_us = case.allowance.client_skew_us;
    let why = format!(
        "in the log its event {event} is not after event {known}, which the other knew of \
         (clocks of clients differ by {skew_us} us at the most)"
    );
    found.add(Kind::RealTimeInversion, &numbers, &[event, known], (what, why));
}

fn judge(look: &Look<'_>, refusals: &mut Refusals<'_>, places: &mut Vec<Place>) -> Judged {
    match (&look.operation.ask, &look.operation.answer) {
        (_, Answer::Unknown | Answer::NotDone(_) | Answer::Refused(Refusal::Other(_))) => {
            Judged::Skipped
        }
        (_, Answer::Refused(refusal)) => refusals.judge(look, refusal),
        (Ask::Place { .. }, Answer::Order { seen, replayed: true }) => replays::judge(look, seen),
        (Ask::LookAtOrder { order, buyer }, Answer::Order { seen, .. }) => {
            reads::judge_order(look, (*order, *buyer), seen, places)
        }
        (ask, Answer::Product(seen)) => reads::judge_product(look, ask, seen),
        // What was acknowledged and has no event was found before.
        (Ask::Place { .. } | Ask::Pay { .. } | Ask::Cancel { .. }, Answer::Order { .. }) => {
            Judged::Skipped
        }
        (ask, Answer::Order { .. }) => {
            let why = format!("that is no answer to {}", ask.word());
            Judged::nowhere(Kind::WrongAnswer, &[], why)
        }
    }
}

/// Counts what was judged; the place of the operation, if it has one.
fn settle(operation: &Operation, judged: Judged, found: &mut Findings) -> Option<Position> {
    let is_judged = !matches!(judged, Judged::Skipped);
    let looked = &mut found.verdict.looked;
    match (&operation.ask, &operation.answer) {
        (_, Answer::Refused(_)) if is_judged => looked.refused += 1,
        (Ask::Place { .. }, Answer::Order { .. }) if is_judged => looked.replayed += 1,
        (_, Answer::Order { .. } | Answer::Product(_)) if is_judged => looked.read += 1,
        (_, Answer::NotDone(_) | Answer::Refused(_)) => looked.unjudged += 1,
        _ => {}
    }
    match judged {
        Judged::At(position) => Some(position),
        Judged::Anywhere | Judged::Skipped => None,
        Judged::Nowhere { kind, why, events } => {
            let what = describe(operation);
            found.add(kind, &[operation.number], &events, (what, why));
            None
        }
    }
}

/// An operation and its answer in one sentence.
fn describe(operation: &Operation) -> String {
    let Operation { number, client, sent_us, ask, answer, .. } = operation;
    let asked = match ask {
        Ask::Place { product, buyer, quantity, waitlist, .. } => {
            let or_wait = if *waitlist { " or a place" } else { "" };
            format!("buyer {buyer} wanted {quantity} of product {product}{or_wait}")
        }
        Ask::Pay { order } => format!("order {order} was to be paid"),
        Ask::Cancel { order, .. } => format!("order {order} was to be cancelled"),
        Ask::LookAtOrder { order, .. } => format!("order {order} was looked at"),
        Ask::LookAtProduct { product } => format!("product {product} was looked at"),
        Ask::Define { product, .. } => format!("product {product} was to be defined"),
        Ask::Restock { product, units } => format!("{units} units of {product} were to be added"),
        Ask::Withdraw { product, units } => format!("{units} units of {product} were to be taken"),
        Ask::SetState { product, state } => format!("product {product} was to be {state:?}"),
    };
    let told = match answer {
        Answer::Unknown => "nothing".to_owned(),
        Answer::NotDone(code) => code.clone(),
        Answer::Refused(refusal) => refusal.to_string(),
        Answer::Product(seen) => format!(
            "{} available, {} held, {} sold of {}, {} waiting",
            seen.available, seen.held, seen.sold, seen.terms.stock, seen.waiting
        ),
        Answer::Order { seen, replayed } => {
            let again = if *replayed { ", again" } else { "" };
            format!("order {} is {}{again}", seen.order, seen.status)
        }
    };
    let took = match operation.answered_us {
        Some(answered_us) => format!("{} us later", answered_us - sent_us),
        None => "never".to_owned(),
    };
    format!("operation {number} of client {client}: {asked} at {sent_us}; told {took}: {told}")
}
