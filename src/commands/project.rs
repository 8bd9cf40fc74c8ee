//! `project`: a projector alone.

use crate::cli::ProjectSettings;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::metrics::Counted;
use crate::roles::{Running, admin, projector, store};
use crate::secrets::Secrets;
use crate::signals::Signals;
use doorbuster_protocol::handshake::PreSharedKey;

/// Runs until a signal or a failure. The engine need not be there yet.
pub(crate) fn run(arguments: &ProjectSettings) -> Result<Exit, Failure> {
    let config = config::load(&arguments.0)?;
    logging::start(config.log_format, &config.log_level);
    let signals = Signals::take().map_err(|error| super::no_signals(&error))?;
    let key = PreSharedKey::new(Secrets::of(&config.data).engine_key(&config)?);
    let store = store::open(&config)?;
    let mut running = Running::new();
    let (role, metrics) =
        projector::start(config.engine.clone(), key, store, projector::AtFailure::End);
    running.add(role);
    let counted = Counted { projector: Some(metrics), ..Counted::default() };
    if let Some((role, address)) = admin::start(&config, counted)? {
        running.add(role);
        tracing::info!(%address, "metrics");
    }
    tracing::info!(engine = ?config.engine, store = %store::path(&config).display(), "projecting");
    super::run_until(running, signals)
}
