//! The report as text for a person: what happened, how long it took, what to beware of.

use crate::answer::Class;
use crate::report::{Latencies, ORDERS, Report};
use std::collections::BTreeMap;
use std::fmt;

/// A number in groups of three.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A time with three digits that matter.
pub(crate) fn time(micros: u64) -> String {
    let millis = micros as f64 / 1e3;
    match micros {
        0..=999 => format!("{micros} µs"),
        1_000..=9_994 => format!("{millis:.2} ms"),
        9_995..=99_949 => format!("{millis:.1} ms"),
        99_950..=999_499 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_plan(f)?;
        self.write_counts(f)?;
        write_latencies(f, "latency, from the intended send time", &self.latency)?;
        if self.intended_rate.is_some() {
            write_latencies(f, "service time, from the actual send", &self.service_time)?;
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
        let pace = match self.intended_rate {
            Some(rate) if rate >= 10.0 => format!("open loop, {}/s", number(rate.round() as u64)),
            Some(rate) => format!("open loop, {rate}/s"),
            None => "closed loop".to_owned(),
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
        line("errors", self.errors, codes(&self.failures))?;
        line("violations", self.violations, String::new())?;
        for sample in &self.violation_samples {
            writeln!(f, "      {sample}")?;
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
    classes: &BTreeMap<&'static str, Latencies>,
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
