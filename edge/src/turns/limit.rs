//! How many requests of a lane may be in progress at a time, learned from how long they take.
//!
//! What waits for the engine, the disk or this thread waits longer the more is in progress. So when
//! even the *quickest* of a while took longer than the goal, a queue stands somewhere, and fewer are
//! let in; the quickest tells a queue that stands from a burst that passes (Nichols and Jacobson,
//! "Controlling queue delay", 2012). While it is within the goal and somebody had to wait for a
//! turn, more are let in.
//!
//! A disk whose every sync takes longer than the goal is slow, and no queue: when as few as may be
//! still take long, the goal moves to twice what they take.

use std::time::Duration;
use tokio::time::Instant;

/// Requests in progress that are always allowed: one alone would never fill a batch.
pub(super) const LIMIT_MIN: usize = 16;
/// Requests in progress at the start: far from either end, and found again within a second.
const LIMIT_AT_FIRST: usize = 512;
/// How long the quickest is looked for before the limit moves.
const WINDOW: Duration = Duration::from_millis(50);

/// The limit of one lane.
#[derive(Debug)]
pub(super) struct Limit {
    most: usize,
    /// How long the quickest of a window may take.
    goal: Duration,
    /// The most that may ever be in progress.
    limit_max: usize,
    /// What the quickest takes with next to nothing in progress, where that is known to be long.
    unloaded: Duration,
    window: Window,
}

/// What was seen since the limit was last judged.
#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    /// The quickest that waited for the disk.
    quickest_event: Option<Duration>,
    /// The quickest of the others, which tells less.
    quickest_other: Option<Duration>,
    /// Whether somebody found no place.
    was_short: bool,
}

impl Limit {
    pub(super) fn new(goal: Duration, limit_max: usize) -> Self {
        let limit_max = limit_max.max(LIMIT_MIN);
        Self {
            most: LIMIT_AT_FIRST.min(limit_max),
            goal,
            limit_max,
            unloaded: Duration::ZERO,
            window: Window::default(),
        }
    }

    /// How many may be in progress now.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Somebody found no place.
    pub(super) fn fell_short(&mut self) {
        self.window.was_short = true;
    }

    /// A request was answered by the engine. `is_event`: it had to wait for the disk.
    pub(super) fn took(&mut self, time: Duration, is_event: bool, now: Instant) {
        let window = &mut self.window;
        let quickest =
            if is_event { &mut window.quickest_event } else { &mut window.quickest_other };
        *quickest = Some(quickest.map_or(time, |known| known.min(time)));
        if now.saturating_duration_since(*window.since.get_or_insert(now)) >= WINDOW {
            self.judge(now);
        }
    }

    fn judge(&mut self, now: Instant) {
        let window = std::mem::take(&mut self.window);
        self.window.since = Some(now);
        let Some(quickest) = window.quickest_event.or(window.quickest_other) else { return };
        self.unloaded = self.unloaded.min(quickest);
        let goal = self.goal.max(2 * self.unloaded);
        if quickest <= goal {
            if window.was_short {
                let part = if 2 * quickest <= goal { 4 } else { 8 };
                self.most = (self.most + self.most / part + 1).min(self.limit_max);
            }
        } else if self.most == LIMIT_MIN {
            self.unloaded = quickest;
        } else {
            // In proportion, but neither by more than half nor by less than an eighth.
            let share = (goal.as_secs_f64() / quickest.as_secs_f64()).clamp(0.5, 0.875);
            self.most = ((self.most as f64 * share) as usize).max(LIMIT_MIN);
        }
    }
}

#[cfg(test)]
#[path = "limit_test.rs"]
mod tests;
