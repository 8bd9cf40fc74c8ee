//! Both ends of a connection as state machines without I/O: bytes in, messages out, bytes out.
//!
//! The caller owns the socket. It gives what it read to `receive`, calls `poll` until it says
//! `None`, and writes what `output` holds. After an error from `poll` the session stays failed: the
//! caller writes what is left in `output` (it may hold the reason for the peer) and closes.
//!
//! Bodies are never copied: a message borrows the bytes that were received, and a record is encoded
//! straight into the output. Many records share a frame; it is closed by `flush`, by `output`, or
//! when it is full.

mod client;
mod input;
mod message;
mod server;

pub use client::ClientSession;
pub use message::{ClientMessage, FeedBatch, Levels, Replies, Requests, ServerMessage, StockLevel};
pub use server::ServerSession;

use crate::frame::FrameError;
use crate::handshake::Refusal;
use crate::record::Malformed;

/// Why a session has failed. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The bytes are no frame, or a damaged one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that the peer may not send, or not now.
    #[error("the peer sent a frame that it may not send, or not at this point")]
    OutOfOrder,
    /// No version that both sides speak.
    #[error("the peer speaks protocol versions {min} to {max}: upgrade the older of the two")]
    VersionUnsupported {
        /// The oldest version of the peer.
        min: u8,
        /// The newest version of the peer.
        max: u8,
    },
    /// The peer's proof does not hold: it has another pre-shared key, or replays an old exchange.
    #[error("the peer has another pre-shared key: give both sides the same one")]
    WrongKey,
    /// A request frame whose correlation ids do not come after those already seen.
    #[error("request frame {first} follows {last}: correlation ids must increase")]
    ReplayedCorrelation {
        /// The first correlation id of the frame.
        first: u64,
        /// The last one seen before.
        last: u64,
    },
    /// A body that its frame's checksum covers, but that says nothing.
    #[error("a frame is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The server will not serve this connection.
    #[error("{0}")]
    Refused(Refusal),
}

#[cfg(test)]
mod conversation;
#[cfg(test)]
mod handshake_test;
#[cfg(test)]
mod session_test;
