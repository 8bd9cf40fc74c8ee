//! A partition's directory through glommio: direct I/O over `io_uring` where the disk allows it.
//!
//! A durable write is a direct write and an fdatasync. It was raced against one direct write with
//! `O_DSYNC`, through glommio 0.9, on this project's reference machine (2 cores, ext4 on virtio,
//! kernel 6.18, preallocated zeroed files). Medians, the second of each pair with two threads that
//! keep both cores busy:
//!
//! | bytes | direct + fdatasync | direct, `O_DSYNC` | buffered + fdatasync |
//! |---|---|---|---|
//! | 4 KiB | 145 µs · 138 µs | 122 µs · 4.0 ms | 148 µs · 143 µs |
//! | 64 KiB | 170 µs · 159 µs | 141 µs · 4.0 ms | 185 µs · 193 µs |
//! | 256 KiB | 226 µs | 214 µs | 302 µs |
//! | 1 MiB | 452 µs | 424 µs | 748 µs |
//!
//! `O_DSYNC` saves a trip through the ring, but the kernel finishes it on a work queue, which waits
//! for a time slice when the cores are busy; and a sale that matters keeps them busy. fdatasync
//! runs on a worker of the ring, which is woken at once.
//!
//! Where direct I/O is not to be had (tmpfs, some network and overlay file systems, devices that
//! glommio cannot read in sysfs) writes go through the page cache, with the same fdatasync;
//! [`GlommioDisk::probe`] decides once, before any core starts.

use super::read_ahead::ReadAhead;
use super::shelf::FileShelf;
use super::{Entry, File, Mode, Storage, block_down, in_flight, std_disk};
use crate::state_machine::Shelf;
use doorbuster_protocol::PartitionId;
use glommio::io::{BufferedFile, Directory, DmaBuffer, DmaFile, OpenOptions};
use glommio::{GlommioError, LocalExecutorBuilder, Placement};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What the name of the thread that tries direct I/O begins with (glommio adds a number). A panic
/// in it says only that direct I/O is not to be had: a panic hook that ends the process must let
/// this thread be.
pub const PROBE_THREAD: &str = "disk-probe";

/// How log files are written and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Direct writes, each followed by an fdatasync.
    Direct,
    /// Writes through the page cache, each followed by an fdatasync: slower, as durable.
    Buffered,
}

impl fmt::Display for WriteMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct I/O with fdatasync",
            Self::Buffered => "buffered writes with fdatasync",
        })
    }
}

/// A directory, used from inside a glommio executor.
#[derive(Clone, Debug)]
pub struct GlommioDisk {
    path: PathBuf,
    mode: WriteMode,
    /// Open since its first sync, so that a rotation needs no descriptor that it might not get.
    directory: Rc<OnceCell<Directory>>,
}

impl GlommioDisk {
    /// The directory of `partition` in the data directory at `root`.
    pub fn open(root: &Path, partition: PartitionId, mode: WriteMode) -> Self {
        Self::at(crate::directory::partition_path(root, partition), mode)
    }
    /// The directory at `path`, which must exist when it is used.
    pub fn at(path: impl Into<PathBuf>, mode: WriteMode) -> Self {
        let path = path.into();
        // glommio opens relative to no directory at all.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { path, mode, directory: Rc::default() }
    }

    /// Finds out whether files under `path` can be written directly, by doing it once.
    ///
    /// Runs on a thread of its own, because glommio panics on devices whose sysfs entries it does
    /// not understand.
    pub fn probe(path: &Path) -> WriteMode {
        match std::path::absolute(path).map_err(|e| e.to_string()).and_then(|path| probe(&path)) {
            Ok(()) => WriteMode::Direct,
            Err(why) => {
                tracing::warn!(
                    path = %path.display(), why,
                    "no direct I/O here; writing through the page cache with fdatasync instead"
                );
                WriteMode::Buffered
            }
        }
    }
}

fn probe(path: &Path) -> Result<(), String> {
    let filesystem = rustix::fs::statfs(path).map_err(|error| error.to_string())?;
    if filesystem.f_type as i64 == libc::TMPFS_MAGIC {
        return Err("tmpfs ignores O_DIRECT".to_owned());
    }
    check_sysfs(path)?;
    let file = path.join(format!(".probe-{}", std::process::id()));
    let written = file.clone();
    let thread = LocalExecutorBuilder::new(Placement::Unbound)
        .name(PROBE_THREAD)
        .spawn(move || async move { try_direct(&written).await })
        .map_err(|error| error.to_string())?;
    let tried = thread.join();
    let _ = fs::remove_file(&file);
    match tried {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn try_direct(path: &Path) -> io::Result<()> {
    const BYTES: usize = super::BLOCK as usize;
    fill_in(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let file = options.dma_open(path).await.map_err(plain)?;
    if !super::BLOCK.is_multiple_of(file.alignment()) {
        return Err(io::Error::other("the device's blocks are larger than 4 KiB"));
    }
    let mut buffer = file.alloc_dma_buffer(BYTES);
    buffer.as_bytes_mut().fill(0x5A);
    let written = file.write_at(buffer, 0).await.map_err(plain)?;
    let read = file.read_at_aligned(0, BYTES).await.map_err(plain)?;
    let same = written == BYTES && read.len() == BYTES && read.iter().all(|byte| *byte == 0x5A);
    drop(read);
    file.close().await.map_err(plain)?;
    if same { Ok(()) } else { Err(io::Error::other("what was written did not read back")) }
}

/// Makes a file that has its first block on the device.
fn fill_in(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(&[0xA5; super::BLOCK as usize])?;
    file.sync_all()
}

thread_local! {
    /// Devices that glommio has looked at on this thread.
    static LOOKED_AT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Lets glommio look at the device of `directory` through a file that has content.
///
/// At the first file of a device, glommio 0.9 reads a block of it to find out whether the device
/// can be polled. A file that is empty or sparse there never reaches the device, glommio takes that
/// for a yes, and every later read and write of the device on this executor fails with EOPNOTSUPP.
async fn look_at_device(directory: &Path) -> io::Result<()> {
    let device = fs::metadata(directory)?.st_dev();
    if LOOKED_AT.with_borrow(|devices| devices.contains(&device)) {
        return Ok(());
    }
    let thread = glommio::executor().id();
    let path = directory.join(format!(".device-{}-{thread}", std::process::id()));
    fill_in(&path)?;
    let opened = OpenOptions::new().read(true).dma_open(&path).await;
    fs::remove_file(&path)?;
    opened.map_err(plain)?.close().await.map_err(plain)?;
    LOOKED_AT.with_borrow_mut(|devices| devices.push(device));
    Ok(())
}

/// Reads what glommio will read of the device, in the same way, but without its panics.
fn check_sysfs(path: &Path) -> Result<(), String> {
    let device = fs::metadata(path).map_err(|error| error.to_string())?.st_dev();
    let link = format!("/sys/dev/block/{}:0", rustix::fs::major(device));
    let queue = match fs::canonicalize(&link) {
        Ok(directory) => directory.join("queue"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{link}: {error}")),
    };
    let read = |name: &str| {
        fs::read_to_string(queue.join(name))
            .map_err(|error| format!("{}: {error}", queue.join(name).display()))
    };
    for name in [
        "rotational",
        "minimum_io_size",
        "optimal_io_size",
        "logical_block_size",
        "physical_block_size",
        "max_sectors_kb",
        "max_segment_size",
    ] {
        let text = read(name)?;
        text.trim_matches('\n')
            .parse::<isize>()
            .map_err(|error| format!("{}: {error}", queue.join(name).display()))?;
    }
    match read("write_cache")?.trim_matches('\n') {
        "write back" | "write through" => Ok(()),
        other => Err(format!("unknown write cache {other:?}")),
    }
}

/// The system's error, without glommio's wrapping, so that its code is kept.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn plain<T: fmt::Debug>(error: GlommioError<T>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(format!("{error:?}")),
    }
}

impl Storage for GlommioDisk {
    type File = GlommioFile;

    fn path(&self) -> &Path {
        &self.path
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        std_disk::list(&self.path)
    }
    async fn open(&self, name: &str, mode: Mode) -> io::Result<GlommioFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != Mode::Read);
        let file = self.open_with(name, &options).await?;
        if mode != Mode::Read {
            self.mark(&file, name);
        }
        Ok(file)
    }
    async fn create(&self, name: &str) -> io::Result<GlommioFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = self.open_with(name, &options).await?;
        self.mark(&file, name);
        Ok(file)
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        glommio::io::rename(self.path.join(from), self.path.join(to)).await.map_err(plain)
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        glommio::io::remove(self.path.join(name)).await.map_err(plain)
    }
    async fn sync_directory(&self) -> io::Result<()> {
        if self.directory.get().is_none() {
            let opened = Directory::open(&self.path).await.map_err(plain)?;
            if let Err(second) = self.directory.set(opened) {
                second.close().await.map_err(plain)?;
            }
        }
        let directory = self.directory.get().expect("it was opened");
        directory.sync().await.map_err(plain)
    }
    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        Some(Box::new(FileShelf::written_behind(&self.path)))
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        std_disk::StdDisk::new(&self.path).read_blocking(name)
    }
}

impl GlommioDisk {
    async fn open_with(&self, name: &str, options: &OpenOptions) -> io::Result<GlommioFile> {
        let path = self.path.join(name);
        Ok(match self.mode {
            WriteMode::Direct => {
                look_at_device(&self.path).await?;
                GlommioFile::Direct(DirectFile {
                    file: Rc::new(options.dma_open(path).await.map_err(plain)?),
                    ahead: RefCell::default(),
                })
            }
            WriteMode::Buffered => {
                GlommioFile::Buffered(options.buffered_open(path).await.map_err(plain)?)
            }
        })
    }

    fn mark(&self, file: &GlommioFile, name: &str) {
        let path = self.path.join(name);
        match file {
            GlommioFile::Direct(direct) => in_flight::mark(&*direct.file, &path),
            GlommioFile::Buffered(file) => in_flight::mark(file, &path),
        }
    }
}

/// A file of a [`GlommioDisk`].
#[derive(Debug)]
pub enum GlommioFile {
    /// Direct I/O.
    Direct(DirectFile),
    /// Through the page cache.
    Buffered(BufferedFile),
}

/// A file that is read and written directly.
#[derive(Debug)]
pub struct DirectFile {
    file: Rc<DmaFile>,
    /// What was read ahead; none unless it was said to be read on.
    ahead: RefCell<Option<ReadAhead>>,
}

impl DirectFile {
    /// The same as [`File::read_at`].
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let Some(mut ahead) = self.ahead.take() else { return self.read_here(offset, into).await };
        let mut done = 0;
        if ahead.goes_on_at(offset) {
            done = ahead.read(&self.file, into).await.map_err(plain)?;
        }
        if done < into.len() {
            done += self.read_here(offset + done as u64, &mut into[done..]).await?;
            ahead = ReadAhead::from(offset + done as u64);
        }
        self.ahead.replace(Some(ahead));
        Ok(done)
    }

    /// Reads nothing but this, now.
    async fn read_here(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            let (at, left) = (offset + done as u64, into.len() - done);
            let read = self.file.read_at_aligned(at, left).await.map_err(plain)?;
            into[done..done + read.len()].copy_from_slice(&read);
            // A direct read goes on from a whole block; less than one is the end of the file.
            let whole = block_down(read.len() as u64) as usize;
            if whole == 0 || read.len() != whole {
                done += read.len();
                break;
            }
            done += whole;
        }
        Ok(done)
    }
}

async fn read_buffered(file: &BufferedFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        let (at, left) = (offset + done as u64, into.len() - done);
        let read = file.read_at(at, left).await.map_err(plain)?;
        into[done..done + read.len()].copy_from_slice(&read);
        done += read.len();
        if read.is_empty() {
            break;
        }
    }
    Ok(done)
}

/// Memory for a write to a [`GlommioFile`].
#[derive(Debug)]
pub enum GlommioBuffer {
    /// Aligned for direct I/O.
    Direct(DmaBuffer),
    /// Anywhere.
    Buffered(Vec<u8>),
}

impl AsRef<[u8]> for GlommioBuffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Direct(buffer) => buffer.as_bytes(),
            Self::Buffered(buffer) => buffer,
        }
    }
}

impl AsMut<[u8]> for GlommioBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Direct(buffer) => buffer.as_bytes_mut(),
            Self::Buffered(buffer) => buffer,
        }
    }
}

impl File for GlommioFile {
    type Buffer = GlommioBuffer;

    fn buffer(&self, bytes: usize) -> GlommioBuffer {
        match self {
            Self::Direct(direct) => GlommioBuffer::Direct(direct.file.alloc_dma_buffer(bytes)),
            Self::Buffered(_) => GlommioBuffer::Buffered(vec![0; bytes]),
        }
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Direct(direct) => direct.read_at(offset, into).await,
            Self::Buffered(file) => read_buffered(file, offset, into).await,
        }
    }
    fn read_on(&self) {
        if let Self::Direct(direct) = self {
            direct.ahead.replace(Some(ReadAhead::default()));
        }
    }
    async fn write_at(&self, buffer: GlommioBuffer, offset: u64) -> io::Result<usize> {
        match (self, buffer) {
            (Self::Direct(direct), GlommioBuffer::Direct(buffer)) => {
                direct.file.write_at(buffer, offset).await
            }
            (Self::Buffered(file), GlommioBuffer::Buffered(buffer)) => {
                file.write_at(buffer, offset).await
            }
            _ => panic!("a buffer goes to a file of the mode that it was made for"),
        }
        .map_err(plain)
    }
    async fn sync(&self) -> io::Result<()> {
        match self {
            Self::Direct(direct) => direct.file.fdatasync().await,
            Self::Buffered(file) => file.fdatasync().await,
        }
        .map_err(plain)
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        let reserved = match self {
            Self::Direct(direct) => direct.file.pre_allocate(bytes, true).await,
            Self::Buffered(file) => file.pre_allocate(bytes, true).await,
        };
        match reserved.map_err(plain) {
            // A file system that cannot reserve shows its fullness at the write instead.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            other => other,
        }
    }
    async fn size(&self) -> io::Result<u64> {
        match self {
            Self::Direct(direct) => direct.file.file_size().await,
            Self::Buffered(file) => file.file_size().await,
        }
        .map_err(plain)
    }
}
