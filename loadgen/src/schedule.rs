//! When each slot is due: plain arithmetic, no clock of its own.
//!
//! Slots are numbered over the whole run; worker *w* of *W* owns the slots *w*, *w* + *W*, …. An open
//! loop has stages that follow each other, each with a rate; slot *n* of a stage is due when the rate
//! has added up to *n* since the stage began, computed afresh for every *n*, so that no rounding
//! error adds up.

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
    /// Slots per second when it begins, and how that changes every second.
    rate: f64,
    slope: f64,
    /// Seconds that it lasts, without an end for one that has none.
    seconds: f64,
}

impl Piece {
    fn new(stage: &Stage, first: u64, begins: Duration) -> Self {
        let seconds = stage.duration.as_secs_f64();
        let slope = if seconds > 0.0 { (stage.to - stage.from) / seconds } else { 0.0 };
        Self { first, begins, rate: stage.from, slope, seconds }
    }

    /// What the rate adds up to in so many seconds.
    fn slots_after(&self, seconds: f64) -> f64 {
        let seconds = seconds.min(self.seconds);
        seconds * (self.rate + self.slope * seconds / 2.0)
    }

    /// Time from its begin until the slot of this number within it is due.
    fn due(&self, slot: u64) -> Duration {
        if slot == 0 {
            return Duration::ZERO;
        }
        let slots = slot as f64;
        let nanos = if self.slope == 0.0 {
            slots * 1e9 / self.rate
        } else {
            // The root of a quadratic equation, in the form that loses no digits.
            let root = (self.rate * self.rate + 2.0 * self.slope * slots).max(0.0).sqrt();
            2e9 * slots / (self.rate + root)
        };
        Duration::from_nanos(nanos as u64)
    }
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
                let piece = Piece::new(stage, first, begins);
                first += Self::slots_of(stage);
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
        assert!(worker < workers, "a worker is one of the workers");
        let begins = Duration::ZERO;
        let endless = Piece { first: 0, begins, rate, slope: 0.0, seconds: f64::INFINITY };
        let (worker, workers) = (worker as u64, workers as u64);
        Self { pieces: Some(Rc::new([endless])), total, worker, workers }
    }

    /// The slots that so much time has at one rate: all that are due before its end.
    pub(crate) fn slots_in(rate: f64, duration: Duration) -> u64 {
        Self::slots_of(&Stage::steady(rate, duration)).max(1)
    }

    /// The same of a stage, which may have none at all.
    fn slots_of(stage: &Stage) -> u64 {
        let slots = stage.mean_rate() * stage.duration.as_secs_f64();
        // 1.1/s for 10 s are 11, and not the 12 that the product rounds up to.
        let whole = slots.round();
        if (slots - whole).abs() <= 1e-9 * whole { whole as u64 } else { slots.ceil() as u64 }
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
        piece.begins + piece.due(number - piece.first)
    }

    /// How many of this worker's slots are due `elapsed` after the start.
    pub(crate) fn released(&self, elapsed: Duration) -> u64 {
        let Some(pieces) = &self.pieces else { return self.owned() };
        let piece = pieces[pieces.partition_point(|piece| piece.begins <= elapsed) - 1];
        let passed = piece.slots_after((elapsed - piece.begins).as_secs_f64());
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
        let stage = |rate: f64, seconds: u64| Stage::steady(rate, Duration::from_secs(seconds));
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
    fn ramps_rise_and_fall_steadily() {
        let ten = Duration::from_secs(10);
        let up = Schedule::stages(&[Stage::ramp(0.0, 100.0, ten)], 0, 1);
        assert_eq!(up.owned(), 500);
        // A quarter of the slots in the first half, three quarters in the second.
        assert_eq!(up.released(Duration::from_secs(5)), 125 + 1);
        assert_eq!(up.due(125), Duration::from_secs(5));
        assert!(up.due(499) < ten && up.due(499) > ten.mul_f64(0.998));
        let down = Schedule::stages(&[Stage::ramp(100.0, 0.0, ten)], 0, 1);
        assert_eq!((down.owned(), down.due(0), down.due(375)), (500, Duration::ZERO, ten / 2));
        assert_eq!(down.released(Duration::from_secs(60)), 500);
    }

    #[test]
    fn a_stage_may_rest() {
        let stage = |rate: f64| Stage::steady(rate, Duration::from_secs(1));
        let schedule = Schedule::stages(&[stage(0.0), stage(5.0), stage(0.0), stage(2.0)], 0, 1);
        assert_eq!(schedule.owned(), 7);
        let due: Vec<u128> = (0..7).map(|slot| schedule.due(slot).as_millis()).collect();
        assert_eq!(due, [1_000, 1_200, 1_400, 1_600, 1_800, 3_000, 3_500]);
        assert_eq!(schedule.released(Duration::from_millis(2_900)), 5);
    }

    #[test]
    fn exactly_the_due_slots_are_released() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let workers = random.usize(1..5);
            let stages: Vec<Stage> = (0..random.usize(1..4))
                .map(|_| {
                    let mut rate = || 10f64.powf(random.f64() * 6.0 - 1.0);
                    let (from, to) = (rate(), rate());
                    let from = if random.u8(..4) == 0 { 0.0 } else { from };
                    let to = if random.bool() { to } else { from };
                    Stage::ramp(from, to, Duration::from_nanos(random.u64(1..1_000_000_000)))
                })
                .collect();
            let worker = random.usize(0..workers);
            let schedule = match random.bool() {
                true => Schedule::stages(&stages, worker, workers),
                false => Schedule::open(7.5, random.u64(1..5_000), worker, workers),
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
        for (rate, seconds, want) in [(1.1, 10, 11), (0.7, 10, 7), (2.2, 5, 11), (0.3, 10, 3)] {
            assert_eq!(Schedule::slots_in(rate, Duration::from_secs(seconds)), want, "{rate}");
        }
    }

    #[test]
    fn a_closed_loop_waits_for_nothing() {
        let schedule = Schedule::closed(10, 1, 3);
        assert_eq!((schedule.owned(), schedule.released(Duration::ZERO)), (3, 3));
    }
}
