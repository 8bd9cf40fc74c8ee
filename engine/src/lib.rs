//! The engine: state machine, log, storage, and the cores that run them.
//!
//! | module | what it owns |
//! |---|---|
//! | [`engine`] | starts the cores on their threads and ends them together |
//! | [`node`] | one core, for whoever has something to run it on |
//! | [`host`] | the seam to what a core runs on: executor, clocks, sockets |
//! | `core` | one pinned executor: serving, group commit, feeds, housekeeping |
//! | `net` | listeners and connections |
//! | [`clock`] | a core's time, which no step of the wall clock moves |
//! | [`partition`] | one partition: the batch that gathers, the answers that wait for the disk |
//! | [`log`] | what was decided, on disk, in order |
//! | [`storage`] | the disk that the logs are on, and what is durable when |
//! | [`directory`] | the data directory: whose it is, who uses it |
//! | [`state_machine`] | what a partition decides and remembers; pure |
//! | [`metrics`] | counters of the cores |
//! | [`fitness`] | whether this machine can run it |
//! | [`reserve`] | memory for a sale that is to come, touched before it is needed |
//! | `signal` | wake-ups between tasks of one core |

pub mod clock;
mod core;
pub mod directory;
pub mod engine;
pub mod fitness;
pub mod host;
mod levels;
pub mod log;
pub mod metrics;
mod net;
pub mod node;
pub mod partition;
pub mod reserve;
pub mod signal;
pub mod state_machine;
pub mod storage;
