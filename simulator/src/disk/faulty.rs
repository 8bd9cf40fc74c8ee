//! A directory in the hands of a process: every call may wait, before or after it has done its
//! work, and may fail.

use super::{Call, Platter};
use doorbuster_engine::storage::{Entry, Fault, File, MemoryDisk, MemoryFile, Mode, Storage};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The directory of a partition.
#[derive(Clone)]
pub struct SimDisk {
    platter: Platter,
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
        let fails = self.fails(dials.error);
        let fault = match call {
            Call::Other if fails => {
                self.tell("an error");
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Call::Rename => fails.then_some((Fault::Rename(1), "a rename fails")),
            Call::Write if self.fails(dials.short_write) => {
                Some((Fault::ShortWrite(1), "a short write"))
            }
            Call::Write => fails.then_some((Fault::Write(1), "a write fails")),
            Call::Sync => self.fails(dials.sync_error).then_some((Fault::Sync(1), "a sync fails")),
            Call::Other | Call::SyncDirectory => None,
        };
        if let Some((fault, what)) = fault {
            self.tell(what);
            self.memory.inject(fault);
        }
        Ok(())
    }

    pub(super) fn tell(&self, what: &'static str) {
        self.world.count("disk faults");
        self.world.line(&self.name, format_args!("{what}"));
    }

    /// How long a call takes, and whether its work is done at the beginning or at the end of that.
    fn delay(&self, call: Call) -> (Option<Duration>, bool) {
        let dials = &self.world.dials().disk;
        let delay = self.chance.delay(dials.delay_max);
        let mut delay = self.chance.hits(dials.delayed).then_some(delay);
        if matches!(call, Call::Sync | Call::SyncDirectory) && self.fails(dials.slow_sync) {
            delay = Some(self.chance.delay(dials.slow_sync_max));
            self.tell("a slow sync");
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
        let done = work().await;
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
        Self { platter }
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
        self.platter.run(Call::SyncDirectory, async || self.memory().sync_directory().await).await
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        self.platter.strike(Call::Other)?;
        self.memory().read_blocking(name)
    }
}

impl File for SimFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        self.file.buffer(bytes)
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.platter.run(Call::Other, async || self.file.read_at(offset, into).await).await
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
