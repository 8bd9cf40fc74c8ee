//! Objectives: what can be written, what is refused, and what they make of a run.

use super::*;
use crate::answer::Class;
use crate::books::Seen;
use crate::plan::Plan;
use crate::target::Target;
use std::time::{Duration, Instant};

/// A second of a thousand orders, ten of them errors: 1 ms each, but for twenty that took 100 ms.
fn a_run() -> Report {
    let plan = Plan::new(Target::http("127.0.0.1:1".parse().expect("an address")));
    let start = Instant::now();
    let mut seen = Seen::nothing(&plan, start);
    for number in 0..1_000u32 {
        let due = start + Duration::from_millis(1) * number;
        let took = Duration::from_millis(if number % 50 == 49 { 100 } else { 1 });
        let class = match number {
            0..10 => Class::Failed,
            10..510 => Class::Accepted,
            _ => Class::SoldOut,
        };
        seen.tally.record(class, due, due, due + took);
        if class == Class::Failed {
            seen.tally.failed("no-answer");
        }
    }
    Report::new(&plan, &seen, None)
}

#[test]
fn objectives_are_judged() {
    let report = a_run();
    let check = |text: &str, is_met: bool, measured: Option<&str>| {
        let verdict = Slo::parse(text).unwrap_or_else(|why| panic!("{why}")).judge(&report);
        assert_eq!((verdict.is_met, verdict.measured.as_deref()), (is_met, measured), "{text}");
    };
    check("p50<1.5ms", true, Some("1.00 ms"));
    check("p50<1ms", false, Some("1.00 ms"));
    check("p50<=1ms", true, Some("1.00 ms"));
    check("p(95) < 1500us", true, Some("1.00 ms"));
    check("p99<50ms", false, Some("100 ms"));
    check("p99.9>50ms", true, Some("100 ms"));
    check("max<1s", true, Some("100 ms"));
    check("mean<5ms", true, Some("3.00 ms"));
    check("accepted.p50<2ms", true, Some("1.00 ms"));
    check("sold-out.p99.9<2ms", false, Some("100 ms"));
    check("pay.p99<1s", false, None);
    check("errors<1%", false, Some("1 %"));
    check("errors<=1%", true, Some("1 %"));
    check("errors<11", true, Some("10"));
    check("refused<=0", true, Some("0"));
    check("accepted>=500", true, Some("500"));
    check("accepted>=50.1%", false, Some("50 %"));
    check("rate>900/s", true, Some("910/s"));
    check("rate>10k", false, Some("910/s"));
}

#[test]
fn what_nothing_was_measured_of_is_missed() {
    let plan = Plan::new(Target::http("127.0.0.1:1".parse().expect("an address")));
    let report = Report::new(&plan, &Seen::nothing(&plan, Instant::now()), None);
    for text in ["p99<1s", "max>=0s", "errors<1", "errors<1%", "refused<=0", "accepted<5", "rate<5"]
    {
        let verdict = Slo::parse(text).unwrap_or_else(|why| panic!("{why}")).judge(&report);
        assert_eq!((verdict.is_met, verdict.measured), (false, None), "{text}");
    }
}

#[test]
fn what_is_none_is_refused() {
    for (text, why) in [
        ("p95", "MEASURE<BOUND"),
        ("p95=5ms", "MEASURE<BOUND"),
        ("p95<5", "with its unit"),
        ("p95<fast", "with its unit"),
        ("p42<5ms", "measures are"),
        ("teapot.p95<5ms", "measures are"),
        ("errors<", "a share"),
        ("errors<5ms", "a share"),
        ("rate>5ms", "a rate such as"),
        ("<5ms", "measures are"),
        ("", "MEASURE<BOUND"),
    ] {
        let error = Slo::parse(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn an_objective_about_errors_replaces_the_rule_that_there_be_none() {
    let mut report = a_run();
    assert!(!report.is_clean());
    report.slos = vec![Slo::parse("p50<1s").expect("an objective").judge(&report)];
    assert!(!report.is_clean());
    report.slos.push(Slo::parse("errors<5%").expect("an objective").judge(&report));
    assert!(report.is_clean() && report.meets_slos());
    report.slos.push(Slo::parse("errors<0.5%").expect("an objective").judge(&report));
    assert!(report.is_clean() && !report.meets_slos());
    report.violations = 1;
    assert!(!report.is_clean());
}
