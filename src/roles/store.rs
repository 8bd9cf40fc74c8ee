//! The store that the configuration names.

use crate::config::{Config, StoreChoice};
use crate::exit::{Exit, Failure};
use doorbuster_persistence::{SqliteOptions, SqliteStore, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

const FILE: &str = "store.sqlite";

/// Where the store lies.
pub(crate) fn path(config: &Config) -> PathBuf {
    match &config.store {
        StoreChoice::Sqlite(Some(path)) => path.clone(),
        StoreChoice::Sqlite(None) => config.data.join(FILE),
    }
}

/// Opens it, and makes it when it is missing.
pub(crate) fn open(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    match SqliteStore::open(path(config)) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(failure(&error)),
    }
}

/// Opens it as it is; `None` when there is none.
pub(crate) fn open_existing(config: &Config) -> Result<Option<Arc<dyn Store>>, Failure> {
    let options = SqliteOptions { create: false, ..SqliteOptions::default() };
    match SqliteStore::open_with(path(config), &options) {
        Ok(store) => Ok(Some(Arc::new(store))),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(failure(&error)),
    }
}

/// What to say when the store cannot be used.
pub(crate) fn failure(error: &StoreError) -> Failure {
    Failure::because(Exit::StoreUnusable, "the store cannot be used", error)
}
