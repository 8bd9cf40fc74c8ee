//! Finds the events of what administrators did and were told.
//!
//! An answer shows the product as it was after the event, but does not name the event. Mostly one
//! event alone fits; and what is certain tells more about when the rest took place. Where several
//! still fit that add or take units (the same units twice, with the same result), each is given to
//! the operation that has to have one soonest, which finds a way whenever there is one. Such a guess
//! explains an event, and tells nothing about when anything else took place.
//!
//! Terms that are set to what they are make no event. So where two operations could have made an
//! event, or one could whose fate is unknown, the other may have found it done: then none of them is
//! pinned to it, and each is looked at like one that only read.

use super::sweep::Look;
use super::window::{Ceilings, Floors, Window, window_of};
use super::{Case, Pins};
use crate::answer::{Answer, ProductSeen};
use crate::books::product::ProductBook;
use crate::books::{Administration, Edition};
use crate::ids::{Position, ProductId};
use crate::operation::{Ask, Operation};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How often what is certain is looked for anew; mostly twice is enough.
const PASSES_MAX: usize = 8;

/// Which events are given to operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Those whose operation can have made no other.
    Certain,
    /// All that are left.
    Rest,
}

/// An operation that wants an event, and when that can be.
#[derive(Clone, Copy, Debug)]
struct Wish {
    index: usize,
    window: Window,
}

/// The wishes of one product, by what was done and what the product was told to be then.
type Wishes = HashMap<(Administration, ProductSeen), Vec<Wish>>;

/// Pins operations to their events; those that are left without are pinned to a guess, and returned
/// by their index.
pub(super) fn pin(case: Case<'_>, pins: &mut Pins) -> HashSet<usize> {
    let rivals = unknown_definitions(case);
    let mut claimed = HashSet::new();
    for _ in 0..PASSES_MAX {
        let before = claimed.len();
        pin_some(case, pins, &mut claimed, &rivals, Pass::Certain);
        if claimed.len() == before {
            break;
        }
    }
    let certain = pins.clone();
    pin_some(case, pins, &mut claimed, &rivals, Pass::Rest);
    let is_guess = |index: &usize| pins[*index].is_some() && certain[*index].is_none();
    (0..pins.len()).filter(is_guess).collect()
}

/// The first event that an operation of an administrator can have made, as it was told.
pub(super) fn soonest(look: &Look<'_>) -> Option<Position> {
    let Answer::Product(seen) = &look.operation.answer else { return None };
    let (what, books) = (administration_of(&look.operation.ask)?, look.case.books);
    let book = books.product(seen.product)?;
    let partition = book.first.partition;
    let (window, times) = (look.window(partition), books.partitions.get(&partition)?);
    let fits = |number: &usize| {
        let Edition { sequence, by, .. } = book.editions[*number];
        by == what
            && (window.first + 1..=window.last).contains(&sequence)
            && (window.earliest_us..=window.latest_us).contains(&times.at_us(sequence))
            && seen_at(book, *number).as_ref() == Some(seen)
            && would_do(book, *number, &look.operation.ask)
    };
    let number = (0..book.editions.len()).find(fits)?;
    Some(window.at(book.editions[number].sequence))
}

fn pin_some(
    case: Case<'_>,
    pins: &mut Pins,
    claimed: &mut HashSet<Position>,
    rivals: &HashMap<ProductId, Vec<&Operation>>,
    pass: Pass,
) {
    for (product, mut wishes) in wishes(case, pins) {
        let Some(book) = case.books.product(product) else { continue };
        let rivals = rivals.get(&product).map_or(&[][..], Vec::as_slice);
        for number in 0..book.editions.len() {
            let (partition, sequence) = (book.first.partition, book.editions[number].sequence);
            let position = Position { partition, sequence };
            if claimed.contains(&position) {
                continue;
            }
            if let Some(index) = claim(case, book, number, &mut wishes, rivals, pass) {
                pins[index] = Some(position);
                claimed.insert(position);
            }
        }
    }
}

/// What operations want that have no event yet.
fn wishes(case: Case<'_>, pins: &Pins) -> BTreeMap<ProductId, Wishes> {
    let (floors, ceilings) = (Floors::of_pins(case, pins), Ceilings::of_pins(case, pins));
    let mut wishes: BTreeMap<ProductId, Wishes> = BTreeMap::new();
    for (index, operation) in case.operations.iter().enumerate() {
        let Answer::Product(seen) = &operation.answer else { continue };
        let Some(what) = administration_of(&operation.ask) else { continue };
        let Some(book) = case.books.product(seen.product) else { continue };
        if operation.ask.product() != Some(seen.product) || pins[index].is_some() {
            continue;
        }
        let partition = book.first.partition;
        let window = window_of(case, (&floors, &ceilings), operation, partition, 0);
        let wishes = wishes.entry(seen.product).or_default();
        wishes.entry((what, **seen)).or_default().push(Wish { index, window });
    }
    wishes
}

/// Operations of unknown fate that set terms or states, by product.
fn unknown_definitions<'a>(case: Case<'a>) -> HashMap<ProductId, Vec<&'a Operation>> {
    let mut rivals: HashMap<ProductId, Vec<&'a Operation>> = HashMap::new();
    for operation in case.operations {
        if let Ask::Define { product, .. } | Ask::SetState { product, .. } = operation.ask
            && operation.answer == Answer::Unknown
        {
            rivals.entry(product).or_default().push(operation);
        }
    }
    rivals
}

/// The operation that made an edition of a product, if one alone can have.
fn claim(
    case: Case<'_>,
    book: &ProductBook,
    number: usize,
    wishes: &mut Wishes,
    rivals: &[&Operation],
    pass: Pass,
) -> Option<usize> {
    let edition = &book.editions[number];
    let shown = (edition.by, seen_at(book, number)?);
    let wishes = wishes.get_mut(&shown)?;
    let partition = case.books.partitions.get(&book.first.partition)?;
    let at_us = partition.at_us(edition.sequence);
    let fits = |wish: &Wish, number: usize| {
        let sequence = book.editions[number].sequence;
        (wish.window.first + 1..=wish.window.last).contains(&sequence)
            && (wish.window.earliest_us..=wish.window.latest_us)
                .contains(&partition.at_us(sequence))
            && would_do(book, number, &case.operations[wish.index].ask)
    };
    let mut fitting: Vec<usize> =
        (0..wishes.len()).filter(|index| fits(&wishes[*index], number)).collect();
    let may_find_it_done = matches!(edition.by, Administration::Defined | Administration::StateSet);
    if may_find_it_done {
        let latest_us = at_us.saturating_add(case.allowance.engine_skew_us);
        let is_rival =
            |rival: &&Operation| rival.sent_us <= latest_us && would_do(book, number, &rival.ask);
        if fitting.len() > 1 || rivals.iter().any(is_rival) {
            return None;
        }
    }
    fitting.sort_by_key(|index| wishes[*index].window.last);
    let first = *fitting.first()?;
    if pass == Pass::Certain {
        let wish = wishes[first];
        let from = book.editions.partition_point(|other| other.sequence <= wish.window.first);
        let within = (from..book.editions.len())
            .take_while(|other| book.editions[*other].sequence <= wish.window.last);
        let mut others = within.filter(|other| *other != number && fits(&wish, *other));
        if fitting.len() > 1 || others.any(|other| seen_at(book, other) == Some(shown.1)) {
            return None;
        }
    }
    Some(wishes.remove(first).index)
}

/// The product as it was shown after an edition.
fn seen_at(book: &ProductBook, number: usize) -> Option<ProductSeen> {
    let level = book.level_at(book.editions[number].sequence)?;
    book.seen(&book.levels[level])
}

/// What an operation of an administrator would have done to the product.
pub(super) fn administration_of(ask: &Ask) -> Option<Administration> {
    match ask {
        Ask::Define { .. } => Some(Administration::Defined),
        Ask::Restock { units, .. } => Some(Administration::Restocked(*units)),
        Ask::Withdraw { units, .. } => Some(Administration::Withdrawn(*units)),
        Ask::SetState { .. } => Some(Administration::StateSet),
        _ => None,
    }
}

/// Whether a request makes of the terms before an edition what they are in it.
pub(super) fn would_do(book: &ProductBook, number: usize, ask: &Ask) -> bool {
    let Edition { by, terms, state, .. } = book.editions[number];
    let before = number.checked_sub(1).map(|before| book.editions[before].terms);
    let leads_there = match ask {
        Ask::Define { change, .. } => change.applied_to(before.as_ref()) == Some(terms),
        Ask::SetState { state: wanted, .. } => *wanted == state,
        _ => true,
    };
    administration_of(ask) == Some(by) && leads_there
}
