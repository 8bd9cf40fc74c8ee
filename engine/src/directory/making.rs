//! A data directory on a disk: how it is made, so that a crash at any moment leaves none or all of
//! it, and how it is read.
//!
//! 1. Everything above is synced, so that the directory itself stays.
//! 2. `superblock.json.tmp` is written and synced. From now on what is there is unfinished, and a
//!    later start begins anew.
//! 3. Every partition gets its directory and its empty log, each synced.
//! 4. The superblock gets its name.
//!
//! Whoever finds the superblock syncs that name before anything goes on: the start that gave it may
//! have ended before its own sync did.
//!
//! What an earlier attempt left goes first, and durably, before its temporary superblock goes:
//! partitions without either superblock are a directory that lost it.

use super::superblock::{self, Superblock, SuperblockError};
use super::{DirectoryError, PARTITIONS, partition_name, refused};
use crate::log::{self, LogConfig};
use crate::storage::{BLOCK, File, Tree, run_immediate};
use doorbuster_protocol::routing::PartitionCount;
use std::io::{self, Read};

pub(super) const SUPERBLOCK: &str = "superblock.json";
const SUPERBLOCK_TEMPORARY: &str = "superblock.json.tmp";
pub(super) const LOCK: &str = "LOCK";
/// Bytes that all new logs of a directory may fill at first, beyond the least for each.
const FIRST_FILL_BYTES: u64 = 64 << 20;

/// Whether there is a whole data directory.
pub(super) fn exists(root: &impl Tree) -> Result<bool, DirectoryError> {
    let names = root.names().map_err(refused("list", root.path()))?;
    Ok(names.is_some_and(|names| names.iter().any(|name| name == SUPERBLOCK)))
}

/// An error when something is there that is no rest of an unfinished data directory.
pub(super) fn check_empty(root: &impl Tree) -> Result<(), DirectoryError> {
    let foreign = |found: &str| DirectoryError::Foreign {
        path: root.path().to_owned(),
        found: found.to_owned(),
    };
    let names = match root.names() {
        Ok(Some(names)) => names,
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(foreign("it is a file"));
        }
        Err(error) => return Err(refused("list", root.path())(error)),
    };
    let ours = [LOCK, PARTITIONS, SUPERBLOCK_TEMPORARY];
    if let Some(other) = names.iter().find(|name| !ours.contains(&name.as_str())) {
        return Err(foreign(other));
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(PARTITIONS) && !has(SUPERBLOCK_TEMPORARY) {
        return Err(DirectoryError::Damaged {
            path: root.path().join(SUPERBLOCK),
            why: "it is missing, although there are partitions".to_owned(),
        });
    }
    Ok(())
}

/// Makes everything, durably, the superblock last. The directory itself is there.
pub(super) fn create<T: Tree>(root: &T, superblock: &Superblock) -> Result<(), DirectoryError> {
    let sync = |directory: &T| {
        let synced = run_immediate(directory.sync_directory());
        synced.map_err(refused("sync", directory.path()))
    };
    sync_above(root)?;
    clear(root)?;
    let temporary = root.path().join(SUPERBLOCK_TEMPORARY);
    run_immediate(write(root, superblock.render().as_bytes()))
        .map_err(refused("write", &temporary))?;
    sync(root)?;
    let all = root.directory(PARTITIONS);
    all.make().map_err(refused("make", all.path()))?;
    let config =
        LogConfig { first_fill_bytes: first_fill(superblock.partitions), ..LogConfig::default() };
    for partition in superblock.partitions.all() {
        let directory = all.directory(&partition_name(partition));
        directory.make().map_err(refused("make", directory.path()))?;
        run_immediate(log::create(&directory, &config))?;
    }
    sync(&all)?;
    sync(root)?;
    run_immediate(root.rename(SUPERBLOCK_TEMPORARY, SUPERBLOCK))
        .map_err(refused("rename", &temporary))?;
    sync(root)
}

/// Makes the names of all directories down to this one durable: any of them may be new, also when
/// an earlier start made it and was killed. One that may not be read was there before.
fn sync_above<T: Tree>(root: &T) -> Result<(), DirectoryError> {
    let find = |of: &T| of.above().map_err(refused("find the directory of", of.path()));
    let mut next = find(root)?;
    while let Some(above) = next {
        match run_immediate(above.sync_directory()) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            synced => synced.map_err(refused("sync", above.path()))?,
        }
        next = find(&above)?;
    }
    Ok(())
}

/// Removes what an unfinished start left. No superblock ever named it, so nothing was kept there.
fn clear<T: Tree>(root: &T) -> Result<(), DirectoryError> {
    let names = root.names().map_err(refused("list", root.path()))?.unwrap_or_default();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let all = root.directory(PARTITIONS);
    if has(PARTITIONS) {
        all.remove_all().map_err(refused("remove", all.path()))?;
        run_immediate(root.sync_directory()).map_err(refused("sync", root.path()))?;
    }
    if has(SUPERBLOCK_TEMPORARY) {
        let file = root.path().join(SUPERBLOCK_TEMPORARY);
        run_immediate(root.remove(SUPERBLOCK_TEMPORARY)).map_err(refused("remove", &file))?;
    }
    Ok(())
}

async fn write<T: Tree>(root: &T, text: &[u8]) -> io::Result<()> {
    let file = root.create(SUPERBLOCK_TEMPORARY).await?;
    let mut buffer = file.buffer(text.len());
    buffer.as_mut().copy_from_slice(text);
    file.write_durable(buffer, 0).await
}

/// Makes the superblock's name durable, whoever gave it.
pub(super) fn settle(root: &impl Tree) -> Result<(), DirectoryError> {
    run_immediate(root.sync_directory()).map_err(refused("sync", root.path()))
}

/// Reads the superblock of a data directory that is there.
pub(super) fn read(root: &impl Tree) -> Result<Superblock, DirectoryError> {
    let file = root.path().join(SUPERBLOCK);
    let mut bytes = Vec::new();
    root.read_blocking(SUPERBLOCK)
        .and_then(|mut text| text.read_to_end(&mut bytes))
        .map_err(refused("read", &file))?;
    Superblock::parse(&bytes).map_err(|error| match error {
        SuperblockError::Version(found) => DirectoryError::Version {
            path: root.path().to_owned(),
            found,
            supported: superblock::VERSION,
        },
        SuperblockError::Damaged(why) => DirectoryError::Damaged { path: file, why },
    })
}

/// Few partitions start with a megabyte each, many with less, so that the directory stays small.
fn first_fill(partitions: PartitionCount) -> u64 {
    let share = FIRST_FILL_BYTES / u64::from(partitions.get()) / BLOCK * BLOCK;
    share.clamp(4 * BLOCK, LogConfig::default().first_fill_bytes)
}
