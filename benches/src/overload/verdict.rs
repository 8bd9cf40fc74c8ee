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
/// Bytes that an accepted order may keep in the engine.
const ORDER_BYTES_MAX: f64 = 256.0;
/// Bytes that a connection of the crowd may keep while a request of it waits.
const CONNECTION_BYTES_MAX: f64 = 32.0 * 1_024.0;
/// What else memory may move when the overload begins, and while it lasts, in MiB.
const MEMORY_STEP_MIB: f64 = 64.0;
const MEMORY_DRIFT_MIB: f64 = 16.0;
/// The part of an overload after which all that it takes was taken.
const SETTLED_AFTER: f64 = 1.0 / 3.0;
const MIB: f64 = 1_048_576.0;
/// Latency is back when the p95 of a second is at most so many times that of the calm stage, or
/// this.
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
        let (step, step_max) = self.memory_step_mib();
        bar(
            step <= step_max,
            format!("memory rose by {step:.0} MiB with the overload, at most {step_max:.0} MiB"),
        );
        let (drift, drift_max) = self.memory_drift_mib();
        bar(
            drift <= drift_max,
            format!(
                "memory rose by {drift:.0} MiB from a third of the overload to its end, at most \
                 {drift_max:.0} MiB with what was sold"
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

    fn memory_at(&self, seconds: f64) -> f64 {
        let before = self.memory.iter().take_while(|sample| sample.at_seconds <= seconds);
        before.last().map_or(0.0, |sample| sample.mib)
    }

    /// From the end of the calm stage until the overload has taken what it takes; and the most that
    /// it may.
    fn memory_step_mib(&self) -> (f64, f64) {
        let [calm, overload, _] = self.stages();
        let settled = calm.seconds + overload.seconds * SETTLED_AFTER;
        let connections = self.settings.connections(self.short) as f64;
        let kept = self.sold_mib(SETTLED_AFTER) + connections * CONNECTION_BYTES_MAX / MIB;
        (self.memory_at(settled) - self.memory_at(calm.seconds), kept + MEMORY_STEP_MIB)
    }

    /// From then to the end of the overload.
    fn memory_drift_mib(&self) -> (f64, f64) {
        let [calm, overload, _] = self.stages();
        let settled = calm.seconds + overload.seconds * SETTLED_AFTER;
        let end = calm.seconds + overload.seconds;
        let most = self.sold_mib(1.0 - SETTLED_AFTER) + MEMORY_DRIFT_MIB;
        (self.memory_at(end) - self.memory_at(settled), most)
    }

    /// What the orders that were accepted in a part of the overload may keep.
    fn sold_mib(&self, part: f64) -> f64 {
        let [_, overload, _] = self.stages();
        overload.accepted as f64 * part * ORDER_BYTES_MAX / MIB
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
