//! A report as a page: one file with charts and tables that needs nothing else, not even a script.
//!
//! All that comes from outside (targets, codes, names) is escaped, and the page forbids itself to
//! load or to run anything.

mod axis;
mod chart;
mod compared;
mod escape;
mod over_time;
mod percentiles;
mod tables;

pub(crate) use compared::page as comparison_page;

use doorbuster_loadgen::{Report, units};
use escape::Escaped;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

/// The page of a report.
pub(crate) fn page(report: &Report) -> String {
    let mut main = headline(report);
    main += &verdicts(report);
    main += &warnings(report);
    let sections = [
        over_time::throughput(report),
        over_time::latency(report),
        percentiles::chart(report),
        tables::stages(report),
        Some(tables::latencies(report)),
        tables::codes(report),
        Some(tables::plan(report)),
    ];
    main.extend(sections.into_iter().flatten());
    let what = format!(
        "<p class=what>{}</p><p class=when>{} · {}</p>",
        Escaped(&report.target),
        Escaped(&pace(report)),
        units::date(report.started_at_ms),
    );
    document("Load report", &format!("<h1>Load report</h1>{what}{}", badge(report)), &main)
}

/// A whole document. `title` is text, the others are markup.
fn document(title: &str, header: &str, main: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n\
         <meta name=viewport content='width=device-width, initial-scale=1'>\n\
         <meta name=color-scheme content='light dark'>\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>{header}</header>\n\
         <main>\n{main}</main>\n<footer>doorbuster-loadgen {}</footer>\n</body>\n</html>\n",
        Escaped(title),
        env!("CARGO_PKG_VERSION"),
    )
}

/// A time at an axis, where it is round.
fn round_time(us: f64) -> String {
    units::time(us.round() as u64).replace(".00 ", " ").replace(".0 ", " ")
}

/// How attempts were made, in a few words.
fn pace(report: &Report) -> String {
    match (report.plan.stages.len(), report.intended_rate) {
        (0, None) => "closed loop".to_owned(),
        (0, Some(rate)) => format!("open loop, {}/s", units::rate(rate)),
        (1, _) => "open loop, 1 stage".to_owned(),
        (stages, _) => format!("open loop, {stages} stages"),
    }
}

fn badge(report: &Report) -> String {
    let (class, text) = match (&report.ended_by, report.violations, report.is_clean()) {
        (Some(_), ..) => ("bad", "ended early"),
        (None, 1.., _) => ("bad", "promises were broken"),
        (None, 0, false) => ("bad", "errors"),
        (None, 0, true) if !report.meets_slos() => ("bad", "objectives missed"),
        (None, 0, true) if report.slos.is_empty() => ("good", "clean"),
        (None, 0, true) => ("good", "all objectives met"),
    };
    format!("<p class='badge {class}'>{text}</p>")
}

fn headline(report: &Report) -> String {
    let orders = report.orders();
    let mut html = String::from("<section id=figures><h2>Figures</h2><dl class=cards>");
    let mut card = |name: &str, value: String, note: String| {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd><dd class=note>{}</dd></div>",
            Escaped(name),
            Escaped(&value),
            Escaped(&note)
        );
    };
    let sent = format!("{} in {:.1} s", units::number(report.sent), report.elapsed_seconds);
    card("orders per second", units::rate(report.rate), sent);
    let sold = match report.sold_out {
        0 => "orders".to_owned(),
        sold_out => format!("sold out {} times", units::number(sold_out)),
    };
    card("accepted", units::number(report.accepted), sold);
    card("p50", units::time(orders.p50_us), format!("mean {}", units::time(orders.mean_us)));
    card("p95", units::time(orders.p95_us), format!("p90 {}", units::time(orders.p90_us)));
    card("p99", units::time(orders.p99_us), format!("p99.9 {}", units::time(orders.p999_us)));
    card("max", units::time(orders.max_us), String::new());
    let share = report.errors as f64 / (report.sent + report.unsent).max(1) as f64;
    card("errors", units::number(report.errors), units::share(share));
    card("violations", units::number(report.violations), "answers that disagree".to_owned());
    html + "</dl></section>\n"
}

fn verdicts(report: &Report) -> String {
    if report.slos.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section id=objectives><h2>Objectives</h2><ul class=slos>");
    for verdict in &report.slos {
        let (class, mark, said) =
            if verdict.is_met { ("good", '✓', "met") } else { ("bad", '✗', "missed") };
        let measured = verdict.measured.as_deref().unwrap_or("nothing was measured");
        let _ = write!(
            html,
            "<li class={class}><span class=mark role=img aria-label={said}>{mark}</span>\
             <code>{}</code> <span>{}</span></li>",
            Escaped(&verdict.slo),
            Escaped(measured),
        );
    }
    html + "</ul></section>\n"
}

fn warnings(report: &Report) -> String {
    let ended = report.ended_by.iter().map(|why| format!("The run ended early: {why}"));
    let notes: Vec<String> =
        ended.chain(report.violation_samples.clone()).chain(report.warnings.clone()).collect();
    if notes.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section id=warnings><h2>Beware</h2><ul class=warnings>");
    for note in notes {
        let _ = write!(html, "<li>{}</li>", Escaped(&note));
    }
    html + "</ul></section>\n"
}
