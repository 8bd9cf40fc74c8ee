//! Counters of an edge. Each thread writes its own; a snapshot adds them up when somebody looks.

use crate::problem::Code;
use crate::router::ROUTES;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets of `order_duration_seconds`, in microseconds.
const DURATION_BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];
/// Statuses that are counted; the last slot takes every other.
const STATUSES: [u16; 21] = [
    200, 201, 202, 400, 401, 403, 404, 405, 408, 409, 410, 413, 414, 415, 422, 429, 431, 500, 503,
    505, 0,
];
/// Cores whose requests in flight are shown.
const CORES_MAX: usize = doorbuster_protocol::limits::CORES_MAX as usize;

/// What became of an attempt to order, pay or cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderResult {
    Pending,
    Queued,
    Replayed,
    Paid,
    Cancelled,
    Refused(Code),
}

const ACCEPTED: [&str; 5] = ["pending", "queued", "replayed", "paid", "cancelled"];
const RESULTS: usize = ACCEPTED.len() + Code::ALL.len();

/// What kind of request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderType {
    FlashSale,
    Regular,
    Payment,
    Cancellation,
}

const TYPES: [&str; 4] = ["flash-sale", "regular", "payment", "cancellation"];

/// Why the edge turned something away without asking the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The pushed stock level says that nobody can be accepted.
    SoldOut,
    /// The buyer, or the client without a token, asks too often.
    RateLimited,
    /// The core has too many requests in flight.
    Overloaded,
    /// No turn came in time.
    Shed,
    /// The core is not connected.
    Unavailable,
    /// The thread has too many connections.
    Connections,
    /// The client's address has too many connections.
    AddressConnections,
    /// A connection that rested went to make room for another.
    LetGo,
    /// A token was none, or was not looked at, after too many such from the client's address.
    BadTokens,
    /// What came in is no HTTP, or could be read in two ways.
    Malformed,
    /// The headers did not arrive in time.
    SlowHeaders,
    /// The body did not arrive in time.
    SlowBody,
    /// The answer was not taken in time.
    SlowReader,
}

const REASONS: [&str; 13] = [
    "sold-out",
    "rate-limited",
    "overloaded",
    "shed",
    "unavailable",
    "connections",
    "address-connections",
    "let-go",
    "bad-tokens",
    "malformed",
    "slow-headers",
    "slow-body",
    "slow-reader",
];

/// The counters of one thread.
#[derive(Debug)]
pub(crate) struct ThreadMetrics {
    requests: Box<[[AtomicU64; STATUSES.len()]; ROUTES.len()]>,
    orders: Box<[[AtomicU64; RESULTS]; TYPES.len()]>,
    durations: [AtomicU64; DURATION_BOUNDS_US.len() + 1],
    duration_sum_us: AtomicU64,
    rejected: [AtomicU64; REASONS.len()],
    connections: AtomicU64,
    waiting: AtomicU64,
    orders_max: AtomicU64,
    in_flight: Box<[AtomicU64]>,
    cores: AtomicU64,
    ready: AtomicBool,
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// Counts in what only this thread writes: a plain load and store, where an addition that others may
/// take part in would keep the whole core waiting.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

impl ThreadMetrics {
    fn new() -> Self {
        Self {
            requests: Box::new(std::array::from_fn(|_| zeros())),
            orders: Box::new(std::array::from_fn(|_| zeros())),
            durations: zeros(),
            duration_sum_us: AtomicU64::new(0),
            rejected: zeros(),
            connections: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            orders_max: AtomicU64::new(0),
            in_flight: (0..CORES_MAX).map(|_| AtomicU64::new(0)).collect(),
            cores: AtomicU64::new(0),
            ready: AtomicBool::new(false),
        }
    }

    pub(crate) fn request(&self, route: usize, status: u16) {
        let slot = STATUSES.iter().position(|known| *known == status);
        add(&self.requests[route][slot.unwrap_or(STATUSES.len() - 1)], 1);
    }

    pub(crate) fn order(&self, kind: OrderType, result: OrderResult) {
        let slot = match result {
            OrderResult::Pending => 0,
            OrderResult::Queued => 1,
            OrderResult::Replayed => 2,
            OrderResult::Paid => 3,
            OrderResult::Cancelled => 4,
            OrderResult::Refused(code) => ACCEPTED.len() + code as usize,
        };
        add(&self.orders[kind as usize][slot], 1);
    }

    pub(crate) fn order_took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let slot = DURATION_BOUNDS_US.partition_point(|bound| *bound < micros);
        add(&self.durations[slot], 1);
        add(&self.duration_sum_us, micros);
    }

    pub(crate) fn rejected(&self, reason: Rejected) {
        self.rejected_many(reason, 1);
    }

    pub(crate) fn rejected_many(&self, reason: Rejected, count: usize) {
        add(&self.rejected[reason as usize], count as u64);
    }

    pub(crate) fn set_connections(&self, open: usize) {
        self.connections.store(open as u64, Relaxed);
    }

    /// How many requests wait for a turn, and how many orders may be in progress.
    pub(crate) fn set_turns(&self, waiting: usize, orders_max: usize) {
        self.waiting.store(waiting as u64, Relaxed);
        self.orders_max.store(orders_max as u64, Relaxed);
    }

    /// What the engine connections of this thread look like now.
    pub(crate) fn set_engine(&self, ready: bool, in_flight: impl ExactSizeIterator<Item = usize>) {
        self.cores.store(in_flight.len().min(CORES_MAX) as u64, Relaxed);
        for (slot, count) in self.in_flight.iter().zip(in_flight) {
            slot.store(count as u64, Relaxed);
        }
        self.ready.store(ready, Relaxed);
    }
}

/// The counters of all threads of an edge.
#[derive(Debug)]
pub struct EdgeMetrics {
    threads: Box<[Arc<ThreadMetrics>]>,
}

impl EdgeMetrics {
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads: (0..threads).map(|_| Arc::new(ThreadMetrics::new())).collect() }
    }

    pub(crate) fn thread(&self, index: usize) -> Arc<ThreadMetrics> {
        Arc::clone(&self.threads[index])
    }

    /// Whether every thread is connected to every core of the engine.
    pub fn is_ready(&self) -> bool {
        self.threads.iter().all(|thread| thread.ready.load(Relaxed))
    }

    /// The sums over all threads. Series that were never counted are left out.
    pub fn snapshot(&self) -> EdgeSnapshot {
        let sum = |of: &dyn Fn(&ThreadMetrics) -> &AtomicU64| -> u64 {
            self.threads.iter().map(|thread| of(thread).load(Relaxed)).sum()
        };
        let mut requests = Vec::new();
        for (route, name) in ROUTES.iter().enumerate() {
            for (slot, code) in STATUSES.iter().enumerate() {
                let count = sum(&|thread| &thread.requests[route][slot]);
                if count > 0 {
                    requests.push(RequestCount { route: name, code: *code, count });
                }
            }
        }
        let names = ACCEPTED.into_iter().chain(Code::ALL.into_iter().map(Code::as_str));
        let mut orders = Vec::new();
        for (slot, status) in names.enumerate() {
            for (kind, name) in TYPES.iter().enumerate() {
                let count = sum(&|thread| &thread.orders[kind][slot]);
                if count > 0 {
                    orders.push(OrderCount { status, kind: name, count });
                }
            }
        }
        let buckets: Vec<u64> =
            (0..=DURATION_BOUNDS_US.len()).map(|slot| sum(&|t| &t.durations[slot])).collect();
        let cores = self.threads.iter().map(|thread| thread.cores.load(Relaxed)).max();
        EdgeSnapshot {
            requests,
            orders,
            order_duration: DurationHistogram {
                bounds_seconds: DURATION_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).collect(),
                buckets,
                sum_seconds: sum(&|thread| &thread.duration_sum_us) as f64 / 1e6,
            },
            in_flight: (0..cores.unwrap_or(0) as usize)
                .map(|core| sum(&|thread| &thread.in_flight[core]))
                .collect(),
            rejected: REASONS
                .iter()
                .enumerate()
                .map(|(slot, reason)| (*reason, sum(&|thread| &thread.rejected[slot])))
                .collect(),
            connections: sum(&|thread| &thread.connections),
            waiting: sum(&|thread| &thread.waiting),
            orders_max: sum(&|thread| &thread.orders_max),
        }
    }
}

/// One series of `http_requests_total{route,code}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// The route, with the names of its parameters.
    pub route: &'static str,
    /// The status; 0 for those that are never meant to be sent.
    pub code: u16,
    /// Requests.
    pub count: u64,
}

/// One series of `orders_total{status,type}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderCount {
    /// `pending`, `queued`, `replayed`, `paid`, `cancelled`, or the code of a refusal.
    pub status: &'static str,
    /// `flash-sale`, `regular`, `payment` or `cancellation`.
    pub kind: &'static str,
    /// Requests.
    pub count: u64,
}

/// How long attempts to order took, from the end of their headers to their answer.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationHistogram {
    /// Upper bounds of the buckets, inclusive.
    pub bounds_seconds: Vec<f64>,
    /// Attempts per bucket, not cumulative; one more than bounds, for what took longer.
    pub buckets: Vec<u64>,
    /// Sum over all attempts.
    pub sum_seconds: f64,
}

/// The counters of an edge at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeSnapshot {
    /// `http_requests_total{route,code}`.
    pub requests: Vec<RequestCount>,
    /// `orders_total{status,type}`.
    pub orders: Vec<OrderCount>,
    /// `order_duration_seconds`.
    pub order_duration: DurationHistogram,
    /// `edge_inflight{core}`, by core.
    pub in_flight: Vec<u64>,
    /// `edge_rejected_total{reason}`, every reason.
    pub rejected: Vec<(&'static str, u64)>,
    /// Open HTTP connections.
    pub connections: u64,
    /// `edge_waiting`: requests that wait for a turn.
    pub waiting: u64,
    /// `edge_orders_max`: new orders that may be in progress; 0 before the first.
    pub orders_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let metrics = EdgeMetrics::new(2);
        for thread in [metrics.thread(0), metrics.thread(1)] {
            thread.request(0, 200);
            thread.request(0, 599);
            thread.order(OrderType::FlashSale, OrderResult::Pending);
            thread.order(OrderType::Regular, OrderResult::Refused(Code::SoldOut));
            thread.order_took(Duration::from_micros(100));
            thread.order_took(Duration::from_micros(101));
            thread.order_took(Duration::from_secs(60));
            thread.rejected(Rejected::SlowReader);
            thread.set_connections(3);
            thread.set_turns(1, 16);
            assert!(!metrics.is_ready());
            thread.set_engine(true, [4, 5].into_iter());
        }
        assert!(metrics.is_ready());
        let seen = metrics.snapshot();
        assert_eq!(
            seen.requests,
            [
                RequestCount { route: "/health", code: 200, count: 2 },
                RequestCount { route: "/health", code: 0, count: 2 }
            ]
        );
        assert_eq!(
            seen.orders,
            [
                OrderCount { status: "pending", kind: "flash-sale", count: 2 },
                OrderCount { status: "sold-out", kind: "regular", count: 2 }
            ]
        );
        let histogram = seen.order_duration;
        assert_eq!(histogram.buckets.len(), histogram.bounds_seconds.len() + 1);
        assert_eq!(histogram.buckets[..2], [2, 2]);
        assert_eq!(histogram.buckets.last(), Some(&2));
        assert!((histogram.sum_seconds - 120.000_402).abs() < 1e-9);
        assert_eq!(seen.in_flight, [8, 10]);
        assert_eq!(seen.rejected.last(), Some(&("slow-reader", 2)));
        assert_eq!((seen.connections, seen.waiting, seen.orders_max), (6, 2, 32));
    }
}
