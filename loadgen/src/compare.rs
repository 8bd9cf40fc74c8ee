//! Two results beside each other: what changed, by how much, and whether it became worse.
//!
//! A figure is worse when it changed for the worse by more than the tolerance. A maximum is one
//! request's fortune, and the last of a thousand that of a few: they are shown, and judged only where
//! there are enough of them.

use doorbuster_loadgen::{Latencies, Report, units};
use std::fmt;

/// Requests above a percentile, from which on it is judged.
const JUDGED_FROM: f64 = 10.0;

/// Percentiles: name, share of the requests above it, value.
type Point = (&'static str, f64, fn(&Latencies) -> u64);
const POINTS: [Point; 6] = [
    ("p50", 0.5, |l| l.p50_us),
    ("p90", 0.1, |l| l.p90_us),
    ("p95", 0.05, |l| l.p95_us),
    ("p99", 0.01, |l| l.p99_us),
    ("p99.9", 0.001, |l| l.p999_us),
    ("max", 0.0, |l| l.max_us),
];

/// Two results and the share by which they may differ.
pub(crate) struct Comparison {
    pub(crate) names: [String; 2],
    pub(crate) tolerance: f64,
    pub(crate) figures: Vec<Figure>,
    /// What makes it a comparison of unlike things.
    pub(crate) differences: Vec<String>,
}

/// One figure of both.
pub(crate) struct Figure {
    pub(crate) name: String,
    /// As they are shown; `None`: nothing was measured.
    pub(crate) shown: [Option<String>; 2],
    /// The change as a share of the first; infinite from nothing to something.
    pub(crate) change: Option<f64>,
    pub(crate) judgement: Judgement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Better,
    Same,
    Worse,
    /// It is good for nothing but to look at.
    None,
}

/// Which way is good.
#[derive(Clone, Copy)]
enum Good {
    More,
    Less,
    Neither,
}

impl Comparison {
    /// `named`: both results with what they are called.
    pub(crate) fn new(named: [(String, &Report); 2], tolerance: f64) -> Self {
        let reports = [named[0].1, named[1].1];
        let names = named.map(|(name, _)| name);
        let mut figures = Figures { reports, tolerance, list: Vec::new() };
        figures.add("orders per second", Good::More, |r| Some(r.rate), units::rate);
        figures.add("accepted", Good::Neither, |r| Some(r.accepted as f64), whole);
        figures.add("errors", Good::Less, |r| share(r.errors, r), units::share);
        figures.add("refused", Good::Neither, |r| share(r.refused, r), units::share);
        figures.add("violations", Good::Less, |r| Some(r.violations as f64), whole);
        figures.latencies("", |report| Some(report.orders()));
        figures.latencies("accepted ", |report| report.latency.get("accepted").copied());
        let cost = |r: &Report| Some(r.generator_cpu_us_per_request);
        figures.add("generator's CPU per request", Good::Neither, cost, |us| format!("{us:.1} µs"));
        let differences = differences(reports, &names);
        Self { names, tolerance, figures: figures.list, differences }
    }

    /// Whether anything became worse.
    pub(crate) fn is_worse(&self) -> bool {
        self.figures.iter().any(|figure| figure.judgement == Judgement::Worse)
    }
}

struct Figures<'a> {
    reports: [&'a Report; 2],
    tolerance: f64,
    list: Vec<Figure>,
}

impl Figures<'_> {
    fn add(
        &mut self,
        name: &str,
        good: Good,
        of: impl Fn(&Report) -> Option<f64>,
        show: impl Fn(f64) -> String,
    ) {
        let values = self.reports.map(of);
        let change = match values {
            [Some(before), Some(after)] if before == after => Some(0.0),
            [Some(before), Some(after)] => Some((after - before) / before.abs()),
            _ => None,
        };
        let beyond = change.filter(|change| change.abs() > self.tolerance);
        let judgement = match (good, beyond) {
            (Good::Neither, _) => Judgement::None,
            (_, None) => Judgement::Same,
            (Good::More, Some(change)) if change > 0.0 => Judgement::Better,
            (Good::Less, Some(change)) if change < 0.0 => Judgement::Better,
            (Good::More | Good::Less, Some(_)) => Judgement::Worse,
        };
        let shown = values.map(|value| value.map(&show));
        self.list.push(Figure { name: name.to_owned(), shown, change, judgement });
    }

    fn latencies(&mut self, prefix: &str, of: impl Fn(&Report) -> Option<Latencies>) {
        let fewest = self.reports.map(|report| of(report).map_or(0, |latencies| latencies.count));
        let fewest = fewest.into_iter().min().unwrap_or(0) as f64;
        if self.reports.iter().all(|report| of(report).is_none_or(|l| l.count == 0)) {
            return;
        }
        for (point, above, value) in POINTS {
            let is_judged = fewest * above >= JUDGED_FROM;
            let good = if is_judged { Good::Less } else { Good::Neither };
            let of = |report: &Report| {
                of(report).filter(|l| l.count > 0).map(|latencies| value(&latencies) as f64)
            };
            self.add(&format!("{prefix}{point}"), good, of, |us| units::time(us.round() as u64));
        }
    }
}

fn whole(count: f64) -> String {
    units::number(count as u64)
}

fn share(count: u64, report: &Report) -> Option<f64> {
    let all = report.sent + report.unsent;
    (all > 0).then(|| count as f64 / all as f64)
}

/// Nothing, where nothing was asked for.
fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// What was asked for differently, and what is only a part of what was asked for.
fn differences(reports: [&Report; 2], names: &[String; 2]) -> Vec<String> {
    let ended = |(report, name): (&Report, &String)| {
        report.ended_by.as_ref().map(|why| format!("{name} ended early: {why}"))
    };
    let mut list = unlike(reports);
    list.extend(reports.into_iter().zip(names).filter_map(ended));
    list
}

fn unlike([before, after]: [&Report; 2]) -> Vec<String> {
    let facts = |report: &Report| {
        let plan = &report.plan;
        let rate = report.intended_rate.map_or_else(String::new, |rate| rate.to_string());
        let binary = report.target.starts_with("binary");
        [
            ("protocol", if binary { "binary" } else { "http" }.to_owned()),
            ("pace", plan.pace.clone()),
            ("rate", rate),
            ("stages", plan.stages.join(",")),
            ("requests in flight", report.concurrency.to_string()),
            ("threads", report.threads.to_string()),
            ("buyers", report.buyers.to_string()),
            ("products", report.products.to_string()),
            ("exponents of Zipf's law", optional(plan.zipf)),
            ("attempts", optional(plan.attempts)),
            ("durations", optional(plan.duration_seconds.map(|seconds| format!("{seconds} s")))),
            ("warm-ups", optional(report.warm_up.as_ref().map(|it| format!("{} s", it.seconds)))),
            ("idle connections", optional(report.idle.as_ref().map(|idle| idle.wanted))),
            ("quantities", plan.quantity.to_string()),
            ("shares of duplicates", plan.duplicates.to_string()),
            ("shares that pay", plan.pay.to_string()),
            ("shares that cancel", plan.cancel.to_string()),
            ("retries", plan.retries.to_string()),
            ("stocks", optional(plan.stock)),
        ]
    };
    let pairs = facts(before).into_iter().zip(facts(after));
    pairs
        .filter(|(before, after)| before.1 != after.1)
        .map(|((what, before), (_, after))| {
            let shown = |value: String| if value.is_empty() { "none".to_owned() } else { value };
            format!("the {what} differ: {} and {}", shown(before), shown(after))
        })
        .collect()
}

impl Figure {
    /// The change in percent.
    pub(crate) fn shown_change(&self) -> String {
        match self.change {
            None => String::new(),
            Some(change) if change.is_infinite() => "from none".to_owned(),
            Some(change) => {
                let percent = (change * 1e3).round() / 10.0;
                let sign = if percent > 0.0 { "+" } else { "" };
                format!("{sign}{percent:.1} %").replace('-', "−")
            }
        }
    }

    pub(crate) fn shown_judgement(&self) -> &'static str {
        match self.judgement {
            Judgement::Better => "better",
            Judgement::Worse => "✗ worse",
            Judgement::Same | Judgement::None => "",
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = &self.names;
        writeln!(f, "  {:<28}{before:>20}{after:>20}{:>12}", "", "change")?;
        for figure in &self.figures {
            let [before, after] =
                figure.shown.each_ref().map(|value| value.as_deref().unwrap_or("–"));
            let (change, judgement) = (figure.shown_change(), figure.shown_judgement());
            let line =
                format!("  {:<28}{before:>20}{after:>20}{change:>12}   {judgement}", figure.name);
            writeln!(f, "{}", line.trim_end())?;
        }
        for difference in &self.differences {
            writeln!(f, "\n  ! {difference}")?;
        }
        let worse = self.figures.iter().filter(|it| it.judgement == Judgement::Worse).count();
        let tolerance = units::share(self.tolerance);
        match worse {
            0 => writeln!(f, "\n  ✓ nothing is worse by more than {tolerance}"),
            1 => writeln!(f, "\n  ✗ 1 figure is worse by more than {tolerance}"),
            _ => writeln!(f, "\n  ✗ {worse} figures are worse by more than {tolerance}"),
        }
    }
}
