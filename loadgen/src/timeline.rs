//! How a run went over time: what was sent, what came back and how long it took, second by second.
//!
//! Slices are a second long, until a run has so many that they are made twice as long, and so on: an
//! hour takes no more memory than twenty minutes, and a picture of it has no more points.

use crate::answer::Class;
use crate::tally::micros;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Slices at the most.
const SLICES_MAX: usize = 1_200;
/// Length of a slice, as long as there is room.
const WIDTH_MIN: Duration = Duration::from_secs(1);

/// A slice of the run.
#[derive(Clone)]
pub(crate) struct Slice {
    /// Orders sent in it, every try of each.
    pub(crate) sent: u64,
    /// Last answers that came in it, by class.
    pub(crate) answers: [u64; Class::ALL.len()],
    /// From the intended send time, of orders that were answered properly in it.
    pub(crate) latency: Histogram<u32>,
}

/// The slices of one worker, and later of all of them.
#[derive(Clone)]
pub(crate) struct Timeline {
    start: Instant,
    width: Duration,
    slices: Vec<Slice>,
}

impl Slice {
    fn new() -> Self {
        // Two digits are enough for percentiles of a second.
        let latency = Histogram::new(2).expect("two digits are allowed");
        Self { sent: 0, answers: [0; Class::ALL.len()], latency }
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        for (mine, theirs) in self.answers.iter_mut().zip(&other.answers) {
            *mine += theirs;
        }
        self.latency.add(&other.latency).expect("an auto-resizing histogram takes every value");
    }

    pub(crate) fn count(&self, class: Class) -> u64 {
        self.answers[class as usize]
    }
}

impl Timeline {
    /// Nothing yet, of a run that began at `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, width: WIDTH_MIN, slices: Vec::new() }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn width(&self) -> Duration {
        self.width
    }

    pub(crate) fn slices(&self) -> &[Slice] {
        &self.slices
    }

    pub(crate) fn sent(&mut self, at: Instant) {
        self.slice(at).sent += 1;
    }

    /// So many orders were given up at `at`, before they were sent.
    pub(crate) fn unsent(&mut self, at: Instant, orders: u64) {
        self.slice(at).answers[Class::Failed as usize] += orders;
    }

    /// The last answer to a request that was due at `due` came at `at`.
    pub(crate) fn answered(&mut self, class: Class, due: Instant, at: Instant) {
        let slice = self.slice(at);
        slice.answers[class as usize] += 1;
        if class.is_order() {
            let latency = micros(at.saturating_duration_since(due));
            slice.latency.record(latency).expect("an auto-resizing histogram takes every value");
        }
    }

    fn slice(&mut self, at: Instant) -> &mut Slice {
        let elapsed = at.saturating_duration_since(self.start).as_nanos();
        let mut index = (elapsed / self.width.as_nanos()) as usize;
        while index >= SLICES_MAX {
            self.widen();
            index /= 2;
        }
        while self.slices.len() <= index {
            self.slices.push(Slice::new());
        }
        &mut self.slices[index]
    }

    /// Every two slices become one.
    fn widen(&mut self) {
        self.width *= 2;
        let mut halves = std::mem::take(&mut self.slices).into_iter();
        while let Some(mut slice) = halves.next() {
            if let Some(second) = halves.next() {
                slice.merge(&second);
            }
            self.slices.push(slice);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        for (index, theirs) in other.slices.into_iter().enumerate() {
            match self.slices.get_mut(index) {
                Some(mine) => mine.merge(&theirs),
                None => self.slices.push(theirs),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_counts_for_its_second() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut timeline = Timeline::new(start);
        timeline.sent(at(900));
        timeline.answered(Class::Accepted, at(0), at(1_100));
        timeline.answered(Class::Failed, at(0), at(1_200));
        timeline.merge(&timeline.clone());
        let [first, second] = timeline.slices() else { panic!("two slices") };
        assert_eq!((first.sent, second.sent), (2, 0));
        assert_eq!((second.count(Class::Accepted), second.count(Class::Failed)), (2, 2));
        assert_eq!(second.latency.len(), 2, "a failure has no latency");
        assert!(second.latency.max() >= 1_090_000, "it counts from when it was due");
    }

    #[test]
    fn a_long_run_has_longer_slices_and_loses_nothing() {
        let start = Instant::now();
        let mut long = Timeline::new(start);
        for second in 0..5_000 {
            long.sent(start + Duration::from_secs(second));
        }
        assert_eq!(long.width(), Duration::from_secs(8));
        assert_eq!(long.slices().len(), 625);
        assert!(long.slices().iter().all(|slice| slice.sent == 8));
        let mut short = Timeline::new(start);
        for second in 0..7 {
            short.sent(start + Duration::from_secs(second));
        }
        short.merge(&long);
        assert_eq!(short.width(), Duration::from_secs(8));
        assert_eq!((short.slices()[0].sent, short.slices()[624].sent), (15, 8));
    }
}
