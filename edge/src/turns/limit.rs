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
mod tests {
    use super::*;

    const GOAL: Duration = Duration::from_millis(25);

    /// A server that does `per_second` requests, each of which takes `alone` at the least: how long
    /// one takes when so many are in progress.
    fn time_in(most: usize, wanted: usize, per_second: f64, alone: Duration) -> Duration {
        alone.max(Duration::from_secs_f64(most.min(wanted) as f64 / per_second))
    }

    /// Where the limit comes to rest: the least and the most of the last of `seconds`.
    fn settle(
        limit: &mut Limit,
        now: &mut Instant,
        seconds: u32,
        server: impl Fn(usize) -> Duration,
        wanted: usize,
    ) -> (usize, usize) {
        let (mut least, mut most) = (usize::MAX, 0);
        for step in 0..seconds * 100 {
            *now += Duration::from_millis(10);
            if wanted > limit.most() {
                limit.fell_short();
            }
            limit.took(server(limit.most()), true, *now);
            if step >= (seconds - 1) * 100 {
                (least, most) = (least.min(limit.most()), most.max(limit.most()));
            }
        }
        (least, most)
    }

    #[test]
    fn it_settles_where_the_quickest_takes_as_long_as_the_goal() {
        let check = |per_second: f64, alone_ms: u64, wanted: usize, expected: (usize, usize)| {
            let alone = Duration::from_millis(alone_ms);
            let (mut limit, mut now) = (Limit::new(GOAL, 4_096), Instant::now());
            let server = |most| time_in(most, wanted, per_second, alone);
            let (least, most) = settle(&mut limit, &mut now, 6, server, wanted);
            assert!(
                expected.0 <= least && most <= expected.1,
                "{per_second}/s, {alone_ms} ms, {wanted} wanted: {least} to {most}"
            );
        };
        // What the goal holds, within the steps in which the limit moves.
        check(10_000.0, 0, 100_000, (200, 300));
        check(2_000.0, 0, 100_000, (40, 60));
        check(100_000.0, 0, 100_000, (2_000, 2_900));
        check(1e9, 0, 100_000, (4_096, 4_096));
        // Nobody waits for a place: it stays as it is.
        check(1e9, 0, 100, (512, 512));
        // Slower than any goal: as few as may be.
        check(10.0, 0, 1_000, (LIMIT_MIN, 40));
        // A disk that takes longer than the goal for each sync is slow, and no queue.
        check(1e6, 40, 100_000, (4_096, 4_096));
    }

    #[test]
    fn a_stall_costs_half_a_step_and_is_made_up_for() {
        let (mut limit, mut now) = (Limit::new(GOAL, 4_096), Instant::now());
        let quick = |_| Duration::from_millis(2);
        settle(&mut limit, &mut now, 3, quick, 10_000);
        assert_eq!(limit.most(), 4_096);
        for wait in [Duration::from_secs(2), WINDOW] {
            now += wait;
            limit.took(Duration::from_secs(2), true, now);
        }
        assert_eq!(limit.most(), 2_048);
        settle(&mut limit, &mut now, 1, quick, 10_000);
        assert_eq!(limit.most(), 4_096);
    }

    #[test]
    fn what_waits_for_the_disk_tells_more_than_what_does_not() {
        let (mut limit, now) = (Limit::new(GOAL, 4_096), Instant::now());
        limit.took(Duration::from_secs(1), true, now);
        limit.took(Duration::from_micros(100), false, now + WINDOW);
        assert_eq!(limit.most(), LIMIT_AT_FIRST / 2);
        limit.fell_short();
        limit.took(Duration::from_micros(100), false, now + 2 * WINDOW);
        assert_eq!(limit.most(), 256 + 64 + 1);
    }
}
