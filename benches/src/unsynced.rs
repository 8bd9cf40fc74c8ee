//! The engine's disk, and the same without sync: what is measured against each other is the same
//! code, but for the one call. It lives here, as the product has no way to leave a sync out.

use doorbuster_engine::state_machine::Shelf;
use doorbuster_engine::storage::{Entry, File, GlommioBuffer, GlommioDisk, GlommioFile};
use doorbuster_engine::storage::{Mode, Storage};
use std::io;
use std::path::Path;

/// Whether files are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncing {
    /// As the product does.
    On,
    /// A write counts as durable when the device has taken it.
    Off,
}

/// A directory through glommio.
#[derive(Clone, Debug)]
pub(crate) struct BenchDisk {
    pub(crate) disk: GlommioDisk,
    pub(crate) syncing: Syncing,
}

/// A file of it.
#[derive(Debug)]
pub(crate) struct BenchFile {
    file: GlommioFile,
    syncing: Syncing,
}

impl BenchDisk {
    fn file(&self, file: GlommioFile) -> BenchFile {
        BenchFile { file, syncing: self.syncing }
    }
}

impl Storage for BenchDisk {
    type File = BenchFile;

    fn path(&self) -> &Path {
        self.disk.path()
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        self.disk.list().await
    }
    async fn open(&self, name: &str, mode: Mode) -> io::Result<BenchFile> {
        Ok(self.file(self.disk.open(name, mode).await?))
    }
    async fn create(&self, name: &str) -> io::Result<BenchFile> {
        Ok(self.file(self.disk.create(name).await?))
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to).await
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name).await
    }
    async fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory().await
    }
    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        self.disk.shelf()
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        self.disk.read_blocking(name)
    }
    fn forget_cached(&self, name: &str) {
        self.disk.forget_cached(name);
    }
}

impl File for BenchFile {
    type Buffer = GlommioBuffer;

    fn buffer(&self, bytes: usize) -> GlommioBuffer {
        self.file.buffer(bytes)
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into).await
    }
    async fn write_at(&self, buffer: GlommioBuffer, offset: u64) -> io::Result<usize> {
        self.file.write_at(buffer, offset).await
    }
    async fn sync(&self) -> io::Result<()> {
        match self.syncing {
            Syncing::On => self.file.sync().await,
            Syncing::Off => Ok(()),
        }
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.file.reserve(bytes).await
    }
    async fn size(&self) -> io::Result<u64> {
        self.file.size().await
    }
}
