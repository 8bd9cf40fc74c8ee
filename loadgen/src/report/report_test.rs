//! The report as text and as JSON, and when it counts as clean.

use super::*;
use crate::answer::Class;
use crate::books::Seen;
use crate::plan::Stage;
use crate::plan::{Pace, Plan};
use crate::slo::Slo;
use crate::stages::Stages;
use crate::tally::Tally;
use crate::target::Target;
use std::time::{Duration, Instant};

fn report_of(change: impl FnOnce(&mut Plan, &mut Seen, Instant)) -> Report {
    let mut plan = Plan::new(Target::http("127.0.0.1:8080".parse().expect("an address")));
    (plan.pace, plan.seed) = (Pace::Open { rate: 1_000.0 }, 7);
    let start = Instant::now();
    let mut seen = Seen::nothing(&plan, start);
    let tally = &mut seen.tally;
    tally.attempts = 1_000;
    for number in 0..1_000u32 {
        let due = start + Duration::from_millis(1) * number;
        let class = if number < 100 { Class::Accepted } else { Class::SoldOut };
        tally.record(class, due, due, due + Duration::from_micros(800));
    }
    tally.winners = 100;
    change(&mut plan, &mut seen, start);
    Report::new(&plan, &seen, None)
}

fn report(change: impl FnOnce(&mut Plan, &mut Tally, Instant)) -> Report {
    report_of(|plan, seen, start| change(plan, &mut seen.tally, start))
}

#[test]
fn the_text_reads_well() {
    let text = report(|_, _, _| {}).to_string();
    let expected = "\
http://127.0.0.1:8080 · open loop, 1 000/s · 1 000 buyers, 1 product · 64 in flight, 1 thread · seed 7

  attempts             1 000
  sent                 1 000   in 1.00 s: 1 000/s
  accepted               100
  sold out               900
  errors                   0
  violations               0

  latency, from the intended send time
                       count       p50       p90       p95       p99     p99.9       max
  all orders           1 000    800 µs    800 µs    800 µs    800 µs    800 µs    800 µs
  accepted               100    800 µs    800 µs    800 µs    800 µs    800 µs    800 µs
  sold out               900    800 µs    800 µs    800 µs    800 µs    800 µs    800 µs

  service time, from the actual send
                       count       p50       p90       p95       p99     p99.9       max
  all orders           1 000    800 µs    800 µs    800 µs    800 µs    800 µs    800 µs
  accepted               100    800 µs    800 µs    800 µs    800 µs    800 µs    800 µs
  sold out               900    800 µs    800 µs    800 µs    800 µs    800 µs    800 µs
";
    assert_eq!(text, expected);
}

#[test]
fn orders_without_an_answer_take_their_time() {
    let report = report(|_, tally, start| {
        let at = start + Duration::from_secs(4);
        for _ in 0..1_000 {
            tally.record(Class::Failed, at, at, at);
            tally.ended(at);
        }
        // What was never sent is no part of the rate.
        tally.unsent(start, start + Duration::from_secs(30), 1);
    });
    assert_eq!((report.sent, report.rate.round() as u64), (2_000, 500));
}

#[test]
fn the_json_has_its_names() {
    let json = serde_json::to_value(report(|_, _, _| {})).expect("serializable");
    for (pointer, want) in [
        ("/attempts", serde_json::json!(1_000)),
        ("/accepted", serde_json::json!(100)),
        ("/soldOut", serde_json::json!(900)),
        ("/errors", serde_json::json!(0)),
        ("/violations", serde_json::json!(0)),
        ("/intendedRate", serde_json::json!(1_000.0)),
        ("/latency/orders/count", serde_json::json!(1_000)),
        ("/latency/soldOut/p99Us", serde_json::json!(800)),
        ("/serviceTime/accepted/p999Us", serde_json::json!(800)),
        ("/format", serde_json::json!(1)),
        ("/plan/pace", serde_json::json!("open")),
        ("/percentiles/accepted/0/us", serde_json::json!(800)),
        ("/endedBy", serde_json::Value::Null),
    ] {
        assert_eq!(json.pointer(pointer), Some(&want), "{pointer}");
    }
}

#[test]
fn stages_are_shown_one_by_one() {
    let report = report_of(|plan, seen, start| {
        let second = Duration::from_secs(1);
        plan.stages = vec![Stage::ramp(0.0, 100.0, second), Stage::steady(900.0, second)];
        let mut stages = Stages::new(&plan.stages, start);
        stages.offered(start);
        stages.given_up(start + second, 1);
        stages.given_up(start + second, 1);
        seen.flow.stages = Some(stages);
    });
    let text = report.to_string();
    assert!(text.contains("open loop, 2 stages, 950 attempts in 2 s"), "{text}");
    for (stage, offered) in [("1s:0..100", 1), ("1s:900", 2)] {
        let row = text.lines().find(|line| line.trim_start().starts_with(stage)).expect("a row");
        assert_eq!(row.split_whitespace().nth(1), Some(offered.to_string().as_str()), "{row}");
    }
    assert!(text.contains("service time"), "stages are an open loop: {text}");
}

#[test]
fn the_json_can_be_read_again() {
    let report = report_of(|plan, seen, start| {
        plan.warm_up = Duration::from_millis(500);
        plan.stages = vec![Stage::steady(900.0, Duration::from_secs(1))];
        plan.slos = ["p50<1ms", "rate>1m"].map(|slo| Slo::parse(slo).expect("one")).to_vec();
        seen.flow.stages = Some(Stages::new(&plan.stages, start));
        seen.flow.answered(Class::Accepted, start, start);
        seen.warm_up.attempted(start, start);
        seen.warm_up.failed("no-answer");
        seen.warm_up.violated(|| "attempt 1: two orders for one key".to_owned());
    });
    let warm_up = report.warm_up.as_ref().expect("a warm-up");
    assert_eq!((warm_up.attempts, warm_up.errors, report.errors), (1, 1, 0));
    assert_eq!(report.violations, 1, "a broken promise counts at all times");
    assert!(report.to_string().contains("no-answer 1"), "{report}");
    assert!(report.to_string().contains("counted below in the stages only"), "{report}");
    assert!(report.to_string().contains("✓ p50<1ms                800 µs"), "{report}");
    assert!(report.to_string().contains("✗ rate>1m "), "{report}");
    let json = serde_json::to_string(&report).expect("serializable");
    let again = Report::read(&json).expect("it was just written");
    assert_eq!(again.to_string(), report.to_string());
    assert_eq!((&again.slices, &again.percentiles), (&report.slices, &report.percentiles));

    let other = json.replacen("\"format\":1", "\"format\":2", 1);
    assert!(matches!(Report::read(&other), Err(ReadError::Format(2))));
    assert!(matches!(Report::read("{}"), Err(ReadError::Json(_))));
}

#[test]
fn what_is_wrong_is_said() {
    fn check(want: &str, is_clean: bool, change: impl FnOnce(&mut Plan, &mut Tally, Instant)) {
        let report = report(change);
        assert!(report.to_string().contains(want), "{want:?} is not in:\n{report}");
        assert_eq!(report.is_clean(), is_clean, "{want:?}:\n{report}");
    }
    check("disconnected 2", false, |_, tally, start| {
        for _ in 0..2 {
            tally.failed("disconnected");
            tally.record(Class::Failed, start, start, start);
        }
    });
    check("disconnected 1", true, |plan, tally, _| {
        plan.tolerate_disconnects = true;
        tally.failed("disconnected");
    });
    check("http-500 1", false, |plan, tally, _| {
        plan.tolerate_disconnects = true;
        tally.failed("http-500");
    });
    check("two orders for one key", false, |_, tally, _| {
        tally.violated(|| "attempt 3: two orders for one key".to_owned());
    });
    check("the generator itself fell behind", true, |_, tally, _| {
        tally.lateness.record_n(50_000, 100).expect("in range");
    });
    let stood_still = report(|_, tally, _| {
        tally.lateness.record_n(60, 20_000).expect("in range");
        tally.woke_late(Duration::from_millis(900));
        tally.delay.record_n(450_000, 100).expect("in range");
    });
    let warnings = stood_still.warnings.join("\n");
    assert!(warnings.contains("stood still for 900 ms of the run, 900 ms at"), "{warnings}");
    assert!(!warnings.contains("connections"), "it is not the server's fault: {warnings}");
    check("connections to come free", true, |_, tally, _| {
        tally.delay.record_n(50_000, 100).expect("in range");
    });
    check("connections to come free", true, |_, tally, _| {
        // Late now and then, but that is not what they waited for.
        (0..10).for_each(|_| tally.woke_late(Duration::from_millis(10)));
        tally.delay.record_n(50_000, 100).expect("in range");
    });
    check("1 000/s was not reached: 500/s were", true, |_, tally, start| {
        tally.last_answer = Some(start + Duration::from_secs(2));
    });
    check("3 slots of the schedule were never sent", false, |_, tally, start| {
        for _ in 0..3 {
            tally.unsent(start, start, 1);
        }
    });
    check("every order was refused", true, |_, tally, _| {
        (0..1_000).for_each(|_| tally.refused("product-not-found"));
    });
    let busy = report_of(|_, seen, _| (seen.busy, seen.tally.attempts) = (0.97, 2_000));
    assert!(busy.to_string().contains("busy 97 % of the time"), "{busy}");
    check("purchase: gone 1", true, |_, tally, _| tally.refused("purchase: gone"));
}
