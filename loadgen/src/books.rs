//! What one worker writes down: what counts, what belongs to the warm-up, and how it went over time.
//!
//! A request counts by when it was due. What was due in the warm-up is sent and judged like the
//! rest, and stands in a tally of its own.

use crate::answer::Class;
use crate::flow::Flow;
use crate::idle::IdleReport;
use crate::plan::Plan;
use crate::tally::Tally;
use std::cell::{RefCell, RefMut};
use std::time::{Duration, Instant};

/// The books of one worker. Its lanes and its pacer take turns on one thread.
pub(crate) struct Books {
    counts_from: Instant,
    tally: RefCell<Tally>,
    warm_up: RefCell<Tally>,
    flow: RefCell<Flow>,
}

/// Closed books.
pub(crate) struct Seen {
    /// What counts.
    pub(crate) tally: Tally,
    /// What was due in the warm-up.
    pub(crate) warm_up: Tally,
    /// Both, over time.
    pub(crate) flow: Flow,
    /// CPU time of the threads that made the load, together.
    pub(crate) cpu: Duration,
    /// Share of its time that the busiest of them was at work.
    pub(crate) busy: f64,
    /// What became of the idle connections.
    pub(crate) idle: Option<IdleReport>,
}

impl Books {
    /// Empty ones, of a run that began at `start`.
    pub(crate) fn new(plan: &Plan, start: Instant) -> Self {
        Self {
            counts_from: start + plan.warm_up,
            tally: RefCell::new(Tally::new()),
            warm_up: RefCell::new(Tally::new()),
            flow: RefCell::new(Flow::new(&plan.stages, start)),
        }
    }

    /// Where a request counts that was due at this time.
    pub(crate) fn tally(&self, due: Instant) -> RefMut<'_, Tally> {
        if due < self.counts_from { self.warm_up.borrow_mut() } else { self.tally.borrow_mut() }
    }

    pub(crate) fn flow(&self) -> RefMut<'_, Flow> {
        self.flow.borrow_mut()
    }

    /// An attempt is made for the first time.
    pub(crate) fn attempted(&self, due: Instant, now: Instant) {
        self.tally(due).attempted(due, now);
        if let Some(stages) = &mut self.flow().stages {
            stages.offered(due);
        }
    }

    /// The last answer to a request: due, sent, answered at these times.
    pub(crate) fn answered(&self, class: Class, [due, sent, answered]: [Instant; 3]) {
        self.tally(due).record(class, due, sent, answered);
        self.flow().answered(class, due, answered);
    }

    /// These slots found no free lane in time.
    pub(crate) fn gave_up(&self, slots: impl Iterator<Item = Instant>) {
        for due in slots {
            self.tally(due).given_up += 1;
            if let Some(stages) = &mut self.flow().stages {
                stages.given_up(due, 1);
            }
        }
    }

    /// So many slots each, due at these times, are given up: they waited until now, and that counts.
    pub(crate) fn cut_short(&self, untaken: impl Iterator<Item = (Instant, u64)>, now: Instant) {
        for (due, slots) in untaken {
            self.tally(due).unsent(due, now, slots);
            let flow = &mut *self.flow();
            flow.timeline.unsent(now, slots);
            if let Some(stages) = &mut flow.stages {
                stages.given_up(due, slots);
            }
        }
    }

    /// Payments, cancels, retries and looks that nobody will do.
    pub(crate) fn dropped(&self, jobs: usize) {
        self.tally.borrow_mut().jobs_dropped += jobs as u64;
    }

    /// The timer was set for `due` and has just gone off.
    pub(crate) fn woke_late(&self, due: Instant) {
        let late = Instant::now().saturating_duration_since(due);
        self.tally(due).woke_late(late);
        self.flow().woke_late(late);
    }

    /// No more entries. The worker took so much CPU time in so much time.
    pub(crate) fn close(self, cpu: Duration, elapsed: Duration) -> Seen {
        Seen {
            tally: self.tally.into_inner(),
            warm_up: self.warm_up.into_inner(),
            flow: self.flow.into_inner(),
            cpu,
            busy: cpu.as_secs_f64() / elapsed.as_secs_f64().max(1e-9),
            idle: None,
        }
    }
}

impl Seen {
    /// Nothing, of a run that began at `start`.
    pub(crate) fn nothing(plan: &Plan, start: Instant) -> Self {
        Books::new(plan, start).close(Duration::ZERO, Duration::ZERO)
    }

    /// Adds what another worker saw.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.warm_up.merge(&other.warm_up);
        self.flow.merge(&other.flow);
        self.cpu += other.cpu;
        self.busy = self.busy.max(other.busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Stage;
    use crate::target::Target;

    #[test]
    fn what_was_due_in_the_warm_up_does_not_count() {
        let mut plan = Plan::new(Target::http("127.0.0.1:1".parse().expect("an address")));
        plan.warm_up = Duration::from_secs(10);
        plan.stages = vec![Stage::steady(1.0, Duration::from_secs(30))];
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let books = Books::new(&plan, start);
        for due in [at(9), at(10), at(11)] {
            books.attempted(due, due);
            books.answered(Class::Accepted, [due, due, at(12)]);
        }
        books.cut_short([(at(3), 1), (at(13), 1), (at(14), 1)].into_iter(), at(15));
        books.gave_up([at(0), at(20)].into_iter());
        let seen = books.close(Duration::from_secs(3), Duration::from_secs(20));
        let of = |tally: &Tally| {
            let accepted = tally.track(Class::Accepted).latency.len();
            (tally.attempts, accepted, tally.unsent, tally.given_up)
        };
        assert_eq!((of(&seen.tally), of(&seen.warm_up)), ((2, 2, 2, 1), (1, 1, 1, 1)));
        let slices = seen.flow.timeline.slices();
        assert_eq!(slices[12].count(Class::Accepted), 3, "over time, all of it shows");
        assert_eq!(slices[15].count(Class::Failed), 3);
        let stage = &seen.flow.stages.expect("a stage").counts[0];
        assert_eq!((stage.offered, stage.given_up), (3 + 3 + 2, 3 + 2), "sent or not");
        assert!((seen.busy - 0.15).abs() < 1e-9);
    }
}
