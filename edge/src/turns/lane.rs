//! One lane: who is in progress, who waits, and who is sent away. It does no waiting itself and
//! knows no clock: times are arguments.

use super::limit::Limit;
use super::line::{End, Line, Place, Word};
use crate::limits::TURNS_REMEMBERED_MAX;
use std::time::Duration;
use tokio::time::Instant;

/// While this thread has no time to spare, one is sent away for so many that had a turn. To refuse
/// costs up to 40 % of what an order costs: this takes a fortieth of the time at the most.
const TURNS_PER_REFUSAL: usize = 16;

/// How long who waits may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    /// Nobody waits longer.
    pub(super) most: Duration,
    /// A line whose oldest waits this long, for [`Waits::standing`], is overload.
    pub(super) soon: Duration,
    /// How long that must last.
    pub(super) standing: Duration,
}

impl Waits {
    /// All of them follow from the longest.
    pub(super) fn new(most: Duration) -> Self {
        Self { most, soon: most / 10, standing: most / 2 }
    }
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    waits: Waits,
    limit: Limit,
    in_progress: usize,
    line: Line,
    /// When somebody last had a turn without having waited long.
    calm_at: Option<Instant>,
    is_overloaded: bool,
    /// Turns that ended, in exchange for which somebody may be sent away.
    ended: usize,
}

/// How an attempt to enter went.
#[derive(Debug)]
pub(super) enum Entry {
    /// It has a turn.
    Now,
    /// It waits.
    Waits(Place),
}

impl Lane {
    pub(super) fn new(limit: Limit, waits: Waits) -> Self {
        Self {
            waits,
            limit,
            in_progress: 0,
            line: Line::default(),
            calm_at: None,
            is_overloaded: false,
            ended: 0,
        }
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Requests that may be in progress.
    pub(super) fn most(&self) -> usize {
        self.limit.most()
    }

    /// Whether it is overloaded, and enough wait for all turns to be used for a while.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_overloaded && self.line.len() >= 2 * self.limit.most()
    }

    /// Takes a turn, or a place in the line.
    pub(super) fn enter(&mut self, now: Instant) -> Entry {
        if self.line.is_empty() && self.in_progress < self.limit.most() {
            self.in_progress += 1;
            return Entry::Now;
        }
        self.limit.fell_short();
        if self.line.is_empty() {
            // Until just now nobody had to wait.
            self.calm_at = Some(now);
        }
        Entry::Waits(self.line.join(now))
    }

    /// Takes a turn whatever the limit: it had one before and gave it back for a while.
    pub(super) fn enter_again(&mut self) {
        self.in_progress += 1;
    }

    /// The line itself, for those who wait in it.
    pub(super) fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// A request was answered by the engine after this time.
    pub(super) fn took(&mut self, time: Duration, is_event: bool, now: Instant) {
        self.limit.took(time, is_event, now);
    }

    /// A turn ends: whoever is next has it.
    pub(super) fn end(&mut self, now: Instant) {
        assert!(self.in_progress > 0, "only a turn that was taken ends");
        self.in_progress -= 1;
        self.ended = (self.ended + 1).min(TURNS_REMEMBERED_MAX);
        self.call_next(now);
    }

    fn call_next(&mut self, now: Instant) {
        while self.in_progress < self.limit.most() {
            let Some(since) = self.line.since(End::Oldest) else {
                self.is_overloaded = false;
                return;
            };
            if now.saturating_duration_since(since) < self.waits.soon {
                self.calm_at = Some(now);
            }
            // Whoever has waited long is the likeliest to have given up. Those who came last can
            // still be served in time, and every turn that they get is worth something.
            let end = if self.is_overloaded { End::Newest } else { End::Oldest };
            self.in_progress += 1;
            self.line.tell(end, Word::Called);
        }
    }

    /// Looks at the line: is it overload, and who has waited too long? `may_hurry`: whether all whose
    /// wait is hopeless are told so at once; otherwise some of them are, for those who had a turn, and
    /// the others when they have waited as long as anybody may. How many were sent away.
    pub(super) fn look(&mut self, now: Instant, may_hurry: bool) -> usize {
        // The limit may have grown.
        self.call_next(now);
        if self.line.is_empty() {
            self.is_overloaded = false;
        } else if self.calm_at.is_none_or(|calm| now - calm >= self.waits.standing) {
            self.is_overloaded = true;
        }
        let mut sent_away = 0;
        while let Some(since) = self.line.since(End::Oldest) {
            let waited = now.saturating_duration_since(since);
            if waited < self.waits.most {
                let is_hopeless = self.is_overloaded && waited >= self.waits.soon;
                if !is_hopeless || !(may_hurry || self.ended >= TURNS_PER_REFUSAL) {
                    break;
                }
            }
            self.ended = self.ended.saturating_sub(TURNS_PER_REFUSAL);
            self.line.tell(End::Oldest, Word::SentAway);
            sent_away += 1;
        }
        sent_away
    }
}

#[cfg(test)]
#[path = "lane_test.rs"]
mod tests;
