//! What an edge is told before it starts, among it every bound that can be set. The others are in
//! `limits`.

use crate::limits::BODY_BYTES_DEFAULT;
use crate::token::TokenRules;
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

/// How long a body may arrive as slowly as it likes.
pub const BODY_GRACE: Duration = Duration::from_secs(1);

/// One in so many requests in flight is kept for what is no new order.
const KEPT_FROM_NEW_ORDERS: usize = 8;

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
    /// What bearer tokens are checked against.
    pub tokens: TokenRules,
    /// How often one buyer may ask, over all routes that need a token; `None`: as often as they
    /// like. Administrators are exempt.
    pub rate_limit: Option<RateLimit>,
    /// How often one client address may ask for products without a token; `None`: as often as it
    /// likes. The address is the connection's, and of IPv6 its first 64 bits. Behind a proxy that
    /// is the proxy's own, so this is for edges that clients reach directly.
    pub anonymous_rate_limit: Option<RateLimit>,
    /// How often one client address may come with tokens that turn out to be none; `None`: as often
    /// as it likes. Past it, tokens that were not seen before are looked at in a quarter of a
    /// thread's time: honest buyers may share the address, behind a proxy for example.
    pub bad_token_rate_limit: Option<RateLimit>,
    /// How long a request waits for the engine or the store; then it is answered `timeout`.
    pub order_timeout: Duration,
    /// How long a new order, or a request without a token, may wait for its turn when more come
    /// than can be served, at most three quarters of `order_timeout`; then it is answered
    /// `overloaded`. `None`: they need no turn.
    pub order_wait_max: Option<Duration>,
    /// Requests of one thread that one core has not answered; past it `overloaded`. One in eight is
    /// kept for what is no new order.
    pub in_flight_per_core_max: usize,
    /// Open connections of one thread, as far as descriptors go. Past it those that have rested
    /// longest are let go; when none rests, a new connection is answered 503 and closed.
    pub connections_per_thread_max: usize,
    /// Open connections of one client address; past it a connection is answered 429 and closed.
    pub connections_per_address: AddressLimit,
    /// Descriptors that the rest of the process needs.
    pub descriptors_reserved: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// From the end of a request's headers to the end of its body.
    pub body_timeout: Duration,
    /// Bytes per second of a body, after its first [`BODY_GRACE`], if there is a least.
    pub body_rate_min: Option<NonZeroU32>,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// How long a connection may rest between requests.
    pub idle_timeout: Duration,
    /// How long a connection may be without a request before it goes first when there is no room.
    pub time_to_ask: Duration,
    /// How long a connection that rests keeps its buffers.
    pub buffers_kept: Duration,
    /// How long a client may leave an answer in its way that the socket cannot take.
    pub write_timeout: Duration,
    /// How long a stop waits for requests in flight.
    pub drain_timeout: Duration,
}

impl EdgeConfig {
    /// One thread and usual bounds, without rate limits. A [`TokenSecret`](crate::TokenSecret) will
    /// do for `tokens`.
    pub fn new(
        http: SocketAddr,
        engine: Vec<SocketAddr>,
        key: PreSharedKey,
        tokens: impl Into<TokenRules>,
    ) -> Self {
        Self {
            http,
            threads: 1,
            engine,
            key,
            tokens: tokens.into(),
            rate_limit: None,
            anonymous_rate_limit: None,
            bad_token_rate_limit: None,
            order_timeout: Duration::from_secs(2),
            order_wait_max: Some(Duration::from_millis(1_500)),
            in_flight_per_core_max: 8_192,
            connections_per_thread_max: 16_384,
            connections_per_address: AddressLimit::Auto,
            descriptors_reserved: 256,
            body_bytes_max: BODY_BYTES_DEFAULT,
            body_timeout: Duration::from_secs(5),
            body_rate_min: NonZeroU32::new(1_024),
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            time_to_ask: Duration::from_millis(250),
            buffers_kept: Duration::from_secs(2),
            write_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl EdgeConfig {
    /// How long a turn is waited for: what is left of a request's time then is for the engine.
    pub(crate) fn turn_wait_max(&self) -> Option<Duration> {
        self.order_wait_max.map(|wait| wait.min(self.order_timeout * 3 / 4))
    }

    /// Requests in flight to one core that are kept for what is no new order.
    pub(crate) fn kept_from_new_orders(&self) -> usize {
        self.in_flight_per_core_max / KEPT_FROM_NEW_ORDERS
    }

    /// New orders that may be in flight to one core.
    pub(crate) fn new_orders_max(&self) -> usize {
        self.in_flight_per_core_max - self.kept_from_new_orders()
    }
}

/// How many connections one client address may have open. The address is the connection's, and of
/// IPv6 its first 64 bits; behind a proxy it is the proxy's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressLimit {
    /// [`Self::AUTO`], and any number for this machine's own addresses: a proxy beside the edge, or
    /// a load generator.
    Auto,
    /// So many, wherever they come from.
    Each(u32),
    /// Any number.
    Off,
}

impl AddressLimit {
    /// Enough for a few hundred shoppers behind one address of their network, and few of all the
    /// connections that an edge has.
    pub const AUTO: u32 = 1_024;

    /// The bound for `address`.
    pub(crate) fn of(self, address: IpAddr) -> Option<u32> {
        match self {
            Self::Auto if address.to_canonical().is_loopback() => None,
            Self::Auto => Some(Self::AUTO),
            Self::Each(most) => Some(most),
            Self::Off => None,
        }
    }
}

/// How often one source may ask: `burst` requests at once, `per_second` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    per_second: u32,
    burst: u32,
}

/// Why two numbers are no [`RateLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitError {
    /// The rate is out of range.
    #[error(
        "a rate limit is 1 to {most} requests per second, not {0}",
        most = RateLimit::PER_SECOND_MAX
    )]
    PerSecond(u32),
    /// The burst is out of range.
    #[error("with {per_second} requests per second a burst is 1 to {most} requests, not {burst}")]
    Burst {
        /// What was asked for.
        burst: u32,
        /// The rate that it goes with.
        per_second: u32,
        /// The largest burst with this rate.
        most: u32,
    },
}

impl RateLimit {
    /// The highest rate. Requests are spaced in whole microseconds, and more of them per second
    /// could not be told apart well.
    pub const PER_SECOND_MAX: u32 = 100_000;
    /// A burst that was used up is whole again within this time.
    pub const BURST_SECONDS_MAX: u32 = 3_600;

    /// `per_second` is 1 to [`Self::PER_SECOND_MAX`], `burst` 1 to [`Self::BURST_SECONDS_MAX`]
    /// times as much.
    pub const fn new(per_second: u32, burst: u32) -> Result<Self, RateLimitError> {
        if per_second == 0 || per_second > Self::PER_SECOND_MAX {
            return Err(RateLimitError::PerSecond(per_second));
        }
        let most = per_second * Self::BURST_SECONDS_MAX;
        if burst == 0 || burst > most {
            return Err(RateLimitError::Burst { burst, per_second, most });
        }
        Ok(Self { per_second, burst })
    }

    /// Requests per second in the long run.
    pub const fn per_second(self) -> u32 {
        self.per_second
    }

    /// Requests that may come at once.
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Microseconds from one request to the next at this rate, rounded up, so that a rate that does
    /// not divide a second is never exceeded.
    pub(crate) const fn interval_us(self) -> u64 {
        1_000_000_u64.div_ceil(self.per_second as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_have_bounds() {
        let check = |per_second: u32, burst: u32, expected: Result<u64, &str>| {
            let limit = RateLimit::new(per_second, burst);
            let got = limit.map(RateLimit::interval_us).map_err(|error| error.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{per_second} {burst}");
        };
        check(1, 1, Ok(1_000_000));
        check(1, 3_600, Ok(1_000_000));
        check(3, 5, Ok(333_334));
        check(100_000, 360_000_000, Ok(10));
        check(0, 1, Err("a rate limit is 1 to 100000 requests per second, not 0"));
        check(100_001, 1, Err("a rate limit is 1 to 100000 requests per second, not 100001"));
        check(1, 0, Err("with 1 requests per second a burst is 1 to 3600 requests, not 0"));
        check(2, 7_201, Err("with 2 requests per second a burst is 1 to 7200 requests, not 7201"));
    }
}
