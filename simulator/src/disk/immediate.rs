//! The directory of a partition for a snapshot job: no call waits, so the job runs to its end in one
//! turn. To be killed in the middle all the same, it can be told after how many calls the process
//! ends: from then on every call fails and nothing happens any more.

use super::{Call, Platter};
use doorbuster_engine::storage::{
    Entry, File, Immediate, MemoryFile, Mode, Storage, run_immediate,
};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// The directory.
#[derive(Clone)]
pub struct SnapshotDisk {
    platter: Platter,
    /// Calls that are left.
    calls: Rc<Cell<Option<u64>>>,
}

/// A file of it.
pub struct SnapshotFile {
    disk: SnapshotDisk,
    file: MemoryFile,
}

impl SnapshotDisk {
    pub(super) fn new(platter: Platter) -> Self {
        Self { platter, calls: Rc::default() }
    }
    /// The process that uses it ends after so many calls.
    pub fn end_after(&self, calls: u64) {
        self.calls.set(Some(calls));
    }
    /// Whether that came to pass: the process has to be killed now.
    pub fn has_ended(&self) -> bool {
        self.calls.get() == Some(0)
    }

    /// Counts a call; an error when the process has ended.
    fn spend(&self) -> io::Result<()> {
        if let Some(calls) = self.calls.get() {
            self.calls.set(Some(calls.saturating_sub(1)));
            if calls <= 1 {
                return Err(io::Error::other("the process has ended"));
            }
        }
        Ok(())
    }
    fn run<T>(&self, call: Call, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        self.spend()?;
        self.platter.strike(call)?;
        self.platter.done(run_immediate(work))
    }
    fn file(&self, file: MemoryFile) -> SnapshotFile {
        SnapshotFile { disk: self.clone(), file }
    }
}

impl Immediate for SnapshotDisk {}

impl Storage for SnapshotDisk {
    type File = SnapshotFile;

    fn path(&self) -> &Path {
        self.platter.memory.path()
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        self.run(Call::Other, self.platter.memory.list())
    }
    async fn open(&self, name: &str, mode: Mode) -> io::Result<SnapshotFile> {
        self.run(Call::Other, self.platter.memory.open(name, mode)).map(|file| self.file(file))
    }
    async fn create(&self, name: &str) -> io::Result<SnapshotFile> {
        self.run(Call::Other, self.platter.memory.create(name)).map(|file| self.file(file))
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.run(Call::Rename, self.platter.memory.rename(from, to))
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        self.run(Call::Other, self.platter.memory.remove(name))
    }
    async fn sync_directory(&self) -> io::Result<()> {
        self.run(Call::SyncDirectory, self.platter.memory.sync_directory())
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        self.spend()?;
        self.platter.read_blocking(name)
    }
}

impl File for SnapshotFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        self.file.buffer(bytes)
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.disk.run(Call::Read, self.file.read_at(offset, into))?;
        self.disk.platter.misread(&mut into[..bytes]);
        Ok(bytes)
    }
    async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<usize> {
        self.disk.run(Call::Write, self.file.write_at(buffer, offset))
    }
    async fn sync(&self) -> io::Result<()> {
        self.disk.run(Call::Sync, self.file.sync())
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.disk.run(Call::Other, self.file.reserve(bytes))
    }
    async fn size(&self) -> io::Result<u64> {
        self.disk.run(Call::Other, self.file.size())
    }
}
