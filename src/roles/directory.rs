//! The data directory before the roles start: it is there, it is ours, and it has its secrets.

use super::engine::directory_failure;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::secrets::Secrets;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_persistence::store::StoreIdentity;
use std::io::ErrorKind;
use std::path::Path;
use std::{fs, io};

/// Stands in a data directory until its first start has succeeded.
const FIRST_START: &str = "first-start";

/// What a prepared directory is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    /// Whether it was made just now, or by a start that failed.
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
    let mark = config.data.join(FIRST_START);
    let is_new = !DataDirectory::exists(&config.data) || mark.exists();
    let directory = DataDirectory::create_or_open(&config.data, config.partitions)
        .map_err(|error| directory_failure(&error))?;
    if is_new {
        fs::write(&mark, "").map_err(|error| unmarked(&mark, &error))?;
    }
    Secrets::of(directory.path()).make_missing()?;
    let identity = StoreIdentity { directory: directory.id(), partitions: directory.partitions() };
    Ok(Prepared { is_new, identity })
}

/// The first start has succeeded: from now on a store that is away does not keep it from selling.
pub(crate) fn started(config: &Config) -> Result<(), Failure> {
    let mark = config.data.join(FIRST_START);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unmarked(&mark, &error)),
        _ => Ok(()),
    }
}

fn unmarked(mark: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::NoDataDirectory, format!("cannot write or remove {}", mark.display()))
        .why(error)
        .next("make the data directory writable for the user that runs this")
}
