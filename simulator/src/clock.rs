//! The wall clock of one machine: it starts anywhere near the truth, drifts, and is stepped by
//! whoever thinks that it is wrong. Simulated time itself only goes forward.

use crate::chance::Chance;
use crate::dials::ClockDials;
use doorbuster_protocol::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What the clocks of all machines say at the start of a run, give or take.
pub const START_US: u64 = 1_760_000_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Setting {
    /// When it was set, and what it said then.
    since: Instant,
    said_us: u64,
    /// Parts per million that it goes too fast.
    drift_ppm: i64,
}

/// A wall clock. A clone is another handle of the same one.
#[derive(Clone, Debug)]
pub struct WallClock(Arc<Mutex<Setting>>);

impl WallClock {
    /// A clock that is `offset_us` off and goes `drift_ppm` too fast.
    pub fn new(offset_us: i64, drift_ppm: i64) -> Self {
        let said_us = START_US.saturating_add_signed(offset_us);
        Self(Arc::new(Mutex::new(Setting { since: Instant::now(), said_us, drift_ppm })))
    }

    /// A clock that is off and drifts as the dials allow.
    pub fn draw(dials: &ClockDials, chance: &Chance) -> Self {
        let either_way = |most: u64| chance.between(0, 2 * most) as i64 - most as i64;
        Self::new(either_way(dials.offset_us_max), either_way(dials.drift_ppm_max))
    }

    fn setting(&self) -> MutexGuard<'_, Setting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.setting().now_us())
    }

    /// Somebody moves its hands, forward or back.
    pub fn step(&self, by_us: i64) {
        let mut setting = self.setting();
        setting.said_us = setting.now_us().saturating_add_signed(by_us);
        setting.since = Instant::now();
    }

    /// Somebody sets it right.
    pub fn set_right(&self, run_began: Instant) {
        let mut setting = self.setting();
        setting.said_us = START_US + run_began.elapsed().as_micros() as u64;
        (setting.since, setting.drift_ppm) = (Instant::now(), 0);
    }
}

impl Setting {
    fn now_us(&self) -> u64 {
        let elapsed_us = Duration::as_micros(&self.since.elapsed()) as u64;
        let drift_us = (elapsed_us as i64 / 1_000) * self.drift_ppm / 1_000;
        self.said_us.saturating_add(elapsed_us).saturating_add_signed(drift_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_drifts_and_steps() {
        let began = Instant::now();
        let clock = WallClock::new(-1_000_000, 500);
        assert_eq!(clock.now().micros(), START_US - 1_000_000);
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!(clock.now().micros(), START_US + 999_500_000);
        clock.step(-3_600_000_000);
        assert_eq!(clock.now().micros(), START_US + 999_500_000 - 3_600_000_000);
        clock.set_right(began);
        assert_eq!(clock.now().micros(), START_US + 1_000_000_000);
    }
}
