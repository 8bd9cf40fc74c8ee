//! `edge`: an HTTP edge alone.

use crate::cli::EdgeSettings;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::metrics::Counted;
use crate::roles::{Running, admin, edge, owner, stock, store};
use crate::secrets::Secrets;
use crate::signals::Signals;
use doorbuster_protocol::handshake::PreSharedKey;
use std::sync::Arc;

/// Runs until a signal or a failure. The engine need not be there yet.
pub(crate) fn run(arguments: &EdgeSettings) -> Result<Exit, Failure> {
    let config = config::load(&arguments.0)?;
    logging::start(config.log_format, &config.log_level);
    let signals = Signals::take().map_err(|error| super::no_signals(&error))?;
    let secrets = Secrets::of(&config.data);
    let (key, tokens) = (secrets.engine_key(&config)?, secrets.token_rules(&config)?);
    let store::Opened { store, postgres, .. } = store::open(&config, key, store::Use::Ask)?;
    let key = PreSharedKey::new(key);
    let mut running = Running::new();
    let threads = edge::threads(&config, 0);
    let engine = config.engine.clone();
    let (role, started) =
        edge::start(&config, engine.clone(), key.clone(), tokens, threads, Arc::clone(&store), 0)?;
    running.add(role);
    running.add(owner::start(engine.clone(), key.clone(), store));
    let (role, stock) = stock::start(engine, key);
    running.add(role);
    let counted = Counted {
        edge: Some(Arc::clone(&started.metrics)),
        stock: Some(stock),
        postgres,
        ..Counted::default()
    };
    if let Some((role, address)) = admin::start(&config, counted)? {
        running.add(role);
        tracing::info!(%address, "metrics");
    }
    tracing::info!(address = %started.address, threads, "the edge listens");
    super::run_until(running, signals)
}
