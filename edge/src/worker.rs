//! What one edge thread has: nothing here is shared with another thread but the store, the
//! configuration, rate limits and counters.

use crate::body::BodyLimits;
use crate::config::EdgeConfig;
use crate::connection::ConnectionState;
use crate::engine_link::EngineLink;
use crate::metrics::{EdgeMetrics, ThreadMetrics};
use crate::middleware::authentication::Authentication;
use crate::middleware::rate_limit::RateLimits;
use crate::middleware::request_id::RequestIds;
use crate::token::TokenError;
use doorbuster_persistence::Store;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// One thread's belongings.
pub(crate) struct Worker {
    pub(crate) config: Arc<EdgeConfig>,
    pub(crate) engine: Rc<EngineLink>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authentication: Authentication,
    /// Those of the whole edge.
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) request_ids: RequestIds,
    pub(crate) metrics: Arc<ThreadMetrics>,
    /// The counters of all threads, for the readiness of the whole edge.
    pub(crate) edge: Arc<EdgeMetrics>,
    pub(crate) connections: Connections,
    /// Whether the edge stops: it is not ready for new orders any more.
    pub(crate) is_stopping: Cell<bool>,
}

impl Worker {
    /// A worker that connects to the engine by itself. Must run inside a `LocalSet`.
    pub(crate) fn new(
        config: Arc<EdgeConfig>,
        store: Arc<dyn Store>,
        edge: Arc<EdgeMetrics>,
        rate_limits: Arc<RateLimits>,
        thread: usize,
        request_prefix: u64,
    ) -> Result<Self, TokenError> {
        let metrics = edge.thread(thread);
        Ok(Self {
            engine: EngineLink::connecting(Arc::clone(&config), Arc::clone(&metrics)),
            authentication: Authentication::new(&config.tokens)?,
            request_ids: RequestIds::new(request_prefix),
            connections: Connections::default(),
            is_stopping: Cell::new(false),
            config,
            store,
            rate_limits,
            metrics,
            edge,
        })
    }

    /// What a body may cost here.
    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits { bytes_max: self.config.body_bytes_max, timeout: self.config.body_timeout }
    }

    /// Whether orders can be taken: this thread sees every core, and so do the others.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stopping.get() && self.engine.is_ready() && self.edge.is_ready()
    }
}

/// The open connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<u64, Rc<ConnectionState>>>,
    next: Cell<u64>,
    closed: Notify,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Notes a connection, and gives the number under which it is taken out.
    pub(crate) fn add(&self, state: Rc<ConnectionState>) -> u64 {
        let number = self.next.replace(self.next.get() + 1);
        self.open.borrow_mut().insert(number, state);
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.open.borrow_mut().remove(&number);
        self.closed.notify_one();
    }

    /// Asks all to end after the request that they are in, and waits until they have.
    pub(crate) async fn drain(&self) {
        for state in self.open.borrow().values() {
            state.stop();
        }
        while self.len() > 0 {
            self.closed.notified().await;
        }
    }
}
