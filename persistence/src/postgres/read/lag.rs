//! How far behind the primary a replica may be, from positions in the log that both of them tell.
//!
//! The primary is asked every moment how far its log reaches. What a replica has replayed beyond
//! such a [`Position`] includes everything that was committed when the primary was asked; so the
//! newest position that it has passed says how old its answers may be. Clocks of other machines
//! play no part, and a sample that is lost only makes the replica look further behind than it is.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How many positions are kept. Past that every other one goes, so that the history reaches back
/// further, and more coarsely, the longer a replica stays behind.
const SAMPLES_MAX: usize = 512;

/// A position in a database's log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64);

/// Text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    /// Two hexadecimal halves, `16/B374D848`, as the type `pg_lsn` is spelled.
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let half = |half: &str| {
            let is_hex = !half.is_empty() && half.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = if is_hex { u32::from_str_radix(half, 16).ok() } else { None };
            value.ok_or(PositionError)
        };
        let (high, low) = text.split_once('/').ok_or(PositionError)?;
        Ok(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

/// Where the primary's log reached at which times.
#[derive(Debug, Default)]
pub(super) struct PrimaryLog {
    /// Both members grow strictly from the front to the back.
    samples: VecDeque<(Position, Instant)>,
}

impl PrimaryLog {
    /// The primary told a position; `asked_at` is when it had not been asked yet.
    pub(super) fn sampled(&mut self, position: Position, asked_at: Instant) {
        let newest = self.samples.back().copied();
        match newest {
            Some((_, at)) if asked_at <= at => return,
            // It cannot go back, so that another server is the primary now: what the old one told
            // says nothing about the new one's log.
            Some((last, _)) if position < last => self.samples.clear(),
            // Nothing was written in between: only the newer time is of use.
            Some((last, _)) if position == last => {
                self.samples.pop_back();
            }
            Some(_) | None => {}
        }
        if self.samples.len() == SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        self.samples.push_back((position, asked_at));
    }

    /// When the primary stood where a replica stands that has replayed up to `replayed`: the replica
    /// has all that was committed by then. `None` when that was before the first sample.
    pub(super) fn time_of(&self, replayed: Position) -> Option<Instant> {
        let passed = self.samples.partition_point(|(position, _)| *position <= replayed);
        passed.checked_sub(1).map(|index| self.samples[index].1)
    }

    /// How far behind a replica may be that has replayed up to `replayed`: what counts as proof.
    pub(super) fn lag(&self, replayed: Position, now: Instant) -> Option<Duration> {
        self.time_of(replayed).map(|at| now.saturating_duration_since(at))
    }

    /// The same for people to read: before the first sample it is the least that it can be.
    pub(super) fn lag_shown(&self, replayed: Position, now: Instant) -> Option<Duration> {
        let at = self.time_of(replayed).or_else(|| self.samples.front().map(|(_, at)| *at))?;
        Some(now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_postgres_spells_them() {
        fn check(text: &str, value: Option<u64>) {
            assert_eq!(text.parse().ok(), value.map(Position), "{text}");
        }
        check("0/0", Some(0));
        check("16/B374D848", Some(0x16_B374_D848));
        check("FFFFFFFF/FFFFFFFF", Some(u64::MAX));
        for bad in ["", "/", "1", "1/", "/1", "+1/0", "1/-1", "100000000/0", "1/2/3", "x/0"] {
            check(bad, None);
        }
        assert_eq!(format!("{:?}", Position(0x16_B374_D848)), "16/B374D848");
    }

    /// Samples as (second, position), what was replayed, and how far behind that is at second 100.
    fn check(what: &str, samples: &[(u64, u64)], replayed: u64, behind: Option<u64>) {
        let start = Instant::now();
        let mut log = PrimaryLog::default();
        for (second, position) in samples {
            log.sampled(Position(*position), start + Duration::from_secs(*second));
        }
        let lag = log.lag(Position(replayed), start + Duration::from_secs(100));
        assert_eq!(lag, behind.map(Duration::from_secs), "{what}");
    }

    #[test]
    fn a_replica_is_as_old_as_the_newest_position_that_it_passed() {
        check("nothing known", &[], 5, None);
        check("before the first sample", &[(90, 10)], 9, None);
        check("right at a sample", &[(90, 10), (95, 20)], 10, Some(10));
        check("between two samples", &[(90, 10), (95, 20)], 19, Some(10));
        check("all of it", &[(90, 10), (95, 20)], 20, Some(5));
        check("ahead of the last sample", &[(90, 10), (95, 20)], 900, Some(5));
        check("nothing is written meanwhile", &[(80, 10), (90, 10), (99, 10)], 10, Some(1));
        check("samples that cross on their way", &[(99, 20), (98, 10)], 20, Some(1));
        check("a new primary whose log is shorter", &[(90, 50), (95, 20)], 20, Some(5));
        check("of the old primary's time nothing is left", &[(90, 50), (95, 20)], 19, None);
    }

    #[test]
    fn a_long_history_is_thinned_and_never_flatters() {
        let start = Instant::now();
        let second = |second| start + Duration::from_secs(second);
        let mut log = PrimaryLog::default();
        for at in 0..10_000 {
            log.sampled(Position(at * 10), second(at));
            assert!(log.samples.len() <= SAMPLES_MAX);
        }
        for replayed in (0..100_000).step_by(37) {
            let lag = log.lag(Position(replayed), second(10_000));
            let true_lag = Duration::from_secs(10_000 - replayed / 10);
            assert!(lag.is_none_or(|lag| lag >= true_lag), "{replayed}: {lag:?} < {true_lag:?}");
            let shown = log.lag_shown(Position(replayed), second(10_000));
            assert!(shown.is_some_and(|shown| shown >= Duration::from_secs(1)), "{replayed}");
        }
        let newest = log.lag(Position(99_990), second(10_000));
        assert_eq!(newest, Some(Duration::from_secs(1)), "the newest sample is never dropped");
        assert!(log.samples.iter().is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }
}
