//! What an edge is told before it starts. Every bound that a client can press against is here.

use crate::token::TokenSecret;
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::SocketAddr;
use std::time::Duration;

/// Headers of one request, past which it is answered 431.
pub(crate) const HEADERS_MAX: usize = 64;
/// Bytes that one connection buffers while it reads; a longer head is answered 431.
pub(crate) const READ_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// The configuration of an [`Edge`](crate::Edge).
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Where to listen; port 0 takes a free one.
    pub http: SocketAddr,
    /// Threads, each with a listener, a runtime and engine connections of its own; at least 1.
    pub threads: usize,
    /// Any cores of the engine; the others are learned from them. At least one.
    pub engine: Vec<SocketAddr>,
    /// What edge and engine prove to each other.
    pub key: PreSharedKey,
    /// What signs bearer tokens.
    pub secret: TokenSecret,
    /// How long a request waits for the engine or the store; then it is answered `timeout`.
    pub order_timeout: Duration,
    /// Requests of one thread that one core has not answered; past it `overloaded`.
    pub in_flight_per_core_max: usize,
    /// Open connections of one thread; past it a connection is answered 503 and closed.
    pub connections_per_thread_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// From the end of a request's headers to the end of its body.
    pub body_timeout: Duration,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// How long a connection may rest between requests, or not take its answer.
    pub idle_timeout: Duration,
    /// How long a stop waits for requests in flight.
    pub drain_timeout: Duration,
}

impl EdgeConfig {
    /// One thread and usual bounds.
    pub fn new(
        http: SocketAddr,
        engine: Vec<SocketAddr>,
        key: PreSharedKey,
        secret: TokenSecret,
    ) -> Self {
        Self {
            http,
            threads: 1,
            engine,
            key,
            secret,
            order_timeout: Duration::from_secs(2),
            in_flight_per_core_max: 8_192,
            connections_per_thread_max: 16_384,
            body_bytes_max: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
