//! What a run found, as data: serializes to JSON in camelCase, and displays as text.

use crate::answer::Class;
use crate::plan::{Pace, Plan};
use crate::stage_report::{self, SliceReport, StageReport};
use crate::tally::{Tally, histogram};
use crate::units;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// What a run found.
///
/// Every order that was sent has one answer: `accepted + replayed + queued + soldOut + limit +
/// refused` are proper answers, `errors` counts everything else.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was loaded.
    pub target: String,
    /// Attempts per second that an open loop intended; `None` for a closed loop.
    pub intended_rate: Option<f64>,
    /// Requests in flight at the most.
    pub concurrency: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Buyers.
    pub buyers: u64,
    /// Products.
    pub products: usize,
    /// The seed; with it, the same run can be made again.
    pub seed: u64,

    /// From the start to the last answer to an attempt to buy.
    pub elapsed_seconds: f64,
    /// From the start to the last hold that was won.
    pub selling_seconds: f64,
    /// Attempts made; a duplicate or a retry is none of its own.
    pub attempts: u64,
    /// Orders sent and answered in whatever way, duplicates included.
    pub sent: u64,
    /// Orders answered per second.
    pub rate: f64,
    /// Attempts that won a hold at once.
    pub winners: u64,
    /// Holds placed (201).
    pub accepted: u64,
    /// First answers given again for the same key.
    pub replayed: u64,
    /// Orders put on the waitlist (202).
    pub queued: u64,
    /// Queued orders that were seen to become pending.
    pub promoted: u64,
    /// Refused: everything was sold.
    pub sold_out: u64,
    /// Refused: over the limit per buyer.
    pub limit: u64,
    /// Refused for another reason, payments and cancels included.
    pub refused: u64,
    /// These reasons, by code.
    pub refusals: BTreeMap<String, u64>,
    /// Orders paid.
    pub paid: u64,
    /// Orders cancelled.
    pub cancelled: u64,

    /// Requests without a proper answer.
    pub errors: u64,
    /// Why not, by code.
    pub failures: BTreeMap<String, u64>,
    /// Of `failures`, those that a server which is killed or busy explains.
    pub excusable: u64,
    /// Requests whose connection was lost under them, those that were retried included.
    pub disconnects: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// Requests sent again after no clear answer.
    pub retries: u64,
    /// Slots of the schedule that were never sent; counted as errors with the time they waited.
    pub unsent: u64,
    /// Slots that no connection was free for within the plan's patience.
    pub given_up: u64,
    /// Pairs of answers to one key that do not agree, and other broken promises.
    pub violations: u64,
    /// The first of them in words.
    pub violation_samples: Vec<String>,

    /// Latency from the intended send time, by class of answer; `orders` is all proper answers.
    pub latency: BTreeMap<&'static str, Latencies>,
    /// Time from the actual send to the answer, by class of answer.
    pub service_time: BTreeMap<&'static str, Latencies>,
    /// What happened stage by stage, when the plan has stages.
    pub stages: Vec<StageReport>,
    /// How it went over time, when the plan has stages.
    pub timeline: Vec<SliceReport>,
    /// How long after their time slots were sent, for whatever reason.
    pub send_delay: Latencies,
    /// How late the timer woke the generator: its own fault.
    pub lateness: Latencies,

    /// What makes these figures less than they seem.
    pub warnings: Vec<String>,
    /// Why the run ended before its time.
    pub ended_by: Option<String>,
    /// Whether a server that goes away was part of the plan.
    pub tolerates_disconnects: bool,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latencies {
    /// Values.
    pub count: u64,
    /// Half of them are at most this.
    pub p50_us: u64,
    /// 90 % are.
    pub p90_us: u64,
    /// 95 % are.
    pub p95_us: u64,
    /// 99 % are.
    pub p99_us: u64,
    /// 99.9 % are.
    pub p999_us: u64,
    /// All are.
    pub max_us: u64,
}

impl Latencies {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let max_us = histogram.max();
        // A histogram answers with the upper end of a bucket, which may lie beyond the maximum.
        let at = |quantile: f64| histogram.value_at_quantile(quantile).min(max_us);
        Self {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us,
        }
    }
}

/// Codes of failures that come with a server that is killed, restarted, draining or full.
const EXCUSABLE: [&str; 6] =
    ["disconnected", "no-answer", "unsent", "overloaded", "unavailable", "timeout"];

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        tally: &Tally,
        start: Instant,
        ended_by: Option<String>,
    ) -> Self {
        let count = |class: Class| tally.track(class).latency.len();
        let sent = Class::ALL.into_iter().filter(|class| class.is_order()).map(count).sum::<u64>()
            + count(Class::Failed)
            - tally.unsent;
        let seconds_to = |end: Option<Instant>| {
            end.map_or(0.0, |end| end.saturating_duration_since(start).as_secs_f64())
        };
        let elapsed_seconds = seconds_to(tally.last_answer);
        let is_excusable = |code: &str| EXCUSABLE.contains(&code);
        let failures = &tally.failures;
        let (stages, timeline) = stage_report::reports(&plan.stages, tally.stages.as_ref());
        let mut report = Self {
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
            violations: tally.violations,
            violation_samples: tally.samples.clone(),
            latency: by_class(tally, true),
            service_time: by_class(tally, false),
            stages,
            timeline,
            send_delay: Latencies::of(&tally.delay),
            lateness: Latencies::of(&tally.lateness),
            warnings: Vec::new(),
            ended_by,
            tolerates_disconnects: plan.tolerate_disconnects,
        };
        report.warnings = report.find_warnings(tally.jobs_dropped);
        report
    }

    /// Whether everything was answered and nothing disagreed. What a killed server explains is
    /// excused when that was part of the plan.
    pub fn is_clean(&self) -> bool {
        let inexcusable =
            if self.tolerates_disconnects { self.errors - self.excusable } else { self.errors };
        inexcusable == 0 && self.violations == 0 && self.ended_by.is_none()
    }

    /// All orders that were answered properly, from the intended send time.
    pub fn orders(&self) -> Latencies {
        self.latency.get(ORDERS).copied().unwrap_or_default()
    }

    /// Whether attempts were made by a schedule, whatever the server did.
    pub fn is_open_loop(&self) -> bool {
        self.intended_rate.is_some() || !self.stages.is_empty()
    }

    fn find_warnings(&self, jobs_dropped: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_open_loop() {
            if self.lateness.p99_us > 5_000 {
                warnings.push(format!(
                    "the generator itself fell behind: its timer woke {} late at p99. It has too \
                     little CPU time, and the latencies above include that",
                    units::time(self.lateness.p99_us)
                ));
            } else if self.send_delay.p99_us > 10_000 {
                warnings.push(format!(
                    "slots waited {} at p99 for one of the {} connections to come free (the \
                     latencies above include that): the server did not keep up, or more \
                     connections are needed",
                    units::time(self.send_delay.p99_us),
                    self.concurrency
                ));
            }
        }
        if let Some(rate) = self.intended_rate {
            // A short run ends at its last slot, which lies one period before its full time.
            let attempted = self.attempts as f64 / self.elapsed_seconds.max(1e-9);
            if self.attempts > 100 && attempted < 0.95 * rate {
                warnings.push(format!(
                    "the intended rate of {}/s was not reached: {}/s were",
                    units::number(rate.round() as u64),
                    units::number(attempted.round() as u64),
                ));
            }
        }
        if self.given_up > 0 {
            warnings.push(format!(
                "{} attempts found no free connection in time and were given up",
                units::number(self.given_up)
            ));
        }
        if self.unsent > 0 {
            warnings.push(format!(
                "{} slots of the schedule were never sent; they count as errors",
                units::number(self.unsent)
            ));
        }
        if jobs_dropped > 0 {
            warnings.push(format!(
                "{} payments, cancels, retries or looks were dropped at the end",
                units::number(jobs_dropped)
            ));
        }
        warnings
    }
}

/// The name of all proper answers to orders together.
pub(crate) const ORDERS: &str = "orders";

fn by_class(tally: &Tally, from_slot: bool) -> BTreeMap<&'static str, Latencies> {
    let mut all = histogram();
    let mut classes = BTreeMap::new();
    for class in Class::ALL {
        let track = tally.track(class);
        let values = if from_slot { &track.latency } else { &track.service };
        if values.is_empty() {
            continue;
        }
        classes.insert(class.name(), Latencies::of(values));
        if class.is_order() {
            all.add(values).expect("an auto-resizing histogram takes every value");
        }
    }
    classes.insert(ORDERS, Latencies::of(&all));
    classes
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
