//! Medians, spread and goals, as a table for a person and as JSON.

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
    goals: Vec<Goal>,
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
struct Goal {
    what: String,
    is_met: bool,
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
        Self { title: title.into(), notes: Vec::new(), rows: Vec::new(), goals: Vec::new() }
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

    pub(crate) fn goal(&mut self, is_met: bool, what: impl Into<String>) {
        self.goals.push(Goal { what: what.into(), is_met });
    }

    pub(crate) fn all_goals_are_met(&self) -> bool {
        self.goals.iter().all(|goal| goal.is_met)
    }
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
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
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
        if !self.goals.is_empty() {
            writeln!(f)?;
        }
        for goal in &self.goals {
            writeln!(f, "  {} {}", if goal.is_met { "✓" } else { "✗" }, goal.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_table_shows_goals() {
        let mut figures = Figures::new("Widgets");
        figures.note("on core 0");
        figures.row("made", "/s", &[3_000.0, 1_000.0, 2_000.0]);
        figures.goal(true, "at least 1 000/s");
        figures.goal(false, "at least 9 000/s");
        let text = figures.to_string();
        assert!(
            text.contains("made           2 000           1 000           3 000  /s"),
            "{text}"
        );
        assert!(text.contains("✓ at least 1 000/s") && text.contains("✗ at least 9 000/s"));
        assert!(!figures.all_goals_are_met());
    }
}
