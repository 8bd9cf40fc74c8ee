//! Latencies as data: the percentiles that people ask for, and the whole curve.

use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latencies {
    /// Values.
    pub count: u64,
    /// Their mean.
    pub mean_us: u64,
    /// Half of them are at most this.
    pub p50_us: u64,
    /// 90 % are.
    pub p90_us: u64,
    /// 95 % are.
    pub p95_us: u64,
    /// 99 % are.
    pub p99_us: u64,
    /// 99.9 % are.
    pub p999_us: u64,
    /// All are.
    pub max_us: u64,
}

/// A point of the curve of all percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentile {
    /// Share of the values, 0 to 1.
    pub share: f64,
    /// They are at most this, in microseconds.
    pub us: u64,
}

/// Points of the curve for each halving of what is left above them.
const POINTS_PER_HALVING: u32 = 4;

impl Latencies {
    pub(crate) fn of<C: Counter>(histogram: &Histogram<C>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let max_us = histogram.max();
        // A histogram answers with the upper end of a bucket, which may lie beyond the maximum.
        let at = |quantile: f64| histogram.value_at_quantile(quantile).min(max_us);
        Self {
            count: histogram.len(),
            mean_us: histogram.mean().round() as u64,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us,
        }
    }
}

/// The curve of a histogram, with as many points for the last percent as for all others.
pub(crate) fn curve(histogram: &Histogram<u64>) -> Vec<Percentile> {
    let max_us = histogram.max();
    let mut points: Vec<Percentile> = histogram
        .iter_quantiles(POINTS_PER_HALVING)
        .map(|step| Percentile {
            share: step.quantile_iterated_to(),
            us: step.value_iterated_to().min(max_us),
        })
        .collect();
    // All that follows the first point at the maximum is the maximum, too.
    if let Some(first) = points.iter().position(|point| point.us >= max_us) {
        points.truncate(first + 1);
        points.push(Percentile { share: 1.0, us: max_us });
    }
    points.dedup_by(|later, earlier| later == earlier);
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram;

    #[test]
    fn a_curve_rises_to_the_maximum() {
        let mut values = histogram();
        assert!(curve(&values).is_empty());
        for value in 1..=10_000 {
            values.record(value).expect("in range");
        }
        let points = curve(&values);
        assert!((20..200).contains(&points.len()), "{} points", points.len());
        let rises = |pair: &[Percentile]| {
            pair[0].share <= pair[1].share && pair[0].us <= pair[1].us && pair[1].share <= 1.0
        };
        assert!(points.windows(2).all(rises), "{points:?}");
        assert_eq!(points.last().map(|last| (last.share, last.us)), Some((1.0, values.max())));
        let median = points.iter().find(|point| point.share >= 0.5).expect("a median");
        assert!(median.us.abs_diff(5_000) < 300, "{median:?}");
        let latencies = Latencies::of(&values);
        assert!(latencies.mean_us.abs_diff(5_000) < 10, "{latencies:?}");
    }

    #[test]
    fn a_single_value_is_a_curve() {
        let mut values = histogram();
        values.record(7).expect("in range");
        let points = curve(&values);
        assert_eq!(points.last(), Some(&Percentile { share: 1.0, us: 7 }));
    }
}
