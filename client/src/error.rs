//! What can go wrong between a client and an engine.

use doorbuster_protocol::handshake::Refusal;
use doorbuster_protocol::record::Malformed;
use doorbuster_protocol::session::SessionError;
use std::io;

/// Why a request has no outcome, or a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// As many requests are in flight to the core as may be. Nothing was sent.
    #[error("too many requests are in flight to this core: nothing was sent, try again shortly")]
    Overloaded,
    /// The core is not connected, or drains. Nothing was sent.
    #[error("the engine core is not connected: nothing was sent, try again shortly")]
    Unavailable,
    /// The connection was lost after the request had been queued: it may have been done or not. A
    /// retry with the same idempotency key is safe.
    #[error("the connection was lost before the answer came: the request may have been done")]
    Lost,
    /// The request has a field that the engine would not take. Nothing was sent.
    #[error("the request is not valid: {0}")]
    Invalid(Malformed),
    /// The engine will not serve this client.
    #[error("{0}")]
    Refused(Refusal),
    /// The engine says what the protocol does not allow, or does not know the key.
    #[error(transparent)]
    Protocol(SessionError),
    /// The network failed.
    #[error("the connection to the engine failed: {0}")]
    Io(#[from] io::Error),
}

impl ClientError {
    /// Whether it is certain that the request was not done.
    pub const fn nothing_was_done(&self) -> bool {
        matches!(self, Self::Overloaded | Self::Unavailable | Self::Invalid(_))
    }
}

impl From<SessionError> for ClientError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Refused(refusal) => Self::Refused(refusal),
            other => Self::Protocol(other),
        }
    }
}
