//! `engine`: an engine node alone.

use crate::cli::EngineSettings;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::metrics::Counted;
use crate::roles::{Running, admin, directory, engine, stock};
use crate::secrets::Secrets;
use crate::signals::Signals;
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Where core 0 listens when nobody says where.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 7400);

/// Runs until a signal or a failure.
pub(crate) fn run(arguments: &EngineSettings) -> Result<Exit, Failure> {
    let config = config::load(&arguments.0)?;
    logging::start(config.log_format, &config.log_level);
    let signals = Signals::take().map_err(|error| super::no_signals(&error))?;
    let directory = directory::prepare(&config)?;
    let key = PreSharedKey::new(Secrets::of(&config.data).engine_key(&config)?);
    let mut running = Running::new();
    let listen = config.engine_listen.unwrap_or(SocketAddr::from(LISTEN));
    let cores = engine::cores(&config, directory.identity.partitions, 1);
    let (role, started) = engine::start(&config, key.clone(), cores, listen)?;
    running.add(role);
    directory::started(&config)?;
    let (role, stock) = stock::start(started.addresses.clone(), key);
    running.add(role);
    let counted = Counted {
        engine: Some(Arc::clone(&started.metrics)),
        stock: Some(stock),
        ..Counted::default()
    };
    if let Some((role, address)) = admin::start(&config, counted)? {
        running.add(role);
        tracing::info!(%address, "metrics");
    }
    for (core, address) in started.addresses.iter().enumerate() {
        tracing::info!(core, %address, "listening");
    }
    tracing::info!(
        data = %config.data.display(),
        partitions = started.partitions,
        durability = started.durability,
        "the engine is ready"
    );
    super::run_until(running, signals)
}
