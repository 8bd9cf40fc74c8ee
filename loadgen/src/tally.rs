//! Counts and histograms of one worker, merged when the run is over.

use crate::answer::Class;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Violations that are described in full.
const SAMPLES_MAX: usize = 10;
/// Kinds of codes that are counted apart; a server that invents codes must not fill our memory.
const CODES_MAX: usize = 64;

/// A timer that goes off so much later than it should has stopped the load for that time.
pub(crate) const LATE: Duration = Duration::from_millis(5);

/// Three significant digits, in microseconds, as wide as the values need.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

pub(crate) fn micros(time: Duration) -> u64 {
    time.as_micros().min(u128::from(u32::MAX) * 1_000) as u64
}

fn merge_histogram(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    into.add(from).expect("an auto-resizing histogram takes every value");
}

fn record(into: &mut Histogram<u64>, value: u64) {
    into.record(value).expect("an auto-resizing histogram takes every value");
}

/// Latencies of one class of answers.
pub(crate) struct Track {
    /// From the intended send time.
    pub(crate) latency: Histogram<u64>,
    /// From the actual send.
    pub(crate) service: Histogram<u64>,
}

/// What one worker saw, and later what all of them saw.
pub(crate) struct Tally {
    pub(crate) tracks: [Track; Class::ALL.len()],
    /// Refusals other than sold out and limit, by code.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Requests without a proper answer, by what happened.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) attempts: u64,
    pub(crate) winners: u64,
    pub(crate) paid: u64,
    pub(crate) cancelled: u64,
    pub(crate) promoted: u64,
    pub(crate) retries: u64,
    pub(crate) disconnects: u64,
    pub(crate) reconnects: u64,
    pub(crate) violations: u64,
    pub(crate) samples: Vec<String>,
    /// Slots that were never sent, because the run had to end.
    pub(crate) unsent: u64,
    /// Slots that found no free lane within the plan's patience.
    pub(crate) given_up: u64,
    /// Payments, cancels and looks that were never sent.
    pub(crate) jobs_dropped: u64,
    /// How long after their due time the timer woke the worker: the generator's own fault.
    pub(crate) lateness: Histogram<u64>,
    /// How long it stood still in all: what it was late by when it was very late.
    pub(crate) stalled: Duration,
    /// How long after their due time slots were sent, for whatever reason.
    pub(crate) delay: Histogram<u64>,
    pub(crate) last_answer: Option<Instant>,
    pub(crate) last_win: Option<Instant>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            tracks: Class::ALL.map(|_| Track { latency: histogram(), service: histogram() }),
            refusals: BTreeMap::new(),
            failures: BTreeMap::new(),
            attempts: 0,
            winners: 0,
            paid: 0,
            cancelled: 0,
            promoted: 0,
            retries: 0,
            disconnects: 0,
            reconnects: 0,
            violations: 0,
            samples: Vec::new(),
            unsent: 0,
            given_up: 0,
            jobs_dropped: 0,
            lateness: histogram(),
            stalled: Duration::ZERO,
            delay: histogram(),
            last_answer: None,
            last_win: None,
        }
    }

    pub(crate) fn track(&self, class: Class) -> &Track {
        &self.tracks[class as usize]
    }

    /// One answer: due, sent, answered at these times.
    pub(crate) fn record(&mut self, class: Class, due: Instant, sent: Instant, answered: Instant) {
        let track = &mut self.tracks[class as usize];
        record(&mut track.latency, micros(answered.saturating_duration_since(due)));
        record(&mut track.service, micros(answered.saturating_duration_since(sent)));
        if class.is_order() {
            self.ended(answered);
        }
    }

    /// An order came to its end, with a proper answer or without: those without are counted in the
    /// rate, so their time has to be, too.
    pub(crate) fn ended(&mut self, at: Instant) {
        self.last_answer = self.last_answer.max(Some(at));
    }

    /// An attempt won a hold.
    pub(crate) fn won(&mut self, at: Instant) {
        self.winners += 1;
        self.last_win = self.last_win.max(Some(at));
    }

    pub(crate) fn refused(&mut self, code: &str) {
        count(&mut self.refusals, code, 1);
    }

    pub(crate) fn failed(&mut self, code: &str) {
        count(&mut self.failures, code, 1);
    }

    pub(crate) fn violated(&mut self, describe: impl FnOnce() -> String) {
        self.violations += 1;
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(describe());
        }
    }

    /// The timer woke the worker so long after its time.
    pub(crate) fn woke_late(&mut self, late: Duration) {
        record(&mut self.lateness, micros(late));
        if late > LATE {
            self.stalled += late;
        }
    }

    /// An attempt that was due at `due` is made.
    pub(crate) fn attempted(&mut self, due: Instant, now: Instant) {
        self.attempts += 1;
        record(&mut self.delay, micros(now.saturating_duration_since(due)));
    }

    /// So many slots were given up: they waited from their due time until now, and that counts.
    pub(crate) fn unsent(&mut self, due: Instant, now: Instant, slots: u64) {
        let track = &mut self.tracks[Class::Failed as usize];
        for (into, since) in [(&mut track.latency, due), (&mut track.service, now)] {
            into.record_n(micros(now.saturating_duration_since(since)), slots)
                .expect("an auto-resizing histogram takes every value");
        }
        self.unsent += slots;
        count(&mut self.failures, "unsent", slots);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.tracks.iter_mut().zip(&other.tracks) {
            merge_histogram(&mut mine.latency, &theirs.latency);
            merge_histogram(&mut mine.service, &theirs.service);
        }
        merge_histogram(&mut self.lateness, &other.lateness);
        merge_histogram(&mut self.delay, &other.delay);
        self.stalled += other.stalled;
        for (code, times) in &other.refusals {
            *self.refusals.entry(code.clone()).or_default() += times;
        }
        for (code, times) in &other.failures {
            *self.failures.entry(code.clone()).or_default() += times;
        }
        for (mine, theirs) in [
            (&mut self.attempts, other.attempts),
            (&mut self.winners, other.winners),
            (&mut self.paid, other.paid),
            (&mut self.cancelled, other.cancelled),
            (&mut self.promoted, other.promoted),
            (&mut self.retries, other.retries),
            (&mut self.disconnects, other.disconnects),
            (&mut self.reconnects, other.reconnects),
            (&mut self.violations, other.violations),
            (&mut self.unsent, other.unsent),
            (&mut self.given_up, other.given_up),
            (&mut self.jobs_dropped, other.jobs_dropped),
        ] {
            *mine += theirs;
        }
        let room = SAMPLES_MAX.saturating_sub(self.samples.len());
        self.samples.extend(other.samples.iter().take(room).cloned());
        self.last_answer = self.last_answer.max(other.last_answer);
        self.last_win = self.last_win.max(other.last_win);
    }
}

fn count(codes: &mut BTreeMap<String, u64>, code: &str, more: u64) {
    if let Some(times) = codes.get_mut(code) {
        *times += more;
    } else {
        let code = if codes.len() < CODES_MAX { code } else { "others" };
        *codes.entry(code.to_owned()).or_default() += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_slot_and_service_from_the_send() {
        let mut tally = Tally::new();
        let due = Instant::now();
        let sent = due + Duration::from_millis(900);
        tally.record(Class::Accepted, due, sent, sent + Duration::from_millis(100));
        let track = tally.track(Class::Accepted);
        let about = |got: u64, want: u64| got.abs_diff(want) <= want / 500;
        assert!(about(track.latency.max(), 1_000_000), "{}", track.latency.max());
        assert!(about(track.service.max(), 100_000), "{}", track.service.max());
    }

    #[test]
    fn slots_that_were_given_up_count_their_wait() {
        let mut tally = Tally::new();
        let start = Instant::now();
        for seconds in 0..10 {
            tally.unsent(start + Duration::from_secs(seconds), start + Duration::from_secs(10), 1);
        }
        assert_eq!((tally.unsent, tally.failures["unsent"]), (10, 10));
        assert!(tally.track(Class::Failed).latency.max() >= 10_000_000);
        assert!(tally.track(Class::Failed).latency.min() <= 1_001_000);
    }

    #[test]
    fn merging_adds_up_and_bounds_hold() {
        let (mut one, mut two) = (Tally::new(), Tally::new());
        for number in 0..1_000 {
            one.refused(&format!("code-{number}"));
            two.violated(|| number.to_string());
        }
        (one.winners, two.winners) = (3, 4);
        one.merge(&two);
        assert!(one.refusals.len() <= CODES_MAX + 1);
        assert_eq!(one.refusals.values().sum::<u64>(), 1_000);
        assert_eq!((one.winners, one.violations, one.samples.len()), (7, 1_000, SAMPLES_MAX));
    }
}
