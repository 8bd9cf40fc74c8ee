//! A disk in memory that knows what is durable: for tests of crashes and faults.
//!
//! What is written is readable at once, but only a sync makes it durable, sector by sector, and
//! only a directory sync makes names durable. [`MemoryDisk::crash`] throws away the rest, except
//! for an arbitrary subset of it: a device writes unsynced sectors in any order, or not at all.
//!
//! Faults are counted over the whole disk, from 1, since the last [`MemoryDisk::reset`]. A failed
//! sync behaves as Linux does: the file looks clean afterwards and what it lost stays lost. Syncing
//! such a file again is a bug of the caller, and panics.

use super::{Entry, File, Immediate, Mode, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit that a device writes whole or not at all.
const SECTOR: usize = 512;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The nth write fails with EIO after an arbitrary part of it.
    Write(u64),
    /// The nth write takes only half of what it is given.
    ShortWrite(u64),
    /// The nth sync, of a file or a directory, fails with EIO.
    Sync(u64),
    /// The nth rename fails with EIO.
    Rename(u64),
    /// The power goes out in the nth change of any kind: it and everything after it fails.
    Power(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors whose written and durable content may differ.
    dirty: BTreeSet<usize>,
    length_is_dirty: bool,
    sync_failed: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Created(String, u64),
    Renamed(String, String),
    Removed(String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Created(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Renamed(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Removed(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last directory sync, in order.
    unsynced: Vec<Change>,
    next_file: u64,
    faults: Vec<Fault>,
    writes: u64,
    syncs: u64,
    renames: u64,
    changes: u64,
    powered_off: bool,
    space: Option<u64>,
    directory_sync_failed: bool,
}

/// A small generator (SplitMix64), so that a seed names a crash.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

fn power_lost() -> io::Error {
    io::Error::other("the power is out")
}

impl Disk {
    fn hits(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
    /// Counts a change of any kind. `Ok(true)`: the power goes out in this one.
    fn change(&mut self) -> io::Result<bool> {
        if self.powered_off {
            return Err(power_lost());
        }
        self.changes += 1;
        if self.hits(Fault::Power(self.changes)) {
            self.powered_off = true;
        }
        Ok(self.powered_off)
    }
    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[file].written.len() as u64).sum()
    }
    /// How many of the bytes up to `end` of a file there is room for.
    fn end_within_space(&self, file: u64, end: u64) -> u64 {
        let length = self.files[&file].written.len() as u64;
        match self.space {
            Some(space) if end > length => {
                end.min(length + space.saturating_sub(self.used())).max(length)
            }
            _ => end,
        }
    }
    fn named(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn rename(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }
}

/// A directory in memory. A clone is another handle of the same one.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    path: PathBuf,
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
        Self { path: PathBuf::from("memory"), disk: Arc::default() }
    }
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
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
        let mut disk = self.lock();
        disk.faults.clear();
        (disk.writes, disk.syncs, disk.renames, disk.changes) = (0, 0, 0, 0);
    }
    /// Writes, syncs, renames and changes of any kind since the last reset.
    pub fn counts(&self) -> (u64, u64, u64, u64) {
        let disk = self.lock();
        (disk.writes, disk.syncs, disk.renames, disk.changes)
    }
    /// Flips one bit of a file, where it is durable, too.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut disk = self.lock();
        let file = disk.named(name).expect("the file to damage exists");
        let content = disk.files.get_mut(&file).expect("a name has a file");
        content.written[offset as usize] ^= 1 << bit;
        if let Some(byte) = content.durable.get_mut(offset as usize) {
            *byte ^= 1 << bit;
        }
    }
    /// Cuts a file to `bytes`, durably.
    pub fn cut(&self, name: &str, bytes: u64) {
        let mut disk = self.lock();
        let file = disk.named(name).expect("the file to cut exists");
        let content = disk.files.get_mut(&file).expect("a name has a file");
        content.written.truncate(bytes as usize);
        content.durable = content.written.clone();
        content.dirty.clear();
    }
    /// Grows a file to `bytes` with zeros, durably.
    pub fn grow(&self, name: &str, bytes: u64) {
        let mut disk = self.lock();
        let file = disk.named(name).expect("the file to grow exists");
        let content = disk.files.get_mut(&file).expect("a name has a file");
        content.written.resize(bytes as usize, 0);
        content.durable = content.written.clone();
        content.dirty.clear();
    }
    /// The whole content of a file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let disk = self.lock();
        let file = disk.named(name).expect("the file to read exists");
        disk.files[&file].written.clone()
    }
    /// A second disk with the same content, all of it durable, and no faults.
    pub fn duplicate(&self) -> Self {
        let disk = self.lock();
        let mut copy = Disk { next_file: disk.next_file, ..Disk::default() };
        copy.names.clone_from(&disk.names);
        copy.durable_names.clone_from(&disk.names);
        for file in disk.names.values() {
            let written = disk.files[file].written.clone();
            let content = Content { durable: written.clone(), written, ..Content::default() };
            copy.files.insert(*file, content);
        }
        Self { path: self.path.clone(), disk: Arc::new(Mutex::new(copy)) }
    }

    /// The power goes out: what was synced stays, and of the rest whatever `seed` chooses. The disk
    /// works again afterwards, without faults. Handles opened before are stale and must be dropped.
    pub fn crash(&self, seed: u64) {
        let mut disk = self.lock();
        let mut dice = Dice(seed);
        // Three kinds of crash: everything made it, nothing did, or each sector tossed a coin.
        let kind = dice.roll() % 8;
        let mut survives = || match kind {
            0 => true,
            1 => false,
            _ => dice.roll() & 1 == 1,
        };
        let mut names = std::mem::take(&mut disk.durable_names);
        for change in std::mem::take(&mut disk.unsynced) {
            if survives() {
                change.apply(&mut names);
            }
        }
        for content in disk.files.values_mut() {
            let mut image = std::mem::take(&mut content.durable);
            if content.length_is_dirty && survives() {
                image.resize(content.written.len(), 0);
            }
            for sector in std::mem::take(&mut content.dirty) {
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(content.written.len());
                if start < end && survives() {
                    if image.len() < end {
                        image.resize(end, 0);
                    }
                    image[start..end].copy_from_slice(&content.written[start..end]);
                }
            }
            *content = Content { written: image.clone(), durable: image, ..Content::default() };
        }
        let kept: BTreeSet<u64> = names.values().copied().collect();
        disk.files.retain(|file, _| kept.contains(file));
        disk.names.clone_from(&names);
        disk.durable_names = names;
        disk.faults.clear();
        disk.powered_off = false;
        disk.directory_sync_failed = false;
        (disk.writes, disk.syncs, disk.renames, disk.changes) = (0, 0, 0, 0);
    }
}

impl Immediate for MemoryDisk {}

impl Storage for MemoryDisk {
    type File = MemoryFile;

    fn path(&self) -> &Path {
        &self.path
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        let disk = self.lock();
        let entry = |(name, file): (&String, &u64)| Entry {
            name: name.clone(),
            bytes: disk.files[file].written.len() as u64,
        };
        Ok(disk.names.iter().map(entry).collect())
    }
    async fn open(&self, name: &str, _mode: Mode) -> io::Result<MemoryFile> {
        let file = self.lock().named(name)?;
        Ok(MemoryFile { disk: self.clone(), file })
    }
    async fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut disk = self.lock();
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let off = disk.change()?;
        disk.next_file += 1;
        let file = disk.next_file;
        disk.files.insert(file, Content::default());
        disk.rename(Change::Created(name.to_owned(), file));
        if off { Err(power_lost()) } else { Ok(MemoryFile { disk: self.clone(), file }) }
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.named(from)?;
        let off = disk.change()?;
        disk.renames += 1;
        if disk.hits(Fault::Rename(disk.renames)) {
            return Err(eio());
        }
        disk.rename(Change::Renamed(from.to_owned(), to.to_owned()));
        if off { Err(power_lost()) } else { Ok(()) }
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.named(name)?;
        let off = disk.change()?;
        disk.rename(Change::Removed(name.to_owned()));
        if off { Err(power_lost()) } else { Ok(()) }
    }
    async fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.lock();
        assert!(!disk.directory_sync_failed, "a second sync after a failed one lies");
        if disk.change()? {
            return Err(power_lost());
        }
        disk.syncs += 1;
        if disk.hits(Fault::Sync(disk.syncs)) {
            disk.directory_sync_failed = true;
            return Err(eio());
        }
        disk.unsynced.clear();
        disk.durable_names = disk.names.clone();
        Ok(())
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        let disk = self.lock();
        let file = disk.named(name)?;
        Ok(Box::new(io::Cursor::new(disk.files[&file].written.clone())))
    }
}

/// A file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    file: u64,
}

impl File for MemoryFile {
    type Buffer = Vec<u8>;

    /// Filled with a pattern, so that a caller that leaves bytes unset is found out.
    fn buffer(&self, bytes: usize) -> Vec<u8> {
        vec![0xA5; bytes]
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let disk = self.disk.lock();
        let content = disk.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?;
        let rest = content.written.get(offset as usize..).unwrap_or(&[]);
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }
    async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let off = disk.change()?;
        disk.writes += 1;
        let fails = disk.hits(Fault::Write(disk.writes));
        let short = disk.hits(Fault::ShortWrite(disk.writes));
        let wanted = if fails || short { buffer.len() / 2 } else { buffer.len() };
        let end = disk.end_within_space(self.file, offset + wanted as u64);
        let taken = (end.saturating_sub(offset) as usize).min(wanted);
        if taken == 0 && wanted > 0 {
            return Err(enospc());
        }
        let content = disk.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        let start = offset as usize;
        if content.written.len() < start + taken {
            content.written.resize(start + taken, 0);
            content.length_is_dirty = true;
        }
        content.written[start..start + taken].copy_from_slice(&buffer[..taken]);
        content.dirty.extend(start / SECTOR..(start + taken).div_ceil(SECTOR));
        match () {
            () if off => Err(power_lost()),
            () if fails => Err(eio()),
            () => Ok(taken),
        }
    }
    async fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.change()? {
            return Err(power_lost());
        }
        disk.syncs += 1;
        let fails = disk.hits(Fault::Sync(disk.syncs));
        let content = disk.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        assert!(!content.sync_failed, "a second sync after a failed one lies");
        if fails {
            content.sync_failed = true;
            return Err(eio());
        }
        let Content { written, durable, dirty, length_is_dirty, .. } = content;
        *length_is_dirty = false;
        durable.resize(written.len(), 0);
        for sector in std::mem::take(dirty) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(written.len());
            durable[start..end].copy_from_slice(&written[start..end]);
        }
        Ok(())
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        let disk = self.disk.lock();
        let length = disk.files.get(&self.file).map_or(0, |content| content.written.len() as u64);
        match disk.space {
            Some(space) if bytes > length && bytes - length > space.saturating_sub(disk.used()) => {
                Err(enospc())
            }
            _ => Ok(()),
        }
    }
    async fn size(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?.written.len() as u64)
    }
}
