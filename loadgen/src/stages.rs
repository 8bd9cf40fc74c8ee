//! What became of the requests of each stage, and how it went over time: counted by when a request
//! was sent, apart from the totals of the run.

use crate::answer::{Answer, Class};
use crate::plan::Stage;
use crate::tally::{self, micros};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long one slice of the timeline is.
pub(crate) const SLICE: Duration = Duration::from_millis(250);
/// Slices that are kept; what comes later counts for the last one.
const SLICES_MAX: usize = 4 * 3_600;
/// Kinds of answers that are counted apart.
const KINDS_MAX: usize = 32;

/// Two significant digits, which is enough for percentiles of a quarter of a second.
fn histogram() -> Histogram<u64> {
    Histogram::new(2).expect("two digits are allowed")
}

/// What became of the requests of one stage.
#[derive(Clone)]
pub(crate) struct StageCounts {
    /// Attempts whose time came, sent or not.
    pub(crate) offered: u64,
    /// Attempts that were given up before they were sent.
    pub(crate) given_up: u64,
    /// Orders sent, every try of each.
    pub(crate) sent: u64,
    /// Holds placed or queued orders; the same answer again does not count twice.
    pub(crate) accepted: u64,
    /// Time from the send of an order to its acceptance.
    pub(crate) accepting: Histogram<u64>,
    /// Of orders that were due in it and answered properly: time from when they were due.
    pub(crate) latency: Histogram<u64>,
    /// Other answers to orders, every try of each, by code.
    pub(crate) others: BTreeMap<String, u64>,
    /// Payments and cancels sent, every try of each.
    pub(crate) acts_sent: u64,
    /// Those that succeeded, and those of them that did so at the first try.
    pub(crate) acts_done: u64,
    pub(crate) acts_done_at_once: u64,
    /// Those that were refused or given up for good, by code.
    pub(crate) acts_failed: BTreeMap<String, u64>,
    /// Time from when a payment or cancel was due to its success.
    pub(crate) acting: Histogram<u64>,
    /// 429 and 503 without a `Retry-After`.
    pub(crate) without_retry_after: u64,
}

/// A slice of the timeline.
#[derive(Clone)]
pub(crate) struct Slice {
    pub(crate) accepted: u64,
    pub(crate) accepting: Histogram<u64>,
}

/// The stages of one worker, and later of all of them.
#[derive(Clone)]
pub(crate) struct Stages {
    start: Instant,
    /// When each begins.
    begins: Vec<Duration>,
    pub(crate) counts: Vec<StageCounts>,
    pub(crate) slices: Vec<Slice>,
}

impl StageCounts {
    fn new() -> Self {
        Self {
            offered: 0,
            given_up: 0,
            sent: 0,
            accepted: 0,
            accepting: histogram(),
            latency: tally::histogram(),
            others: BTreeMap::new(),
            acts_sent: 0,
            acts_done: 0,
            acts_done_at_once: 0,
            acts_failed: BTreeMap::new(),
            acting: histogram(),
            without_retry_after: 0,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.offered += other.offered;
        self.given_up += other.given_up;
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.acts_sent += other.acts_sent;
        self.acts_done += other.acts_done;
        self.acts_done_at_once += other.acts_done_at_once;
        self.without_retry_after += other.without_retry_after;
        for (mine, theirs) in [
            (&mut self.accepting, &other.accepting),
            (&mut self.latency, &other.latency),
            (&mut self.acting, &other.acting),
        ] {
            mine.add(theirs).expect("an auto-resizing histogram takes every value");
        }
        for (mine, theirs) in
            [(&mut self.others, &other.others), (&mut self.acts_failed, &other.acts_failed)]
        {
            for (code, times) in theirs {
                *mine.entry(code.clone()).or_default() += times;
            }
        }
    }

    fn saw(&mut self, answer: &Answer) {
        if let Answer::Failed(failure) = answer {
            self.without_retry_after += u64::from(failure.is_busy && failure.retry_after.is_none());
        }
    }
}

/// What an answer is counted under.
fn code(answer: &Answer) -> &str {
    match answer {
        Answer::Order { .. } => answer.class().name(),
        Answer::Refused(code) => code,
        Answer::Failed(failure) => &failure.code,
    }
}

fn count(kinds: &mut BTreeMap<String, u64>, code: &str) {
    if let Some(times) = kinds.get_mut(code) {
        *times += 1;
    } else {
        let code = if kinds.len() < KINDS_MAX { code } else { "others" };
        *kinds.entry(code.to_owned()).or_default() += 1;
    }
}

fn record(into: &mut Histogram<u64>, time: Duration) {
    into.record(micros(time)).expect("an auto-resizing histogram takes every value");
}

impl Stages {
    /// Nothing yet of these stages, the first of which began at `start`.
    pub(crate) fn new(stages: &[Stage], start: Instant) -> Self {
        let mut begins = Vec::with_capacity(stages.len());
        let mut at = Duration::ZERO;
        for stage in stages {
            begins.push(at);
            at += stage.duration;
        }
        let counts = stages.iter().map(|_| StageCounts::new()).collect();
        Self { start, begins, counts, slices: Vec::new() }
    }

    fn at(&mut self, time: Instant) -> Option<&mut StageCounts> {
        let elapsed = time.saturating_duration_since(self.start);
        let stage = self.begins.partition_point(|begins| *begins <= elapsed);
        self.counts.get_mut(stage.checked_sub(1)?)
    }

    fn slice(&mut self, time: Instant) -> &mut Slice {
        let elapsed = time.saturating_duration_since(self.start);
        let index = (elapsed.as_micros() / SLICE.as_micros()) as usize;
        let index = index.min(SLICES_MAX - 1);
        while self.slices.len() <= index {
            self.slices.push(Slice { accepted: 0, accepting: histogram() });
        }
        &mut self.slices[index]
    }

    /// The time of an attempt came, and it is sent.
    pub(crate) fn offered(&mut self, due: Instant) {
        if let Some(counts) = self.at(due) {
            counts.offered += 1;
        }
    }

    /// The time of so many attempts came and went.
    pub(crate) fn given_up(&mut self, due: Instant, attempts: u64) {
        if let Some(counts) = self.at(due) {
            counts.offered += attempts;
            counts.given_up += attempts;
        }
    }

    /// The last answer to an order that was due at `due` came at `at`, and is a proper one.
    pub(crate) fn answered(&mut self, due: Instant, at: Instant) {
        if let Some(counts) = self.at(due) {
            record(&mut counts.latency, at.saturating_duration_since(due));
        }
    }

    /// One try of an order was answered.
    pub(crate) fn order(&mut self, answer: &Answer, sent: Instant, answered: Instant) {
        let took = answered.saturating_duration_since(sent);
        let is_accepted = matches!(answer.class(), Class::Accepted | Class::Queued);
        let Some(counts) = self.at(sent) else { return };
        counts.sent += 1;
        counts.saw(answer);
        if is_accepted {
            counts.accepted += 1;
            record(&mut counts.accepting, took);
            let slice = self.slice(sent);
            slice.accepted += 1;
            record(&mut slice.accepting, took);
        } else {
            count(&mut counts.others, code(answer));
        }
    }

    /// One try of a payment or cancel that was due at `due` was answered. `is_last`: it will not be
    /// tried again.
    pub(crate) fn act(
        &mut self,
        answer: &Answer,
        tries: u32,
        is_last: bool,
        [due, sent, answered]: [Instant; 3],
    ) {
        let Some(counts) = self.at(sent) else { return };
        counts.acts_sent += 1;
        counts.saw(answer);
        match answer {
            Answer::Order { .. } => {
                counts.acts_done += 1;
                counts.acts_done_at_once += u64::from(tries == 0);
                record(&mut counts.acting, answered.saturating_duration_since(due));
            }
            failed if is_last => count(&mut counts.acts_failed, code(failed)),
            _ => {}
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            mine.merge(theirs);
        }
        for (index, theirs) in other.slices.iter().enumerate() {
            match self.slices.get_mut(index) {
                None => self.slices.push(theirs.clone()),
                Some(mine) => {
                    mine.accepted += theirs.accepted;
                    let added = mine.accepting.add(&theirs.accepting);
                    added.expect("an auto-resizing histogram takes every value");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Failure;
    use doorbuster_protocol::{BuyerId, OrderId, PartitionId, Sequence, Timestamp};

    fn some_order() -> OrderId {
        let buyer = BuyerId::parse("buyer").expect("a name");
        OrderId::new(
            Timestamp::from_micros(0),
            PartitionId::new(0).expect("a number"),
            buyer,
            Sequence::new(1),
        )
    }

    #[test]
    fn requests_count_for_the_stage_in_which_they_were_sent() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let stage = |seconds| Stage::steady(1.0, Duration::from_secs(seconds));
        let mut stages = Stages::new(&[stage(1), stage(2)], start);
        let accepted = Answer::Order {
            order: some_order(),
            status: doorbuster_protocol::outcome::OrderStatus::Pending,
            replayed: false,
        };
        let busy = Answer::Failed(Failure { is_busy: true, ..Failure::busy("overloaded") });
        stages.offered(at(0));
        stages.given_up(at(999), 1);
        stages.given_up(at(1_000), 1);
        stages.order(&accepted, at(900), at(1_100));
        stages.order(&busy, at(1_000), at(1_100));
        stages.order(&accepted, at(9_000), at(9_100));
        stages.act(&busy, 0, false, [at(1_000), at(1_000), at(1_100)]);
        stages.act(&accepted, 1, true, [at(1_000), at(1_200), at(1_500)]);
        stages.act(&busy, 5, true, [at(1_000), at(1_200), at(1_500)]);
        // A server that stood still until the second stage cannot hide it from the first.
        stages.answered(at(500), at(2_500));
        let other = stages.clone();
        stages.merge(&other);
        let [first, second] = &stages.counts[..] else { panic!("two stages") };
        assert_eq!((first.offered, first.given_up, first.accepted, first.sent), (4, 2, 2, 2));
        assert_eq!((first.latency.len(), second.latency.len()), (2, 0));
        assert!(first.latency.max() >= 2_000_000, "it counts from when it was due");
        assert_eq!((second.offered, second.accepted, second.sent), (2, 2, 4));
        assert_eq!(second.others["overloaded"], 2);
        assert_eq!(second.without_retry_after, 6);
        assert_eq!((second.acts_sent, second.acts_done, second.acts_done_at_once), (6, 2, 0));
        assert_eq!(second.acts_failed["overloaded"], 2);
        assert!(second.acting.max() >= 495_000, "it counts from when it was due");
        assert_eq!(stages.slices[3].accepted, 2);
        assert_eq!(stages.slices[36].accepted, 2);
    }
}
