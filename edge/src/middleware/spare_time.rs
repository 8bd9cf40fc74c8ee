//! Time to look at new tokens of an address from which too many came that were none.
//!
//! Honest buyers may share that address: behind a proxy, or a provider's translation of addresses.
//! So their tokens are looked at all the same, in a share of the thread's time and no more. A look
//! takes some microseconds with a secret, which is less than the rest of a request costs: there is
//! always time then. With a public key it may take a hundred, and there may not be.
//!
//! Whose connection has brought no bad token comes before those whose has: they may use up only
//! half of what may be used at once, and so never stand in the others' way.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A look that takes a time is followed by so many times that for other things: the share is one
/// in so many.
const SHARE: u32 = 4;
/// How far ahead of that share looks may be.
const AHEAD_MAX: Duration = Duration::from_millis(100);
/// What a look counts as at the most. One that took longer was interrupted by something else.
const LOOK_MAX: Duration = Duration::from_millis(1);

/// The time that one thread has spare.
#[derive(Debug, Default)]
pub(crate) struct SpareTime {
    /// When the looks so far will be their share of the time.
    even_at: Cell<Option<Instant>>,
}

impl SpareTime {
    /// Whether there is time at `now` for a token of a connection that has brought a bad one, or
    /// has not.
    pub(crate) fn is_there(&self, now: Instant, has_brought_bad: bool) -> bool {
        let ahead = self.even_at.get().map_or(Duration::ZERO, |at| at.duration_since(now));
        ahead < if has_brought_bad { AHEAD_MAX / 2 } else { AHEAD_MAX }
    }

    /// Counts a look that began at `now`.
    pub(crate) fn spend(&self, now: Instant, took: Duration) {
        let from = self.even_at.get().map_or(now, |at| at.max(now));
        self.even_at.set(Some(from + took.min(LOOK_MAX) * SHARE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds in which a forger sends a token every 10 µs, and a buyer comes anew so often.
    /// What the thread spent, and how many of the buyers' tokens it looked at.
    fn flood(look: Duration, is_forger_known: bool, buyers_every: Duration) -> (Duration, f64) {
        let spare = SpareTime::default();
        let began = Instant::now();
        let (mut now, mut spent) = (began, Duration::ZERO);
        let (mut next_buyer, mut came, mut served) = (began, 0.0, 0.0);
        while now < began + Duration::from_secs(10) {
            let is_buyer_there = next_buyer <= now;
            let mut looks = 0;
            if spare.is_there(now, is_forger_known) {
                spare.spend(now, look);
                looks += 1;
            }
            if is_buyer_there {
                next_buyer += buyers_every;
                came += 1.0;
                if spare.is_there(now, false) {
                    spare.spend(now, look);
                    looks += 1;
                    served += 1.0;
                }
            }
            spent += look * looks;
            now += look * looks + Duration::from_micros(10);
        }
        (spent, served / came)
    }

    #[test]
    fn looks_keep_to_their_share_and_who_brought_nothing_bad_comes_first() {
        let check = |look_us: u64, is_forger_known: bool, buyers_us: u64, all: bool| {
            let look = Duration::from_micros(look_us);
            let (spent, served) = flood(look, is_forger_known, Duration::from_micros(buyers_us));
            let most = Duration::from_secs(10) / SHARE + AHEAD_MAX / SHARE + look;
            assert!(spent <= most, "looks of {look_us} µs took {spent:?}");
            assert!(served > 0.0, "nobody was served beside looks of {look_us} µs");
            assert_eq!(served >= 1.0, all, "{served} beside looks of {look_us} µs");
        };
        // With a secret there is time for all of a flood.
        check(2, true, 1_000, true);
        check(2, false, 1_000, true);
        // With a public key there is not: first those who have brought no bad token.
        check(100, true, 1_000, true);
        check(100, false, 1_000, false);
        // More honest buyers than there is time for are told to come back.
        check(100, true, 100, false);
        // A long look was interrupted.
        let spare = SpareTime::default();
        let now = Instant::now();
        spare.spend(now, Duration::from_secs(60));
        assert!(spare.is_there(now, true));
    }
}
