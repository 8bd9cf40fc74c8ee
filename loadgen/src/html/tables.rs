//! The tables of the page: latencies by class, codes, stages, slices, and the plan.

use super::escape::Escaped;
use doorbuster_loadgen::report::ORDERS;
use doorbuster_loadgen::{Latencies, Report, units};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A table with a row of names above and a name before every row.
pub(super) struct Table {
    html: String,
}

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut html = "<div class=scroll><table><thead><tr>".to_owned();
        for column in columns {
            let _ = write!(html, "<th scope=col>{}</th>", Escaped(column));
        }
        html.push_str("</tr></thead><tbody>");
        Self { html }
    }

    pub(super) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        let _ = write!(self.html, "<tr><th scope=row>{}</th>", Escaped(name));
        for cell in cells {
            let _ = write!(self.html, "<td>{}</td>", Escaped(&cell));
        }
        self.html.push_str("</tr>");
    }

    pub(super) fn finish(self) -> String {
        self.html + "</tbody></table></div>"
    }
}

fn times(latencies: &Latencies) -> [String; 7] {
    let l = latencies;
    [l.mean_us, l.p50_us, l.p90_us, l.p95_us, l.p99_us, l.p999_us, l.max_us].map(units::time)
}

/// Percentiles by class of answer.
pub(super) fn latencies(report: &Report) -> String {
    let mut html = String::from("<section id=classes><h2>Latency by outcome</h2>");
    let titles = [
        ("From the intended send time", &report.latency),
        ("From the actual send", &report.service_time),
    ];
    let shown = if report.is_open_loop() { 2 } else { 1 };
    for (title, classes) in titles.into_iter().take(shown) {
        let columns = ["", "count", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
        let mut table = Table::new(&columns);
        let orders = classes.get(ORDERS).map(|all| ("all orders", all));
        let others = classes.iter().filter(|(name, _)| *name != ORDERS);
        for (name, l) in orders.into_iter().chain(others.map(|(name, l)| (name.as_str(), l))) {
            let name = if name == "soldOut" { "sold out" } else { name };
            table.row(name, [units::number(l.count)].into_iter().chain(times(l)));
        }
        let _ = write!(html, "<h3>{title}</h3>{}", table.finish());
    }
    html + "</section>\n"
}

/// Refusals and failures, by code.
pub(super) fn codes(report: &Report) -> Option<String> {
    if report.refusals.is_empty() && report.failures.is_empty() {
        return None;
    }
    let mut table = Table::new(&["code", "kind", "times", "share of all sent"]);
    let mut rows = |codes: &BTreeMap<String, u64>, kind: &str| {
        for (code, times) in codes {
            let share = *times as f64 / (report.sent + report.unsent).max(1) as f64;
            let cells = [kind.to_owned(), units::number(*times), units::share(share)];
            table.row(code, cells);
        }
    };
    rows(&report.failures, "error");
    rows(&report.refusals, "refusal");
    Some(format!("<section id=codes><h2>Codes</h2>{}</section>\n", table.finish()))
}

/// What each stage came to.
pub(super) fn stages(report: &Report) -> Option<String> {
    if report.stages.is_empty() {
        return None;
    }
    let columns =
        ["stage", "intended", "offered", "given up", "accepted", "goodput", "p50", "p99", "max"];
    let mut table = Table::new(&columns);
    for (stage, planned) in report.stages.iter().zip(&report.plan.stages) {
        let counts = [stage.offered, stage.given_up, stage.accepted].map(units::number);
        let intended = units::number(stage.intended().round() as u64);
        let l = &stage.latency;
        let times = [l.p50_us, l.p99_us, l.max_us].map(units::time);
        let goodput = format!("{}/s", units::rate(stage.goodput));
        let cells = [intended].into_iter().chain(counts).chain([goodput]).chain(times);
        table.row(planned, cells);
    }
    let note = "<p class=note>Requests count for the stage in which they were sent; times are of \
                orders that were due in it, from the intended send time.</p>";
    Some(format!("<section id=stages><h2>Stages</h2>{}{note}</section>\n", table.finish()))
}

/// The figures behind the charts over time.
pub(super) fn slices(report: &Report) -> String {
    let columns = [
        "second", "sent", "accepted", "queued", "sold out", "refused", "errors", "p50", "p95",
        "p99", "max",
    ];
    let mut table = Table::new(&columns);
    for slice in &report.slices {
        let refused = slice.limit + slice.refused;
        let counts =
            [slice.sent, slice.accepted, slice.queued, slice.sold_out, refused, slice.errors];
        let l = &slice.latency;
        let times = [l.p50_us, l.p95_us, l.p99_us, l.max_us].map(units::time);
        let cells = counts.map(units::number).into_iter().chain(times);
        table.row(&slice.at_seconds.to_string(), cells);
    }
    format!("<details><summary>The same as a table</summary>{}</details>", table.finish())
}

/// What was asked for.
pub(super) fn plan(report: &Report) -> String {
    let plan = &report.plan;
    let mut rows: Vec<(&str, String)> =
        vec![("target", report.target.clone()), ("pace", super::pace(report))];
    if !plan.stages.is_empty() {
        rows.push(("stages", plan.stages.join(", ")));
    }
    let numbers = [
        ("attempts", plan.attempts),
        ("buyers", Some(report.buyers)),
        ("products", Some(report.products as u64)),
        ("units per order", Some(plan.quantity.into())),
        ("stock of each product", plan.stock.map(u64::from)),
        ("in flight at most", Some(report.concurrency as u64)),
        ("threads", Some(report.threads as u64)),
        ("retries at most", Some(plan.retries.into()).filter(|retries| *retries > 0)),
    ];
    rows.extend(numbers.into_iter().filter_map(|(name, n)| Some((name, units::number(n?)))));
    let seconds = [
        ("duration", plan.duration_seconds),
        ("warm-up", report.warm_up.as_ref().map(|warm_up| warm_up.seconds)),
        ("think time", Some(plan.think_seconds).filter(|seconds| *seconds > 0.0)),
        ("answers given up after", Some(plan.timeout_seconds)),
    ];
    rows.extend(seconds.into_iter().filter_map(|(name, s)| Some((name, format!("{} s", s?)))));
    let shares = [("sent twice", plan.duplicates), ("pay", plan.pay), ("cancel", plan.cancel)];
    let shares = shares.into_iter().filter(|(_, share)| *share > 0.0);
    rows.extend(shares.map(|(name, share)| (name, units::share(share))));
    rows.extend(plan.zipf.map(|exponent| ("Zipf exponent of products", exponent.to_string())));
    if plan.waitlist {
        rows.push(("waitlist", "yes".to_owned()));
    }
    rows.extend(plan.source_addresses.clone().map(|from| ("connections from", from)));
    if let Some(idle) = &report.idle {
        let [stood, opened] = [idle.stood, idle.opened].map(units::number);
        rows.push(("idle connections", format!("{stood} of {opened} stood at the end")));
    }
    rows.push(("seed", report.seed.to_string()));
    let busy = format!(
        "{:.1} µs of CPU time per request, busiest thread {:.0} %",
        report.generator_cpu_us_per_request,
        100.0 * report.generator_busy
    );
    rows.push(("the generator itself", busy));
    let mut html = String::from("<section id=plan><h2>Plan</h2><dl>");
    for (name, value) in rows {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(&value));
    }
    html + "</dl></section>\n"
}
