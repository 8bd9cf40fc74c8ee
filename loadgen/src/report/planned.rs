//! The plan of a run as its report tells it: what was asked for, without what is secret.

use crate::plan::{Amount, Pace, Plan, Stage};
use serde::{Deserialize, Serialize};

/// What was asked for, beside what a report says at its top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// `closed`, `open` or `stages`.
    pub pace: String,
    /// The stages, as a command line has them.
    pub stages: Vec<String>,
    /// Attempts to make, when the plan says so.
    pub attempts: Option<u64>,
    /// How long to go on, when the plan says so, in seconds.
    pub duration_seconds: Option<f64>,
    /// Addresses that connections came from.
    pub source_addresses: Option<String>,
    /// Exponent of Zipf's law over the products.
    pub zipf: Option<f64>,
    /// Units per order.
    pub quantity: u32,
    /// Whether orders queue up when everything is sold.
    pub waitlist: bool,
    /// Share of attempts that are sent twice.
    pub duplicates: f64,
    /// Share of winners that pay.
    pub pay: f64,
    /// Share of winners that cancel.
    pub cancel: f64,
    /// Time between winning and paying or cancelling, in seconds.
    pub think_seconds: f64,
    /// Units of each product that was defined first.
    pub stock: Option<u32>,
    /// Times that an attempt without a clear answer is sent again.
    pub retries: u32,
    /// Time until an answer is given up, in seconds.
    pub timeout_seconds: f64,
}

impl Planned {
    pub(crate) fn new(plan: &Plan) -> Self {
        let has_stages = !plan.stages.is_empty();
        let amount = (!has_stages).then_some(plan.amount);
        Self {
            pace: match plan.pace {
                _ if has_stages => "stages",
                Pace::Open { .. } => "open",
                Pace::Closed => "closed",
            }
            .to_owned(),
            stages: plan.stages.iter().map(Stage::to_string).collect(),
            attempts: match amount {
                Some(Amount::Attempts(attempts)) => Some(attempts),
                _ => None,
            },
            duration_seconds: match amount {
                Some(Amount::Duration(duration)) => Some(duration.as_secs_f64()),
                _ => None,
            },
            source_addresses: plan.sources.map(|sources| sources.to_string()),
            zipf: plan.zipf,
            quantity: plan.quantity,
            waitlist: plan.waitlist,
            duplicates: plan.duplicates,
            pay: plan.pay,
            cancel: plan.cancel,
            think_seconds: plan.think_time.as_secs_f64(),
            stock: plan.prepare.map(|prepare| prepare.stock),
            retries: plan.retries,
            timeout_seconds: plan.request_timeout.as_secs_f64(),
        }
    }
}
