//! How the work of one thread goes over time: its timeline, its stages, and what it shows to whoever
//! watches.

use crate::answer::Class;
use crate::plan::Stage;
use crate::progress::Progress;
use crate::stages::Stages;
use crate::tally::{histogram, micros};
use crate::timeline::Timeline;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// How often a worker shows what it has.
const PUBLISHED_EVERY: Duration = Duration::from_millis(250);

/// What happened when, in one worker and later in all of them.
pub(crate) struct Flow {
    pub(crate) timeline: Timeline,
    /// When the plan has stages.
    pub(crate) stages: Option<Stages>,
    /// Requests of every kind, every try of each.
    pub(crate) requests: u64,
    recent: Histogram<u64>,
    lateness_us_max: u64,
    published: Instant,
    /// What the thread's CPU time was then.
    cpu: Duration,
}

/// CPU time of the calling thread, in user and system mode together.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Flow {
    pub(crate) fn new(stages: &[Stage], start: Instant) -> Self {
        Self {
            timeline: Timeline::new(start),
            stages: (!stages.is_empty()).then(|| Stages::new(stages, start)),
            requests: 0,
            recent: histogram(),
            lateness_us_max: 0,
            published: start,
            cpu: thread_cpu(),
        }
    }

    /// An order is about to be sent.
    pub(crate) fn order_sent(&mut self, at: Instant) {
        self.requests += 1;
        self.timeline.sent(at);
    }

    /// The last answer to a request that was due at `due` came at `at`.
    pub(crate) fn answered(&mut self, class: Class, due: Instant, at: Instant) {
        self.timeline.answered(class, due, at);
        if class.is_order() {
            let latency = micros(at.saturating_duration_since(due));
            self.recent.record(latency).expect("an auto-resizing histogram takes every value");
            if let Some(stages) = &mut self.stages {
                stages.answered(due, at);
            }
        }
    }

    /// The timer woke the worker so late.
    pub(crate) fn woke_late(&mut self, late: Duration) {
        self.lateness_us_max = self.lateness_us_max.max(micros(late));
    }

    /// Shows what is new to whoever watches, a few times a second.
    pub(crate) fn publish(&mut self, progress: &Progress, now: Instant) {
        if now.saturating_duration_since(self.published) < PUBLISHED_EVERY {
            return;
        }
        self.published = now;
        let cpu = thread_cpu();
        progress.add_cpu_us(micros(cpu.saturating_sub(self.cpu)));
        self.cpu = cpu;
        progress.add_recent(&self.recent, self.lateness_us_max);
        self.recent.reset();
        self.lateness_us_max = 0;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.timeline.merge(&other.timeline);
        self.requests += other.requests;
        match (&mut self.stages, &other.stages) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (Some(_), None) => {}
            (none, theirs) => none.clone_from(theirs),
        }
    }
}
