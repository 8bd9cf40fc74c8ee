//! One thread's way to the engine: a client of every core, made in the background for as long as it
//! takes, and what it says about readiness and about stock.

use crate::config::EdgeConfig;
use crate::metrics::ThreadMetrics;
use doorbuster_client::{ClientOptions, EngineClient};
use doorbuster_protocol::ProductId;
use doorbuster_protocol::command::Place;
use doorbuster_protocol::session::StockLevel;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait between two attempts to reach any core for the first time.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often readiness and requests in flight are shown to other threads.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// The way to the engine. Empty until the first core has answered.
#[derive(Debug, Default)]
pub(crate) struct EngineLink(OnceCell<EngineClient>);

impl EngineLink {
    /// A link that connects by itself. Must run inside a `LocalSet`.
    pub(crate) fn connecting(config: Arc<EdgeConfig>, metrics: Arc<ThreadMetrics>) -> Rc<Self> {
        let link = Rc::new(Self::default());
        tokio::task::spawn_local(keep(Rc::clone(&link), config, metrics));
        link
    }

    /// The client, once there is one.
    pub(crate) fn client(&self) -> Option<&EngineClient> {
        self.0.get()
    }

    /// Whether every core is connected.
    pub(crate) fn is_ready(&self) -> bool {
        self.client().is_some_and(EngineClient::is_connected)
    }

    /// The last level that the engine pushed for a product.
    pub(crate) fn level_of(&self, product: ProductId) -> Option<StockLevel> {
        self.client()?.level_of(product)
    }

    /// Whether the order can be answered "sold out" without asking.
    pub(crate) fn answers_sold_out(&self, place: &Place) -> bool {
        self.client().is_some_and(|client| client.answers_sold_out(place))
    }
}

async fn keep(link: Rc<EngineLink>, config: Arc<EdgeConfig>, metrics: Arc<ThreadMetrics>) {
    let options = ClientOptions {
        in_flight_per_core_max: config.in_flight_per_core_max,
        kept_from_new_orders: config.kept_from_new_orders(),
        watch_stock: true,
        ..ClientOptions::default()
    };
    let mut wait = Duration::from_millis(10);
    let client = loop {
        match EngineClient::connect(&config.engine, &config.key, options.clone()).await {
            Ok(client) => break client,
            Err(error) => {
                tracing::warn!(%error, engine = ?config.engine, "the engine cannot be reached yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(CONNECT_WAIT_MAX);
            }
        }
    };
    assert!(link.0.set(client).is_ok(), "a link is connected once");
    let mut tick = tokio::time::interval(SHOW_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if let Some(client) = link.client() {
            let in_flight = (0..client.cores()).map(|core| client.in_flight(core));
            metrics.set_engine(client.is_connected(), in_flight);
        }
        tick.tick().await;
    }
}
