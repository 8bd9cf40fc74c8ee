//! The algorithm by a clock of the test's own, the table when it is crowded, threads at once.

use super::*;
use std::sync::Barrier;
use std::thread;

const SECOND_US: u64 = 1_000_000;

fn limiter(per_second: u32, burst: u32) -> Limiter {
    Limiter::new(RateLimit::new(per_second, burst).unwrap())
}

#[test]
fn requests_are_taken_by_the_clock() {
    // Requests as (microsecond, `None` when taken or else how long to wait).
    let check = |name: &str, per_second: u32, burst: u32, requests: &[(u64, Option<u64>)]| {
        // The clock of the table goes round; a limiter must not notice where it is.
        for start_us in [0, 1, 5 * SECOND_US, TIME_MASK - 1_500_000, TIME_MASK + 1] {
            let limiter = limiter(per_second, burst);
            for (index, (at_us, wait_us)) in requests.iter().enumerate() {
                let expected = wait_us.map_or(Ok(()), |wait_us| Err(TooEarly { wait_us }));
                let got = limiter.admit(1, start_us + at_us);
                assert_eq!(got, expected, "{name}, from {start_us}: request {index}");
            }
        }
    };
    check(
        "one at a time",
        10,
        1,
        &[
            (0, None),
            (0, Some(100_000)),
            (99_999, Some(1)),
            (100_000, None),
            (250_000, None),
            (300_000, Some(50_000)),
            (350_000, None),
        ],
    );
    check(
        "a burst, then the rate",
        2,
        3,
        &[
            (0, None),
            (0, None),
            (0, None),
            (0, Some(500_000)),
            (400_000, Some(100_000)),
            (500_000, None),
            (500_000, Some(500_000)),
            (1_500_000, None),
            (1_500_000, None),
            (1_500_000, Some(500_000)),
        ],
    );
    check(
        "a burst is whole again after a rest, and no more than whole",
        10,
        2,
        &[
            (0, None),
            (0, None),
            (0, Some(100_000)),
            (60 * SECOND_US, None),
            (60 * SECOND_US, None),
            (60 * SECOND_US, Some(100_000)),
        ],
    );
    check(
        "refusals cost nothing",
        1,
        1,
        &[(0, None), (1, Some(999_999)), (2, Some(999_998)), (SECOND_US, None)],
    );
    check(
        "a clock that another thread read before",
        10,
        1,
        &[(500_000, None), (400_000, Some(200_000)), (600_000, None)],
    );
    check("the longest burst", 1, 3_600, &[(0, None), (0, None), (3_599 * SECOND_US, None)]);
}

#[test]
fn sources_do_not_share_a_limit() {
    let limiter = limiter(1, 1);
    for source in 0..1_000 {
        assert_eq!(limiter.admit(source, 7), Ok(()), "{source}");
    }
    for source in 0..1_000 {
        assert_eq!(limiter.admit(source, 7), Err(TooEarly { wait_us: SECOND_US }), "{source}");
    }
}

#[test]
fn an_unused_slot_is_free_whatever_the_time() {
    // At this time the zero of an unused slot looks like a time just ahead.
    let limiter = limiter(1, 1);
    let now_us = TIME_MASK - 10;
    assert_eq!(limiter.admit(1, now_us), Ok(()));
    assert_eq!(limiter.admit(1, now_us), Err(TooEarly { wait_us: SECOND_US }));
}

#[test]
fn a_crowd_passes_and_a_slot_that_is_past_is_used_again() {
    let crowded = |limiter: &Limiter, now_us: u64| {
        limiter
            .lines
            .iter()
            .filter(|line| {
                line.0.iter().all(|slot| limiter.ahead_us(slot.load(Relaxed), now_us) > 0)
            })
            .count()
    };
    let limiter = limiter(1, 1);
    let sources = 4 * (RATE_LINES * RATE_WAYS) as u128;
    let refused = (0..sources).filter(|source| limiter.admit(*source, 7).is_err()).count();
    // Sources that share a tag within a line are refused: far less than one in 100 000.
    assert!(refused < 100, "{refused}");
    assert!(crowded(&limiter, 7) > RATE_LINES * 9 / 10, "so many sources fill the table");
    let passed = (0..sources).filter(|source| limiter.admit(*source, 7).is_ok()).count();
    assert!(passed as u128 > sources / 2, "those who have no slot pass: {passed}");
    // Once the crowd is past, everybody has a slot again.
    let later_us = 7 + SECOND_US;
    assert_eq!(crowded(&limiter, later_us), 0);
    assert_eq!(limiter.admit(u128::MAX, later_us), Ok(()));
    assert!(limiter.admit(u128::MAX, later_us).is_err());
}

#[test]
fn threads_at_once_get_exactly_the_burst_and_the_rate() {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 50;
    const BURST: u32 = 20;
    let limiter = limiter(1_000, BURST);
    let round_begins = Barrier::new(THREADS);
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    // Each round is 3 intervals and a bit after the one before.
                    let now_us = round * 3_010;
                    round_begins.wait();
                    for _ in 0..100 {
                        taken.fetch_add(u64::from(limiter.admit(1, now_us).is_ok()), Relaxed);
                    }
                    round_begins.wait();
                    let elapsed = now_us / limiter.interval_us;
                    assert_eq!(taken.load(Relaxed), u64::from(BURST) + elapsed, "round {round}");
                    round_begins.wait();
                }
            });
        }
    });
}

#[test]
fn threads_on_a_moving_clock_stay_within_one_request_of_the_rate() {
    const ATTEMPTS: u64 = 50_000;
    let limiter = limiter(20_000, 10);
    let (clock_us, taken) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ATTEMPTS {
                    let now_us = clock_us.fetch_add(1, Relaxed);
                    taken.fetch_add(u64::from(limiter.admit(1, now_us).is_ok()), Relaxed);
                }
            });
        }
    });
    let expected = 10 + 4 * ATTEMPTS / limiter.interval_us;
    let taken = taken.into_inner();
    assert!((expected - 1..=expected + 1).contains(&taken), "{taken} of {expected}");
}

#[test]
fn an_address_is_one_client_and_so_is_a_network_of_one_customer() {
    let check = |one: &str, other: &str, same: bool| {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source(one) == source(other), same, "{one} {other}");
    };
    check("192.0.2.1", "192.0.2.1", true);
    check("192.0.2.1", "192.0.2.2", false);
    check("192.0.2.1", "::ffff:192.0.2.1", true);
    check("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", true);
    check("2001:db8:0:1::1", "2001:db8:0:2::1", false);
    check("::", "0.0.0.0", false);
}
