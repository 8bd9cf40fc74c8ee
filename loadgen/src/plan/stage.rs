//! The stages of an open loop: how fast, for how long, and how a command line writes that.
//!
//! `2m:50k` is two minutes at 50 000 attempts per second; `30s:0..50k` rises to them steadily. Stages
//! follow each other after commas, so a spike is a stage: `1m:1k,5s:50k,1m:1k`.

use crate::units;
use std::fmt;
use std::time::Duration;

/// A part of an open loop with a rate of its own: one rate, or one that changes steadily.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Attempts per second when it begins, over all threads.
    pub from: f64,
    /// Attempts per second when it ends.
    pub to: f64,
    /// How long it lasts.
    pub duration: Duration,
}

impl Stage {
    /// The same rate all along.
    pub const fn steady(rate: f64, duration: Duration) -> Self {
        Self { from: rate, to: rate, duration }
    }

    /// A rate that changes in a straight line.
    pub const fn ramp(from: f64, to: f64, duration: Duration) -> Self {
        Self { from, to, duration }
    }

    /// Attempts per second on average.
    pub const fn mean_rate(&self) -> f64 {
        f64::midpoint(self.from, self.to)
    }

    /// Stages as a command line has them: `TIME:RATE` or `TIME:FROM..TO`, separated by commas.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(|stage| Self::parse(stage.trim())).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is no stage: {why}");
        let Some((time, rates)) = text.split_once(':') else {
            return Err(wrong("write TIME:RATE such as 2m:50k, or TIME:FROM..TO for a ramp"));
        };
        let duration = units::parse_time(time).map_err(|why| wrong(&why))?;
        let rate = |text: &str| {
            let rate = text.trim();
            units::parse_number(rate.strip_suffix("/s").unwrap_or(rate)).map_err(|why| wrong(&why))
        };
        match rates.split_once("..") {
            Some((from, to)) => Ok(Self::ramp(rate(from)?, rate(to)?, duration)),
            None => Ok(Self::steady(rate(rates)?, duration)),
        }
    }
}

/// As it can be written on a command line.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s:{}", self.duration.as_secs_f64(), self.from)?;
        if self.from.to_bits() != self.to.to_bits() {
            write!(f, "..{}", self.to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read() {
        let seconds = Duration::from_secs;
        let check = |text: &str, want: &[Stage]| {
            assert_eq!(Stage::parse_list(text).as_deref(), Ok(want), "{text}");
        };
        check("2m:50000", &[Stage::steady(50_000.0, seconds(120))]);
        check(
            "30s:0..50k, 500ms:1.5k/s",
            &[
                Stage::ramp(0.0, 50_000.0, seconds(30)),
                Stage::steady(1_500.0, Duration::from_millis(500)),
            ],
        );
        check("1h:2m..1", &[Stage::ramp(2e6, 1.0, seconds(3_600))]);
        for wrong in
            ["", "50k", "2m:", ":5", "2m:x", "2x:5", "2m:1..", "2m:5,", "2m:-5", "2m:1..2..3"]
        {
            let error = Stage::parse_list(wrong).expect_err(wrong);
            assert!(error.contains("is no stage"), "{error}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for text in ["120s:50000", "30s:0..50000", "0.5s:1.5"] {
            let shown = Stage::parse_list(text).expect("stages")[0].to_string();
            assert_eq!(shown, text);
        }
    }
}
