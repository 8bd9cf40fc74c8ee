//! When each slot is due: plain arithmetic, no clock of its own.
//!
//! Slots are numbered over the whole run; worker *w* of *W* owns the slots *w*, *w* + *W*, …. Slot
//! *n* of an open loop is due *n* / rate seconds after the start, computed afresh for every *n*, so
//! that no rounding error adds up.

use std::time::Duration;

/// The slots of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Slots per second over all workers; `None`: closed loop, everything is due at once.
    rate: Option<f64>,
    /// Slots of the whole run.
    total: u64,
    worker: u64,
    workers: u64,
}

impl Schedule {
    pub(crate) fn new(rate: Option<f64>, total: u64, worker: usize, workers: usize) -> Self {
        assert!(worker < workers, "a worker is one of the workers");
        Self { rate, total, worker: worker as u64, workers: workers as u64 }
    }

    /// The slots that a run of this length has: all that are due before its end.
    pub(crate) fn slots_in(rate: f64, duration: Duration) -> u64 {
        ((rate * duration.as_secs_f64()).ceil() as u64).max(1)
    }

    /// Slots that this worker owns.
    pub(crate) fn owned(&self) -> u64 {
        self.total.saturating_sub(self.worker).div_ceil(self.workers)
    }

    /// The number, over the whole run, of this worker's slot `index`.
    pub(crate) fn number(&self, index: u64) -> u64 {
        self.worker + index * self.workers
    }

    /// Time from the start until this worker's slot `index` is due.
    pub(crate) fn due(&self, index: u64) -> Duration {
        match self.rate {
            Some(rate) => {
                let nanos = self.number(index) as f64 * 1e9 / rate;
                Duration::from_nanos(nanos as u64)
            }
            None => Duration::ZERO,
        }
    }

    /// How many of this worker's slots are due `elapsed` after the start.
    pub(crate) fn released(&self, elapsed: Duration) -> u64 {
        let Some(rate) = self.rate else { return self.owned() };
        let passed = elapsed.as_nanos() as f64 * rate / 1e9;
        let estimate = ((passed - self.worker as f64) / self.workers as f64).max(0.0) as u64;
        // The division rounds; the slots themselves decide.
        let mut released = estimate.saturating_sub(1);
        while released < self.owned() && self.due(released) <= elapsed {
            released += 1;
        }
        released.min(self.owned())
    }

    /// Whether slots wait for their time.
    pub(crate) fn is_paced(&self) -> bool {
        self.rate.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_slots_out() {
        fn check(total: u64, workers: usize) {
            let mut seen = vec![0u32; total as usize];
            for worker in 0..workers {
                let schedule = Schedule::new(Some(1_000.0), total, worker, workers);
                for index in 0..schedule.owned() {
                    seen[schedule.number(index) as usize] += 1;
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{total} slots over {workers}");
        }
        for total in [1, 2, 3, 7, 100, 101] {
            for workers in [1, 2, 3, 8] {
                check(total, workers);
            }
        }
    }

    #[test]
    fn slots_are_due_at_an_even_pace() {
        let schedule = Schedule::new(Some(10_000.0), 1 << 30, 0, 1);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_micros(100));
        assert_eq!(schedule.due(10_000), Duration::from_secs(1));
        // A third of a second does not drift, however many came before.
        let thirds = Schedule::new(Some(3.0), 1 << 40, 0, 1);
        assert_eq!(thirds.due(3_000_000_000), Duration::from_secs(1_000_000_000));
        let second = Schedule::new(Some(10_000.0), 1 << 30, 1, 2);
        assert_eq!(second.due(0), Duration::from_micros(100));
        assert_eq!(second.due(1), Duration::from_micros(300));
    }

    #[test]
    fn exactly_the_due_slots_are_released() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let workers = random.usize(1..5);
            let rate = 10f64.powf(random.f64() * 7.0 - 1.0);
            let schedule =
                Schedule::new(Some(rate), random.u64(1..5_000), random.usize(0..workers), workers);
            let elapsed = Duration::from_nanos(random.u64(0..3_000_000_000));
            let released = schedule.released(elapsed);
            assert!(released <= schedule.owned(), "seed {seed}: {schedule:?}");
            if released > 0 {
                assert!(schedule.due(released - 1) <= elapsed, "seed {seed}: {schedule:?}");
            }
            if released < schedule.owned() {
                assert!(schedule.due(released) > elapsed, "seed {seed}: {schedule:?}");
            }
        }
    }

    #[test]
    fn a_duration_holds_all_slots_due_before_its_end() {
        assert_eq!(Schedule::slots_in(10_000.0, Duration::from_secs(30)), 300_000);
        assert_eq!(Schedule::slots_in(0.5, Duration::from_secs(1)), 1);
        assert_eq!(Schedule::slots_in(3.0, Duration::from_millis(500)), 2);
    }

    #[test]
    fn a_closed_loop_waits_for_nothing() {
        let schedule = Schedule::new(None, 10, 1, 3);
        assert_eq!((schedule.owned(), schedule.released(Duration::ZERO)), (3, 3));
    }
}
