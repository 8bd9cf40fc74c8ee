//! All roles in one process, over loopback, through the same protocol as across machines: the one
//! path is the tested path. `serve` and `demo` both run this.

use super::{Running, admin, directory, edge, engine, first_product, projector, stock, store};
use crate::config::Config;
use crate::exit::Failure;
use crate::metrics::{Counted, Stock};
use crate::secrets::Secrets;
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Everything, running.
pub(crate) struct Everything {
    /// The roles, to wait for and to stop.
    pub(crate) running: Running,
    /// Where buyers are served.
    pub(crate) http: SocketAddr,
    /// Where the admin pages are served.
    pub(crate) admin: Option<SocketAddr>,
    /// The engine, as others see it.
    pub(crate) engine: engine::Started,
    /// Edge threads.
    pub(crate) edge_threads: usize,
    /// Stock levels, a moment old.
    pub(crate) stock: Stock,
    /// The store.
    pub(crate) store: store::Opened,
    /// Whether this is the data directory's first start, or those before it failed.
    pub(crate) is_new: bool,
}

/// Starts everything; orders can be placed when this returns. With `first_product`, a new data
/// directory begins with a product to buy.
pub(crate) fn start(config: &Config, first_product: bool) -> Result<Everything, Failure> {
    let directory::Prepared { is_new, identity } = directory::prepare(config)?;
    let secrets = Secrets::of(&config.data);
    let (key, tokens) = (secrets.engine_key(config)?, secrets.token_rules(config)?);
    let use_of_it = if is_new { store::Use::FillNew } else { store::Use::Fill };
    let opened = store::open(config, key, use_of_it)?;
    let (store, key) = (Arc::clone(&opened.store), PreSharedKey::new(key));
    store::check_owner(store.as_ref(), identity)?;
    let mut running = Running::new();

    let cores = engine::cores(config, identity.partitions, 2);
    let listen = config.engine_listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (role, engine) = engine::start(config, key.clone(), cores, listen)?;
    running.add(role);
    let cores = engine.addresses.clone();

    let at_failure = projector::AtFailure::SellOn;
    let (role, projector) =
        projector::start(cores.clone(), key.clone(), Arc::clone(&store), at_failure);
    running.add(role);
    if is_new && first_product {
        first_product::define(&cores, &key, store.as_ref())?;
    }

    let edge_threads = edge::threads(config, cores.len());
    let files = engine::files(identity.partitions, cores.len(), edge_threads);
    let (role, edge) = edge::start(
        config,
        cores.clone(),
        key.clone(),
        tokens,
        edge_threads,
        Arc::clone(&store),
        files,
    )?;
    running.add(role);
    let (role, stock) = stock::start(cores, key);
    running.add(role);

    let counted = Counted {
        engine: Some(Arc::clone(&engine.metrics)),
        edge: Some(Arc::clone(&edge.metrics)),
        projector: Some(projector),
        stock: Some(stock.clone()),
        postgres: opened.postgres.clone(),
    };
    let admin = match admin::start(config, counted)? {
        Some((role, address)) => {
            running.add(role);
            Some(address)
        }
        None => None,
    };
    edge::wait_until_ready(&edge, &running)?;
    directory::started(config)?;
    Ok(Everything {
        running,
        http: edge.address,
        admin,
        engine,
        edge_threads,
        stock,
        store: opened,
        is_new,
    })
}
