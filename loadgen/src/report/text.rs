//! The report as text for a person: what happened, how long it took, what to beware of.

use crate::answer::Class;
use crate::plan::Stage;
use crate::report::{Latencies, ORDERS, Report, StageReport};
use crate::units::{self, number, time};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_plan(f)?;
        self.write_counts(f)?;
        self.write_stages(f)?;
        write_latencies(f, "latency, from the intended send time", &self.latency)?;
        if self.is_open_loop() {
            write_latencies(f, "service time, from the actual send", &self.service_time)?;
        }
        if !self.slos.is_empty() {
            writeln!(f, "\n  objectives")?;
        }
        for verdict in &self.slos {
            let mark = if verdict.is_met { '✓' } else { '✗' };
            let measured = verdict.measured.as_deref().unwrap_or("nothing was measured");
            writeln!(f, "  {mark} {:<22} {measured}", verdict.slo)?;
        }
        for warning in &self.warnings {
            writeln!(f, "\n  ! {warning}")?;
        }
        if let Some(why) = &self.ended_by {
            writeln!(f, "\n  ✗ ended early: {why}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_plan(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match (self.stages.as_slice(), self.intended_rate) {
            ([], None) => "closed loop".to_owned(),
            ([], Some(rate)) => format!("open loop, {}/s", units::rate(rate)),
            (stages, _) => {
                let seconds: f64 = stages.iter().map(|stage| stage.seconds).sum();
                let attempts: f64 = stages.iter().map(StageReport::intended).sum();
                format!(
                    "open loop, {} stage{}, {} attempts in {seconds} s",
                    stages.len(),
                    if stages.len() == 1 { "" } else { "s" },
                    number(attempts.round() as u64),
                )
            }
        };
        writeln!(
            f,
            "{} · {pace} · {} buyers, {} product{} · {} in flight, {} thread{} · seed {}\n",
            self.target,
            number(self.buyers),
            number(self.products as u64),
            if self.products == 1 { "" } else { "s" },
            number(self.concurrency as u64),
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.seed,
        )
    }

    fn write_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, count: u64, note: String| {
            let space = if note.is_empty() { "" } else { "   " };
            writeln!(f, "  {name:<12}{:>14}{space}{note}", number(count))
        };
        let in_time =
            format!("in {:.2} s: {}/s", self.elapsed_seconds, number(self.rate.round() as u64));
        if let Some(warm_up) = &self.warm_up {
            let errors = match warm_up.errors {
                0 => String::new(),
                _ => format!(", errors: {}", codes(&warm_up.failures)),
            };
            let counted = match self.stages.is_empty() {
                true => "counted nowhere below",
                false => "counted below in the stages only",
            };
            let note = format!("attempts in {} s, {counted}{errors}", warm_up.seconds);
            line("warm-up", warm_up.attempts, note)?;
        }
        line("attempts", self.attempts, String::new())?;
        line("sent", self.sent, in_time)?;
        line("accepted", self.accepted, String::new())?;
        let optional = [
            ("replayed", self.replayed, "the first answer again, for the same key"),
            ("queued", self.queued, ""),
            ("promoted", self.promoted, "from the waitlist to a hold"),
            ("sold out", self.sold_out, ""),
            ("over limit", self.limit, ""),
        ];
        for (name, count, note) in optional {
            if count > 0 {
                line(name, count, note.to_owned())?;
            }
        }
        if self.refused > 0 {
            line("refused", self.refused, codes(&self.refusals))?;
        }
        for (name, count) in [("paid", self.paid), ("cancelled", self.cancelled)] {
            if count > 0 {
                line(name, count, String::new())?;
            }
        }
        if self.retries > 0 {
            line("retries", self.retries, String::new())?;
        }
        if self.disconnects + self.reconnects > 0 {
            let note = format!("{} made again", number(self.reconnects));
            line("disconnects", self.disconnects, note)?;
        }
        if let Some(idle) = &self.idle {
            let note = format!(
                "connections stood at the end, of {} made; {} were cut",
                number(idle.opened),
                number(idle.cut)
            );
            line("idle", idle.stood, note)?;
        }
        line("errors", self.errors, codes(&self.failures))?;
        line("violations", self.violations, String::new())?;
        for sample in &self.violation_samples {
            writeln!(f, "      {sample}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stages.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n  stages, by when orders were sent; latency, from when they were due")?;
        writeln!(
            f,
            "  {:<18}{:>12}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}",
            "", "offered", "given up", "accepted", "goodput/s", "p50", "p99", "max"
        )?;
        for stage in &self.stages {
            let duration = Duration::from_secs_f64(stage.seconds);
            let planned = Stage::ramp(stage.from_rate, stage.rate, duration).to_string();
            write!(f, "  {planned:<18}")?;
            for count in [stage.offered, stage.given_up, stage.accepted] {
                write!(f, "{:>12}", number(count))?;
            }
            write!(f, "{:>12}", units::rate(stage.goodput))?;
            let l = stage.latency;
            for micros in [l.p50_us, l.p99_us, l.max_us] {
                write!(f, "{:>10}", time(micros))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn codes(codes: &BTreeMap<String, u64>) -> String {
    let each = codes.iter().map(|(code, times)| format!("{code} {}", number(*times)));
    each.collect::<Vec<String>>().join(", ")
}

fn write_latencies(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    classes: &BTreeMap<String, Latencies>,
) -> fmt::Result {
    writeln!(f, "\n  {title}")?;
    writeln!(
        f,
        "  {:<12}{:>14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "count", "p50", "p90", "p95", "p99", "p99.9", "max"
    )?;
    let mut rows = vec![("all orders", classes.get(ORDERS))];
    let shown = Class::ALL.map(|class| {
        let title = match class {
            Class::SoldOut => "sold out",
            Class::Limit => "over limit",
            other => other.name(),
        };
        (title, classes.get(class.name()))
    });
    rows.extend(shown);
    for (name, latencies) in rows {
        let Some(l) = latencies else { continue };
        write!(f, "  {name:<12}{:>14}", number(l.count))?;
        for micros in [l.p50_us, l.p90_us, l.p95_us, l.p99_us, l.p999_us, l.max_us] {
            write!(f, "{:>10}", time(micros))?;
        }
        writeln!(f)?;
    }
    Ok(())
}
