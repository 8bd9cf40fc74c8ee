//! Why a projector ended. Whatever waiting can mend is not here.

use crate::error::StoreError;
use doorbuster_client::ClientError;
use doorbuster_protocol::handshake::Refusal;
use doorbuster_protocol::session::SessionError;
use doorbuster_protocol::{PartitionId, Sequence};

/// Why a projector cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine has trimmed events that the store does not have.
    #[error(
        "partition {partition}: shard {shard} of the store wants event {wanted}, but the engine's log \
         begins at {first}. The shard is older than the log reaches back, as after restoring an old \
         backup: restore one that is newer, or audit what it lacks before going on with a new one"
    )]
    Gone {
        /// The shard's name.
        shard: String,
        /// The partition.
        partition: PartitionId,
        /// The event after the checkpoint.
        wanted: Sequence,
        /// The first event that the log still has.
        first: Sequence,
    },
    /// The engine does not let this projector in.
    #[error("the engine refuses the projector: {0}")]
    Refused(ClientError),
    /// The engine sends the same unreadable events again and again.
    #[error(
        "partition {partition}: what the engine sends for event {sequence} is unsound ({why}), on \
         every new connection. Run `doorbuster log verify` on the engine's data directory, and give \
         engine and projector the same version"
    )]
    Unsound {
        /// The partition.
        partition: PartitionId,
        /// The event that was expected.
        sequence: Sequence,
        /// What is wrong.
        why: String,
    },
    /// No address of the engine was given.
    #[error("no address of the engine is known: name at least one of its cores")]
    NoAddress,
}

/// Whether no later connection to the same engine can go better.
pub(super) const fn is_final(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Refused(Refusal::Key | Refusal::Version { .. })
            | ClientError::Protocol(
                SessionError::WrongKey | SessionError::VersionUnsupported { .. }
            )
    )
}
