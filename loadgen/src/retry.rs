//! Whether and when a request without a clear answer is sent again.
//!
//! Real crowds differ: some clients do as `Retry-After` says, some only back off by themselves; and
//! good ones retry on a budget (a share of what they ask for the first time), so that retries cannot
//! become the load. Without a [`Retrying`] in the plan none of that is looked at: so often, backing
//! off, and that is it.

use crate::answer::Failure;
use crate::plan::Retrying;
use std::cell::Cell;
use std::time::Duration;

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Retries that a budget saves up at the most, so that a calm hour does not pay for a storm.
const SAVED_MAX: f64 = 100.0;

/// The retries of one worker.
pub(crate) struct Retries {
    times_max: u32,
    policy: Option<Retrying>,
    /// What is left of the budget.
    saved: Cell<f64>,
}

impl Retries {
    pub(crate) fn new(times_max: u32, policy: Option<Retrying>) -> Self {
        Self { times_max, policy, saved: Cell::new(SAVED_MAX / 10.0) }
    }

    /// An attempt is made for the first time, and earns its part of a retry.
    pub(crate) fn earn(&self) {
        if let Some(policy) = self.policy {
            self.saved.set((self.saved.get() + policy.budget).min(SAVED_MAX));
        }
    }

    /// How long to wait before the next try of attempt number `attempt`, of which `tries` were made
    /// before this failure; `None`: it is given up. Payments and cancels are not on the budget:
    /// there is no other way to a clear answer.
    pub(crate) fn wait(
        &self,
        failure: &Failure,
        attempt: u64,
        tries: u32,
        is_on_budget: bool,
    ) -> Option<Duration> {
        if !failure.can_retry || tries >= self.times_max {
            return None;
        }
        let backoff = BACKOFF_MIN.saturating_mul(1 << (tries + 1).min(10)).min(BACKOFF_MAX);
        let Some(policy) = self.policy else { return Some(backoff) };
        if is_on_budget {
            if self.saved.get() < 1.0 {
                return None;
            }
            self.saved.set(self.saved.get() - 1.0);
        }
        // Anywhere up to the whole of it, so that those who failed together do not come together.
        let backoff = backoff.mul_f64(fastrand::f64());
        match failure.retry_after {
            Some(told) if policy.honours(attempt) => Some(told + backoff),
            _ => Some(backoff),
        }
    }
}

impl Retrying {
    /// Whether the client of this attempt does as it is told.
    fn honours(&self, attempt: u64) -> bool {
        // Spread evenly over the attempts: multiples of the golden ratio.
        (attempt as f64 * 0.618_033_988_749_895).fract() < self.honour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seconds: u64) -> Failure {
        Failure { retry_after: Some(Duration::from_secs(seconds)), ..Failure::busy("overloaded") }
    }

    #[test]
    fn without_a_policy_it_backs_off_so_many_times() {
        let retries = Retries::new(3, None);
        let waits = [0, 1, 2, 3].map(|tries| retries.wait(&told(9), 0, tries, true));
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(waits, [millis(40), millis(80), millis(160), None]);
        assert_eq!(retries.wait(&Failure::NONSENSE, 0, 0, true), None);
    }

    #[test]
    fn a_share_of_the_clients_does_as_it_is_told() {
        let policy = Retrying { budget: 1.0, honour: 0.3 };
        let retries = Retries::new(9, Some(policy));
        let patient = (0..1_000)
            .filter(|attempt| {
                let wait = retries.wait(&told(5), *attempt, 0, false).expect("it may");
                assert!(wait <= Duration::from_millis(5_040));
                wait >= Duration::from_secs(5)
            })
            .count();
        assert!((290..=310).contains(&patient), "{patient}");
    }

    #[test]
    fn retries_are_a_share_of_the_attempts() {
        let retries = Retries::new(9, Some(Retrying { budget: 0.1, honour: 0.0 }));
        let mut granted = 0;
        for attempt in 0..10_000 {
            retries.earn();
            granted += u32::from(retries.wait(&told(1), attempt, 0, true).is_some());
        }
        assert!((1_000..=1_010).contains(&granted), "{granted}");
        assert!(retries.wait(&told(1), 0, 0, false).is_some(), "payments are not on it");
    }
}
