//! A core's time: it goes on with the monotonic clock, and only leans towards the wall clock.
//!
//! Deadlines of holds and windows of sales are times of day, but a wall clock may be set wrong, and
//! jumps when somebody sets it right. Were it used as it is, a step forward would end every hold at
//! once, and a step back would let none end until it has caught up. So:
//!
//! - At the start it is what the wall clock says, and never before the newest event of the logs.
//! - From then on it goes as the monotonic clock goes: evenly, on through freezes of the process
//!   and sleep of the machine.
//! - Where the wall clock says something else, it goes a little faster or slower until both agree:
//!   faster by at most 1/2000 (half a millisecond in a second, as NTP does), so that no hold is cut
//!   short by more than that; slower by at most 1/10, because a hold that lasts a little longer
//!   hurts nobody, and a clock that was an hour ahead should not stay so for a year.
//!
//! A wall clock that steps by an hour is thus not followed but noticed; a restart takes it over,
//! unless events stand behind it already. It is pure: both clocks are arguments.

use doorbuster_protocol::Timestamp;
use std::time::Duration;

/// It goes faster than the monotonic clock by at most one part in this many.
const FASTER_PARTS: u64 = 2_000;
/// It goes slower than the monotonic clock by at most one part in this many.
const SLOWER_PARTS: u64 = 10;

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The core's time: what is decided, and stands in events.
    pub now: Timestamp,
    /// The machine's wall clock: what deadlines of requests are compared with. The edge stamps them
    /// from the wall clock of its machine, mostly this one, and does so anew for every request; so
    /// a step cannot make them wrong for longer than a request lives.
    pub wall: Timestamp,
}

/// The time of a core.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now_ns: u64,
    /// The monotonic time of the last reading.
    read_at: Duration,
    /// Nanoseconds that passed and were too few to correct anything.
    rest_ns: u64,
}

impl Clock {
    /// A clock that begins when both others say this; never before `newest`, the time of the newest
    /// event.
    pub fn new(monotonic: Duration, wall: Timestamp, newest: Timestamp) -> Self {
        Self { now_ns: nanoseconds(wall.max(newest)), read_at: monotonic, rest_ns: 0 }
    }

    /// What time it is when the others say this. It never goes back.
    pub fn read(&mut self, monotonic: Duration, wall: Timestamp) -> Timestamp {
        let passed = monotonic.saturating_sub(self.read_at);
        self.read_at = self.read_at.max(monotonic);
        let passed_ns = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let even_ns = self.now_ns.saturating_add(passed_ns);
        let wall_ns = nanoseconds(wall);
        self.now_ns = if wall_ns > even_ns {
            let (most_ns, rest_ns) = part(self.rest_ns, passed_ns, FASTER_PARTS);
            self.rest_ns = rest_ns;
            even_ns.saturating_add(most_ns.min(wall_ns - even_ns))
        } else {
            let (most_ns, rest_ns) = part(self.rest_ns, passed_ns, SLOWER_PARTS);
            self.rest_ns = rest_ns;
            even_ns - most_ns.min(even_ns - wall_ns).min(passed_ns)
        };
        Timestamp::from_micros(self.now_ns / 1_000)
    }

    /// How far the wall clock is ahead of it, in microseconds; negative when it is behind.
    pub fn wall_ahead_us(&self, wall: Timestamp) -> i64 {
        let now_us = self.now_ns / 1_000;
        wall.micros().saturating_sub(now_us).cast_signed()
            - now_us.saturating_sub(wall.micros()).cast_signed()
    }
}

/// One of `parts` parts of the time that passed, and what is left over for the next time.
fn part(rest_ns: u64, passed_ns: u64, parts: u64) -> (u64, u64) {
    let passed_ns = passed_ns.saturating_add(rest_ns);
    (passed_ns / parts, passed_ns % parts)
}

/// Good until the year 2554; what lies behind it counts as its end.
fn nanoseconds(time: Timestamp) -> u64 {
    time.micros().saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const START: u64 = 1_760_000_000 * SECOND;

    /// A core's clock beside a wall clock, in microseconds.
    struct Machine {
        clock: Clock,
        monotonic: Duration,
        wall: u64,
    }

    impl Machine {
        fn new(newest: u64) -> Self {
            let (monotonic, newest) = (Duration::from_secs(77), Timestamp::from_micros(newest));
            let clock = Clock::new(monotonic, Timestamp::from_micros(START), newest);
            Self { clock, monotonic, wall: START }
        }
        fn read(&mut self) -> u64 {
            self.clock.read(self.monotonic, Timestamp::from_micros(self.wall)).micros()
        }
        /// Time passes, and the clock is read once in `every` microseconds.
        fn pass(&mut self, time: u64, every: u64) -> u64 {
            for _ in 0..time / every {
                self.monotonic += Duration::from_micros(every);
                self.wall += every;
                self.read();
            }
            self.read()
        }
        fn difference(&self) -> i64 {
            self.clock.wall_ahead_us(Timestamp::from_micros(self.wall))
        }
    }

    #[test]
    fn it_goes_as_the_wall_clock_goes_while_nobody_touches_that() {
        let mut machine = Machine::new(0);
        assert_eq!(machine.read(), START);
        assert_eq!(machine.pass(10 * SECOND, 7), START + 10 * SECOND / 7 * 7);
        assert_eq!(machine.difference(), 0);
    }

    #[test]
    fn a_step_forward_is_followed_by_half_a_millisecond_in_a_second() {
        for every in [1, 3, 10_000, 100 * SECOND] {
            let mut machine = Machine::new(0);
            machine.read();
            machine.wall += HOUR;
            assert_eq!(machine.read(), START, "no step");
            let hold = 600 * SECOND;
            let (time, every) =
                if every == 1 || every == 3 { (3 * SECOND, every) } else { (hold, every) };
            assert_eq!(
                machine.pass(time, every),
                START + time + time / 2_000,
                "read every {every}"
            );
        }
    }

    #[test]
    fn a_step_back_slows_it_by_a_tenth_and_never_turns_it() {
        let mut machine = Machine::new(0);
        machine.read();
        machine.wall -= HOUR;
        assert_eq!(machine.read(), START, "no step");
        assert_eq!(machine.pass(600 * SECOND, 10_000), START + 540 * SECOND);
        let before = machine.read();
        machine.monotonic += Duration::from_nanos(1);
        assert!(machine.read() >= before);
        assert_eq!(machine.pass(10 * HOUR, SECOND), machine.wall, "in ten hours it is caught up");
    }

    #[test]
    fn small_differences_end_exactly() {
        for step in [-300_000i64, 300_000] {
            let mut machine = Machine::new(0);
            machine.read();
            machine.wall = machine.wall.saturating_add_signed(step);
            machine.pass(1_000 * SECOND, 10_000);
            assert_eq!(machine.difference(), 0, "a step of {step} us");
        }
    }

    #[test]
    fn it_begins_behind_the_newest_event_and_goes_on_from_there() {
        let mut machine = Machine::new(START + HOUR);
        assert_eq!(machine.read(), START + HOUR);
        let after = machine.pass(10 * SECOND, 10_000);
        assert_eq!(after, START + HOUR + 9 * SECOND, "it does not stand still");
    }

    #[test]
    fn time_that_nobody_read_passes_all_the_same() {
        // A process that was stopped, a machine that slept: both clocks went on.
        let mut machine = Machine::new(0);
        machine.read();
        assert_eq!(machine.pass(HOUR, HOUR), START + HOUR);
    }

    #[test]
    fn senseless_clocks_do_no_harm() {
        let mut machine = Machine::new(0);
        machine.read();
        machine.monotonic -= Duration::from_secs(5);
        assert_eq!(machine.read(), START, "a monotonic clock that goes back is not followed");
        machine.monotonic += Duration::from_secs(5);
        assert_eq!(machine.read(), START);
        machine.wall = u64::MAX;
        assert_eq!(machine.read(), START);
        machine.wall = 0;
        assert_eq!(machine.read(), START);
        assert_eq!(machine.difference(), -(START.cast_signed()));
        machine.monotonic = Duration::MAX;
        machine.read();
        assert!(machine.read() > START);
    }
}
