//! A circuit breaker: whoever does not answer is left alone for a while.
//!
//! Without it every question to a shard that is away waits for its whole timeout and holds what it
//! holds meanwhile. [`Breaker`] is a state machine without a clock; [`Guarded`] lends it the time
//! and a lock.
//!
//! ```text
//!             failures in a row            pause is over
//!   closed ─────────────────────▶ open ─────────────────────▶ half-open: one probe is out
//!      ▲                            ▲                             │        │
//!      │                            └──────── the probe failed ───┘        │
//!      └───────────────────────────────────── the probe was answered ──────┘
//! ```

use crate::postgres::options::BreakerOptions;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What came of a question, as far as the breaker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was answered, be it with an error.
    Answered,
    /// Nobody answered, or not in time.
    Failed,
    /// It was never asked, or given up: that says nothing.
    Unknown,
}

/// Leave to ask. It counts only for as long as the breaker stays in the state that gave it, so that
/// a late answer from before an outage does not end the outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leave {
    era: u64,
}

/// Closed, open or half-open.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
    /// Grows with every change of state.
    era: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

impl Breaker {
    /// A closed one.
    pub(super) fn new(options: &BreakerOptions) -> Self {
        Self {
            failures_max: options.failures.max(1),
            pause: options.pause,
            state: State::Closed { failures: 0 },
            era: 0,
        }
    }

    /// Leave to ask, or how long it is to the next probe; zero while one is out.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Leave, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => self.become_state(State::Probing),
            State::Probing => return Err(Duration::ZERO),
        }
        Ok(Leave { era: self.era })
    }

    /// Takes what came of a question.
    pub(super) fn settle(&mut self, leave: Leave, verdict: Verdict, now: Instant) {
        if leave.era != self.era {
            return;
        }
        match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Answered) => {
                self.state = State::Closed { failures: 0 };
            }
            (State::Closed { failures }, Verdict::Failed) if failures + 1 < self.failures_max => {
                self.state = State::Closed { failures: failures + 1 };
            }
            (State::Closed { .. } | State::Probing, Verdict::Failed) => {
                self.become_state(State::Open { until: now + self.pause });
            }
            (State::Probing, Verdict::Answered) => self.become_state(State::Closed { failures: 0 }),
            // A probe that was given up tells nothing: the next question is one.
            (State::Probing, Verdict::Unknown) => self.become_state(State::Open { until: now }),
            (State::Closed { .. } | State::Open { .. }, _) => {}
        }
    }

    /// Whether it refuses questions, or all but one.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    fn become_state(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

/// A breaker that many ask at once.
#[derive(Debug)]
pub(super) struct Guarded {
    /// Two short steps per question, from many tasks; it is never held over an await.
    breaker: Mutex<Breaker>,
}

impl Guarded {
    /// A closed one.
    pub(super) fn new(options: &BreakerOptions) -> Self {
        Self { breaker: Mutex::new(Breaker::new(options)) }
    }

    /// Leave to ask now, or how long it is to the next probe.
    pub(super) fn admit(&self) -> Result<Asking<'_>, Duration> {
        let leave = self.lock().admit(Instant::now())?;
        Ok(Asking { guarded: self, leave, verdict: Verdict::Unknown })
    }

    /// Whether it refuses questions, or all but one.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        // No step can panic half-way, so that a poisoned breaker is a sound one.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question on its way. Dropped without a verdict, it was given up.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    guarded: &'a Guarded,
    leave: Leave,
    verdict: Verdict,
}

impl Asking<'_> {
    /// Tells what came of it.
    pub(super) fn settle(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.guarded.lock().settle(self.leave, self.verdict, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A question is let through, and named.
        Admitted(&'static str),
        /// A question is refused: so many seconds to the next probe.
        Refused(u64),
        /// What came of the named question.
        Settled(&'static str, Verdict),
        /// So many seconds later.
        Later(u64),
        /// Whether it counts as open.
        Open(bool),
    }
    use Step::{Admitted, Later, Open, Refused, Settled};
    use Verdict::{Answered, Failed, Unknown};

    fn check(what: &str, steps: &[Step]) {
        let options = BreakerOptions { failures: 3, pause: Duration::from_secs(10) };
        let mut breaker = Breaker::new(&options);
        let mut now = Instant::now();
        let mut leaves: Vec<(&str, Leave)> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let place = format!("{what}, step {index}: {step:?}");
            match *step {
                Admitted(name) => match breaker.admit(now) {
                    Ok(leave) => leaves.push((name, leave)),
                    Err(wait) => panic!("{place}: refused for {wait:?}"),
                },
                Refused(seconds) => {
                    let wait = Duration::from_secs(seconds);
                    assert_eq!(breaker.admit(now), Err(wait), "{place}");
                }
                Settled(name, verdict) => {
                    let at = leaves.iter().position(|(known, _)| *known == name);
                    let (_, leave) = leaves.remove(at.expect("the question was let through"));
                    breaker.settle(leave, verdict, now);
                }
                Later(seconds) => now += Duration::from_secs(seconds),
                Open(open) => assert_eq!(breaker.is_open(), open, "{place}"),
            }
        }
    }

    #[test]
    fn it_opens_pauses_probes_and_closes() {
        let fail = |name| [Admitted(name), Settled(name, Failed)];
        let opened = [fail("a"), fail("b"), fail("c")].concat();
        let after = |steps: &[Step]| [opened.as_slice(), steps].concat();

        check("answers keep it closed", &[Admitted("a"), Settled("a", Answered), Open(false)]);
        check(
            "two failures are not three",
            &[&opened[..4], &[Open(false), Admitted("d")]].concat(),
        );
        let between = [Admitted("d"), Settled("d", Answered)];
        let broken_run = [&opened[..4], &between, &opened[4..], &[Open(false), Admitted("e")]];
        check("an answer begins the count anew", &broken_run.concat());
        let nothing = [Admitted("d"), Settled("d", Unknown)];
        let kept_run = [&opened[..4], &nothing, &opened[4..], &[Open(true)]];
        check("a question given up changes no count", &kept_run.concat());

        check("three failures open it", &after(&[Open(true), Refused(10), Later(4), Refused(6)]));
        check("one probe", &after(&[Later(10), Admitted("p"), Refused(0), Open(true)]));
        let answered = [Later(10), Admitted("p"), Settled("p", Answered), Open(false)];
        check("an answered probe closes it", &after(&answered));
        let again = [&answered[..], &opened[..4], &[Open(false)]].concat();
        check("and its count begins at zero", &after(&again));
        let failed = [Later(11), Admitted("p"), Settled("p", Failed), Refused(10), Open(true)];
        check("a failed probe opens it anew", &after(&failed));
        let given_up = [Later(10), Admitted("p"), Settled("p", Unknown), Open(true), Admitted("q")];
        check("a probe given up gives way to another", &after(&given_up));
    }

    #[test]
    fn late_answers_change_nothing() {
        let asked =
            [Admitted("a"), Admitted("b"), Admitted("c"), Admitted("late"), Admitted("later")];
        let failed = [Settled("a", Failed), Settled("b", Failed), Settled("c", Failed)];
        let opened = [asked.as_slice(), &failed].concat();
        let after = |steps: &[Step]| [opened.as_slice(), steps].concat();
        check("a late answer does not close it", &after(&[Settled("late", Answered), Refused(10)]));
        let longer = [Later(5), Settled("late", Failed), Refused(5)];
        check("a late failure does not keep it open for longer", &after(&longer));
        let during = [Later(10), Admitted("p"), Settled("late", Failed), Refused(0)];
        check("nor does it speak for the probe", &after(&during));
        let closed = [Later(10), Admitted("p"), Settled("p", Answered), Settled("late", Failed)];
        let counted = [&closed[..], &failed_run(), &[Open(false)]].concat();
        check("nor does it count once it is closed again", &after(&counted));
    }

    fn failed_run() -> [Step; 4] {
        [Admitted("x"), Settled("x", Failed), Admitted("y"), Settled("y", Failed)]
    }

    #[test]
    fn a_question_dropped_on_its_way_frees_the_probe() {
        let options = BreakerOptions { failures: 1, pause: Duration::ZERO };
        let guarded = Guarded::new(&options);
        guarded.admit().expect("it is closed").settle(Failed);
        assert!(guarded.is_open());
        let probe = guarded.admit().expect("the pause is over");
        assert_eq!(guarded.admit().map(|_| ()), Err(Duration::ZERO), "one probe is out");
        drop(probe);
        guarded.admit().expect("the next question is a probe").settle(Answered);
        assert!(!guarded.is_open());
    }
}
