//! Receipts out of memory: pages in a file without a name, which is gone with the process.
//!
//! A core writes nothing itself, because writing through the page cache may wait for the disk: a
//! thread does it for all of them, and until it has, a page is in memory. There it stays, too, where
//! the disk is almost full (what is left belongs to the log), where it refuses to be written, and on
//! a file system that has no files without a name. It is offered again when others come.
//!
//! Nothing here is ever synced: a restart reads the receipts from the snapshot and the log. What
//! comes back is compared with the checksum of what was given, so a disk that lies is found out.

use crate::state_machine::{PAGE_BYTES_MAX, Shelf};
use crc32c::crc32c;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of the disk that are left alone, beside what a snapshot of the same receipts needs: as many
/// bytes as lie on the shelf for itself, and as many for the shelf of whoever makes it.
const LEFT_ALONE_BYTES: u64 = 1 << 30;
/// Pages that come before one that was refused is offered again.
const REST: u32 = 64;
/// Pages that are offered, settled or given back to the disk in one go.
const AT_ONCE_MAX: usize = 64;
/// Niceness of the thread that writes: it takes what the cores leave.
const NICENESS: i32 = 19;

/// A shelf in a directory.
#[derive(Debug)]
pub(super) struct FileShelf {
    spot: Arc<Spot>,
    places: Vec<Place>,
    /// What is not known to be in the file.
    in_memory: HashMap<u32, Page>,
    /// Places whose pages were not offered yet, or refused; each stands here once.
    waiting: VecDeque<u32>,
    /// Pages that were ever put.
    serial: u64,
    /// Pages to come before the next is offered.
    rest: u32,
    /// Whether the last page was refused.
    is_refused: bool,
    /// Whether it was said that there is no room, since there last was some for all pages.
    is_told: bool,
    /// Places that were forgotten, side by side, and are to be given back to the disk.
    forgotten: Range<u32>,
    /// Who writes; `None`: whoever puts.
    writer: Option<Sender<Work>>,
    settled: (Sender<Settled>, Receiver<Settled>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Of the page that was put there.
    checksum: u32,
    is_waiting: bool,
}

#[derive(Clone, Debug)]
struct Page {
    bytes: Arc<[u8]>,
    /// A place is used again while an earlier page of it is still on its way.
    serial: u64,
}

/// What is done with the file, in this order.
enum Work {
    Write { spot: Arc<Spot>, place: u32, page: Page, settled: Sender<Settled> },
    Free { spot: Arc<Spot>, places: Range<u32> },
}

struct Settled {
    place: u32,
    serial: u64,
    written: io::Result<()>,
}

/// The thread that writes for all cores. It never ends, and owns nothing.
static WRITER: LazyLock<Sender<Work>> = LazyLock::new(|| {
    let (sender, work) = mpsc::channel::<Work>();
    std::thread::Builder::new()
        .name("receipts".to_owned())
        .spawn(move || {
            // On Linux this is the niceness of the calling thread alone.
            let _ = rustix::process::nice(NICENESS);
            work.into_iter().for_each(Work::run);
        })
        .expect("the system has a thread to give");
    sender
});

/// Starts the thread that writes receipts, unless it runs. It has the CPUs of whoever starts it, so
/// that should not be a core, which has one. Panics when the system has no thread to give.
pub fn start_shelf_writer() {
    LazyLock::force(&WRITER);
}

impl FileShelf {
    /// In `directory`, for a thread that may wait for the disk.
    pub(super) fn written_at_once(directory: &Path) -> Self {
        Self::new(Spot::new(directory, 1), None)
    }
    /// In `directory`, for a core.
    pub(super) fn written_behind(directory: &Path) -> Self {
        Self::new(Spot::new(directory, 2), Some(WRITER.clone()))
    }
    fn new(spot: Spot, writer: Option<Sender<Work>>) -> Self {
        Self {
            spot: Arc::new(spot),
            places: Vec::new(),
            in_memory: HashMap::new(),
            waiting: VecDeque::new(),
            serial: 0,
            rest: 0,
            is_refused: false,
            is_told: false,
            forgotten: 0..0,
            writer,
            settled: mpsc::channel(),
        }
    }

    fn have_done(&self, work: Work) {
        match &self.writer {
            // A writer that has ended takes nothing: then the page is in memory, and stays.
            Some(writer) => drop(writer.send(work)),
            None => work.run(),
        }
    }

    /// Offers what waits, a part at a time; after a refusal one page alone, to see how it fares.
    fn offer(&mut self) {
        let most = if self.is_refused { 1 } else { AT_ONCE_MAX };
        for _ in 0..most {
            let Some(place) = self.waiting.pop_front() else { return };
            self.places[place as usize].is_waiting = false;
            let Some(page) = self.in_memory.get(&place).cloned() else { continue };
            let (spot, settled) = (Arc::clone(&self.spot), self.settled.0.clone());
            self.have_done(Work::Write { spot, place, page, settled });
        }
    }

    /// Has the disk get back what was forgotten, before anything is put there again.
    fn give_back(&mut self) {
        let places = std::mem::take(&mut self.forgotten);
        if !places.is_empty() {
            self.have_done(Work::Free { spot: Arc::clone(&self.spot), places });
        }
    }

    fn wait(&mut self, place: u32) {
        let is_waiting = &mut self.places[place as usize].is_waiting;
        if !std::mem::replace(is_waiting, true) {
            self.waiting.push_back(place);
        }
    }

    fn note(&mut self, settled: Settled) {
        let Settled { place, serial, written } = settled;
        let is_latest = self.in_memory.get(&place).is_some_and(|page| page.serial == serial);
        match written {
            Ok(()) => {
                self.is_refused = false;
                self.is_told &= !self.waiting.is_empty();
                if is_latest {
                    self.in_memory.remove(&place);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::warn!(
                        directory = %self.spot.directory.display(), %error,
                        "receipts of old orders stay in memory: they cannot be put on the disk"
                    );
                }
                (self.is_refused, self.rest) = (true, REST);
                if is_latest {
                    self.wait(place);
                }
            }
        }
    }
}

impl Shelf for FileShelf {
    fn put(&mut self, place: u32, page: Vec<u8>) {
        assert!(page.len() <= PAGE_BYTES_MAX, "a page fits its place");
        if self.forgotten.contains(&place) {
            self.give_back();
        }
        let index = place as usize;
        self.places.resize(self.places.len().max(index + 1), Place::default());
        self.places[index].checksum = crc32c(&page);
        self.serial += 1;
        self.in_memory.insert(place, Page { bytes: page.into(), serial: self.serial });
        self.wait(place);
        self.rest = self.rest.saturating_sub(1);
        if self.rest == 0 {
            self.offer();
        }
        self.settle();
    }

    fn get(&self, place: u32, page: &mut [u8]) -> io::Result<()> {
        if let Some(known) = self.in_memory.get(&place) {
            page.copy_from_slice(&known.bytes);
            return Ok(());
        }
        let directory = self.spot.directory.display();
        let about =
            |error: &dyn std::fmt::Display| format!("a nameless file in {directory}: {error}");
        let read = self.spot.file().and_then(|file| file.read_exact_at(page, offset_of(place)));
        read.map_err(|error| io::Error::new(error.kind(), about(&error)))?;
        if crc32c(page) == self.places[place as usize].checksum {
            return Ok(());
        }
        let why = about(&"it does not hold what was written to it");
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn forget(&mut self, place: u32) {
        self.in_memory.remove(&place);
        if place != self.forgotten.end || self.forgotten.len() >= AT_ONCE_MAX {
            self.give_back();
            self.forgotten = place..place;
        }
        self.forgotten.end = place + 1;
    }

    /// Lets go of the memory of pages that are in the file.
    fn settle(&mut self) {
        for _ in 0..2 * AT_ONCE_MAX {
            let Ok(settled) = self.settled.1.try_recv() else { return };
            self.note(settled);
        }
    }
}

impl Work {
    fn run(self) {
        match self {
            Self::Write { spot, place, page, settled } => {
                let written = spot.write(place, &page.bytes);
                // Whoever offered it may be gone.
                let _ = settled.send(Settled { place, serial: page.serial, written });
            }
            Self::Free { spot, places } => spot.free(places),
        }
    }
}

fn offset_of(place: u32) -> u64 {
    u64::from(place) * PAGE_BYTES_MAX as u64
}

/// The directory, and the file in it once there is something to write.
#[derive(Debug)]
struct Spot {
    directory: PathBuf,
    file: OnceLock<File>,
    left_alone_bytes: u64,
    /// How many times what lies here is left alone beside that.
    copies: u64,
    used: Mutex<Used>,
}

/// Which places of the file take something of the disk. Whoever forgets a page does not know whether it
/// ever came there.
#[derive(Debug, Default)]
struct Used {
    places: Vec<bool>,
    count: u64,
}

impl Used {
    fn bytes(&self) -> u64 {
        self.count * PAGE_BYTES_MAX as u64
    }

    fn note(&mut self, place: u32, is_used: bool) {
        let index = place as usize;
        self.places.resize(self.places.len().max(index + 1), false);
        match (std::mem::replace(&mut self.places[index], is_used), is_used) {
            (false, true) => self.count += 1,
            (true, false) => self.count -= 1,
            _ => {}
        }
    }
}

impl Spot {
    fn new(directory: &Path, copies: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            file: OnceLock::new(),
            left_alone_bytes: LEFT_ALONE_BYTES,
            copies,
            used: Mutex::default(),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.directory, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(self.file.get_or_init(|| file.into()))
    }

    fn write(&self, place: u32, page: &[u8]) -> io::Result<()> {
        let file = self.file()?;
        let disk = rustix::fs::fstatvfs(file)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let left_alone = self.left_alone_bytes.saturating_add(self.copies * self.used().bytes());
        if free < left_alone {
            let why = format!("the last {} MiB of the disk are the log's", left_alone >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        // A whole page, so that the system never has to read the rest of it.
        let mut whole = [0; PAGE_BYTES_MAX];
        whole[..page.len()].copy_from_slice(page);
        self.used().note(place, true);
        file.write_all_at(&whole, offset_of(place))
    }

    /// Gives the disk back what pages took.
    fn free(&self, places: Range<u32>) {
        let Some(file) = self.file.get() else { return };
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Where that cannot be done the places are used again, or go with the file.
        let (offset, end) = (offset_of(places.start), offset_of(places.end));
        if rustix::fs::fallocate(file, flags, offset, end - offset).is_ok() {
            places.for_each(|place| self.used().note(place, false));
        }
    }
}

#[cfg(test)]
#[path = "shelf_test.rs"]
mod tests;
