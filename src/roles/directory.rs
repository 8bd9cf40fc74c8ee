//! The data directory before the roles start: it is there, it is ours, and it has its secrets.

use super::engine::directory_failure;
use crate::config::Config;
use crate::exit::Failure;
use crate::secrets::Secrets;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_persistence::store::StoreIdentity;

/// What a prepared directory is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    /// Whether it was made just now.
    pub(crate) is_new: bool,
    /// Its id, by which a store knows whose it is, and its partitions, whatever the configuration
    /// says about new ones.
    pub(crate) identity: StoreIdentity,
}

/// Makes the directory and its secrets as far as they are missing.
///
/// The directory's lock is held meanwhile and let go of at the end: the engine takes it again, and
/// two first starts at once cannot make two secrets.
pub(crate) fn prepare(config: &Config) -> Result<Prepared, Failure> {
    let existed = DataDirectory::exists(&config.data);
    let directory = DataDirectory::create_or_open(&config.data, config.partitions)
        .map_err(|error| directory_failure(&error))?;
    Secrets::of(directory.path()).make_missing()?;
    let identity = StoreIdentity { directory: directory.id(), partitions: directory.partitions() };
    Ok(Prepared { is_new: !existed, identity })
}
