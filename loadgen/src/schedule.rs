//! When each slot is due: plain arithmetic, no clock of its own.
//!
//! Slots are numbered over the whole run; worker *w* of *W* owns the slots *w*, *w* + *W*, …. An open
//! loop has stages that follow each other, each with a rate; slot *n* of a stage is due *n* / rate
//! seconds after the stage began, computed afresh for every *n*, so that no rounding error adds up.

use crate::plan::Stage;
use std::rc::Rc;
use std::time::Duration;

/// The slots of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Never empty in an open loop; `None`: closed loop, everything is due at once.
    pieces: Option<Rc<[Piece]>>,
    /// Slots of the whole run.
    total: u64,
    worker: u64,
    workers: u64,
}

/// The slots of one stage.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Number of its first slot.
    first: u64,
    /// Time from the start of the run until it begins.
    begins: Duration,
    rate: f64,
}

impl Schedule {
    /// `total` slots that are all due at once.
    pub(crate) fn closed(total: u64, worker: usize, workers: usize) -> Self {
        assert!(worker < workers, "a worker is one of the workers");
        Self { pieces: None, total, worker: worker as u64, workers: workers as u64 }
    }

    /// All slots of stages that follow each other.
    pub(crate) fn stages(stages: &[Stage], worker: usize, workers: usize) -> Self {
        assert!(worker < workers, "a worker is one of the workers");
        let (mut first, mut begins) = (0, Duration::ZERO);
        let pieces: Rc<[Piece]> = stages
            .iter()
            .map(|stage| {
                let piece = Piece { first, begins, rate: stage.rate };
                first += Self::slots_in(stage.rate, stage.duration);
                begins += stage.duration;
                piece
            })
            .collect();
        assert!(!pieces.is_empty(), "an open loop has a stage");
        let (worker, workers) = (worker as u64, workers as u64);
        Self { pieces: Some(pieces), total: first, worker, workers }
    }

    /// `total` slots at one rate.
    pub(crate) fn open(rate: f64, total: u64, worker: usize, workers: usize) -> Self {
        let endless = Stage { rate, duration: Duration::ZERO };
        Self { total, ..Self::stages(&[endless], worker, workers) }
    }

    /// The slots that a stage of this length has: all that are due before its end.
    pub(crate) fn slots_in(rate: f64, duration: Duration) -> u64 {
        ((rate * duration.as_secs_f64()).ceil() as u64).max(1)
    }

    /// Slots that this worker owns.
    pub(crate) fn owned(&self) -> u64 {
        self.below(self.total)
    }

    /// How many of the run's first `count` slots are this worker's.
    fn below(&self, count: u64) -> u64 {
        count.saturating_sub(self.worker).div_ceil(self.workers)
    }

    /// The number, over the whole run, of this worker's slot `index`.
    pub(crate) fn number(&self, index: u64) -> u64 {
        self.worker + index * self.workers
    }

    /// Time from the start until this worker's slot `index` is due.
    pub(crate) fn due(&self, index: u64) -> Duration {
        let Some(pieces) = &self.pieces else { return Duration::ZERO };
        let number = self.number(index);
        let piece = &pieces[pieces.partition_point(|piece| piece.first <= number) - 1];
        let nanos = (number - piece.first) as f64 * 1e9 / piece.rate;
        piece.begins + Duration::from_nanos(nanos as u64)
    }

    /// How many of this worker's slots are due `elapsed` after the start.
    pub(crate) fn released(&self, elapsed: Duration) -> u64 {
        let Some(pieces) = &self.pieces else { return self.owned() };
        let piece = pieces[pieces.partition_point(|piece| piece.begins <= elapsed) - 1];
        let passed = (elapsed - piece.begins).as_nanos() as f64 * piece.rate / 1e9;
        let estimate = self.below(piece.first + passed as u64).min(self.owned());
        // The division rounds; the slots themselves decide.
        let mut released = estimate.saturating_sub(1);
        while released > 0 && self.due(released - 1) > elapsed {
            released -= 1;
        }
        while released < self.owned() && self.due(released) <= elapsed {
            released += 1;
        }
        released
    }

    /// Whether slots wait for their time.
    pub(crate) fn is_paced(&self) -> bool {
        self.pieces.is_some()
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
                let schedule = Schedule::open(1_000.0, total, worker, workers);
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
    fn slots_are_due_at_their_rate() {
        let schedule = Schedule::open(10_000.0, 1 << 30, 0, 1);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_micros(100));
        assert_eq!(schedule.due(10_000), Duration::from_secs(1));
        // A third of a second does not drift, however many came before.
        let thirds = Schedule::open(3.0, 1 << 40, 0, 1);
        assert_eq!(thirds.due(3_000_000_000), Duration::from_secs(1_000_000_000));
        let second = Schedule::open(10_000.0, 1 << 30, 1, 2);
        assert_eq!(second.due(0), Duration::from_micros(100));
        assert_eq!(second.due(1), Duration::from_micros(300));
    }

    #[test]
    fn stages_follow_each_other() {
        let stage =
            |rate: f64, seconds: u64| Stage { rate, duration: Duration::from_secs(seconds) };
        let schedule = Schedule::stages(&[stage(10.0, 2), stage(1_000.0, 1), stage(1.0, 3)], 0, 1);
        assert_eq!(schedule.owned(), 20 + 1_000 + 3);
        assert_eq!(schedule.due(19), Duration::from_millis(1_900));
        assert_eq!(schedule.due(20), Duration::from_secs(2));
        assert_eq!(schedule.due(21), Duration::from_millis(2_001));
        assert_eq!(schedule.due(1_020), Duration::from_secs(3));
        assert_eq!(schedule.due(1_022), Duration::from_secs(5));
        assert_eq!(schedule.released(Duration::from_millis(2_500)), 20 + 501);
        assert_eq!(schedule.released(Duration::from_secs(60)), 1_023);
    }

    #[test]
    fn exactly_the_due_slots_are_released() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let workers = random.usize(1..5);
            let stages: Vec<Stage> = (0..random.usize(1..4))
                .map(|_| Stage {
                    rate: 10f64.powf(random.f64() * 6.0 - 1.0),
                    duration: Duration::from_nanos(random.u64(1..1_000_000_000)),
                })
                .collect();
            let worker = random.usize(0..workers);
            let schedule = match random.bool() {
                true => Schedule::stages(&stages, worker, workers),
                false => Schedule::open(stages[0].rate, random.u64(1..5_000), worker, workers),
            };
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
        let schedule = Schedule::closed(10, 1, 3);
        assert_eq!((schedule.owned(), schedule.released(Duration::ZERO)), (3, 3));
    }
}
