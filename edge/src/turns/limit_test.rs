//! Where a limit comes to rest, before servers of a few lines: quick ones, slow ones, ones with a slow
//! disk, and ones that stand still now and then.

use super::*;
use std::collections::VecDeque;

const GOAL: Duration = Duration::from_millis(50);

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
    check(10_000.0, 0, 100_000, (400, 600));
    check(2_000.0, 0, 100_000, (80, 120));
    check(100_000.0, 0, 100_000, (4_000, 4_096));
    check(1e9, 0, 100_000, (4_096, 4_096));
    // Nobody waits for a place: it stays as it is.
    check(1e9, 0, 100, (512, 512));
    // Slower than any goal: as few as may be.
    check(10.0, 0, 1_000, (LIMIT_MIN, 40));
    // A disk that takes longer than the goal for each sync is slow, and no queue.
    check(1e6, 80, 100_000, (4_096, 4_096));
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

/// A core that may use the CPU for a part of each period only, as under a control group's quota,
/// and never has too few requests: how many it answers per second, in simulated time.
struct Throttled {
    period: Duration,
    quota: Duration,
    per_batch: Duration,
    per_request: Duration,
}

impl Throttled {
    /// From a request's turn to the core, and from its answer to the next one's turn.
    const ON_THE_WAY: Duration = Duration::from_micros(200);
    const DISK: Duration = Duration::from_micros(300);

    fn per_second(&self, limit: &mut Limit, moves: bool) -> f64 {
        let (begin, seconds) = (Instant::now(), 12);
        let end = Duration::from_secs(seconds);
        let (mut now, mut left, mut in_period) = (Duration::ZERO, self.quota, 0);
        let (mut coming, mut answered) = (VecDeque::new(), 0);
        coming.resize(limit.most(), now + Self::ON_THE_WAY);
        while now < end {
            now = now.max(coming[0]);
            let batch = coming.iter().take_while(|at| **at <= now).count();
            let mut work = self.per_batch + self.per_request * batch as u32;
            while !work.is_zero() {
                let period = now.as_nanos() / self.period.as_nanos();
                if period != in_period {
                    (in_period, left) = (period, self.quota);
                } else if left.is_zero() {
                    now = self.period * (period as u32 + 1);
                    continue;
                }
                let step = work.min(left);
                (work, left, now) = (work - step, left - step, now + step);
            }
            now += Self::DISK;
            for since in coming.drain(..batch) {
                if now > end / 6 {
                    answered += 1;
                }
                if moves {
                    limit.fell_short();
                    limit.took(now - since + Self::ON_THE_WAY, true, begin + now);
                }
            }
            coming.resize(limit.most().max(coming.len()), now + Self::ON_THE_WAY);
        }
        f64::from(answered) / (seconds as f64 * 5.0 / 6.0)
    }
}

/// What stands still in between is no queue, however long: as many are let in as keep it busy, even
/// where each batch costs half of a slice.
#[test]
fn a_core_that_is_stopped_now_and_then_is_kept_busy() {
    let micros = Duration::from_micros;
    for per_batch in [60, 500] {
        for period_ms in [5, 10, 20, 33, 40, 50, 60, 75, 100, 150, 200] {
            for share in [3, 10] {
                let period = Duration::from_millis(period_ms);
                let core = Throttled {
                    period,
                    quota: (period * share / 100).max(micros(1_000)),
                    per_batch: micros(per_batch),
                    per_request: micros(3),
                };
                let most = core.per_second(&mut Limit::new(GOAL, LIMIT_AT_FIRST), false);
                let learned = core.per_second(&mut Limit::new(GOAL, 4_096), true);
                assert!(
                    learned >= 0.75 * most,
                    "{share} % of {period_ms} ms, {per_batch} us per batch: {learned} of {most}"
                );
            }
        }
    }
}
