//! Between which events an operation took place, by what is known of real time.
//!
//! Three things are known. What was answered before an operation was sent stands before it; what was
//! sent after it was answered stands after it; and events carry the time by the engine's clock,
//! which is near that of the clients.

use super::{Case, Pins};
use crate::ids::Position;
use crate::operation::Operation;
use std::collections::HashMap;

/// The places in the log of one partition at which an operation can have taken place: after event
/// `first` at the earliest, after event `last` at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) partition: u16,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The earliest and the latest that the engine's clock can have read.
    pub(super) earliest_us: u64,
    pub(super) latest_us: u64,
}

impl Window {
    pub(super) fn at(&self, sequence: u64) -> Position {
        Position { partition: self.partition, sequence }
    }

    /// How it is told in a violation.
    pub(super) fn describe(&self) -> String {
        let Self { partition, first, last, .. } = self;
        if first == last {
            format!("all that time the log stood at event {partition}/{first}")
        } else {
            format!("the log went from event {partition}/{first} to {partition}/{last} meanwhile")
        }
    }
}

/// Something that is known to have been in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    /// For operations that were sent after this time.
    from_us: u64,
    pub(super) sequence: u64,
    /// The operation that was told.
    pub(super) operation: u64,
}

/// What everybody knew of the log, over time.
#[derive(Debug, Default)]
pub(super) struct Floors(HashMap<u16, Vec<Floor>>);

impl Floors {
    /// What those pinned to events knew.
    pub(super) fn of_pins(case: Case<'_>, pins: &Pins) -> Self {
        let mut told: Vec<_> = case
            .operations
            .iter()
            .zip(pins)
            .filter_map(|(operation, pin)| {
                Some((operation.answered_us?, (*pin)?, operation.number))
            })
            .collect();
        told.sort_unstable();
        let mut floors = Self::default();
        for (answered_us, position, number) in told {
            floors.raise(case, answered_us, position, number);
        }
        floors
    }

    /// An operation was answered that knew of `position`. Called in the order of the answers.
    pub(super) fn raise(
        &mut self,
        case: Case<'_>,
        answered_us: u64,
        position: Position,
        operation: u64,
    ) {
        let floors = self.0.entry(position.partition).or_default();
        if floors.last().is_none_or(|last| last.sequence < position.sequence) {
            let from_us = answered_us.saturating_add(case.allowance.client_skew_us);
            floors.push(Floor { from_us, sequence: position.sequence, operation });
        }
    }

    /// The newest event that was known to somebody before `sent_us`.
    pub(super) fn before(&self, partition: u16, sent_us: u64) -> Option<Floor> {
        let floors = self.0.get(&partition)?;
        let after = floors.partition_point(|floor| floor.from_us < sent_us);
        after.checked_sub(1).map(|index| floors[index])
    }
}

/// The first event of those that were sent after a time.
#[derive(Debug, Default)]
pub(super) struct Ceilings(HashMap<u16, Vec<(u64, u64)>>);

impl Ceilings {
    pub(super) fn of_pins(case: Case<'_>, pins: &Pins) -> Self {
        let mut sent: Vec<_> = case
            .operations
            .iter()
            .zip(pins)
            .filter_map(|(operation, pin)| Some((operation.sent_us, (*pin)?)))
            .collect();
        sent.sort_unstable();
        let mut ceilings: HashMap<u16, Vec<(u64, u64)>> = HashMap::new();
        for (sent_us, position) in sent.into_iter().rev() {
            let list = ceilings.entry(position.partition).or_default();
            let least = list.last().map_or(u64::MAX, |(_, least)| *least);
            if position.sequence < least {
                list.push((sent_us, position.sequence));
            }
        }
        for list in ceilings.values_mut() {
            list.reverse();
        }
        Self(ceilings)
    }

    /// The last event before all those that were sent after `answered_us`.
    pub(super) fn after(&self, case: Case<'_>, partition: u16, answered_us: u64) -> u64 {
        let answered_us = answered_us.saturating_add(case.allowance.client_skew_us);
        let Some(list) = self.0.get(&partition) else { return u64::MAX };
        let index = list.partition_point(|(sent_us, _)| *sent_us <= answered_us);
        list.get(index).map_or(u64::MAX, |(_, sequence)| sequence - 1)
    }
}

/// When an operation can have taken place. `stale_us`: how much older what it saw may have been.
pub(super) fn window_of(
    case: Case<'_>,
    (floors, ceilings): (&Floors, &Ceilings),
    operation: &Operation,
    partition: u16,
    stale_us: u64,
) -> Window {
    let allowance = case.allowance;
    let sent_us = operation.sent_us.saturating_sub(stale_us);
    let answered_us = operation.answered_us.unwrap_or(u64::MAX);
    let earliest_us = sent_us.saturating_sub(allowance.engine_skew_us);
    let latest_us = answered_us.saturating_add(allowance.engine_skew_us);
    let book = &case.books.partitions.get(&partition);
    let known = floors.before(partition, sent_us).map_or(0, |floor| floor.sequence);
    // Decided at a time so long ago that it was decided, whatever the clocks.
    let long_ago_us = earliest_us.saturating_sub(allowance.decision_us);
    let old = book.map_or(0, |book| book.last_by(long_ago_us.saturating_sub(1)));
    let first = known.max(old);
    let by_then = book.map_or(0, |book| book.last_by(latest_us));
    let last = ceilings.after(case, partition, answered_us).min(by_then);
    // Where the two contradict each other, somebody else is at fault, and is found there.
    Window { partition, first, last: last.max(first), earliest_us, latest_us }
}
