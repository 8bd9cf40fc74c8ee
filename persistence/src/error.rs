//! What can go wrong with a store. Each error says what happened, why, and what to do next, and
//! whether trying the same again later can help.

use crate::buckets::BucketSet;
use doorbuster_protocol::{Epoch, PartitionId, Sequence};
use std::path::PathBuf;

/// Why a store did not do what it was asked. Nothing of a refused batch is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds the store, or too many questions wait. It passes.
    #[error(
        "the store is busy: {why}. It is tried again; if it lasts, look for a process that holds the store open"
    )]
    Busy {
        /// What it waits for.
        why: String,
    },
    /// The shard cannot be reached, or does not serve now. It passes.
    #[error(
        "shard {shard} of the store is away: {why}. It is tried again; orders go on meanwhile, from \
         the log"
    )]
    Away {
        /// Its name.
        shard: String,
        /// What was tried and what came of it; no secrets.
        why: String,
    },
    /// The shard did not answer in time.
    #[error(
        "shard {shard} of the store did not answer within {limit_ms} ms: it is overloaded, or waits \
         for a lock. It is tried again; look into pg_stat_activity when it lasts"
    )]
    Slow {
        /// Its name.
        shard: String,
        /// How long was waited.
        limit_ms: u64,
    },
    /// The shard owns other buckets than the batch was made for: some were moved.
    #[error(
        "shard {shard} of the store owns buckets {owned} now: some were moved. The batch is made anew"
    )]
    Moved {
        /// Its name.
        shard: String,
        /// What it owns now.
        owned: Box<BucketSet>,
    },
    /// There is no room for more rows. It passes when there is.
    #[error("the store has no room: {why}. Free or add disk space; writing goes on by itself")]
    Full {
        /// What was refused.
        why: String,
    },
    /// A batch does not begin right after what is stored: writing it would lose or double rows.
    #[error(
        "partition {partition} of the store stands at event {stored}, but the batch begins after \
         event {after}. Two projectors write to one store, or the store was replaced: stop the \
         other one and start the projector again"
    )]
    OutOfStep {
        /// The partition.
        partition: PartitionId,
        /// The stored checkpoint.
        stored: Sequence,
        /// The checkpoint that the batch was made for.
        after: Sequence,
    },
    /// A batch comes from an older reign of the partition's owner than what is stored.
    #[error(
        "partition {partition} of the store was written in epoch {stored}, but the batch is of \
         epoch {given}. It comes from an engine that has been replaced: stop that engine"
    )]
    Fenced {
        /// The partition.
        partition: PartitionId,
        /// The stored epoch.
        stored: Epoch,
        /// The epoch of the batch.
        given: Epoch,
    },
    /// The store has no checkpoint of a partition: it was not claimed for this data directory.
    #[error(
        "the store has no checkpoint of partition {partition}. It was not made for this data \
         directory, or rows were deleted by hand: use the store that belongs to the data directory"
    )]
    NoCheckpoint {
        /// The partition.
        partition: PartitionId,
    },
    /// The store holds the results of another data directory.
    #[error(
        "the store belongs to data directory {stored}, not to {given}. Use the store of this data \
         directory, or name a new one to fill it from the log"
    )]
    Foreign {
        /// The data directory that the store was made for.
        stored: String,
        /// The data directory at hand.
        given: String,
    },
    /// There is no store at the path, and none was to be made.
    #[error("there is no store at {}. Check the path, or start `doorbuster serve` to make one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is no store of Doorbuster's.
    #[error("{} is no store of Doorbuster's: {why}. Name another file; this one is left as it is", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// The configuration and what stands in the databases do not fit together.
    #[error("{what}. {next}")]
    Misconfigured {
        /// What does not fit; no secrets.
        what: String,
        /// What to do.
        next: String,
    },
    /// The tables are older than this program, and the asker does not migrate them.
    #[error(
        "shard {shard} of the store has schema version {found}, and this program needs version \
         {needed}. Bring it up with: doorbuster project --migrate"
    )]
    OlderSchema {
        /// Its name.
        shard: String,
        /// The version in the database; 0 when there are no tables.
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// A newer Doorbuster made the store.
    #[error(
        "the store has schema version {found}, and this program knows versions up to {known}. \
         Start a newer doorbuster; the store is left as it is"
    )]
    NewerSchema {
        /// The version in the store.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// What the store returned is not what was written.
    #[error(
        "the store is damaged: {why}. Restore it from a backup, or move it away and start again: \
         the projector fills a new one as far back as the log reaches"
    )]
    Damaged {
        /// What was found.
        why: String,
    },
    /// The store cannot be used as it stands: permissions, a failing disk, a bad setting.
    #[error(
        "the store failed: {why}. Correct the cause and start again; what was committed stands"
    )]
    Failed {
        /// What it said.
        why: String,
    },
    /// The store was closed, or its thread died.
    #[error("the store is closed. Start the process again; what was committed stands")]
    Closed,
}

impl StoreError {
    /// Whether the same call can succeed later without anybody's doing anything to the caller.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Full { .. } | Self::Away { .. } | Self::Slow { .. }
        )
    }
}
