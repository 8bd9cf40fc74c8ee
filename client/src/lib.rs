//! The tokio shell around the protocol's session: one connection to one core, or to all of them.
//!
//! | module | what it owns |
//! |---|---|
//! | [`engine_client`] | requests to whichever core owns the partition, many in one frame |
//! | [`feed_client`] | the events of partitions of one core, for a consumer |
//! | [`network`] | the seam to sockets and chance |
//! | [`options`] | bounds and waits, with defaults |
//! | [`error`] | what can go wrong, and whether the request may have been done |
//! | `connection` | dialling a core, the handshake within a time |
//! | `link` | one core of an engine client: connect, serve, reconnect |
//! | `pending` | requests in flight on a link |

pub mod engine_client;
pub mod error;
pub mod feed_client;
pub mod network;
pub mod options;

mod connection;
mod link;
mod pending;

pub use engine_client::EngineClient;
pub use error::ClientError;
pub use feed_client::{FeedClient, FeedItem};
pub use network::{Network, Stream, TcpNetwork};
pub use options::ClientOptions;
