//! The one table: every goal of speed with what came out, over all measurements of a run.

use crate::figures::{Figures, Verdict, figure};
use crate::goals;
use std::fmt;

/// The verdicts of a run, in the order of the goals.
pub(crate) struct Table<'a> {
    verdicts: Vec<&'a Verdict>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(results: &'a [Figures]) -> Self {
        let place = |verdict: &Verdict| goals::ALL.iter().position(|goal| **goal == verdict.goal);
        let mut verdicts: Vec<&Verdict> =
            results.iter().flat_map(|figures| &figures.verdicts).collect();
        verdicts.sort_by_key(|verdict| place(verdict));
        Self { verdicts }
    }

    /// Whether every goal that was measured is met; of alternatives, whether one is.
    pub(crate) fn is_met(&self) -> bool {
        self.verdicts.iter().all(|verdict| self.counts_as_met(verdict) || verdict.median.is_none())
    }

    fn counts_as_met(&self, verdict: &Verdict) -> bool {
        verdict.is_met
            || verdict.goal.is_alternative
                && self.verdicts.iter().any(|other| {
                    other.goal.is_alternative
                        && other.goal.number == verdict.goal.number
                        && other.is_met
                })
    }

    fn mark(&self, verdict: &Verdict) -> &'static str {
        match (verdict.median, verdict.is_met) {
            (None, _) => "not measured",
            (_, true) => "✓",
            _ if self.counts_as_met(verdict) => "✓ by the other",
            _ => "✗",
        }
    }
}

/// A value in its unit, or nothing.
fn value(of: Option<f64>, unit: &str) -> String {
    of.map_or_else(String::new, |of| format!("{} {unit}", figure(of)).trim_end().to_owned())
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "what", "goal", "figure", "ratio", "spread", "met"].map(str::to_owned);
        let mut rows = vec![head];
        let mut why_not = Vec::new();
        for verdict in &self.verdicts {
            let goal = verdict.goal;
            let judged = value(verdict.median, goal.unit);
            let is_ratio = goal.unit == "×";
            let spread = match &verdict.samples[..] {
                [] => String::new(),
                samples => {
                    let [min, max] = [
                        samples.iter().copied().fold(f64::INFINITY, f64::min),
                        samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    ];
                    format!("{} – {}", figure(min), figure(max))
                }
            };
            let (found, ratio) = match is_ratio {
                true => (value(verdict.figure, verdict.unit), judged),
                false => (judged, String::new()),
            };
            rows.push([
                format!("P{}", goal.number),
                goal.what.to_owned(),
                goal.to_string(),
                found,
                ratio,
                spread,
                self.mark(verdict).to_owned(),
            ]);
            if let Some(why) = &verdict.why_not {
                why_not.push(format!("P{}, {}: {why}", goal.number, goal.what));
            }
        }
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        for row in &rows {
            let mut line = String::new();
            for (column, (text, width)) in row.iter().zip(widths).enumerate() {
                // Words to the left, numbers to the right.
                match column {
                    0 | 1 | 6 => line += &format!("{text:width$}  "),
                    _ => line += &format!("{text:>width$}  "),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for why in why_not {
            writeln!(f, "{why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_stand_in_their_order() {
        let (mut late, mut early) = (Figures::new("late"), Figures::new("early"));
        late.judge(&goals::TWO_CORES_TO_ONE, &[1.9]);
        early.judge_with(&goals::DECISIONS_TO_HASH_MAP, &[0.4], Some((&[5e6], "/s")));
        early.not_measured(&goals::DURABLE_TO_TIGERBEETLE, "it is not here");
        let results = [late, early];
        let table = Table::new(&results);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("P1 ") && lines[1].ends_with('✗'), "{text}");
        assert!(lines[1].contains("5 000 000 /s"), "{text}");
        assert!(lines[2].starts_with("P2 ") && lines[2].ends_with("not measured"), "{text}");
        assert!(lines[3].starts_with("P12") && lines[3].ends_with('✓'), "{text}");
        assert_eq!(lines[4], "P2, durable orders, to TigerBeetle: it is not here");
        assert!(!table.is_met());
    }

    #[test]
    fn one_of_alternatives_is_enough() {
        fn check(rate: f64, share: f64, want: bool) {
            let mut figures = Figures::new("recovery");
            figures.judge(&goals::RECOVERY, &[rate]);
            figures.judge(&goals::RECOVERY_TO_READ, &[share]);
            assert_eq!(Table::new(&[figures]).is_met(), want, "{rate} {share}");
        }
        check(4e6, 0.1, true);
        check(1e6, 0.6, true);
        check(1e6, 0.1, false);
    }
}
