//! The load generator: open and closed loop, over HTTP and the binary protocol.
//!
//! [`run`] carries a [`Plan`] out and hands back a [`Report`]. In an open loop every attempt has a
//! slot in a schedule, and its latency counts from that slot, whenever it could really be sent: a
//! server that stalls cannot hide it by slowing the generator down. The generator often shares its
//! cores with the server, so a request costs it little more than its two system calls.
//!
//! | module | what it owns |
//! |---|---|
//! | [`plan`] | what is to be done, checked before anything is sent |
//! | [`target`] | addresses, and the refusal to load a machine that is not this one |
//! | `attempt` · `popularity` | which buyer, product, key and behaviour attempt number *n* has |
//! | `schedule` · `gate` · `pacer` | when each slot is due; who takes it; the clock that releases it |
//! | `retry` | whether and when a request is sent again |
//! | `lane` · `http` · `binary` | one request in flight: a keep-alive connection, or the engine's protocol |
//! | [`sources`] · `idle` | where connections come from; those that only stand there |
//! | `worker` · `errand` | one thread and its lanes; what one lane does with one piece of work |
//! | `answer` · `twin` | what came back; whether two answers to one key agree |
//! | `books` · `tally` · `flow` | what a worker writes down: totals with and without the warm-up; how it goes over time |
//! | `timeline` · `stages` | second by second; for each stage of a plan that has stages |
//! | [`slo`] | what a run must keep to, and whether it did |
//! | [`report`] | all of that as data, as JSON and as text |
//! | [`journal`] · [`told`] | all that was sent and answered, as JSON lines, for whoever kills the server |
//! | [`progress`] | counters to watch while it runs, and the flag that stops it |
//! | [`credentials`] · [`units`] | bearer tokens · numbers and times, read and written |

pub mod credentials;
pub mod journal;
pub mod plan;
pub mod progress;
pub mod report;
pub mod slo;
pub mod sources;
pub mod target;
pub mod told;
pub mod units;

mod answer;
mod attempt;
mod binary;
mod books;
mod errand;
mod flow;
mod gate;
mod http;
mod idle;
mod lane;
mod pacer;
mod popularity;
mod prepare;
mod retry;
mod run;
mod schedule;
mod stages;
mod tally;
mod timeline;
mod twin;
mod worker;

pub use credentials::Credentials;
pub use idle::IdleReport;
pub use plan::{Amount, FollowQueued, Pace, Plan, PlanError, Prepare, Retrying, Stage};
pub use progress::Progress;
pub use report::{Latencies, Report, SliceReport, StageReport, TimeSlice};
pub use run::{LoadError, run};
pub use slo::Slo;
pub use sources::Sources;
pub use target::Target;
