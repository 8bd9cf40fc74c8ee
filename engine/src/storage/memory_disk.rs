//! A disk in memory that knows what is durable: for tests of crashes and faults.
//!
//! What is written is readable at once, but only a sync makes it durable, sector by sector, and
//! only a directory sync makes names durable. [`MemoryDisk::crash`] throws away the rest, except
//! for an arbitrary subset of it: a device writes unsynced sectors in any order, or not at all.
//!
//! A failed sync behaves as Linux does: the file looks clean afterwards and what it lost stays lost,
//! although it can be read as long as the machine runs. Whoever else has the file open is told by its
//! next sync, once. Syncing such a file again is a bug of the caller, and panics; after
//! [`MemoryDisk::restart`], as another process, it lies.

mod crash;
mod fault;
mod model;

pub use crash::{Crashed, Survivors};
pub use fault::{Failure, Fault};

use super::{Entry, File, Immediate, Mode, Storage, Tree};
use model::{Change, Content, Disk, Node, power_lost};
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory in memory. A clone is another handle of the same one.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    path: PathBuf,
    /// Where the directory is on the disk, from the root.
    place: Vec<String>,
    /// Locked, because a snapshot thread may use a disk beside a log.
    disk: Arc<Mutex<Disk>>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk without faults and without a bound.
    pub fn new() -> Self {
        Self::of(Disk::default())
    }
    fn of(disk: Disk) -> Self {
        let disk = Arc::new(Mutex::new(disk));
        Self { path: PathBuf::from("memory"), place: Vec::new(), disk }
    }
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.plan(fault);
    }
    /// The disk has room for this many bytes in all; `None`: for any.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.lock().space = bytes;
    }
    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }
    /// Forgets faults and counts.
    pub fn reset(&self) {
        self.lock().faults = fault::Faults::default();
    }
    /// Writes, syncs, renames and changes of any kind since the last reset.
    pub fn counts(&self) -> (u64, u64, u64, u64) {
        let faults = &self.lock().faults;
        (faults.writes, faults.syncs, faults.renames, faults.changes)
    }
    /// Reads of files since the last reset.
    pub fn reads(&self) -> u64 {
        self.lock().faults.reads
    }
    /// Calls of any kind since the last reset.
    pub fn calls(&self) -> u64 {
        self.lock().faults.calls
    }

    fn change_content(&self, name: &str, change: impl FnOnce(&mut Content)) {
        let mut disk = self.lock();
        let file = disk.file(&self.place, name).expect("the file is there");
        change(disk.files.get_mut(&file).expect("a name has a file"));
    }
    /// Flips one bit of a file, where it is durable, too.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        self.change_content(name, |content| {
            content.written[offset as usize] ^= 1 << bit;
            if let Some(byte) = content.durable.get_mut(offset as usize) {
                *byte ^= 1 << bit;
            }
        });
    }
    /// Puts `bytes` at `offset` of a file, durably.
    pub fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) {
        self.change_content(name, |content| {
            content.write(offset as usize, bytes);
            *content = Content::durable(std::mem::take(&mut content.written));
        });
    }
    /// Cuts a file to `bytes`, or grows it to them with zeros, durably.
    pub fn set_length(&self, name: &str, bytes: u64) {
        self.change_content(name, |content| {
            content.written.resize(bytes as usize, 0);
            *content = Content::durable(std::mem::take(&mut content.written));
        });
    }
    /// The whole content of a file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let disk = self.lock();
        let file = disk.file(&self.place, name).expect("the file to read exists");
        disk.files[&file].written.clone()
    }
    /// A second disk with the same content, all of it durable, and no faults.
    pub fn duplicate(&self) -> Self {
        let mut disk = self.lock().clone();
        disk.faults = fault::Faults::default();
        (disk.powered_off, disk.space) = (false, None);
        for directory in disk.directories.values_mut() {
            directory.sync();
            directory.sync_failed = false;
        }
        disk.sweep();
        for content in disk.files.values_mut() {
            *content = Content::durable(std::mem::take(&mut content.written));
        }
        self.with(disk)
    }
    fn with(&self, disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), ..self.clone() }
    }

    /// The power goes out: what was synced stays, and of the rest whatever `seed` chooses. The disk
    /// works again afterwards, without faults. Handles opened before are stale and must be dropped.
    pub fn crash(&self, seed: u64) -> Crashed {
        self.lock().crash(Survivors::Seed(seed), model::SECTOR)
    }
    /// What a crash would leave, on a device that writes sectors of `sector_bytes` whole or not at
    /// all: another disk, and how many of the survivors' changes were unsynced. This one goes on.
    pub fn crashed(&self, survivors: Survivors, sector_bytes: usize) -> (Self, u32) {
        let mut disk = self.lock().without_forgotten();
        let crashed = disk.crash(survivors, sector_bytes);
        (self.with(disk), crashed.unsynced)
    }
    /// The process ends and another one begins, on a machine that goes on: what was written can be
    /// read, and nobody knows any more which sync failed. Faults and counts are forgotten.
    pub fn restart(&self) {
        let mut disk = self.lock();
        disk.faults = fault::Faults::default();
        disk.directories.values_mut().for_each(|directory| directory.sync_failed = false);
        disk.sweep();
        for content in disk.files.values_mut().filter(|content| content.sync_failed) {
            content.lost.append(&mut content.dirty);
            content.sync_failed = false;
        }
    }
}

impl Immediate for MemoryDisk {}

impl Storage for MemoryDisk {
    type File = MemoryFile;

    fn path(&self) -> &Path {
        &self.path
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        let mut disk = self.lock();
        refuse_broken(disk.call()?)?;
        let names = &disk.directories[&disk.directory(&self.place)?].names;
        let entry = |(name, node): (&String, &Node)| match node {
            Node::File(file) => {
                let bytes = disk.files[file].written.len() as u64;
                Some(Entry { name: name.clone(), bytes })
            }
            Node::Directory(_) => None,
        };
        Ok(names.iter().filter_map(entry).collect())
    }
    async fn open(&self, name: &str, _mode: Mode) -> io::Result<MemoryFile> {
        let mut disk = self.lock();
        refuse_broken(disk.call()?)?;
        let file = disk.file(&self.place, name)?;
        let is_told = Cell::new(disk.files[&file].sync_failed);
        Ok(MemoryFile { disk: self.clone(), file, is_told })
    }
    async fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut disk = self.lock();
        let failure = disk.call()?;
        if disk.at(&self.place)?.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let off = disk.change()?;
        refuse(failure)?;
        let file = disk.add(&self.place, name, true)?;
        let is_told = Cell::default();
        if off { Err(power_lost()) } else { Ok(MemoryFile { disk: self.clone(), file, is_told }) }
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        let failure = disk.call()?;
        let file = Node::File(disk.file(&self.place, from)?);
        let off = disk.change()?;
        refuse(disk.faults.rename().or(failure))?;
        disk.at(&self.place)?.change(Change::Renamed(from.to_owned(), to.to_owned(), file));
        if off { Err(power_lost()) } else { Ok(()) }
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        let failure = disk.call()?;
        let file = Node::File(disk.file(&self.place, name)?);
        let off = disk.change()?;
        refuse_broken(failure)?;
        disk.at(&self.place)?.change(Change::Removed(name.to_owned(), file));
        if off { Err(power_lost()) } else { Ok(()) }
    }
    async fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.lock();
        let failure = disk.call()?;
        assert!(!disk.at(&self.place)?.sync_failed, "a second sync after a failed one lies");
        if disk.change()? {
            return Err(power_lost());
        }
        let failure = disk.faults.sync().or(failure);
        let directory = disk.at(&self.place)?;
        directory.sync_failed = refuse(failure).is_err();
        refuse(failure)?;
        directory.sync();
        Ok(())
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        let mut disk = self.lock();
        refuse_broken(disk.call()?)?;
        let file = disk.file(&self.place, name)?;
        let mut bytes = disk.files[&file].written.clone();
        disk.faults.read(&mut bytes);
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

/// The error of a call that can fail in both ways.
fn refuse(failure: Option<Failure>) -> io::Result<()> {
    match failure {
        Some(failure @ (Failure::Broken | Failure::Full)) => Err(failure.error()),
        Some(Failure::Short) | None => Ok(()),
    }
}
/// The error of a call that needs no space.
fn refuse_broken(failure: Option<Failure>) -> io::Result<()> {
    refuse(failure.filter(|failure| *failure == Failure::Broken))
}

impl Tree for MemoryDisk {
    fn directory(&self, name: &str) -> Self {
        let place = self.place.iter().cloned().chain([name.to_owned()]).collect();
        Self { path: self.path.join(name), place, disk: Arc::clone(&self.disk) }
    }
    fn above(&self) -> io::Result<Option<Self>> {
        let Some((_, place)) = self.place.split_last() else { return Ok(None) };
        let path = self.path.parent().expect("a directory below the root").to_owned();
        Ok(Some(Self { path, place: place.to_vec(), disk: Arc::clone(&self.disk) }))
    }
    fn names(&self) -> io::Result<Option<Vec<String>>> {
        let mut disk = self.lock();
        refuse_broken(disk.call()?)?;
        match disk.at(&self.place) {
            Ok(directory) => Ok(Some(directory.names.keys().cloned().collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
    fn make(&self) -> io::Result<()> {
        let mut disk = self.lock();
        let failure = disk.call()?;
        let (name, place) = self.place.split_last().ok_or(io::ErrorKind::AlreadyExists)?;
        if disk.at(place)?.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let off = disk.change()?;
        refuse(failure)?;
        disk.add(place, name, false)?;
        if off { Err(power_lost()) } else { Ok(()) }
    }
    fn remove_all(&self) -> io::Result<()> {
        let mut disk = self.lock();
        let failure = disk.call()?;
        let (name, place) = self.place.split_last().ok_or(io::ErrorKind::ResourceBusy)?;
        let directory = disk.directory(&self.place)?;
        let off = disk.change()?;
        refuse_broken(failure)?;
        disk.empty(directory);
        disk.at(place)?.change(Change::Removed(name.clone(), Node::Directory(directory)));
        if off { Err(power_lost()) } else { Ok(()) }
    }
}

/// A file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    file: u64,
    /// Whether its holder was told of a failed sync of the file, or came too late for that. Who had it
    /// open, too, is told by the next sync; after that syncs lie.
    is_told: Cell<bool>,
}

impl File for MemoryFile {
    type Buffer = Vec<u8>;

    /// Filled with a pattern, so that a caller that leaves bytes unset is found out.
    fn buffer(&self, bytes: usize) -> Vec<u8> {
        vec![0xA5; bytes]
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        refuse_broken(disk.call()?)?;
        let content = disk.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?;
        let rest = content.written.get(offset as usize..).unwrap_or(&[]);
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        disk.faults.read(&mut into[..bytes]);
        Ok(bytes)
    }
    async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let failure = disk.call()?;
        let off = disk.change()?;
        let failure = disk.faults.write().or(failure);
        let wanted = match failure {
            Some(Failure::Broken | Failure::Short) => buffer.len() / 2,
            Some(Failure::Full) => 0,
            None => buffer.len(),
        };
        let end = disk.end_within_space(self.file, offset + wanted as u64);
        let taken = (end.saturating_sub(offset) as usize).min(wanted);
        if taken == 0 && !buffer.is_empty() {
            return Err(failure.unwrap_or(Failure::Full).error());
        }
        let content = disk.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        content.write(offset as usize, &buffer[..taken]);
        match failure {
            _ if off => Err(power_lost()),
            Some(failure @ Failure::Broken) => Err(failure.error()),
            _ => Ok(taken),
        }
    }
    async fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let failure = disk.call()?;
        if disk.change()? {
            return Err(power_lost());
        }
        let failure = disk.faults.sync().or(failure);
        let content = disk.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        if content.sync_failed {
            assert!(!self.is_told.replace(true), "a second sync after a failed one lies");
            return Err(Failure::Broken.error());
        }
        content.sync_failed = refuse(failure).is_err();
        self.is_told.set(content.sync_failed);
        refuse(failure)?;
        content.sync();
        Ok(())
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        refuse(disk.call()?)?;
        let length = disk.files.get(&self.file).map_or(0, |content| content.written.len() as u64);
        match disk.space {
            Some(space) if bytes > length && bytes - length > space.saturating_sub(disk.used()) => {
                Err(Failure::Full.error())
            }
            _ => Ok(()),
        }
    }
    async fn size(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        refuse_broken(disk.call()?)?;
        Ok(disk.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?.written.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::run_immediate;

    /// Two syncs of a file are under way when the device fails: the kernel fails both.
    #[test]
    fn a_failed_sync_is_told_to_everybody_who_has_the_file_open() {
        let disk = MemoryDisk::new();
        let first = run_immediate(disk.create("a")).expect("a new file");
        let second = run_immediate(disk.open("a", Mode::Write)).expect("it is there");
        disk.inject(Fault::Sync(1));
        assert!(run_immediate(first.sync()).is_err());
        assert!(run_immediate(second.sync()).is_err());
        let third = run_immediate(disk.open("a", Mode::Write)).expect("it is there");
        for late in [first, second, third] {
            let again = std::panic::AssertUnwindSafe(|| run_immediate(late.sync()));
            assert!(std::panic::catch_unwind(again).is_err(), "a lie goes unnoticed");
        }
    }
}
