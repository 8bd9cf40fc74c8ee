//! How often one source may ask: a rate limit per buyer, and one per client address for requests
//! without a token.
//!
//! The generic cell rate algorithm (ITU-T I.371): of each source one time is kept, the theoretical
//! arrival time at which its next request would be right on schedule. A request may be early by a
//! burst; one that is taken moves the time on by the interval of the rate. All threads of an edge
//! share the times in a table of atomic words: no lock, no clean-up, one hash and one
//! compare-exchange for a request that is taken, and only a look for one that is refused.
//!
//! # What the table can get wrong
//!
//! - It has a fixed size, 2 MiB: [`RATE_LINES`] cache lines of [`RATE_WAYS`] slots. A source needs a
//!   slot only while it is ahead of schedule, so with R requests taken per second and a rate of r no
//!   more than R / r slots are in use. A source whose line is full of others passes unmetered: with
//!   25 000 sources ahead at once 1 in 600 000 does, with 50 000 1 in 5 000, with 100 000 1 in 75.
//! - Sources are told apart within a line by 24 bits of a keyed hash: at most one source in two
//!   million shares its limit with another. The key is random per process, so nobody can aim at it.
//! - Two threads may give a new source two slots, when one stalls between its look and its write
//!   while a slot before the other's comes free. The source then gets its burst once more, once.

use crate::config::{EdgeConfig, RateLimit};
use crate::limits::{RATE_LINES, RATE_WAYS};
use crate::problem::Problem;
use crate::refusal;
use doorbuster_protocol::BuyerId;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Bits of a slot that hold its time, in microseconds; the others hold the source's tag. The times
/// go round once in 12 days.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// The most that the clock readings of two requests may be out of order between threads.
const SKEW_US: u64 = 1_000_000;

// A probe touches one cache line.
const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);
// Times ahead are told from times past by being far less than half a round away.
const _: () =
    assert!(RateLimit::BURST_SECONDS_MAX as u64 * 2_000_000 + SKEW_US < 1 << (TIME_BITS - 1));

/// The rate limits of an edge, shared by its threads.
#[derive(Debug)]
pub(crate) struct RateLimits {
    /// Where its times begin.
    epoch: Instant,
    buyers: Option<Limiter>,
    addresses: Option<Limiter>,
    bad_tokens: Option<Limiter>,
}

impl RateLimits {
    /// The limits that `config` asks for. One that it does not ask for costs nothing.
    pub(crate) fn new(config: &EdgeConfig) -> Self {
        Self {
            epoch: Instant::now(),
            buyers: config.rate_limit.map(Limiter::new),
            addresses: config.anonymous_rate_limit.map(Limiter::new),
            bad_tokens: config.bad_token_rate_limit.map(Limiter::new),
        }
    }

    /// Passes a buyer's request at `now`, or says when to come back.
    pub(crate) fn admit_buyer(&self, buyer: BuyerId, now: Instant) -> Result<(), Problem> {
        let Some(limiter) = &self.buyers else { return Ok(()) };
        self.admit(limiter, u128::from_le_bytes(*buyer.as_bytes()), now)
    }

    /// Passes a request without a token at `now`, or says when to come back.
    pub(crate) fn admit_address(&self, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let Some(limiter) = &self.addresses else { return Ok(()) };
        self.admit(limiter, source_of(address), now)
    }

    /// Whether a token of `address` that was not seen before may be looked at whatever it costs;
    /// or what to say when there is no time for that, because too many from there were none.
    pub(crate) fn admit_new_token(&self, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let Some(limiter) = &self.bad_tokens else { return Ok(()) };
        limiter
            .look(source_of(address), self.since_epoch_us(now))
            .map_err(|TooEarly { wait_us }| refusal::too_many_bad_tokens(limiter.limit, wait_us))
    }

    /// Notes that a token of `address` was none.
    pub(crate) fn token_was_bad(&self, address: IpAddr, now: Instant) {
        if let Some(limiter) = &self.bad_tokens {
            // Whether it was one too many shows when the next one comes.
            let _ = limiter.admit(source_of(address), self.since_epoch_us(now));
        }
    }

    fn admit(&self, limiter: &Limiter, source: u128, now: Instant) -> Result<(), Problem> {
        limiter
            .admit(source, self.since_epoch_us(now))
            .map_err(|TooEarly { wait_us }| refusal::rate_limited(limiter.limit, wait_us))
    }

    fn since_epoch_us(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }
}

/// What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that one customer
/// has to himself.
pub(crate) fn source_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// A request came ahead of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooEarly {
    /// Until one would be taken.
    wait_us: u64,
}

/// One limit for many sources.
struct Limiter {
    limit: RateLimit,
    interval_us: u64,
    /// How far ahead of schedule a request may be: all of the burst but itself.
    tolerance_us: u64,
    /// How far ahead of any clock reading a time can be; one that seems further is past.
    ahead_max_us: u64,
    lines: Box<[Line]>,
    hasher: RandomState,
}

/// Slots: a tag, which is never 0, above a theoretical arrival time. 0 was never used.
#[repr(align(64))]
struct Line([AtomicU64; RATE_WAYS]);

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limiter").field(&self.limit).finish()
    }
}

impl Limiter {
    fn new(limit: RateLimit) -> Self {
        let interval_us = limit.interval_us();
        let burst_us = u64::from(limit.burst()) * interval_us;
        Self {
            limit,
            interval_us,
            tolerance_us: burst_us - interval_us,
            ahead_max_us: burst_us + SKEW_US,
            lines: (0..RATE_LINES)
                .map(|_| Line([const { AtomicU64::new(0) }; RATE_WAYS]))
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// Takes or refuses a request of `source`, by a clock that all threads share.
    fn admit(&self, source: u128, now_us: u64) -> Result<(), TooEarly> {
        let (line, tag) = self.place_of(source);
        loop {
            // Without a slot the source passes: a crowd must not shut anybody out.
            let Some((slot, seen)) = self.slot_of(line, tag, now_us) else { return Ok(()) };
            let is_own = seen >> TIME_BITS == tag;
            let ahead_us = if is_own { self.in_time(seen, now_us)? } else { 0 };
            let next = tag << TIME_BITS | (now_us + ahead_us + self.interval_us) & TIME_MASK;
            // A slot is whole in its one word, so nothing else needs to be seen in order. Who loses
            // the race looks again: somebody else has got on.
            if slot.compare_exchange(seen, next, Relaxed, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    /// Whether a request of `source` would be taken, without taking it.
    fn look(&self, source: u128, now_us: u64) -> Result<(), TooEarly> {
        let (line, tag) = self.place_of(source);
        match self.slot_of(line, tag, now_us) {
            Some((_, seen)) if seen >> TIME_BITS == tag => self.in_time(seen, now_us).map(drop),
            _ => Ok(()),
        }
    }

    /// The line where a source is looked for, and its tag there.
    fn place_of(&self, source: u128) -> (&Line, u64) {
        let hash = self.hasher.hash_one(source);
        (&self.lines[hash as usize % RATE_LINES], (hash >> TIME_BITS).max(1))
    }

    /// How far ahead of schedule a source's slot is, if that is not too far.
    fn in_time(&self, slot: u64, now_us: u64) -> Result<u64, TooEarly> {
        let ahead_us = self.ahead_us(slot, now_us);
        if ahead_us > self.tolerance_us {
            return Err(TooEarly { wait_us: ahead_us - self.tolerance_us });
        }
        Ok(ahead_us)
    }

    /// The slot of a source, or else the first that nobody needs any more, and what it holds.
    fn slot_of<'a>(&self, line: &'a Line, tag: u64, now_us: u64) -> Option<(&'a AtomicU64, u64)> {
        let mut free = None;
        for slot in &line.0 {
            let seen = slot.load(Relaxed);
            if seen >> TIME_BITS == tag {
                return Some((slot, seen));
            }
            if free.is_none() && (seen == 0 || self.ahead_us(seen, now_us) == 0) {
                free = Some((slot, seen));
            }
        }
        free
    }

    /// How far a slot's time is ahead of `now_us`; 0 for one that is past.
    fn ahead_us(&self, slot: u64, now_us: u64) -> u64 {
        let ahead_us = slot.wrapping_sub(now_us) & TIME_MASK;
        if ahead_us <= self.ahead_max_us { ahead_us } else { 0 }
    }
}

#[cfg(test)]
#[path = "rate_limit_test.rs"]
mod tests;
