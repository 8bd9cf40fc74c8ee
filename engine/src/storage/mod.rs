//! The seam between the log and a disk: a directory of files, and what is durable when.
//!
//! | implementation | where it is used |
//! |---|---|
//! | [`GlommioDisk`] | the engine's cores: direct I/O over `io_uring`, with a buffered fallback |
//! | [`StdDisk`] | tools and the snapshot thread: blocking calls, futures ready at once |
//! | [`MemoryDisk`] | tests: knows what was written and what is durable, and fails on request |
//!
//! What the log may rely on, and nothing more: a write is durable after a [`File::sync`] that began
//! after it ended, or when it went through [`File::write_durable`]; a new name, a rename or a
//! removal is durable after [`Storage::sync_directory`]. After a failed write or sync of a file
//! nothing is known about it, and it must not be synced again: the kernel has forgotten the pages.

mod glommio_disk;
mod in_flight;
mod memory_disk;
mod read_ahead;
mod shelf;
mod std_disk;

pub use glommio_disk::{
    DirectFile, GlommioBuffer, GlommioDisk, GlommioFile, PROBE_THREAD, WriteMode,
};
pub(crate) use in_flight::wait as wait_for_writes_in_flight;
pub use memory_disk::{Crashed, Failure, Fault, MemoryDisk, MemoryFile, Survivors};
pub use shelf::start_shelf_writer;
pub use std_disk::{StdDisk, StdFile};

use crate::state_machine::Shelf;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Offsets and lengths of writes are multiples of this many bytes.
pub const BLOCK: u64 = 4096;

/// Rounds up to a whole [`BLOCK`].
pub const fn block_up(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK) * BLOCK
}

/// Rounds down to a whole [`BLOCK`].
pub const fn block_down(bytes: u64) -> u64 {
    bytes - bytes % BLOCK
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

/// One file of a directory, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// One directory of files. A clone is another handle of the same directory.
///
/// The futures need not be `Send`: whoever opens a file stays on its thread.
#[allow(async_fn_in_trait)]
pub trait Storage: Clone + 'static {
    /// A file of this directory.
    type File: File;

    /// Where the directory is, for messages.
    fn path(&self) -> &Path;
    /// Every file in it, in no order.
    async fn list(&self) -> io::Result<Vec<Entry>>;
    /// Opens a file that exists.
    async fn open(&self, name: &str, mode: Mode) -> io::Result<Self::File>;
    /// Makes a new file for [`Mode::Write`]; an error when the name is taken.
    async fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name; what had that name before is gone.
    async fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    async fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    async fn sync_directory(&self) -> io::Result<()>;
    /// Reads a file from front to end with blocking calls: for snapshots, at start only.
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>>;
    /// Where receipts lie that leave memory, until the process ends; `None`: they stay in memory.
    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        None
    }
    /// Has the system forget, where it can, what it remembers of a synced file, so that who reads it
    /// next sees what the device has.
    fn forget_cached(&self, _name: &str) {}
}

/// An open file.
#[allow(async_fn_in_trait)]
pub trait File: 'static {
    /// Memory that a write can take as it is.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;

    /// A buffer of `bytes` bytes, of any content. For files of the log a multiple of [`BLOCK`].
    fn buffer(&self, bytes: usize) -> Self::Buffer;
    /// Reads into `into` until it is full or the file ends, and says how many bytes.
    /// Offset and length are multiples of [`BLOCK`].
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Says that it will be read from front to end, and that nobody writes to it meanwhile: a disk may
    /// then read ahead. A read that does not go on where the last one ended is a fresh one, always.
    fn read_on(&self) {}
    /// Writes, and says how many bytes: fewer than given is what a full device does.
    async fn write_at(&self, buffer: Self::Buffer, offset: u64) -> io::Result<usize>;
    /// Makes what was written before durable.
    async fn sync(&self) -> io::Result<()>;
    /// Writes all of `buffer` and makes it durable; a short write is an error.
    async fn write_durable(&self, buffer: Self::Buffer, offset: u64) -> io::Result<()> {
        let expected = buffer.as_ref().len();
        let written = self.write_at(buffer, offset).await?;
        // Before the sync: a sync of half a frame would claim what it did not do.
        check_complete(written, expected)?;
        self.sync().await
    }
    /// Reserves space up to `bytes` without changing the length, so that a full disk shows here.
    async fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Its length in bytes.
    async fn size(&self) -> io::Result<u64>;
}

/// A disk whose futures are ready at the first poll, so that plain threads can use it.
pub trait Immediate: Storage {}

/// A directory that others are in, and that is in another: what a data directory is made with.
pub trait Tree: Immediate {
    /// The directory `name` in this one, whether or not it is there.
    fn directory(&self, name: &str) -> Self;
    /// The directory that this one is in; none for the first one of its file system. This one must
    /// be there.
    fn above(&self) -> io::Result<Option<Self>>;
    /// Every name in this directory, in no order; none when it is not there.
    fn names(&self) -> io::Result<Option<Vec<String>>>;
    /// Makes this directory, in one that is there; an error when its name is taken.
    fn make(&self) -> io::Result<()>;
    /// Removes this directory and everything in it.
    fn remove_all(&self) -> io::Result<()>;
}

/// An error unless all of a write was taken.
pub(crate) fn check_complete(written: usize, expected: usize) -> io::Result<()> {
    if written == expected {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::WriteZero,
        format!("only {written} of {expected} bytes were taken"),
    ))
}

/// What a disk that refuses something is short of: nothing was changed, and later it may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Space, or what a quota leaves of it.
    Space,
    /// Files that the process, or the system, may have open.
    Files,
}

/// What an error says there is too little of; `None` when that is not what it says.
pub fn shortage(error: &io::Error) -> Option<Shortage> {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => Some(Shortage::Space),
        (_, Some(libc::EMFILE | libc::ENFILE)) => Some(Shortage::Files),
        _ => None,
    }
}

/// Runs a future over an [`Immediate`] disk. Panics when it would have to wait.
pub fn run_immediate<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an immediate disk had to wait"),
    }
}
