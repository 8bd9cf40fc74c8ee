//! What a run found, as data: serializes to JSON in camelCase, and displays as text.
//!
//! `docs/load-generator.md` describes the JSON for those who read it elsewhere.

mod build;
mod latencies;
mod planned;
mod stage;
mod text;
mod time_slice;
mod warnings;

pub use latencies::{Latencies, Percentile};
pub use planned::Planned;
pub use stage::{SliceReport, StageReport};
pub use time_slice::TimeSlice;

use crate::idle::IdleReport;
use crate::slo::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of the JSON. It grows when a reader of the old form would misread the new one.
pub const FORMAT: u32 = 1;

/// What a run found.
///
/// Every order that was sent has one answer: `accepted + replayed + queued + soldOut + limit +
/// refused` are proper answers, `errors` counts everything else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The form of this document: [`FORMAT`].
    pub format: u32,
    /// When the run began, in milliseconds since 1970.
    pub started_at_ms: u64,
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
    /// What else was asked for.
    pub plan: Planned,

    /// What happened in the warm-up, which counts nowhere else but in `stages`, `slices` and
    /// `violations`.
    pub warm_up: Option<WarmUp>,
    /// From the start, or the end of the warm-up, to the last answer to an attempt to buy.
    pub elapsed_seconds: f64,
    /// From there to the last hold that was won.
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
    pub latency: BTreeMap<String, Latencies>,
    /// Time from the actual send to the answer, by class of answer.
    pub service_time: BTreeMap<String, Latencies>,
    /// All percentiles: `orders` and `accepted` from the intended send time, `serviceTime` of all
    /// orders from the actual one.
    pub percentiles: BTreeMap<String, Vec<Percentile>>,
    /// How it went over time.
    pub slices: Vec<TimeSlice>,
    /// What happened stage by stage, when the plan has stages.
    pub stages: Vec<StageReport>,
    /// Accepted orders over time in finer slices, when the plan has stages. Not in the JSON.
    #[serde(skip)]
    pub timeline: Vec<SliceReport>,
    /// How long after their time slots were sent, for whatever reason.
    pub send_delay: Latencies,
    /// How late the timer woke the generator: its own fault.
    pub lateness: Latencies,
    /// CPU time of the generator's load threads for each request, in microseconds.
    pub generator_cpu_us_per_request: f64,
    /// Share of its time that the busiest of them was at work.
    pub generator_busy: f64,

    /// What became of the idle connections, when there were any.
    pub idle: Option<IdleReport>,
    /// What the run had to keep to, and whether it did.
    pub slos: Vec<Verdict>,
    /// What makes these figures less than they seem.
    pub warnings: Vec<String>,
    /// Why the run ended before its time.
    pub ended_by: Option<String>,
    /// Whether a server that goes away was part of the plan.
    pub tolerates_disconnects: bool,
}

/// What happened in the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmUp {
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Attempts made.
    pub attempts: u64,
    /// Attempts that won a hold at once.
    pub winners: u64,
    /// Orders answered in whatever way, duplicates included.
    pub sent: u64,
    /// Requests without a proper answer.
    pub errors: u64,
    /// Why not, by code.
    pub failures: BTreeMap<String, u64>,
}

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not the JSON of a report.
    #[error("this is no result of doorbuster-loadgen (--out FILE writes one): {0}")]
    Json(#[from] serde_json::Error),
    /// It is one, of another form.
    #[error("this result has form {0}, and only form {FORMAT} can be read: use the same version")]
    Format(u32),
}

impl Report {
    /// Reads what serializing one as JSON wrote.
    pub fn read(json: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        match serde_json::from_str::<Form>(json)? {
            Form { format: FORMAT } => Ok(serde_json::from_str(json)?),
            Form { format } => Err(ReadError::Format(format)),
        }
    }

    /// Whether everything was answered and nothing disagreed. What a killed server explains is
    /// excused when that was part of the plan, and all errors are when there is an objective about
    /// them: that one says then how many are too many.
    pub fn is_clean(&self) -> bool {
        let inexcusable = match self.slos.iter().any(|verdict| verdict.is_about_errors) {
            true => 0,
            false if self.tolerates_disconnects => self.errors - self.excusable,
            false => self.errors,
        };
        inexcusable == 0 && self.violations == 0 && self.ended_by.is_none()
    }

    /// Whether the run kept to all that it had to.
    pub fn meets_slos(&self) -> bool {
        self.slos.iter().all(|verdict| verdict.is_met)
    }

    /// All orders that were answered properly, from the intended send time.
    pub fn orders(&self) -> Latencies {
        self.latency.get(ORDERS).copied().unwrap_or_default()
    }

    /// Whether attempts were made by a schedule, whatever the server did.
    pub fn is_open_loop(&self) -> bool {
        self.intended_rate.is_some() || !self.stages.is_empty()
    }
}

/// The name of all proper answers to orders together.
pub const ORDERS: &str = "orders";

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
