//! What a run with stages found, stage by stage and over time, as data.

use super::Latencies;
use crate::plan::Stage;
use crate::stages::{SLICE, StageCounts, Stages};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One stage. Requests count for the stage in which they were sent, but for `latency`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// Attempts per second that were intended when it began.
    pub from_rate: f64,
    /// Attempts per second that were intended when it ended.
    pub rate: f64,
    /// How long it lasted.
    pub seconds: f64,
    /// Attempts whose time came.
    pub offered: u64,
    /// Those of them that no connection was free for in time: never sent.
    pub given_up: u64,
    /// Orders sent, every try of each.
    pub sent: u64,
    /// Orders accepted: holds and places on the waitlist.
    pub accepted: u64,
    /// Those per second.
    pub goodput: f64,
    /// From the send of an order to its acceptance.
    pub accepting: Latencies,
    /// Of orders that were due in it and answered properly, from the intended send time.
    #[serde(default)]
    pub latency: Latencies,
    /// Other answers to orders, every try of each, by code.
    pub others: BTreeMap<String, u64>,
    /// Payments and cancels sent, every try of each.
    pub acts_sent: u64,
    /// Those that succeeded.
    pub acts_done: u64,
    /// Those of them that did at the first try.
    pub acts_done_at_once: u64,
    /// Those that were refused or given up for good, by code.
    pub acts_failed: BTreeMap<String, u64>,
    /// From when a payment or cancel was due to its success.
    pub acting: Latencies,
    /// Answers 429 or 503 that did not say when to come back.
    pub without_retry_after: u64,
}

/// A quarter of a second.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceReport {
    /// When it began, in seconds from the start of the run.
    pub at_seconds: f64,
    /// Orders that were sent in it and accepted.
    pub accepted: u64,
    /// From their send to their acceptance.
    pub accepting: Latencies,
}

impl StageReport {
    fn new(stage: &Stage, counts: &StageCounts) -> Self {
        let seconds = stage.duration.as_secs_f64();
        Self {
            from_rate: stage.from,
            rate: stage.to,
            seconds,
            offered: counts.offered,
            given_up: counts.given_up,
            sent: counts.sent,
            accepted: counts.accepted,
            goodput: counts.accepted as f64 / seconds,
            accepting: Latencies::of(&counts.accepting),
            latency: Latencies::of(&counts.latency),
            others: counts.others.clone(),
            acts_sent: counts.acts_sent,
            acts_done: counts.acts_done,
            acts_done_at_once: counts.acts_done_at_once,
            acts_failed: counts.acts_failed.clone(),
            acting: Latencies::of(&counts.acting),
            without_retry_after: counts.without_retry_after,
        }
    }

    /// Attempts that were planned.
    pub fn intended(&self) -> f64 {
        f64::midpoint(self.from_rate, self.rate) * self.seconds
    }

    /// Payments and cancels that came to an end, for better or worse.
    pub fn acts(&self) -> u64 {
        self.acts_done + self.acts_failed.values().sum::<u64>()
    }
}

/// The stages of a plan, and the timeline over all of them.
pub(crate) fn reports(
    stages: &[Stage],
    seen: Option<&Stages>,
) -> (Vec<StageReport>, Vec<SliceReport>) {
    let Some(seen) = seen else { return (Vec::new(), Vec::new()) };
    let reports = stages.iter().zip(&seen.counts);
    let slices = seen.slices.iter().enumerate().map(|(index, slice)| SliceReport {
        at_seconds: index as f64 * SLICE.as_secs_f64(),
        accepted: slice.accepted,
        accepting: Latencies::of(&slice.accepting),
    });
    (reports.map(|(stage, counts)| StageReport::new(stage, counts)).collect(), slices.collect())
}
