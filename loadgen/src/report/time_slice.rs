//! The run over time, as data: one slice a second, or longer ones in a long run.

use super::latencies::Latencies;
use crate::answer::Class;
use crate::plan::{Pace, Plan};
use crate::schedule::Schedule;
use crate::timeline::{Slice, Timeline};
use crate::worker::Shared;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A slice of the run, the warm-up included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeSlice {
    /// When it began, in seconds from the start of the run.
    pub at_seconds: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Attempts whose time came in it, in an open loop.
    pub intended: Option<u64>,
    /// Orders sent in it, every try of each.
    pub sent: u64,
    /// Holds placed; this and what follows counts when the answer came.
    pub accepted: u64,
    /// First answers given again for the same key.
    pub replayed: u64,
    /// Orders put on the waitlist.
    pub queued: u64,
    /// Refused: everything was sold.
    pub sold_out: u64,
    /// Refused: over the limit per buyer.
    pub limit: u64,
    /// Refused for another reason.
    pub refused: u64,
    /// Requests without a proper answer, payments and cancels included.
    pub errors: u64,
    /// Of orders answered properly, from the intended send time.
    pub latency: Latencies,
}

impl TimeSlice {
    /// All answers, errors included.
    pub fn answers(&self) -> u64 {
        self.accepted
            + self.replayed
            + self.queued
            + self.sold_out
            + self.limit
            + self.refused
            + self.errors
    }
}

pub(crate) fn slices(plan: &Plan, timeline: &Timeline) -> Vec<TimeSlice> {
    let width = timeline.width();
    let schedule = match (plan.stages.as_slice(), plan.pace) {
        ([], Pace::Closed) => None,
        ([], Pace::Open { rate }) => Some(Schedule::open(rate, Shared::slots(plan), 0, 1)),
        (stages, _) => Some(Schedule::stages(stages, 0, 1)),
    };
    // What is due at the very end of a slice belongs to the next.
    let due_before = |schedule: &Schedule, time: Duration| match time {
        Duration::ZERO => 0,
        time => schedule.released(time - Duration::from_nanos(1)),
    };
    let slice = |(index, slice): (usize, &Slice)| {
        let begins = width * u32::try_from(index).expect("slices are few");
        TimeSlice {
            at_seconds: begins.as_secs_f64(),
            seconds: width.as_secs_f64(),
            intended: schedule.as_ref().map(|schedule| {
                due_before(schedule, begins + width) - due_before(schedule, begins)
            }),
            sent: slice.sent,
            accepted: slice.count(Class::Accepted),
            replayed: slice.count(Class::Replayed),
            queued: slice.count(Class::Queued),
            sold_out: slice.count(Class::SoldOut),
            limit: slice.count(Class::Limit),
            refused: slice.count(Class::Refused),
            errors: slice.count(Class::Failed),
            latency: Latencies::of(&slice.latency),
        }
    };
    let mut slices: Vec<TimeSlice> = timeline.slices().iter().enumerate().map(slice).collect();
    // Payments and looks go on when no order is asked for any more.
    while slices.pop_if(|last| last.sent == 0 && last.answers() == 0).is_some() {}
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Amount, Stage};
    use crate::target::Target;
    use std::time::Instant;

    #[test]
    fn slices_say_what_was_intended() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        timeline.answered(Class::Queued, start, start + Duration::from_millis(2_500));
        let mut plan = Plan::new(Target::http("127.0.0.1:1".parse().expect("an address")));
        let intended = |plan: &Plan| {
            slices(plan, &timeline).iter().map(|slice| slice.intended).collect::<Vec<_>>()
        };
        assert_eq!(intended(&plan), [None; 3]);
        plan.pace = Pace::Open { rate: 10.0 };
        assert_eq!(intended(&plan), [Some(10); 3]);
        plan.amount = Amount::Attempts(15);
        assert_eq!(intended(&plan), [Some(10), Some(5), Some(0)]);
        let second = Duration::from_secs(1);
        plan.stages = vec![Stage::ramp(0.0, 100.0, second), Stage::steady(7.0, second)];
        assert_eq!(intended(&plan), [Some(50), Some(7), Some(0)]);
        timeline.answered(Class::Look, start, start + Duration::from_millis(9_500));
        let last = slices(&plan, &timeline).pop().expect("three slices");
        assert_eq!((last.at_seconds, last.seconds, last.answers()), (2.0, 1.0, 1));
        assert!(last.latency.p50_us >= 2_450_000);
    }
}
