//! What one edge thread has, and what little the threads share.

use crate::addresses::Addresses;
use crate::body::BodyLimits;
use crate::config::EdgeConfig;
use crate::connections::Connections;
use crate::engine_link::EngineLink;
use crate::metrics::{EdgeMetrics, ThreadMetrics};
use crate::middleware::authentication::Authentication;
use crate::middleware::rate_limit::RateLimits;
use crate::middleware::request_id::RequestIds;
use crate::names::ProductNames;
use crate::token::TokenError;
use crate::turns::Turns;
use doorbuster_persistence::Store;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What all threads of an edge share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<EdgeConfig>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) addresses: Arc<Addresses>,
    /// The counters of all threads, for the readiness of the whole edge.
    pub(crate) edge: Arc<EdgeMetrics>,
    /// Connections of one thread.
    pub(crate) connections_max: usize,
}

/// One thread's belongings.
pub(crate) struct Worker {
    pub(crate) config: Arc<EdgeConfig>,
    pub(crate) engine: Rc<EngineLink>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authentication: Authentication,
    pub(crate) turns: Rc<Turns>,
    pub(crate) names: ProductNames,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) request_ids: RequestIds,
    pub(crate) metrics: Arc<ThreadMetrics>,
    pub(crate) edge: Arc<EdgeMetrics>,
    pub(crate) connections: Connections,
    pub(crate) connections_max: usize,
    /// When it was last said that connections cannot be accepted.
    pub(crate) warned: Cell<Option<Instant>>,
    /// Connections that were turned away and have not ended yet.
    pub(crate) turned_away: Cell<usize>,
    pub(crate) addresses: Arc<Addresses>,
    /// Whether the edge stops: it is not ready for new orders any more.
    pub(crate) is_stopping: Cell<bool>,
}

impl Worker {
    /// A worker that connects to the engine by itself. Must run inside a `LocalSet`.
    pub(crate) fn new(
        shared: Shared,
        thread: usize,
        request_prefix: u64,
    ) -> Result<Self, TokenError> {
        let Shared { config, store, rate_limits, addresses, edge, connections_max } = shared;
        let metrics = edge.thread(thread);
        let authentication = Authentication::new(&config.tokens)?;
        let turns = Rc::new(Turns::new(config.turn_wait_max(), config.new_orders_max()));
        turns.start(Arc::clone(&metrics));
        Ok(Self {
            engine: EngineLink::connecting(Arc::clone(&config), Arc::clone(&metrics)),
            authentication,
            turns,
            names: ProductNames::default(),
            request_ids: RequestIds::new(request_prefix),
            connections: Connections::default(),
            warned: Cell::new(None),
            turned_away: Cell::new(0),
            is_stopping: Cell::new(false),
            config,
            store,
            rate_limits,
            metrics,
            addresses,
            edge,
            connections_max,
        })
    }

    /// What a body may cost here.
    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            bytes_max: self.config.body_bytes_max,
            timeout: self.config.body_timeout,
            rate_min: self.config.body_rate_min,
        }
    }

    /// Whether orders can be taken: this thread sees every core, and so do the others.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stopping.get() && self.engine.is_ready() && self.edge.is_ready()
    }
}
