//! Bounds and waits of a client.

use crate::network::{Network, TcpNetwork};
use doorbuster_protocol::limits;
use std::sync::Arc;
use std::time::Duration;

/// How an engine client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Requests in flight to one core; at most [`limits::IN_FLIGHT_PER_CONNECTION_MAX`].
    pub in_flight_per_core_max: usize,
    /// How many of those are kept for requests that are no new orders.
    pub kept_from_new_orders: usize,
    /// Whether cores push stock levels.
    pub watch_stock: bool,
    /// How long dialling and the handshake may take together.
    pub connect_timeout: Duration,
    /// The wait before the first reconnect; it doubles with every failure.
    pub reconnect_min: Duration,
    /// The longest wait before a reconnect.
    pub reconnect_max: Duration,
    /// How long a core may be silent while requests are in flight, before it counts as lost.
    pub silence_max: Duration,
    /// How cores are reached.
    pub network: Arc<dyn Network>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            in_flight_per_core_max: 4_096,
            kept_from_new_orders: 0,
            watch_stock: false,
            connect_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(10),
            reconnect_max: Duration::from_secs(1),
            silence_max: Duration::from_secs(10),
            network: TcpNetwork::shared(),
        }
    }
}

impl ClientOptions {
    /// The bound on requests in flight, kept within what a server allows.
    pub(crate) fn in_flight_max(&self) -> usize {
        self.in_flight_per_core_max.clamp(1, limits::IN_FLIGHT_PER_CONNECTION_MAX)
    }
}
