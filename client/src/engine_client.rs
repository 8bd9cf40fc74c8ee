//! Requests to an engine: each goes to the core that owns its partition, and the requests of one
//! turn of the runtime travel together.
//!
//! A client belongs to one thread: a current-thread runtime with a `LocalSet` around it. Nothing in
//! it is locked, and a clone is a counted reference.

use crate::connection::Connection;
use crate::link::{Answer, Link};
use crate::{ClientError, ClientOptions};
use doorbuster_protocol::command::Place;
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::StockLevel;
use doorbuster_protocol::{Outcome, PartitionId, ProductId, Request};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

/// A client of all cores of an engine. Its connections end when the last clone and the last
/// unfinished request are dropped.
#[derive(Clone, Debug)]
pub struct EngineClient {
    owner: Rc<Owner>,
}

/// Closes the links when the last handle goes: their tasks hold the shared part only weakly.
#[derive(Debug)]
struct Owner {
    shared: Rc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.is_closed.set(true);
        for link in self.shared.links.borrow().iter() {
            link.close();
        }
    }
}

/// What the links of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    key: PreSharedKey,
    options: ClientOptions,
    seeds: Vec<SocketAddr>,
    map: RefCell<PartitionMap>,
    /// One for every core of the map, in its order.
    links: RefCell<Vec<Rc<Link>>>,
    /// Grows whenever the map was asked for anew.
    generation: Cell<u64>,
    relearning: Mutex<()>,
    /// Raised when a link connects or disconnects.
    changed: Notify,
    /// No handle is left: no link is made any more.
    is_closed: Cell<bool>,
}

impl EngineClient {
    /// Learns the map from the first of `seeds` (any cores of the engine) that answers, and
    /// connects to every core, all within the connect timeout per seed and once more for the cores.
    ///
    /// Must run inside a `LocalSet`: connections are served, and renewed for ever, by local tasks.
    pub async fn connect(
        seeds: &[SocketAddr],
        key: &PreSharedKey,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let map = learn(seeds, key, &options).await?;
        let connect_timeout = options.connect_timeout;
        let shared = Rc::new(Shared {
            key: key.clone(),
            options,
            seeds: seeds.to_vec(),
            map: RefCell::new(map.clone()),
            links: RefCell::default(),
            generation: Cell::new(0),
            relearning: Mutex::new(()),
            changed: Notify::new(),
            is_closed: Cell::new(false),
        });
        let client = Self { owner: Rc::new(Owner { shared }) };
        client.shared().rebuild_links(&map);
        let all = |client: &Self| client.is_connected().then_some(());
        timeout(connect_timeout, client.until(all))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        Ok(client)
    }

    fn shared(&self) -> &Rc<Shared> {
        &self.owner.shared
    }

    /// How many partitions the engine has.
    pub fn partitions(&self) -> PartitionCount {
        self.shared().map.borrow().partitions
    }

    /// How many cores the engine has.
    pub fn cores(&self) -> usize {
        self.shared().links.borrow().len()
    }

    /// The random id of the engine's data directory.
    pub fn directory(&self) -> u64 {
        self.shared().map.borrow().directory
    }

    /// Whether every core is connected and none drains.
    pub fn is_connected(&self) -> bool {
        self.shared().links.borrow().iter().all(|link| link.is_connected())
    }

    /// Requests in flight to a core; 0 for one that is not there.
    pub fn in_flight(&self, core: usize) -> usize {
        self.shared().links.borrow().get(core).map_or(0, |link| link.in_flight())
    }

    /// The core that owns a partition; `None` for one that does not exist.
    pub fn owner_of(&self, partition: PartitionId) -> Option<u16> {
        self.shared().map.borrow().owner_of(partition)
    }

    /// Sends a request to the core that owns its partition.
    ///
    /// It is in the core's open frame when this returns, before the future is polled; the frame
    /// leaves at the end of the turn. A wrong owner is asked about once: the map is learned anew
    /// and the request sent again, which is safe, as nothing was done. Dropping the future forgets
    /// the answer, not the request.
    pub fn submit(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Outcome, ClientError>> + use<> {
        let generation = self.shared().generation.get();
        let first = self.shared().enqueue(&request);
        let client = self.clone();
        async move {
            let outcome = first?.await?;
            if !matches!(outcome, Outcome::WrongOwner { .. }) {
                return Ok(outcome);
            }
            // Rare and large: kept out of the state of every request.
            Box::pin(client.relearn(generation, request.partition)).await?;
            let second = client.shared().enqueue(&request)?;
            second.await
        }
    }

    /// The last level that its core pushed, while that core is connected; needs
    /// [`ClientOptions::watch_stock`].
    pub fn level_of(&self, product: ProductId) -> Option<StockLevel> {
        let partition = self.partitions().partition_of(product);
        self.shared().link_of(partition)?.level_of(product)
    }

    /// Whether the order would be answered "sold out", as far as its core has told.
    ///
    /// Never one with an idempotency key: its key may have an earlier answer, which only the core
    /// knows.
    pub fn answers_sold_out(&self, place: &Place) -> bool {
        let is_sold_out = |level: StockLevel| !level.accepting;
        place.key.is_none() && self.level_of(place.product).is_some_and(is_sold_out)
    }

    /// Every level that is known, core by core, in order of product.
    pub fn levels(&self) -> Vec<StockLevel> {
        let mut levels = Vec::new();
        for link in self.shared().links.borrow().iter() {
            link.copy_levels(&mut levels);
        }
        levels
    }

    /// Waits until every core is connected, as it is after [`EngineClient::connect`].
    pub async fn connected(&self) {
        self.until(|client| client.is_connected().then_some(())).await;
    }

    /// Waits for connections to come and go until `what` is there.
    async fn until<T>(&self, what: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            // Registered before it is looked at: no change falls between the two.
            let changed = self.shared().changed.notified();
            if let Some(found) = what(self) {
                return found;
            }
            changed.await;
        }
    }

    /// Asks for the map anew, unless that was done since `generation`, and waits for the owner of
    /// `partition` to be connected.
    async fn relearn(&self, generation: u64, partition: PartitionId) -> Result<(), ClientError> {
        let shared = self.shared();
        let guard = shared.relearning.lock().await;
        if shared.generation.get() == generation {
            let mut known = shared.map.borrow().cores.clone();
            known.extend(&shared.seeds);
            let map = learn(&known, &shared.key, &shared.options).await?;
            shared.generation.set(generation + 1);
            shared.adopt(map);
        }
        drop(guard);
        let owner = |client: &Self| {
            client.shared().link_of(partition).filter(|link| link.is_connected()).map(drop)
        };
        timeout(shared.options.connect_timeout, self.until(owner))
            .await
            .map_err(|_| ClientError::Unavailable)
    }
}

impl Shared {
    pub(crate) fn key(&self) -> &PreSharedKey {
        &self.key
    }

    fn link_of(&self, partition: PartitionId) -> Option<Rc<Link>> {
        let owner = self.map.borrow().owner_of(partition)?;
        self.links.borrow().get(usize::from(owner)).cloned()
    }

    fn enqueue(&self, request: &Request) -> Result<Answer, ClientError> {
        request.check().map_err(ClientError::Invalid)?;
        self.link_of(request.partition).ok_or(ClientError::Unavailable)?.enqueue(request)
    }

    /// Says that a link has connected or disconnected.
    pub(crate) fn announce(&self) {
        self.changed.notify_waiters();
    }

    /// Takes a map that a core has sent; links to cores that are still there stay.
    pub(crate) fn adopt(self: &Rc<Self>, map: PartitionMap) {
        {
            let known = self.map.borrow();
            if known.directory != map.directory {
                tracing::warn!(
                    was = format!("{:016x}", known.directory),
                    is = format!("{:016x}", map.directory),
                    "the engine has another data directory than before"
                );
            }
            if known.cores == map.cores && known.owners == map.owners {
                drop(known);
                *self.map.borrow_mut() = map;
                return;
            }
        }
        tracing::info!(cores = map.cores.len(), "the engine's partition map has changed");
        self.rebuild_links(&map);
        *self.map.borrow_mut() = map;
        self.announce();
    }

    fn rebuild_links(self: &Rc<Self>, map: &PartitionMap) {
        if self.is_closed.get() {
            return;
        }
        let mut old = self.links.take();
        let links = map.cores.iter().map(|address| {
            match old.iter().position(|link| link.address() == *address) {
                Some(index) => old.swap_remove(index),
                None => {
                    let link = Link::new(*address, self.options.clone());
                    tokio::task::spawn_local(Rc::clone(&link).run(Rc::downgrade(self)));
                    link
                }
            }
        });
        let links = links.collect();
        for link in old {
            link.close();
        }
        *self.links.borrow_mut() = links;
    }

    /// A core cannot be reached: asks the seeds for the map, in case that it has moved.
    pub(crate) async fn learn_from_others(self: &Rc<Self>, unreachable: SocketAddr) {
        let others: Vec<_> =
            self.seeds.iter().copied().filter(|seed| *seed != unreachable).collect();
        if others.is_empty() {
            return;
        }
        let _guard = self.relearning.lock().await;
        if let Ok(map) = learn(&others, &self.key, &self.options).await {
            self.adopt(map);
        }
    }
}

/// The map of the first address that answers; the last error when none does.
async fn learn(
    addresses: &[SocketAddr],
    key: &PreSharedKey,
    options: &ClientOptions,
) -> Result<PartitionMap, ClientError> {
    let mut last = ClientError::Unavailable;
    for address in addresses {
        let network = &*options.network;
        match Connection::open(network, *address, key, options.connect_timeout).await {
            Ok(connection) => return Ok(connection.map),
            Err(error) => last = error,
        }
    }
    Err(last)
}
