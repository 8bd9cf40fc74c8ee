//! An edge between a fake engine and a store in memory, and tokens for it.

use super::fake_engine::{self, FakeEngine, PATIENCE, Reaction};
use super::http_client::{Answer, Client, request};
use super::memory_store::MemoryStore;
use doorbuster_edge::token::{TokenSecret, mint};
use doorbuster_edge::{Edge, EdgeConfig};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, Currency, OrderId, Outcome, PartitionId, ProductId, Quantity, Request, Sequence,
    Timestamp, command::SaleState, routing::PartitionCount, session::StockLevel,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When everything in these tests happened.
pub(crate) const AT: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

pub(crate) struct Shop {
    pub(crate) engine: FakeEngine,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) edge: Edge,
}

pub(crate) fn secret() -> TokenSecret {
    TokenSecret::new([3; 32]).unwrap()
}

pub(crate) fn config(engine: &FakeEngine) -> EdgeConfig {
    EdgeConfig::new(
        "127.0.0.1:0".parse().unwrap(),
        engine.addresses(),
        fake_engine::key(),
        secret(),
    )
}

impl Shop {
    /// A shop whose engine follows a script, ready for orders.
    pub(crate) fn open(script: impl FnMut(&Request) -> Reaction + Send + 'static) -> Self {
        Self::with(script, |_| {})
    }

    pub(crate) fn with(
        script: impl FnMut(&Request) -> Reaction + Send + 'static,
        configure: impl FnOnce(&mut EdgeConfig),
    ) -> Self {
        let engine = FakeEngine::start(script);
        let mut config = config(&engine);
        configure(&mut config);
        let store = Arc::new(MemoryStore::default());
        let edge = Edge::start(config, Arc::<MemoryStore>::clone(&store)).unwrap();
        let shop = Self { engine, store, edge };
        shop.wait(|shop| shop.get("/ready").status == 200);
        shop
    }

    /// A shop whose engine answers all requests with one outcome.
    pub(crate) fn answering(outcome: Outcome) -> Self {
        Self::open(move |_| Reaction::Answer(outcome))
    }

    /// Waits until it is so.
    pub(crate) fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "what was waited for did not come");
            std::thread::yield_now();
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.edge.address())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.client().exchange(request("GET", path, &[], None))
    }

    /// A request of a buyer, or of an administrator whose name begins with `admin`.
    pub(crate) fn ask(&self, method: &str, path: &str, user: &str, body: Option<&str>) -> Answer {
        self.ask_with(method, path, user, &[], body)
    }

    pub(crate) fn ask_with(
        &self,
        method: &str,
        path: &str,
        user: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let bearer = bearer(user);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.client().exchange(request(method, path, &all, body))
    }

    pub(crate) fn rejected(&self, reason: &str) -> u64 {
        let rejected = self.edge.metrics().snapshot().rejected;
        rejected.iter().find(|(known, _)| *known == reason).expect("a known reason").1
    }
}

pub(crate) fn bearer(user: &str) -> String {
    let token = mint(&secret(), user, user.starts_with("admin"), Duration::from_secs(600)).unwrap();
    format!("Bearer {token}")
}

pub(crate) fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).unwrap()
}

pub(crate) fn product(name: &str) -> ProductId {
    ProductId::parse(name).unwrap()
}

pub(crate) fn partition(number: u16) -> PartitionId {
    PartitionId::new(number).unwrap()
}

/// An order of `ann` for two shoes.
pub(crate) fn order(sequence: u64) -> OrderId {
    let partitions = PartitionCount::new(fake_engine::PARTITIONS).unwrap();
    let partition = partitions.partition_of(product("shoe"));
    OrderId::new(AT, partition, buyer("ann"), Sequence::new(sequence))
}

pub(crate) fn order_view(status: OrderStatus) -> OrderView {
    let is_queued = status == OrderStatus::Queued;
    OrderView {
        order: order(1),
        product: product("shoe"),
        buyer: buyer("ann"),
        quantity: Quantity::new(2).unwrap(),
        status,
        currency: Currency::USD,
        unit_price: 1_999,
        created_at: AT,
        updated_at: AT,
        expires_at: if is_queued { Timestamp::NONE } else { AT.plus_seconds(600) },
        position: if is_queued { 7 } else { 0 },
    }
}

pub(crate) fn product_view() -> ProductView {
    ProductView {
        product: product("shoe"),
        price: 1_999,
        currency: Currency::USD,
        state: SaleState::Open,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::NONE,
        stock: 100,
        available: 40,
        held: 10,
        sold: 50,
        limit_per_buyer: 2,
        hold_seconds: 600,
        waitlist_capacity: 20,
        waitlist_length: 0,
    }
}

pub(crate) fn level(name: &str, available: u32, accepting: bool) -> StockLevel {
    StockLevel {
        product: product(name),
        stock: 100,
        available,
        held: 0,
        sold: 100 - available,
        waitlist_free: 0,
        accepting,
    }
}
