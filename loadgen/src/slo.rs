//! Service level objectives: what a run must keep to, as a line such as `p95<5ms`, and whether it did.
//!
//! ```text
//! SLO     = MEASURE ("<" | "<=" | ">" | ">=") BOUND
//! MEASURE = [CLASS "."] ("p50" | "p90" | "p95" | "p99" | "p99.9" | "max" | "mean")
//!         | "errors" | "refused" | "accepted" | "rate"
//! CLASS   = "accepted" | "replayed" | "queued" | "sold-out" | "limit" | "refused"
//!         | "pay" | "cancel" | "look"
//! BOUND   = a time with its unit (us, ms, s) for latencies
//!         | a number, or a share with "%", for errors, refused and accepted
//!         | a number, with "/s" or without, for the rate
//! ```
//!
//! Latencies count from the intended send time; without a class, of all orders that were answered
//! properly. Shares are of all orders sent. What belongs to the warm-up counts nowhere.

use crate::report::{Latencies, ORDERS, Report};
use crate::units;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run must keep to.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    measure: Measure,
    comparison: Comparison,
    bound: f64,
}

/// Whether a run kept to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What was asked for, as it was written.
    pub slo: String,
    /// Whether it is met. What nothing was measured of is missed.
    pub is_met: bool,
    /// What was measured, in words; `None`: nothing was.
    pub measured: Option<String>,
    /// Whether it is about errors, and so replaces the rule that there be none.
    pub is_about_errors: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Measure {
    Latency { class: String, of: Point },
    Count(Counted),
    Share(Counted),
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Errors,
    Refused,
    Accepted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
    Mean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Classes of answers by the names that a command line and a report have for them.
const CLASSES: [(&str, &str); 9] = [
    ("accepted", "accepted"),
    ("replayed", "replayed"),
    ("queued", "queued"),
    ("sold-out", "soldOut"),
    ("limit", "limit"),
    ("refused", "refused"),
    ("pay", "pay"),
    ("cancel", "cancel"),
    ("look", "look"),
];

impl Slo {
    /// Reads one. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is no objective: {why}");
        let at =
            text.find(['<', '>']).ok_or_else(|| wrong("write MEASURE<BOUND, as in p95<5ms"))?;
        let (name, rest) = text.split_at(at);
        let (comparison, bound) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(bound), _) => (Comparison::AtMost, bound),
            (_, Some(bound)) => (Comparison::AtLeast, bound),
            _ if rest.starts_with('<') => (Comparison::Below, &rest[1..]),
            _ => (Comparison::Above, &rest[1..]),
        };
        // As k6 writes it: p(95).
        let name = name.trim().replace(['(', ')'], "");
        let bound = bound.trim();
        let counted = match name.as_str() {
            "errors" => Some(Counted::Errors),
            "refused" => Some(Counted::Refused),
            "accepted" => Some(Counted::Accepted),
            _ => None,
        };
        let (measure, bound) = if let Some(counted) = counted {
            let share = bound.strip_suffix('%');
            let number = units::parse_number(share.unwrap_or(bound).trim());
            let number = number.map_err(|_| wrong("write a number such as 5, or a share: 0.1%"))?;
            match share {
                Some(_) => (Measure::Share(counted), number / 100.0),
                None => (Measure::Count(counted), number),
            }
        } else if name == "rate" {
            let number = units::parse_number(bound.strip_suffix("/s").unwrap_or(bound));
            (Measure::Rate, number.map_err(|_| wrong("write a rate such as 10k"))?)
        } else {
            let measure = Measure::latency(&name).ok_or_else(|| {
                wrong(
                    "measures are p50 p90 p95 p99 p99.9 max mean, errors, refused, accepted, rate",
                )
            })?;
            let has_unit = bound.ends_with(char::is_alphabetic);
            let time = units::parse_time(bound).ok().filter(|_| has_unit);
            let time = time.ok_or_else(|| wrong("write a time with its unit: 800us, 5ms, 1.5s"))?;
            (measure, time.as_nanos() as f64 / 1e3)
        };
        Ok(Self { text: text.trim().to_owned(), measure, comparison, bound })
    }

    /// Whether a run kept to it.
    pub(crate) fn judge(&self, report: &Report) -> Verdict {
        let value = self.measure.of(report);
        let is_met = value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.bound,
            Comparison::AtMost => value <= self.bound,
            Comparison::Above => value > self.bound,
            Comparison::AtLeast => value >= self.bound,
        });
        Verdict {
            slo: self.text.clone(),
            is_met,
            measured: value.map(|value| self.measure.describe(value)),
            is_about_errors: matches!(
                self.measure,
                Measure::Count(Counted::Errors) | Measure::Share(Counted::Errors)
            ),
        }
    }
}

impl Measure {
    fn latency(name: &str) -> Option<Self> {
        if let Some(of) = Point::parse(name) {
            return Some(Self::Latency { class: ORDERS.to_owned(), of });
        }
        let (class, point) = name.split_once('.')?;
        let (_, class) = CLASSES.iter().find(|(written, _)| *written == class)?;
        Some(Self::Latency { class: (*class).to_owned(), of: Point::parse(point)? })
    }

    /// What a run came to, latencies in microseconds; `None` if nothing was measured.
    fn of(&self, report: &Report) -> Option<f64> {
        let all = report.sent + report.unsent;
        match self {
            Self::Latency { class, of } => {
                let latencies = report.latency.get(class)?;
                (latencies.count > 0).then(|| of.of(latencies) as f64)
            }
            Self::Count(counted) => (all > 0).then(|| counted.of(report) as f64),
            Self::Share(counted) => (all > 0).then(|| counted.of(report) as f64 / all as f64),
            Self::Rate => (report.sent > 0).then_some(report.rate),
        }
    }

    fn describe(&self, value: f64) -> String {
        match self {
            Self::Latency { .. } => units::time(value.round() as u64),
            Self::Count(_) => units::number(value as u64),
            Self::Share(_) => units::share(value),
            Self::Rate => format!("{}/s", units::rate(value)),
        }
    }
}

impl Counted {
    fn of(self, report: &Report) -> u64 {
        match self {
            Self::Errors => report.errors,
            Self::Refused => report.refused,
            Self::Accepted => report.accepted,
        }
    }
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "p50" => Self::P50,
            "p90" => Self::P90,
            "p95" => Self::P95,
            "p99" => Self::P99,
            "p99.9" => Self::P999,
            "max" => Self::Max,
            "mean" => Self::Mean,
            _ => return None,
        })
    }

    fn of(self, latencies: &Latencies) -> u64 {
        match self {
            Self::P50 => latencies.p50_us,
            Self::P90 => latencies.p90_us,
            Self::P95 => latencies.p95_us,
            Self::P99 => latencies.p99_us,
            Self::P999 => latencies.p999_us,
            Self::Max => latencies.max_us,
            Self::Mean => latencies.mean_us,
        }
    }
}

/// As it was written.
impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
#[path = "slo_test.rs"]
mod tests;
