//! What clients saw against the log.
//!
//! An operation that did something is *pinned* to its event. Any other that was answered (a refusal,
//! a look, a first answer given again) took place between two events, at a time nobody wrote down;
//! it is in order when some place in the log fits it and everything that is known of its time:
//!
//! - what was answered before another was sent, by whomever, stands before it ([`window`]);
//! - what it was told was true there ([`refusals`], [`reads`], [`replays`]).
//!
//! Operations are taken in the order in which they were sent, and each gets the first place that
//! fits ([`sweep`]). As a place only ever bounds later operations from below, the first is the best,
//! and places for all exist if and only if each finds one. That makes it a check of
//! linearizability, partition by partition, which costs no more than sorting.

mod acknowledged;
mod administration;
mod explained;
mod orders_without_key;
mod places;
mod reads;
mod refusals;
mod replays;
mod sweep;
mod window;

use crate::answer::Answer;
use crate::books::Books;
use crate::history::{Allowance, History};
use crate::ids::Position;
use crate::operation::Operation;
use crate::verdict::{Findings, Kind};
use std::collections::HashSet;

/// Everything that a check of operations looks at.
#[derive(Clone, Copy)]
struct Case<'a> {
    books: &'a Books,
    operations: &'a [Operation],
    allowance: &'a Allowance,
}

/// The event that each operation is pinned to, by index.
type Pins = Vec<Option<Position>>;

pub(super) fn check(books: &Books, history: &History, allowance: &Allowance, found: &mut Findings) {
    let case = Case { books, operations: &history.operations, allowance };
    if !is_sound(case.operations, found) {
        return;
    }
    let looked = &mut found.verdict.looked;
    looked.operations = case.operations.len() as u64;
    looked.unknown =
        case.operations.iter().filter(|it| it.answer == Answer::Unknown).count() as u64;
    let mut pins = acknowledged::pin(case, found);
    let guessed = administration::pin(case, &mut pins);
    sweep::sweep(case, &pins, &guessed, found);
    explained::check(case, &history.events, &pins, found);
}

/// Whether the operations can be what clients did at all.
fn is_sound(operations: &[Operation], found: &mut Findings) -> bool {
    let mut numbers = HashSet::with_capacity(operations.len());
    let mut is_sound = true;
    for operation in operations {
        let number = operation.number;
        let mut broken = |what: String, why: &str| {
            found.add(Kind::BrokenHistory, &[number], &[], (what, why.to_owned()));
            is_sound = false;
        };
        if !numbers.insert(number) {
            broken(format!("there are two operations {number}"), "a number names one operation");
        }
        match operation.answered_us {
            Some(answered_us) if answered_us < operation.sent_us => {
                let what = format!("operation {number} was answered before it was sent");
                broken(what, "times of one client do not go back");
            }
            None if operation.answer != Answer::Unknown => {
                let what = format!("operation {number} has an answer, but no time of it");
                broken(what, "an answer came at some time");
            }
            _ => {}
        }
    }
    is_sound
}
