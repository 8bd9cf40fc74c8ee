//! Chance that a seed decides: every part of a run has a generator of its own, so that one part
//! drawing more numbers does not change what the others draw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A generator. A clone is another handle of the same one.
#[derive(Clone, Debug)]
pub struct Chance {
    seed: u64,
    /// Locked because sockets have to be `Send`; one thread runs it all.
    random: Arc<Mutex<fastrand::Rng>>,
}

impl Chance {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))) }
    }

    /// A generator of its own for a part of the run: the same name gives the same one.
    pub fn of(&self, part: &str) -> Self {
        Self::new(xxh3_64_with_seed(part.as_bytes(), self.seed))
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True with this probability, from 0 to 1.
    pub fn hits(&self, probability: f64) -> bool {
        // A number is drawn in any case, so that turning a fault off changes nothing else.
        self.random().f64() < probability
    }
    /// A number below `end`; 0 when `end` is.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.random().u64(..end) }
    }
    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.random().u64(low..=high)
    }
    /// From 0 up to, but not 1.
    pub fn fraction(&self) -> f64 {
        self.random().f64()
    }
    /// A duration from nothing to `longest`, in whole milliseconds, short ones more often.
    pub fn delay(&self, longest: Duration) -> Duration {
        let longest_ms = longest.as_millis() as f64;
        let fraction = self.fraction();
        Duration::from_millis((longest_ms * fraction * fraction).round() as u64)
    }
    /// One of `choices`, which has some.
    pub fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
    /// Bytes of any value.
    pub fn fill(&self, into: &mut [u8]) {
        self.random().fill(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_draw_apart_and_a_seed_draws_the_same() {
        let draw = |chance: &Chance| (0..8).map(|_| chance.below(1000)).collect::<Vec<_>>();
        let (one, other) = (Chance::new(7), Chance::new(7));
        draw(&one.of("disk"));
        assert_eq!(draw(&one.of("network")), draw(&other.of("network")));
        assert_eq!(draw(&one), draw(&other));
        assert_ne!(draw(&one.of("disk")), draw(&one.of("network")));
    }

    #[test]
    fn probabilities_hold_at_their_ends() {
        let chance = Chance::new(1);
        assert!((0..100).all(|_| !chance.hits(0.0)));
        assert!((0..100).all(|_| chance.hits(1.0)));
        assert_eq!(chance.below(0), 0);
    }
}
