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
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, OnceLock};

/// Bytes of the disk that are left alone.
const LEFT_ALONE_BYTES: u64 = 1 << 30;
/// Pages that come before one that was refused is offered again.
const REST: u32 = 64;
/// Niceness of the thread that writes: it takes what the cores leave.
const NICENESS: i32 = 19;

/// A shelf in a directory.
#[derive(Debug)]
pub(super) struct FileShelf {
    spot: Arc<Spot>,
    /// Of the page that was put at each place.
    checksums: Vec<u32>,
    /// What is not known to be in the file.
    in_memory: HashMap<u32, Page>,
    /// Places of them that were not offered yet, or refused.
    waiting: VecDeque<u32>,
    /// Pages that were ever put.
    serial: u64,
    /// Pages to come before the next is offered.
    rest: u32,
    /// Whether the last page was refused.
    is_refused: bool,
    /// Where pages are offered; `None`: they are written at once.
    writer: Option<Sender<Offer>>,
    settled: (Sender<Settled>, Receiver<Settled>),
}

#[derive(Clone, Debug)]
struct Page {
    bytes: Arc<[u8]>,
    /// A place is used again while an earlier page of it is still on its way.
    serial: u64,
}

/// A page to write.
struct Offer {
    place: u32,
    page: Page,
    spot: Arc<Spot>,
    settled: Sender<Settled>,
}

struct Settled {
    place: u32,
    serial: u64,
    written: io::Result<()>,
}

/// The thread that writes for all cores. It never ends, and owns nothing.
static WRITER: LazyLock<Sender<Offer>> = LazyLock::new(|| {
    let (sender, offers) = mpsc::channel::<Offer>();
    std::thread::Builder::new()
        .name("receipts".to_owned())
        .spawn(move || {
            // On Linux this is the niceness of the calling thread alone.
            let _ = rustix::process::nice(NICENESS);
            offers.into_iter().for_each(Offer::settle);
        })
        .expect("the system has a thread to give");
    sender
});

impl FileShelf {
    /// In `directory`, for a thread that may wait for the disk.
    pub(super) fn written_at_once(directory: &Path) -> Self {
        Self::new(directory, None)
    }
    /// In `directory`, for a core. Panics when the system has no thread to give.
    pub(super) fn written_behind(directory: &Path) -> Self {
        Self::new(directory, Some(WRITER.clone()))
    }
    fn new(directory: &Path, writer: Option<Sender<Offer>>) -> Self {
        let spot = Spot { directory: directory.to_owned(), file: OnceLock::new() };
        Self {
            spot: Arc::new(spot),
            checksums: Vec::new(),
            in_memory: HashMap::new(),
            waiting: VecDeque::new(),
            serial: 0,
            rest: 0,
            is_refused: false,
            writer,
            settled: mpsc::channel(),
        }
    }

    /// Offers what waits; after a refusal one page alone, to see how it fares.
    fn offer(&mut self) {
        let most = if self.is_refused { 1 } else { self.waiting.len() };
        for _ in 0..most {
            let Some(place) = self.waiting.pop_front() else { return };
            let Some(page) = self.in_memory.get(&place).cloned() else { continue };
            let (spot, settled) = (Arc::clone(&self.spot), self.settled.0.clone());
            let offer = Offer { place, page, spot, settled };
            match &self.writer {
                // A writer that has ended takes nothing: then the page is in memory, and stays.
                Some(writer) => drop(writer.send(offer)),
                None => offer.settle(),
            }
        }
    }

    /// Lets go of the memory of pages that are in the file.
    fn settle(&mut self) {
        while let Ok(Settled { place, serial, written }) = self.settled.1.try_recv() {
            match written {
                Ok(()) => {
                    self.is_refused = false;
                    if self.in_memory.get(&place).is_some_and(|page| page.serial == serial) {
                        self.in_memory.remove(&place);
                    }
                }
                Err(error) => {
                    if !self.is_refused {
                        tracing::warn!(
                            directory = %self.spot.directory.display(), %error,
                            "receipts of old orders stay in memory: they cannot be put on the disk"
                        );
                    }
                    (self.is_refused, self.rest) = (true, REST);
                    self.waiting.push_front(place);
                }
            }
        }
    }
}

impl Shelf for FileShelf {
    fn put(&mut self, place: u32, page: Vec<u8>) {
        assert!(page.len() <= PAGE_BYTES_MAX, "a page fits its place");
        let index = place as usize;
        self.checksums.resize(self.checksums.len().max(index + 1), 0);
        self.checksums[index] = crc32c(&page);
        self.serial += 1;
        self.in_memory.insert(place, Page { bytes: page.into(), serial: self.serial });
        self.waiting.push_back(place);
        self.settle();
        self.rest = self.rest.saturating_sub(1);
        if self.rest == 0 {
            self.offer();
            self.settle();
        }
    }

    fn get(&self, place: u32, page: &mut [u8]) -> io::Result<()> {
        if let Some(known) = self.in_memory.get(&place) {
            page.copy_from_slice(&known.bytes);
            return Ok(());
        }
        self.spot.file()?.read_exact_at(page, offset_of(place))?;
        if crc32c(page) == self.checksums[place as usize] {
            return Ok(());
        }
        let why = format!(
            "a file without a name in {} does not hold what was written to it",
            self.spot.directory.display()
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn forget(&mut self, place: u32) {
        self.in_memory.remove(&place);
    }
}

impl Offer {
    fn settle(self) {
        let written = self.spot.write(self.place, &self.page.bytes);
        // Whoever offered it may be gone.
        let serial = self.page.serial;
        let _ = self.settled.send(Settled { place: self.place, serial, written });
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
}

impl Spot {
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
        if disk.f_bavail.saturating_mul(disk.f_frsize) < LEFT_ALONE_BYTES {
            let why = format!("the last {} MiB of the disk are the log's", LEFT_ALONE_BYTES >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        // A whole page, so that the system never has to read the rest of it.
        let mut whole = [0; PAGE_BYTES_MAX];
        whole[..page.len()].copy_from_slice(page);
        file.write_all_at(&whole, offset_of(place))
    }
}

#[cfg(test)]
#[path = "shelf_test.rs"]
mod tests;
