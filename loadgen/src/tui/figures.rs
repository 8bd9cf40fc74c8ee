//! What the screen shows: counters of a run, looked at once a second, and their last minutes.

use doorbuster_loadgen::{Latencies, Plan, Progress, units};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Seconds that the charts show.
pub(super) const SHOWN_MAX: usize = 240;
/// Share of its time from which on a generator has no room left.
const BUSY: f64 = 0.9;
/// Lateness of its timer, at the worst of a second, from which on it falls behind.
const LATE_US: u64 = 20_000;

/// What is said of the plan.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(super) target: String,
    pub(super) pace: String,
    pub(super) is_open_loop: bool,
    pub(super) lasts: Option<Duration>,
    pub(super) connections: u64,
    pub(super) threads: usize,
    pub(super) warm_up: Duration,
}

/// One second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) rate: f64,
    pub(super) intended: f64,
    pub(super) latency: Latencies,
    pub(super) lateness_us: u64,
    /// Share of their time that the load threads were at work, on average.
    pub(super) busy: f64,
}

/// What has been seen so far.
pub(super) struct Figures {
    pub(super) about: About,
    pub(super) progress: Arc<Progress>,
    pub(super) seconds: VecDeque<Second>,
    /// When the first attempt was seen.
    pub(super) began: Option<Instant>,
    looked: Instant,
    answers: u64,
    released: u64,
    cpu_us: u64,
}

impl About {
    pub(crate) fn of(plan: &Plan) -> Self {
        use doorbuster_loadgen::{Amount, Pace};
        let (pace, is_open_loop) = match (plan.stages.len(), plan.pace) {
            (0, Pace::Closed) => ("closed loop".to_owned(), false),
            (0, Pace::Open { rate }) => (format!("open loop, {}/s", units::rate(rate)), true),
            (stages, _) => (format!("open loop, {stages} stages"), true),
        };
        let lasts = match (plan.stages.as_slice(), plan.amount, plan.pace) {
            ([], Amount::Duration(duration), _) => Some(duration),
            ([], Amount::Attempts(attempts), Pace::Open { rate }) => {
                Duration::try_from_secs_f64(attempts as f64 / rate).ok()
            }
            ([], Amount::Attempts(_), Pace::Closed) => None,
            (stages, ..) => Some(stages.iter().map(|stage| stage.duration).sum()),
        };
        Self {
            target: plan.target.to_string(),
            pace,
            is_open_loop,
            lasts,
            connections: plan.concurrency as u64,
            threads: plan.threads,
            warm_up: plan.warm_up,
        }
    }
}

impl Figures {
    pub(super) fn new(about: About, progress: Arc<Progress>) -> Self {
        Self {
            about,
            progress,
            seconds: VecDeque::new(),
            began: None,
            looked: Instant::now(),
            answers: 0,
            released: 0,
            cpu_us: 0,
        }
    }

    /// Looks at the counters; a second that is full goes to the others.
    pub(super) fn look(&mut self, now: Instant) {
        if self.began.is_none() && self.progress.attempts() > 0 {
            self.began = Some(now);
        }
        let elapsed = now.saturating_duration_since(self.looked);
        if elapsed < Duration::from_secs(1) {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let since = |last: &mut u64, counted: u64| {
            let change = counted.saturating_sub(*last);
            *last = counted;
            change as f64 / seconds
        };
        let rate = since(&mut self.answers, self.progress.answers());
        let intended = since(&mut self.released, self.progress.released());
        let cpu = since(&mut self.cpu_us, self.progress.cpu_us()) / 1e6;
        let (latency, lateness_us) = self.progress.take_recent();
        self.looked = now;
        let busy = cpu / self.about.threads as f64;
        let second = Second { rate, intended, latency, lateness_us, busy };
        if self.began.is_some() {
            self.seconds.push_back(second);
        }
        if self.seconds.len() > SHOWN_MAX {
            self.seconds.pop_front();
        }
    }

    /// The last full second.
    pub(super) fn last(&self) -> Second {
        self.seconds.back().copied().unwrap_or_default()
    }

    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// How much of the run is done, if that is known.
    pub(super) fn share(&self, now: Instant) -> Option<f64> {
        let share = match (self.about.lasts, self.progress.planned()) {
            (Some(lasts), _) => self.elapsed(now).as_secs_f64() / lasts.as_secs_f64(),
            (None, 0) => return None,
            (None, planned) => self.progress.attempts() as f64 / planned as f64,
        };
        Some(share.clamp(0.0, 1.0))
    }

    /// What makes these figures less than they seem.
    pub(super) fn warning(&self) -> Option<String> {
        let last = self.last();
        if last.busy > BUSY {
            return Some(format!(
                "the generator itself is the limit: its threads are busy {:.0} % of the time (-t \
                 gives it more)",
                100.0 * last.busy
            ));
        }
        if self.about.is_open_loop && last.lateness_us > LATE_US {
            let late = units::time(last.lateness_us);
            return Some(format!("the generator fell behind: its timer woke {late} late"));
        }
        None
    }
}
