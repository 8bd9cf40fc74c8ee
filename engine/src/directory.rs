//! The data directory: whose it is, who uses it, how many partitions it has.
//!
//! | name | what it is |
//! |---|---|
//! | `superblock.json` | format version, random id, partitions; written last, by a rename, so that a directory with it is complete |
//! | `LOCK` | locked by the process that uses the directory, and tells its id |
//! | `partitions/0007/` | the log of partition 7 |
//!
//! Other files may live beside them; a directory is ours when it is empty or has a superblock.

mod making;
mod superblock;

use crate::log::LogError;
use crate::storage::{StdDisk, Tree};
use doorbuster_protocol::PartitionId;
use doorbuster_protocol::routing::PartitionCount;
use making::{LOCK, SUPERBLOCK};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
pub use superblock::Superblock;

const PARTITIONS: &str = "partitions";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no data directory.
    #[error(
        "there is no data directory at {}. Check the path given with --data, or make one by \
         starting `doorbuster serve --data {}`", path.display(), path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something else lives there.
    #[error(
        "{} holds other files and no data directory, for example {found:?}. Give an empty or a new \
         directory with --data", path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Something that was found in it.
        found: String,
    },
    /// Another process uses it.
    #[error(
        "the data directory {} is in use by process {owner}. Stop that one first, or give another \
         directory with --data", path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, as far as it said so.
        owner: String,
    },
    /// Another version of the program made it.
    #[error(
        "the data directory {} has format version {found}, and this program reads version \
         {supported}. Use the version of doorbuster that made it", path.display()
    )]
    Version {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version of this program.
        supported: u32,
    },
    /// It has another number of partitions, which cannot change.
    #[error(
        "the data directory {} has {has} partitions, not {asked}; their number is fixed when a \
         directory is made. Leave out --partitions, or give a new directory", path.display()
    )]
    OtherPartitions {
        /// The directory.
        path: PathBuf,
        /// Its partitions.
        has: u16,
        /// The partitions asked for.
        asked: u16,
    },
    /// Its superblock cannot be read.
    #[error(
        "the superblock {} is damaged: {why}. Nothing was changed. Restore this file from a backup \
         of the directory", path.display()
    )]
    Damaged {
        /// The superblock.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused something.
    #[error("cannot {doing} {}: {source}. Check the path, its permissions, and the disk", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A first log could not be made.
    #[error("cannot make the data directory: {0}")]
    Log(#[from] LogError),
}

/// Where the log of `partition` lives in the data directory at `root`.
pub(crate) fn partition_path(root: &Path, partition: PartitionId) -> PathBuf {
    root.join(PARTITIONS).join(partition_name(partition))
}

fn partition_name(partition: PartitionId) -> String {
    format!("{:04}", partition.get())
}

fn refused(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { doing, path, source }
}

/// A data directory, with its lock as long as this lives, unless it was opened for reading only.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    superblock: Superblock,
    _lock: Option<File>,
}

impl DataDirectory {
    /// Whether there is a data directory at `path`.
    pub fn exists(path: &Path) -> bool {
        path.join(SUPERBLOCK).exists()
    }

    /// Opens and locks the data directory at `path`; makes it, with `partitions` partitions, when
    /// there is nothing. One that exists keeps its own number: see
    /// [`DataDirectory::check_partitions`].
    pub fn create_or_open(path: &Path, partitions: PartitionCount) -> Result<Self, DirectoryError> {
        let root = StdDisk::new(path);
        if !Self::exists(path) {
            making::check_empty(&root)?;
            fs::create_dir_all(path).map_err(refused("make", path))?;
        }
        let lock = lock(path)?;
        // Only now: another process may have made it while we waited for nothing.
        if !Self::exists(path) {
            let superblock = Superblock::new(partitions);
            let superblock = superblock.map_err(refused("find random bytes for", path))?;
            making::create(&root, &superblock)?;
        }
        Self::open_locked(path, Some(lock))
    }

    /// Opens the data directory at `root`; makes it, as `superblock` says, when there is nothing.
    /// `root` itself is there, and nobody else uses it: on a disk that no other process can see,
    /// there is no lock.
    pub fn create_or_open_on(
        root: &impl Tree,
        superblock: &Superblock,
    ) -> Result<Self, DirectoryError> {
        if !making::exists(root)? {
            making::check_empty(root)?;
            making::create(root, superblock)?;
        }
        let superblock = making::read(root)?;
        making::settle(root)?;
        Ok(Self { path: root.path().to_owned(), superblock, _lock: None })
    }

    /// Opens and locks the data directory at `path`.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        check_there(path)?;
        let lock = lock(path)?;
        Self::open_locked(path, Some(lock))
    }

    /// Opens the data directory at `path` for reading, whether or not a process uses it.
    pub fn open_read_only(path: &Path) -> Result<Self, DirectoryError> {
        check_there(path)?;
        Self::open_locked(path, None)
    }

    fn open_locked(path: &Path, lock: Option<File>) -> Result<Self, DirectoryError> {
        let root = StdDisk::new(path);
        let superblock = making::read(&root)?;
        if lock.is_some() {
            making::settle(&root)?;
        }
        Ok(Self { path: path.to_owned(), superblock, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Its random id, which stands in every frame.
    pub fn id(&self) -> u64 {
        self.superblock.directory
    }
    /// Its partitions.
    pub fn partitions(&self) -> PartitionCount {
        self.superblock.partitions
    }
    /// Where the log of `partition` lives.
    pub fn partition_path(&self, partition: PartitionId) -> PathBuf {
        partition_path(&self.path, partition)
    }
    /// Where the log of `partition` lives, in a data directory at `root`.
    pub fn partition_on<T: Tree>(root: &T, partition: PartitionId) -> T {
        root.directory(PARTITIONS).directory(&partition_name(partition))
    }
    /// An error when it has another number of partitions than somebody asked for.
    pub fn check_partitions(&self, asked: PartitionCount) -> Result<(), DirectoryError> {
        if self.partitions() == asked {
            return Ok(());
        }
        Err(DirectoryError::OtherPartitions {
            path: self.path.clone(),
            has: self.partitions().get(),
            asked: asked.get(),
        })
    }
}

/// An error unless there is a superblock at `path`.
fn check_there(path: &Path) -> Result<(), DirectoryError> {
    if DataDirectory::exists(path) {
        return Ok(());
    }
    making::check_empty(&StdDisk::new(path))?;
    Err(DirectoryError::Missing { path: path.to_owned() })
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let file = path.join(LOCK);
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .map_err(refused("open", &file))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            let _ = lock.read_to_string(&mut owner);
            let owner = match owner.trim() {
                "" => "(unknown)".to_owned(),
                owner => owner.to_owned(),
            };
            return Err(DirectoryError::Locked { path: path.to_owned(), owner });
        }
        Err(error) => return Err(refused("lock", &file)(error.into())),
    }
    let told = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    told.map_err(refused("write", &file))?;
    Ok(lock)
}

#[cfg(test)]
mod tests;
