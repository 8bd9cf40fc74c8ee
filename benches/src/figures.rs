//! Medians, spread and goals of one measurement, as a table for a person and as JSON.

use crate::goals::Goal;
use serde::Serialize;
use std::fmt;

/// What one measurement found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    /// What was measured.
    title: String,
    /// How: who used which core, what was compared with what.
    notes: Vec<String>,
    rows: Vec<Row>,
    /// The goals of speed that it says something about.
    pub(crate) verdicts: Vec<Verdict>,
    /// Other promises.
    promises: Vec<Promise>,
}

/// One figure, measured several times.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    what: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    samples: Vec<f64>,
}

/// What was promised, and what came out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    what: String,
    is_met: bool,
}

/// One of the goals of speed, and what came out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    pub(crate) goal: Goal,
    /// What was measured, where the goal is about its ratio to a peer.
    pub(crate) figure: Option<f64>,
    /// Of the figure.
    pub(crate) unit: &'static str,
    /// What the goal is about, round by round; none when it could not be measured.
    pub(crate) samples: Vec<f64>,
    pub(crate) median: Option<f64>,
    pub(crate) is_met: bool,
    /// Why it could not be measured.
    pub(crate) why_not: Option<String>,
}

/// The middle of some values; the mean of the two in the middle when their number is even.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count.is_multiple_of(2) => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        count => sorted[count / 2],
    }
}

impl Figures {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            notes: Vec::new(),
            rows: Vec::new(),
            verdicts: Vec::new(),
            promises: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn row(&mut self, what: impl Into<String>, unit: &'static str, samples: &[f64]) {
        self.rows.push(Row {
            what: what.into(),
            unit,
            median: median(samples),
            min: samples.iter().copied().fold(f64::INFINITY, f64::min),
            max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            samples: samples.to_vec(),
        });
    }

    /// Compares the median of `samples` with a goal that is about them.
    pub(crate) fn judge(&mut self, goal: &Goal, samples: &[f64]) {
        self.judge_with(goal, samples, None);
    }

    /// The same for a ratio: `figure` is what was measured, in its unit.
    pub(crate) fn judge_with(
        &mut self,
        goal: &Goal,
        samples: &[f64],
        figure: Option<(&[f64], &'static str)>,
    ) {
        let found = if samples.is_empty() { f64::NAN } else { median(samples) };
        self.verdicts.push(Verdict {
            goal: *goal,
            figure: figure.map(|(samples, _)| median(samples)),
            unit: figure.map_or("", |(_, unit)| unit),
            samples: samples.to_vec(),
            median: found.is_finite().then_some(found),
            is_met: goal.bound.is_met_by(found),
            why_not: None,
        });
    }

    /// A goal whose peer is not to be had here.
    pub(crate) fn not_measured(&mut self, goal: &Goal, why: impl Into<String>) {
        self.judge(goal, &[]);
        if let Some(verdict) = self.verdicts.last_mut() {
            verdict.why_not = Some(why.into());
        }
    }

    /// Something else that is promised.
    pub(crate) fn promise(&mut self, is_met: bool, what: impl Into<String>) {
        self.promises.push(Promise { what: what.into(), is_met });
    }

    pub(crate) fn keeps_all_promises(&self) -> bool {
        self.promises.iter().all(|promise| promise.is_met)
    }
}

/// One side to the other, round by round.
pub(crate) fn ratios(side: &[f64], other: &[f64]) -> Vec<f64> {
    side.iter().zip(other).map(|(side, other)| side / other).collect()
}

/// A number of things, in groups of three.
pub(crate) fn count(things: u64) -> String {
    let text = figure(things as f64);
    text.split('.').next().unwrap_or_default().to_owned()
}

/// A figure with as many digits as matter, in groups of three.
pub(crate) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let text = match value.abs() {
        magnitude if magnitude < 10.0 => format!("{value:.2}"),
        magnitude if magnitude < 1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let whole: u64 = digits.parse().unwrap_or(u64::MAX);
    let grouped = format!("{sign}{}", doorbuster_loadgen::units::number(whole));
    match fraction {
        Some(fraction) => format!("{grouped}.{fraction}"),
        None => grouped,
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        writeln!(f, "\n  {:width$}  {:>14}  {:>14}  {:>14}", "", "median", "least", "most")?;
        for row in &self.rows {
            let [median, min, max] = [row.median, row.min, row.max].map(figure);
            writeln!(f, "  {:width$}  {median:>14}  {min:>14}  {max:>14}  {}", row.what, row.unit)?;
        }
        if !self.promises.is_empty() {
            writeln!(f)?;
        }
        for promise in &self.promises {
            writeln!(f, "  {} {}", if promise.is_met { "✓" } else { "✗" }, promise.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals;

    #[test]
    fn medians() {
        for (samples, want) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![9.0, 1.0, 5.0], 5.0),
            (vec![4.0, 1.0, 2.0, 3.0], 2.5),
        ] {
            assert!((median(&samples) - want).abs() < 1e-12, "{samples:?}");
        }
    }

    #[test]
    fn figures_are_short() {
        for (value, want) in [
            (0.0, "0.00"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (999.0, "999.0"),
            (1_234.5, "1 234"),
            (3_400_000.0, "3 400 000"),
            (-1_500.0, "-1 500"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(figure(value), want);
        }
    }

    #[test]
    fn counts_are_whole() {
        for (things, want) in [(0, "0"), (7, "7"), (256, "256"), (20_000, "20 000")] {
            assert_eq!(count(things), want);
        }
    }

    #[test]
    fn a_table_shows_goals() {
        let mut figures = Figures::new("Widgets");
        figures.note("on core 0");
        figures.row("made", "/s", &[3_000.0, 1_000.0, 2_000.0]);
        figures.promise(true, "at least 1 000/s");
        figures.promise(false, "at least 9 000/s");
        let text = figures.to_string();
        assert!(
            text.contains("made           2 000           1 000           3 000  /s"),
            "{text}"
        );
        assert!(text.contains("✓ at least 1 000/s") && text.contains("✗ at least 9 000/s"));
        assert!(!figures.keeps_all_promises());
    }

    #[test]
    fn goals_are_judged_by_the_median() {
        let mut figures = Figures::new("Widgets");
        figures.judge(&goals::TWO_CORES_TO_ONE, &[1.0, 1.9, 1.8]);
        figures.judge(&goals::TWO_CORES_TO_ONE, &[1.0, 1.9, 1.7]);
        figures.not_measured(&goals::DURABLE_TO_TIGERBEETLE, "it is not here");
        let met: Vec<bool> = figures.verdicts.iter().map(|verdict| verdict.is_met).collect();
        assert_eq!(met, [true, false, false]);
        assert_eq!(figures.verdicts[2].median, None);
    }
}
