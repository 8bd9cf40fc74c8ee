//! The store that the configuration names, opened the way that a role needs it.

use crate::config::{Config, StoreChoice};
use crate::exit::{Exit, Failure};
use crate::secrets::Secrets;
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore, WhenAway};
use doorbuster_persistence::store::StoreIdentity;
use doorbuster_persistence::{SqliteOptions, SqliteStore, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

const FILE: &str = "store.sqlite";

/// What a role wants of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To fill it, from a data directory that was made just now: every shard must answer, so that a
    /// slip in a URL shows at once.
    FillNew,
    /// To fill it beside a sale, which does not wait for a shard that is away.
    Fill,
    /// Only to fill it: with no shard at all there is nothing to do.
    Project,
    /// To ask it.
    Ask,
    /// To compare it with the log, every shard of it.
    Audit,
}

/// An open store.
#[derive(Clone)]
pub(crate) struct Opened {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The same, when it is of Postgres: for its metrics.
    pub(crate) postgres: Option<Arc<PostgresStore>>,
    /// What and where it is, in words and without secrets.
    pub(crate) description: String,
}

/// Opens it, and makes what is missing of it. `key` is the key of the binary protocol.
pub(crate) fn open(config: &Config, key: [u8; 32], use_of_it: Use) -> Result<Opened, Failure> {
    match &config.store {
        StoreChoice::Sqlite(_) => {
            let path = path_of_file(config);
            let store = SqliteStore::open(&path).map_err(|error| failure(&error))?;
            Ok(of_file(store, &path))
        }
        StoreChoice::Postgres(options) => of_shards(options, Some(key), use_of_it),
    }
}

/// Opens it as it is, every shard of it; `None` when there is none.
pub(crate) fn open_existing(config: &Config) -> Result<Option<Arc<dyn Store>>, Failure> {
    match &config.store {
        StoreChoice::Sqlite(_) => {
            let options = SqliteOptions { create: false, ..SqliteOptions::default() };
            match SqliteStore::open_with(path_of_file(config), &options) {
                Ok(store) => Ok(Some(Arc::new(store))),
                Err(StoreError::Missing { .. }) => Ok(None),
                Err(error) => Err(failure(&error)),
            }
        }
        StoreChoice::Postgres(options) => {
            // Without a key, shards that the configuration does not name are not found.
            let key = Secrets::of(&config.data).engine_key(config).ok();
            of_shards(options, key, Use::Audit).map(|opened| Some(opened.store))
        }
    }
}

fn path_of_file(config: &Config) -> PathBuf {
    match &config.store {
        StoreChoice::Sqlite(Some(path)) => path.clone(),
        StoreChoice::Sqlite(None) | StoreChoice::Postgres(_) => config.data.join(FILE),
    }
}

fn of_file(store: SqliteStore, path: &std::path::Path) -> Opened {
    let description = format!("SQLite, {}", path.display());
    Opened { store: Arc::new(store), postgres: None, description }
}

fn of_shards(
    options: &PostgresOptions,
    key: Option<[u8; 32]>,
    use_of_it: Use,
) -> Result<Opened, Failure> {
    let options = PostgresOptions {
        key,
        migrate: matches!(use_of_it, Use::FillNew | Use::Fill | Use::Project),
        away: match use_of_it {
            Use::FillNew | Use::Audit => WhenAway::Refuse,
            Use::Project => WhenAway::RefuseAll,
            Use::Fill | Use::Ask => WhenAway::Tolerate,
        },
        ..options.clone()
    };
    let count = options.shards.len();
    let store = Arc::new(PostgresStore::open(options).map_err(|error| failure(&error))?);
    let shards: Vec<_> = store.places();
    let description = match count {
        1 => format!("Postgres, {}", shards.join("")),
        _ => format!("Postgres, {count} shards: {}", shards.join(" · ")),
    };
    let postgres = Some(Arc::clone(&store));
    Ok(Opened { store, postgres, description })
}

/// Refuses a store that holds another data directory's results, before anything is sold. A shard
/// that is away is asked when it is back.
pub(crate) fn check_owner(store: &dyn Store, identity: StoreIdentity) -> Result<(), Failure> {
    super::runtime().block_on(owned_by(store, identity)).map(drop)
}

/// Whether every shard holds the results of this data directory; false when one is away or nobody
/// has claimed it, a failure when it is another's.
pub(crate) async fn owned_by(store: &dyn Store, identity: StoreIdentity) -> Result<bool, Failure> {
    let mut all = true;
    for shard in store.shards() {
        let error = match shard.identity().await {
            Ok(Some(stored)) if stored == identity => continue,
            Ok(Some(stored)) => {
                let words = |it: StoreIdentity| format!("{:016x}", it.directory);
                StoreError::Foreign { stored: words(stored), given: words(identity) }
            }
            Err(error) if !error.is_retryable() => error,
            Ok(None) | Err(_) => {
                all = false;
                continue;
            }
        };
        let what = format!("shard {} of the store cannot be used", shard.name());
        return Err(Failure::because(Exit::StoreUnusable, what, &error));
    }
    Ok(all)
}

/// What to say when the store cannot be used.
pub(crate) fn failure(error: &StoreError) -> Failure {
    let failure = Failure::because(Exit::StoreUnusable, "the store cannot be used", error);
    match error {
        // What is said while a sale goes on is not true of a command that ends here.
        StoreError::Away { .. } => {
            failure.next("start its server, or correct the URL of the store; then try again")
        }
        _ => failure,
    }
}
