//! What a [`MemoryDisk`](super::MemoryDisk) knows: of each file what is written and what is durable,
//! of each directory which names are, and what is to go wrong.

use super::fault::{Failure, Faults};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The unit in which it is known what is durable.
pub(super) const SECTOR: usize = 512;
/// The directory that every other one is in.
pub(super) const ROOT: u64 = 0;

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) written: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors whose written and durable content may differ.
    pub(super) dirty: BTreeSet<usize>,
    /// Sectors that a failed sync gave up: they read as they were written, as long as the machine
    /// runs, and no later sync brings them to the device.
    pub(super) lost: BTreeSet<usize>,
    pub(super) length_is_dirty: bool,
    pub(super) sync_failed: bool,
}

impl Content {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { written: bytes.clone(), durable: bytes, ..Self::default() }
    }

    pub(super) fn write(&mut self, start: usize, bytes: &[u8]) {
        let end = start + bytes.len();
        if self.written.len() < end {
            self.written.resize(end, 0);
            self.length_is_dirty = true;
        }
        self.written[start..end].copy_from_slice(bytes);
        let sectors = start / SECTOR..end.div_ceil(SECTOR);
        self.lost.retain(|sector| !sectors.contains(sector));
        self.dirty.extend(sectors);
    }

    pub(super) fn sync(&mut self) {
        self.length_is_dirty = false;
        self.durable.resize(self.written.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.written.len());
            self.durable[start..end].copy_from_slice(&self.written[start..end]);
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Directory(u64),
}

pub(super) type Names = BTreeMap<String, Node>;

/// A change of a name, and of what. A later file of the same name has nothing to do with it, also
/// when changes reach the disk in part and in another order.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Created(String, Node),
    Renamed(String, String, Node),
    Removed(String, Node),
}

impl Change {
    fn node(&self) -> &Node {
        match self {
            Self::Created(_, node) | Self::Renamed(_, _, node) | Self::Removed(_, node) => node,
        }
    }
    fn file(&self) -> Option<u64> {
        match self {
            Self::Created(_, Node::File(file))
            | Self::Renamed(_, _, Node::File(file))
            | Self::Removed(_, Node::File(file)) => Some(*file),
            _ => None,
        }
    }
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Created(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Renamed(from, to, node) => {
                take_out(names, from, *node);
                names.insert(to.clone(), *node);
            }
            Self::Removed(name, node) => take_out(names, name, *node),
        }
    }
}

fn take_out(names: &mut Names, name: &str, node: Node) {
    if names.get(name) == Some(&node) {
        names.remove(name);
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) names: Names,
    pub(super) durable: Names,
    /// Changes of names since the last sync, in order.
    pub(super) unsynced: Vec<Change>,
    pub(super) sync_failed: bool,
}

impl Directory {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }
    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.durable = self.names.clone();
    }
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<u64, Content>,
    pub(super) directories: BTreeMap<u64, Directory>,
    /// Of files and directories alike.
    pub(super) next_node: u64,
    pub(super) faults: Faults,
    pub(super) powered_off: bool,
    pub(super) space: Option<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            directories: BTreeMap::from([(ROOT, Directory::default())]),
            next_node: ROOT + 1,
            faults: Faults::default(),
            powered_off: false,
            space: None,
        }
    }
}

pub(super) fn power_lost() -> io::Error {
    io::Error::other("the power is out")
}

impl Disk {
    /// Counts a call of any kind; what is to go wrong in it.
    pub(super) fn call(&mut self) -> io::Result<Option<Failure>> {
        if self.powered_off {
            return Err(power_lost());
        }
        Ok(self.faults.call())
    }
    /// Counts a change of any kind. `Ok(true)`: the power goes out in this one.
    pub(super) fn change(&mut self) -> io::Result<bool> {
        if self.powered_off {
            return Err(power_lost());
        }
        self.powered_off = self.faults.change();
        Ok(self.powered_off)
    }

    pub(super) fn used(&self) -> u64 {
        let names = self.directories.values().flat_map(|directory| directory.names.values());
        names
            .map(|node| match node {
                Node::File(file) => self.files[file].written.len() as u64,
                Node::Directory(_) => 0,
            })
            .sum()
    }
    /// How many of the bytes up to `end` of a file there is room for.
    pub(super) fn end_within_space(&self, file: u64, end: u64) -> u64 {
        let length = self.files.get(&file).map_or(0, |content| content.written.len() as u64);
        match self.space {
            Some(space) if end > length => {
                end.min(length + space.saturating_sub(self.used())).max(length)
            }
            _ => end,
        }
    }

    /// The directory that `path`, from the root, leads to.
    pub(super) fn directory(&self, path: &[String]) -> io::Result<u64> {
        path.iter().try_fold(ROOT, |directory, name| {
            match self.directories[&directory].names.get(name) {
                Some(Node::Directory(found)) => Ok(*found),
                Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
    pub(super) fn at(&mut self, path: &[String]) -> io::Result<&mut Directory> {
        let directory = self.directory(path)?;
        Ok(self.directories.get_mut(&directory).expect("a name has a directory"))
    }
    pub(super) fn file(&self, path: &[String], name: &str) -> io::Result<u64> {
        match self.directories[&self.directory(path)?].names.get(name) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    pub(super) fn add(&mut self, path: &[String], name: &str, is_file: bool) -> io::Result<u64> {
        let number = self.next_node;
        let node = if is_file { Node::File(number) } else { Node::Directory(number) };
        self.at(path)?.change(Change::Created(name.to_owned(), node));
        self.next_node += 1;
        if is_file {
            self.files.insert(number, Content::default());
        } else {
            self.directories.insert(number, Directory::default());
        }
        Ok(number)
    }
    /// Takes everything out of a directory, and out of those in it.
    pub(super) fn empty(&mut self, directory: u64) {
        let names = self.directories[&directory].names.clone();
        for (name, node) in names {
            if let Node::Directory(inner) = node {
                self.empty(inner);
            }
            let directory = self.directories.get_mut(&directory).expect("it was just there");
            directory.change(Change::Removed(name, node));
        }
    }

    /// A copy, but for the files that no name can lead to any more.
    pub(super) fn without_forgotten(&self) -> Self {
        let mut known = BTreeSet::new();
        for directory in self.directories.values() {
            let nodes = directory.names.values().chain(directory.durable.values());
            known.extend(nodes.filter_map(|node| match node {
                Node::File(file) => Some(*file),
                Node::Directory(_) => None,
            }));
            known.extend(directory.unsynced.iter().filter_map(Change::file));
        }
        let files = self.files.iter().filter(|(file, _)| known.contains(file));
        Self {
            files: files.map(|(file, content)| (*file, content.clone())).collect(),
            directories: self.directories.clone(),
            faults: self.faults.clone(),
            ..*self
        }
    }

    /// Forgets the files and directories that no name leads to, nor would after a crash.
    pub(super) fn sweep(&mut self) {
        let mut files = BTreeSet::new();
        let mut directories = BTreeSet::from([ROOT]);
        let mut left = vec![ROOT];
        while let Some(directory) = left.pop() {
            let Directory { names, durable, unsynced, .. } = &self.directories[&directory];
            let changed = unsynced.iter().map(Change::node);
            for node in names.values().chain(durable.values()).chain(changed) {
                match node {
                    Node::File(file) => drop(files.insert(*file)),
                    Node::Directory(inner) if directories.insert(*inner) => left.push(*inner),
                    Node::Directory(_) => {}
                }
            }
        }
        self.files.retain(|file, _| files.contains(file));
        self.directories.retain(|directory, _| directories.contains(directory));
    }
}
