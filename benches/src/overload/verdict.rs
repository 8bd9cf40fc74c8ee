//! What an overload must not do, as bars that a run holds or misses.

use super::table::Found;
use doorbuster_loadgen::{SliceReport, StageReport};
use serde::Serialize;

/// Goodput under overload, of what it is at its peak.
const GOODPUT_MIN: f64 = 0.9;
/// p95 of accepted orders under overload, in milliseconds.
const ACCEPTED_P95_MS_MAX: f64 = 500.0;
/// Payments and cancels that succeed.
const ACTS_MIN: f64 = 0.999;
/// Seconds until latency is back.
const RECOVERY_SECONDS_MAX: f64 = 5.0;
/// What a refusal may be called: 429 and 503.
const REFUSALS: [&str; 4] = ["rate-limited", "overloaded", "unavailable", "timeout"];
/// Bytes that an accepted order may keep in the engine, and what else memory may move, in MiB.
const ORDER_BYTES_MAX: f64 = 256.0;
const MEMORY_SLACK_MIB: f64 = 64.0;
/// Latency is back when the p95 of a second is at most so many times that of the calm stage, or this.
const BACK_TIMES: f64 = 1.5;
const BACK_US: u64 = 50_000;

/// What was promised, and what came out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bar {
    pub(super) what: String,
    pub(super) is_held: bool,
}

impl Found {
    /// The stages: calm, overload, calm again.
    pub(super) fn stages(&self) -> [&StageReport; 3] {
        let [calm, overload, after] = &self.report.stages[..] else {
            unreachable!("the scenario has three stages")
        };
        [calm, overload, after]
    }

    /// Orders per second at the best, from the mean of what was measured before and after.
    pub(super) fn peak(&self) -> f64 {
        f64::midpoint(self.capacity[0], self.capacity[1])
    }

    /// All bars.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let [_, overload, _] = self.stages();
        let mut bars = Vec::new();
        let mut bar = |is_held: bool, what: String| bars.push(Bar { what, is_held });
        let ratio = overload.goodput / self.peak();
        bar(
            ratio >= GOODPUT_MIN,
            format!("goodput {ratio:.2} of the peak, at least {GOODPUT_MIN}"),
        );
        let p95_ms = overload.accepting.p95_us as f64 / 1e3;
        bar(
            p95_ms < ACCEPTED_P95_MS_MAX,
            format!("p95 of accepted orders {p95_ms:.0} ms, below {ACCEPTED_P95_MS_MAX:.0} ms"),
        );
        let strange = self.strange_answers();
        bar(
            strange.is_empty(),
            match &strange[..] {
                [] => "orders are accepted, or refused with 429 or 503".to_owned(),
                strange => format!("other answers than 201, 202, 429, 503: {}", strange.join(", ")),
            },
        );
        let silent: u64 = self.report.stages.iter().map(|stage| stage.without_retry_after).sum();
        bar(silent == 0, format!("{silent} refusals without a Retry-After"));
        let (at_once, acts) = (overload.acts_done_at_once, overload.acts());
        let share = at_once as f64 / acts.max(1) as f64;
        bar(
            share >= ACTS_MIN && acts > 0,
            format!("{:.3} % of {acts} payments and cancels at their first try", share * 100.0),
        );
        let (grown, sold) = (self.memory_grown_mib(), self.memory_of_orders_mib());
        bar(
            grown <= sold + MEMORY_SLACK_MIB,
            format!(
                "memory grew by {grown:.0} MiB, of which the accepted orders may keep {sold:.0} MiB"
            ),
        );
        let recovery = self.recovery_seconds();
        bar(
            recovery.is_some_and(|seconds| seconds <= RECOVERY_SECONDS_MAX),
            match recovery {
                Some(seconds) => format!("latency back after {seconds:.2} s, within 5 s"),
                None => "latency did not come back".to_owned(),
            },
        );
        bar(
            self.report.violations == 0,
            format!("{} broken promises; the audit is clean", self.report.violations),
        );
        bars
    }

    fn strange_answers(&self) -> Vec<String> {
        let stages = self.report.stages.iter();
        let others = stages.flat_map(|stage| stage.others.iter().chain(&stage.acts_failed));
        others
            .filter(|(code, _)| !REFUSALS.contains(&code.as_str()))
            .map(|(code, times)| format!("{code} {times}"))
            .collect()
    }

    /// From the end of the calm stage to the end of the overload.
    fn memory_grown_mib(&self) -> f64 {
        let [calm, overload, _] = self.stages();
        let at = |seconds: f64| {
            let before = self.memory.iter().take_while(|sample| sample.at_seconds <= seconds);
            before.last().map_or(0.0, |sample| sample.mib)
        };
        at(calm.seconds + overload.seconds) - at(calm.seconds)
    }

    fn memory_of_orders_mib(&self) -> f64 {
        let [_, overload, _] = self.stages();
        overload.accepted as f64 * ORDER_BYTES_MAX / f64::from(1 << 20)
    }

    /// Seconds from the end of the overload until orders are as quick as before it, and stay so.
    pub(super) fn recovery_seconds(&self) -> Option<f64> {
        let [calm, overload, after] = self.stages();
        let begins = calm.seconds + overload.seconds;
        let calm_us = calm.accepting.p95_us as f64 * BACK_TIMES;
        let most_us = BACK_US.max(calm_us as u64);
        let is_after = |slice: &&SliceReport| {
            slice.at_seconds >= begins && slice.at_seconds < begins + after.seconds
        };
        let slices: Vec<&SliceReport> = self.report.timeline.iter().filter(is_after).collect();
        // Of four quarters of a second one may be slow: that is a hiccup of the machine.
        let is_back = |window: &[&SliceReport]| {
            let quick =
                |slice: &&&SliceReport| slice.accepted > 0 && slice.accepting.p95_us <= most_us;
            window.iter().filter(quick).count() + 1 >= window.len()
        };
        let windows: Vec<bool> = slices.windows(4).map(is_back).collect();
        let first = windows.iter().rposition(|is_back| !is_back).map_or(0, |last| last + 1);
        slices.get(first).filter(|_| first < windows.len()).map(|slice| slice.at_seconds - begins)
    }
}
