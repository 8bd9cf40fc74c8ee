//! What the scenario found: a line for each stage, and the bars.

use super::verdict::Bar;
use super::{CANCEL, Memory, PAY, Settings, Short};
use crate::figures::figure;
use crate::machine;
use doorbuster_loadgen::{Report, StageReport};
use serde::{Serialize, Serializer};
use std::fmt;

/// One run of the scenario.
pub(super) struct Found {
    pub(super) short: Short,
    pub(super) settings: Settings,
    /// Accepted orders per second in a closed loop, before and after.
    pub(super) capacity: [f64; 2],
    pub(super) report: Report,
    pub(super) memory: Vec<Memory>,
}

impl Found {
    pub(super) fn holds_all_bars(&self) -> bool {
        self.bars().iter().all(|bar| bar.is_held)
    }

    fn memory_at_end(&self, seconds: f64) -> f64 {
        let before = self.memory.iter().take_while(|sample| sample.at_seconds <= seconds);
        before.last().map_or(0.0, |sample| sample.mib)
    }
}

/// `name  offered  sent  goodput …`, one line for each stage.
const HEAD: [&str; 12] = [
    "stage",
    "offered/s",
    "sent/s",
    "goodput/s",
    "of peak",
    "p50",
    "p95",
    "p99",
    "refused/s",
    "given up/s",
    "paid+cancelled",
    "memory",
];

fn line(name: &str, stage: &StageReport, peak: f64, memory: f64) -> [String; 12] {
    let per_second = |count: u64| figure((count as f64 / stage.seconds).round());
    let millis = |micros: u64| format!("{:.1} ms", micros as f64 / 1e3);
    let refused = stage.others.values().sum::<u64>();
    let at_once = stage.acts_done_at_once as f64 / stage.acts().max(1) as f64;
    [
        name.to_owned(),
        per_second(stage.offered),
        per_second(stage.sent),
        figure(stage.goodput.round()),
        format!("{:.2}", stage.goodput / peak),
        millis(stage.accepting.p50_us),
        millis(stage.accepting.p95_us),
        millis(stage.accepting.p99_us),
        per_second(refused),
        per_second(stage.given_up),
        format!("{:.3} %", at_once * 100.0),
        format!("{memory:.0} MiB"),
    ]
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [calm, overload, after] = self.stages();
        let (times, peak) = (self.settings.times, self.peak());
        let who = match self.short {
            Short::Engine => "the engine alone has",
            Short::Server => "the whole server has",
        };
        writeln!(f, "Overload: {who} {} % of a CPU", self.settings.cpu(self.short))?;
        writeln!(f, "  {}", machine::describe())?;
        writeln!(
            f,
            "  capacity {} orders/s before, {} after (closed loop); {:.0} % of the orders are paid, \
             {:.0} % cancelled, at once",
            figure(self.capacity[0]),
            figure(self.capacity[1]),
            PAY * 100.0,
            CANCEL * 100.0
        )?;
        writeln!(
            f,
            "  open loop over {} connections; retries on a budget of 10 %, half of the clients do \
             as Retry-After says; latency of accepted orders from their send",
            self.settings.connections(self.short)
        )?;
        let mut seconds = 0.0;
        let mut lines = vec![HEAD.map(str::to_owned)];
        let names = ["0.8 ×".to_owned(), format!("{times} ×"), "0.5 ×".to_owned()];
        for (name, stage) in names.iter().zip([calm, overload, after]) {
            seconds += stage.seconds;
            lines.push(line(name, stage, peak, self.memory_at_end(seconds)));
        }
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        writeln!(f)?;
        for line in &lines {
            f.write_str(" ")?;
            for (text, width) in line.iter().zip(&widths) {
                write!(f, "  {text:>width$}")?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for (name, stage) in names.iter().zip([calm, overload, after]) {
            let codes = |codes: &std::collections::BTreeMap<String, u64>| {
                let each =
                    codes.iter().map(|(code, times)| format!("{code} {}", figure(*times as f64)));
                each.collect::<Vec<String>>().join(", ")
            };
            let acting = stage.acting;
            writeln!(
                f,
                "  {name:>4}  answers to orders other than acceptance: {}; payments and cancels: {} \
                 sent, {} done, failed: {}; p50 {:.1} ms, p99 {:.1} ms",
                codes(&stage.others),
                figure(stage.acts_sent as f64),
                figure(stage.acts_done as f64),
                codes(&stage.acts_failed),
                acting.p50_us as f64 / 1e3,
                acting.p99_us as f64 / 1e3,
            )?;
        }
        writeln!(f)?;
        for bar in self.bars() {
            writeln!(f, "  {} {}", if bar.is_held { "✓" } else { "✗" }, bar.what)?;
        }
        Ok(())
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown<'a> {
            short: &'static str,
            capacity: [f64; 2],
            stages: &'a [StageReport],
            timeline: &'a [doorbuster_loadgen::SliceReport],
            memory: &'a [Memory],
            recovery_seconds: Option<f64>,
            bars: Vec<Bar>,
        }
        let short = match self.short {
            Short::Engine => "engine",
            Short::Server => "server",
        };
        Shown {
            short,
            capacity: self.capacity,
            stages: &self.report.stages,
            timeline: &self.report.timeline,
            memory: &self.memory,
            recovery_seconds: self.recovery_seconds(),
            bars: self.bars(),
        }
        .serialize(serializer)
    }
}
