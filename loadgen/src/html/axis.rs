//! The axes of a chart: where a value lies on the picture, and which values are named beside it.

/// A range of values laid out over a range of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    /// Where `low` and `high` lie.
    at: [f64; 2],
}

impl Axis {
    /// From 0 to at least `high`.
    pub(super) fn linear(high: f64, at: [f64; 2]) -> Self {
        Self { low: 0.0, high: if high > 0.0 { high } else { 1.0 }, is_logarithmic: false, at }
    }

    /// Between two values above 0, every decade as long as every other.
    pub(super) fn logarithmic(low: f64, high: f64, at: [f64; 2]) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        Self { low, high: high.max(low * 1.5), is_logarithmic: true, at }
    }

    /// For values of which some may be far above the others: those would flatten the others.
    pub(super) fn fitting(low: f64, high: f64, at: [f64; 2]) -> Self {
        const FAR: f64 = 30.0;
        if low > 0.0 && high / low > FAR {
            Self::logarithmic(low * 0.8, high * 1.2, at)
        } else {
            Self::linear(high * 1.08, at)
        }
    }

    /// Where a value lies.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.at[0] + share.clamp(0.0, 1.0) * (self.at[1] - self.at[0])
    }

    /// Round values to name, about as many as wanted.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<f64> {
        if self.is_logarithmic { self.decades(wanted) } else { self.steps(wanted) }
    }

    fn steps(&self, wanted: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * decade)
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(10.0 * decade);
        let count = ((self.high - self.low) / step * 1.000_001).floor() as usize;
        (0..=count).map(|index| self.low + index as f64 * step).collect()
    }

    fn decades(&self, wanted: usize) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let ticks = |factors: &[f64]| -> Vec<f64> {
            (first..=last)
                .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)))
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect()
        };
        let all = ticks(&[1.0, 2.0, 5.0]);
        if all.len() <= wanted * 3 / 2 { all } else { ticks(&[1.0]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_they_should() {
        let linear = Axis::linear(200.0, [100.0, 0.0]);
        assert_eq!([0.0, 50.0, 200.0, 999.0].map(|v| linear.place(v)), [100.0, 75.0, 0.0, 0.0]);
        let logarithmic = Axis::logarithmic(1.0, 100.0, [0.0, 100.0]);
        assert!((logarithmic.place(10.0) - 50.0).abs() < 1e-9);
        assert_eq!(logarithmic.place(0.0), 0.0);
    }

    #[test]
    fn round_values_are_named() {
        let ticks = |high: f64| Axis::linear(high, [0.0, 1.0]).ticks(5);
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(7.0), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        let ticks = |low: f64, high: f64| Axis::logarithmic(low, high, [0.0, 1.0]).ticks(5);
        assert_eq!(ticks(80.0, 1_200.0), [100.0, 200.0, 500.0, 1_000.0]);
        assert_eq!(ticks(1.0, 1e6).len(), 7);
    }

    #[test]
    fn a_value_far_above_the_others_does_not_flatten_them() {
        let near = Axis::fitting(100.0, 200.0, [0.0, 1.0]);
        let far = Axis::fitting(100.0, 20_000.0, [0.0, 1.0]);
        assert!(!near.is_logarithmic && far.is_logarithmic);
        assert!(!Axis::fitting(0.0, 20_000.0, [0.0, 1.0]).is_logarithmic);
    }
}
