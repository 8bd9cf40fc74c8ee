//! Makes the report of a run out of what its workers saw.

use super::{FORMAT, Latencies, ORDERS, Percentile, Planned, Report, WarmUp, latencies};
use super::{stage, time_slice};
use crate::answer::Class;
use crate::books::Seen;
use crate::plan::{Pace, Plan};
use crate::tally::{Tally, histogram, micros};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Codes of failures that come with a server that is killed, restarted, draining or full.
const EXCUSABLE: [&str; 6] =
    ["disconnected", "no-answer", "unsent", "overloaded", "unavailable", "timeout"];

impl Report {
    pub(crate) fn new(plan: &Plan, seen: &Seen, ended_by: Option<String>) -> Self {
        let tally = &seen.tally;
        let start = seen.flow.timeline.start();
        let counts_from = start + plan.warm_up;
        let count = |class: Class| tally.track(class).latency.len();
        let sent = sent(tally);
        let seconds_to = |end: Option<Instant>| {
            end.map_or(0.0, |end| end.saturating_duration_since(counts_from).as_secs_f64())
        };
        let elapsed_seconds = seconds_to(tally.last_answer);
        let is_excusable = |code: &str| EXCUSABLE.contains(&code);
        let failures = &tally.failures;
        let (stages, timeline) = stage::reports(&plan.stages, seen.flow.stages.as_ref());
        let mut report = Self {
            format: FORMAT,
            started_at_ms: since_1970_ms(start),
            target: plan.target.to_string(),
            intended_rate: match plan.pace {
                _ if !plan.stages.is_empty() => None,
                Pace::Open { rate } => Some(rate),
                Pace::Closed => None,
            },
            concurrency: plan.concurrency,
            threads: plan.threads,
            buyers: plan.buyers,
            products: plan.products.len(),
            seed: plan.seed,
            plan: Planned::new(plan),
            warm_up: (!plan.warm_up.is_zero()).then(|| WarmUp::new(plan, &seen.warm_up)),
            elapsed_seconds,
            selling_seconds: seconds_to(tally.last_win),
            attempts: tally.attempts,
            sent,
            rate: if elapsed_seconds > 0.0 { sent as f64 / elapsed_seconds } else { 0.0 },
            winners: tally.winners,
            accepted: count(Class::Accepted),
            replayed: count(Class::Replayed),
            queued: count(Class::Queued),
            promoted: tally.promoted,
            sold_out: count(Class::SoldOut),
            limit: count(Class::Limit),
            refused: tally.refusals.values().sum(),
            refusals: tally.refusals.clone(),
            paid: tally.paid,
            cancelled: tally.cancelled,
            errors: failures.values().sum(),
            failures: failures.clone(),
            excusable: failures.iter().filter(|(code, _)| is_excusable(code)).map(|(_, n)| n).sum(),
            disconnects: tally.disconnects,
            reconnects: tally.reconnects,
            retries: tally.retries,
            unsent: tally.unsent,
            given_up: tally.given_up,
            // A broken promise is one in the warm-up, too.
            violations: tally.violations + seen.warm_up.violations,
            violation_samples: [&tally.samples[..], &seen.warm_up.samples[..]].concat(),
            latency: by_class(tally, true),
            service_time: by_class(tally, false),
            percentiles: percentiles(tally),
            slices: time_slice::slices(plan, &seen.flow.timeline),
            stages,
            timeline,
            send_delay: Latencies::of(&tally.delay),
            lateness: Latencies::of(&tally.lateness),
            generator_cpu_us_per_request: micros(seen.cpu) as f64
                / (seen.flow.requests as f64).max(1.0),
            generator_busy: seen.busy,
            idle: seen.idle.clone(),
            slos: Vec::new(),
            warnings: Vec::new(),
            ended_by,
            tolerates_disconnects: plan.tolerate_disconnects,
        };
        report.slos = plan.slos.iter().map(|slo| slo.judge(&report)).collect();
        report.warnings = report.find_warnings(tally);
        report
    }
}

impl WarmUp {
    fn new(plan: &Plan, tally: &Tally) -> Self {
        Self {
            seconds: plan.warm_up.as_secs_f64(),
            attempts: tally.attempts,
            winners: tally.winners,
            sent: sent(tally),
            errors: tally.failures.values().sum(),
            failures: tally.failures.clone(),
        }
    }
}

/// Orders sent and answered in whatever way.
fn sent(tally: &Tally) -> u64 {
    let counted = |class: &Class| class.is_order() || *class == Class::Failed;
    let count = |class: Class| tally.track(class).latency.len();
    Class::ALL.into_iter().filter(counted).map(count).sum::<u64>() - tally.unsent
}

/// The wall clock at an instant that has passed.
fn since_1970_ms(instant: Instant) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(instant.elapsed()).as_millis() as u64
}

/// All proper answers to orders, from their slots or from their sends.
fn orders(tally: &Tally, from_slot: bool) -> Histogram<u64> {
    let mut all = histogram();
    for class in Class::ALL.into_iter().filter(|class| class.is_order()) {
        all.add(values(tally, class, from_slot))
            .expect("an auto-resizing histogram takes every value");
    }
    all
}

fn values(tally: &Tally, class: Class, from_slot: bool) -> &Histogram<u64> {
    let track = tally.track(class);
    if from_slot { &track.latency } else { &track.service }
}

fn by_class(tally: &Tally, from_slot: bool) -> BTreeMap<String, Latencies> {
    let mut classes = BTreeMap::new();
    for class in Class::ALL {
        let values = values(tally, class, from_slot);
        if !values.is_empty() {
            classes.insert(class.name().to_owned(), Latencies::of(values));
        }
    }
    classes.insert(ORDERS.to_owned(), Latencies::of(&orders(tally, from_slot)));
    classes
}

fn percentiles(tally: &Tally) -> BTreeMap<String, Vec<Percentile>> {
    let accepted = &tally.track(Class::Accepted).latency;
    [
        (ORDERS, latencies::curve(&orders(tally, true))),
        (Class::Accepted.name(), latencies::curve(accepted)),
        ("serviceTime", latencies::curve(&orders(tally, false))),
    ]
    .into_iter()
    .filter(|(_, points)| !points.is_empty())
    .map(|(name, points)| (name.to_owned(), points))
    .collect()
}
