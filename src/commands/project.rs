//! `project`: a projector alone; and what is done to the shards of a store at rest or under load:
//! migrating their tables, moving buckets of buyers between them.

use crate::cli::Project;
use crate::config::{self, Config, StoreChoice};
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::metrics::Counted;
use crate::roles::{Running, admin, projector, store};
use crate::secrets::Secrets;
use crate::signals::Signals;
use doorbuster_persistence::postgres::{MigratedShard, PostgresOptions, PostgresStore};
use doorbuster_protocol::handshake::PreSharedKey;
use std::fmt::Write;

/// Runs until a signal or a failure; the engine need not be there yet. With `--migrate` or
/// `--move-buckets` until that is done.
pub(crate) fn run(arguments: &Project) -> Result<Exit, Failure> {
    let config = config::load(&arguments.settings.0)?;
    logging::start(config.log_format, &config.log_level);
    if arguments.migrate {
        return migrate(&config);
    }
    let key = Secrets::of(&config.data).engine_key(&config)?;
    if let (Some(buckets), Some(to)) = (arguments.move_buckets, &arguments.to) {
        return super::move_buckets::run(&config, key, buckets, to);
    }
    let signals = Signals::take().map_err(|error| super::no_signals(&error))?;
    let store::Opened { store, postgres, description } =
        store::open(&config, key, store::Use::Project)?;
    let key = PreSharedKey::new(key);
    let mut running = Running::new();
    let (role, metrics) =
        projector::start(config.engine.clone(), key, store, projector::AtFailure::End);
    running.add(role);
    let counted = Counted { projector: Some(metrics), postgres, ..Counted::default() };
    if let Some((role, address)) = admin::start(&config, counted)? {
        running.add(role);
        tracing::info!(%address, "metrics");
    }
    tracing::info!(engine = ?config.engine, store = description, "projecting");
    super::run_until(running, signals)
}

/// The shards that the configuration names; a SQLite file has none.
pub(super) fn shards<'a>(config: &'a Config, what: &str) -> Result<&'a PostgresOptions, Failure> {
    match &config.store {
        StoreChoice::Postgres(options) => Ok(options),
        StoreChoice::Sqlite(_) => Err(Failure::new(Exit::Usage, format!("{what} needs shards"))
            .why("the store is a SQLite file, which needs neither migrating nor moving")
            .next("name each shard with --store postgres://…")),
    }
}

fn migrate(config: &Config) -> Result<Exit, Failure> {
    let options = shards(config, "--migrate")?;
    let migrated = PostgresStore::migrate(options).map_err(|error| store::failure(&error))?;
    let mut text = String::new();
    for shard in migrated {
        let MigratedShard { name, place, from, to } = shard;
        let _ = match from == to {
            true => writeln!(text, "{name} at {place}: schema version {to}, as it was"),
            false => writeln!(text, "{name} at {place}: schema version {to}, was {from}"),
        };
    }
    super::print(&text)
}
