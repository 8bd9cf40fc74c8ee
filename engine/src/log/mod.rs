//! The log of one partition: what was decided, on disk, in order.
//!
//! | module | what it owns |
//! |---|---|
//! | [`frame`] | the bytes of one batch: header, checksums, padding |
//! | `flip` | one flipped bit, told from a write that was cut off |
//! | `segments` | the files of a log and their names |
//! | `window` | a file and the part of it that was read last |
//! | `walk` | reading frames in order; what is a torn tail and what is damage |
//! | `recovery` | from a directory to a state and a log that can be appended to |
//! | `writer` | [`Log`]: append, rotate, seal; the first failure is the last |
//! | `room` | filling segments with zeros ahead of use; a full disk |
//! | `feed` | reading what is durable, from any sequence that is retained |
//! | `retention` | letting go of segments that nobody needs |
//! | `snapshot_file` | a state as a file |
//! | `snapshots` | the thread that makes them, and when |
//! | [`inspect`] | verify, stats, dump, tail: for tools, beside a live engine |
//!
//! An event that was acknowledged is in a frame that was written in full and synced. The log never
//! repairs what could have been acknowledged: it cuts off a torn tail, and refuses anything else.

mod config;
mod error;
mod feed;
mod flip;
pub mod frame;
pub mod inspect;
mod recovery;
mod retention;
mod room;
mod segments;
mod snapshot_file;
mod snapshots;
mod walk;
mod window;
mod writer;

#[cfg(test)]
mod append_test;
#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod damage_test;
#[cfg(test)]
mod every_call_test;
#[cfg(test)]
mod fault_test;
#[cfg(test)]
mod glommio_test;
#[cfg(test)]
mod inspect_test;
#[cfg(test)]
mod misread_test;
#[cfg(test)]
mod retention_test;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod snapshot_test;

pub use config::LogConfig;
pub use error::{DamageKind, LogError, LogIdentity};
pub use feed::{FeedRead, LoggedBatch};
pub use recovery::{Recovery, TornTail, create};
pub use retention::Trimmed;
pub use snapshots::{SnapshotHandle, SnapshotJob, SnapshotTaken, SnapshotWorker, take_snapshot};
pub use writer::Log;
