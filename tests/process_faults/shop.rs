//! What a trial asks of the processes that sell, one or several.

use crate::support::Server;
use crate::support::metrics::Metrics;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Running processes that sell.
pub(crate) trait Shop {
    /// Where buyers are served.
    fn http(&self) -> SocketAddr;
    /// Where the projector tells how far it is.
    fn projector(&self) -> SocketAddr;
    /// The engine's data directory.
    fn data(&self) -> PathBuf;
    /// Ends all of it, each with success.
    fn end(self);

    /// Whether the store has everything.
    fn has_stored_all(&self) -> bool {
        let metrics = Metrics::of(self.projector());
        // There is no lag to be told before the engine was heard of.
        let lag = metrics.found("projector_lag_events");
        let is_connected = metrics.max("projector_connected") == 1.0;
        is_connected && !lag.is_empty() && lag.iter().all(|events| *events == 0.0)
    }
}

impl Shop for Server {
    fn http(&self) -> SocketAddr {
        self.http
    }
    fn projector(&self) -> SocketAddr {
        self.admin
    }
    fn data(&self) -> PathBuf {
        Path::to_owned(self.data())
    }
    fn end(self) {
        assert!(self.stop().success(), "it drains");
    }
}
