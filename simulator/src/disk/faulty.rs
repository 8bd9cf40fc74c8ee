//! A directory in the hands of a process: every call may wait, before or after it has done its
//! work, and may fail.

use super::{Call, Platter};
use doorbuster_engine::storage::{Entry, Fault, File, MemoryDisk, MemoryFile, Mode, Storage};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// The directory of a partition.
#[derive(Clone)]
pub struct SimDisk {
    platter: Platter,
    /// Failed syncs of the directory that its holder was told of.
    told: Rc<Cell<u64>>,
}

/// A file of it.
pub struct SimFile {
    platter: Platter,
    file: MemoryFile,
}

/// EIO.
const EIO: i32 = 5;

impl Platter {
    fn fails(&self, probability: f64) -> bool {
        self.chance.hits(probability) && self.world.is_faulty()
    }

    /// Decides whether the next call fails. What [`MemoryDisk`] does not fail itself is an error
    /// here, and then nothing was done.
    pub(super) fn strike(&self, call: Call) -> io::Result<()> {
        let dials = &self.world.dials().disk;
        // Faults are counted since the last reset.
        self.memory.reset();
        let fault = match call {
            Call::Other | Call::Read if self.fails(dials.error) => {
                self.tell("other calls failed");
                self.has_failed.set(true);
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Call::Rename if self.fails(dials.rename_error) => (Fault::Rename(1), "renames failed"),
            Call::Write if self.fails(dials.short_write) => (Fault::ShortWrite(1), "short writes"),
            Call::Write if self.fails(dials.write_error) => (Fault::Write(1), "writes failed"),
            Call::Sync if self.fails(dials.sync_error) => (Fault::Sync(1), "syncs failed"),
            Call::SyncDirectory if self.fails(dials.directory_sync_error) => {
                (Fault::Sync(1), "syncs of a directory failed")
            }
            _ => return Ok(()),
        };
        let (fault, what) = fault;
        self.tell(what);
        self.has_failed.set(true);
        if call == Call::SyncDirectory {
            self.failed_directory_syncs.set(self.failed_directory_syncs.get() + 1);
        }
        self.memory.inject(fault);
        Ok(())
    }

    /// What came of a call: whether the disk was too full for it.
    pub(super) fn done<T>(&self, done: io::Result<T>) -> io::Result<T> {
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        if done.as_ref().is_err_and(is_full) {
            self.tell("calls without space");
            self.has_failed.set(true);
        }
        done
    }

    /// Reads a file from front to end, for whoever does not wait.
    pub(super) fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        self.strike(Call::Read)?;
        let mut bytes = Vec::new();
        self.memory.read_blocking(name)?.read_to_end(&mut bytes)?;
        self.misread(&mut bytes);
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    /// One bit of what was read may be another.
    pub(super) fn misread(&self, read: &mut [u8]) {
        if read.is_empty() || !self.fails(self.world.dials().disk.misread) {
            return;
        }
        // Files are mostly zeros; what matters stands in front of them.
        let used = read.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let place = self.chance.below(used as u64) as usize;
        read[place] ^= 1 << self.chance.below(8);
        self.was_misread.set(true);
        self.has_failed.set(true);
        self.tell("misread bits");
    }

    /// Something of this directory goes wrong.
    pub(super) fn tell(&self, what: &'static str) {
        self.world.count(what);
        self.world.line(&self.name, format_args!("{what}"));
    }

    /// How long a call takes, and whether its work is done at the beginning or at the end of that.
    fn delay(&self, call: Call) -> (Option<Duration>, bool) {
        let dials = &self.world.dials().disk;
        let delay = self.chance.delay(dials.delay_max);
        let mut delay = self.chance.hits(dials.delayed).then_some(delay);
        if matches!(call, Call::Sync | Call::SyncDirectory) && self.fails(dials.slow_sync) {
            delay = Some(self.chance.delay(dials.slow_sync_max));
            self.tell("slow syncs");
        }
        (delay, self.chance.hits(0.5))
    }

    async fn run<T>(&self, call: Call, work: impl AsyncFnOnce() -> io::Result<T>) -> io::Result<T> {
        let (delay, is_done_first) = self.delay(call);
        if !is_done_first {
            wait(delay).await;
        }
        // Nothing comes between the decision and the work: the disk in memory does not wait.
        self.strike(call)?;
        let done = self.done(work().await);
        if is_done_first {
            wait(delay).await;
        }
        done
    }
}

async fn wait(delay: Option<Duration>) {
    match delay {
        None => {}
        Some(Duration::ZERO) => tokio::task::yield_now().await,
        Some(delay) => tokio::time::sleep(delay).await,
    }
}

impl SimDisk {
    pub(super) fn new(platter: Platter) -> Self {
        Self { platter, told: Rc::default() }
    }
    fn memory(&self) -> &MemoryDisk {
        &self.platter.memory
    }
    fn file(&self, file: MemoryFile) -> SimFile {
        SimFile { platter: self.platter.clone(), file }
    }
}

impl Storage for SimDisk {
    type File = SimFile;

    fn path(&self) -> &Path {
        self.memory().path()
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        self.platter.run(Call::Other, async || self.memory().list().await).await
    }
    async fn open(&self, name: &str, mode: Mode) -> io::Result<SimFile> {
        let open = async || self.memory().open(name, mode).await;
        self.platter.run(Call::Other, open).await.map(|file| self.file(file))
    }
    async fn create(&self, name: &str) -> io::Result<SimFile> {
        let create = async || self.memory().create(name).await;
        self.platter.run(Call::Other, create).await.map(|file| self.file(file))
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.platter.world.line(&self.platter.name, format_args!("rename {from} {to}"));
        self.platter.run(Call::Rename, async || self.memory().rename(from, to).await).await
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        self.platter.world.line(&self.platter.name, format_args!("remove {name}"));
        self.platter.run(Call::Other, async || self.memory().remove(name).await).await
    }
    async fn sync_directory(&self) -> io::Result<()> {
        let sync = async || {
            // It was opened before, so that it hears of a sync that failed for somebody else.
            let failed = self.platter.failed_directory_syncs.get();
            if self.told.replace(failed) < failed {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            self.memory().sync_directory().await
        };
        self.platter.run(Call::SyncDirectory, sync).await
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        self.platter.read_blocking(name)
    }
}

impl File for SimFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        self.file.buffer(bytes)
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let read = async || {
            let bytes = self.file.read_at(offset, into).await?;
            self.platter.misread(&mut into[..bytes]);
            Ok(bytes)
        };
        self.platter.run(Call::Read, read).await
    }
    async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<usize> {
        let (bytes, platter) = (buffer.len(), &self.platter);
        platter.world.line(&platter.name, format_args!("write {bytes} at {offset}"));
        platter.run(Call::Write, async || self.file.write_at(buffer, offset).await).await
    }
    async fn sync(&self) -> io::Result<()> {
        self.platter.run(Call::Sync, async || self.file.sync().await).await
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.platter.run(Call::Other, async || self.file.reserve(bytes).await).await
    }
    async fn size(&self) -> io::Result<u64> {
        self.platter.run(Call::Other, async || self.file.size().await).await
    }
}
