//! Room ahead of the last frame: segments are filled with zeros before they are used.
//!
//! A write into space that was written before changes no metadata, so that making it durable costs
//! one trip to the device. It also moves a full disk to where it hurts nobody: filling meets it,
//! not an append. Filling goes through a file handle of its own, because a sync that fails reports
//! its error to one handle once, and the appends must not miss it.

use super::error::LogError;
use super::segments::{Spare, spare_name};
use super::writer::{Log, OpenFile, Prepared};
use crate::storage::{BLOCK, File, Mode, Shortage, Storage, block_down, shortage};
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// Bytes of one write of zeros.
const PIECE_BYTES: u64 = 1 << 20;
/// Filling ahead of a busy log goes at least this far, so that the largest event finds room.
const AHEAD_BYTES_MIN: u64 = 2 << 20;
/// Bytes that are filled and synced at once.
const STEP_BYTES_MAX: u64 = 4 << 20;

const _: () =
    assert!(AHEAD_BYTES_MIN > doorbuster_protocol::limits::EVENT_BYTES_MAX as u64 + BLOCK);

/// How filling ended.
enum Filled {
    /// Up to where it should.
    Done,
    /// The disk is full.
    Short(Shortage),
}

impl<S: Storage> Log<S> {
    /// Upkeep off the path of the appends: fills ahead, prepares the next segment, asks for a
    /// snapshot when one is due. Cheap when nothing is to be done.
    ///
    /// A full disk is no error: see [`Log::wants_room`].
    pub async fn prepare(&self) -> Result<(), LogError> {
        self.check()?;
        self.begin_upkeep().await;
        let prepared = self.prepare_alone().await;
        self.end_upkeep();
        prepared?;
        self.request_snapshot();
        self.check()
    }

    /// Whether the disk was full when room was last made. [`Log::prepare`] tries again.
    pub fn wants_room(&self) -> bool {
        self.short_of.get().is_some()
    }

    /// Upkeep goes one at a time: it moves files.
    pub(super) async fn begin_upkeep(&self) {
        while self.is_kept.replace(true) {
            self.kept.wait().await;
        }
    }
    pub(super) fn end_upkeep(&self) {
        self.is_kept.set(false);
        self.kept.raise();
    }

    async fn prepare_alone(&self) -> Result<(), LogError> {
        loop {
            let current = self.current_file();
            let tail = current.tail.get();
            let filled = current.filled.get();
            let ahead = self.ahead(tail);
            if filled >= self.config.segment_bytes || filled - tail >= ahead {
                self.short_of.set(None);
                break;
            }
            let step = (ahead / 2).clamp(PIECE_BYTES, STEP_BYTES_MAX);
            let end = (filled + step).min(self.config.segment_bytes);
            let name = self.current_name();
            match self.fill(&name, filled, end).await? {
                Filled::Done => {
                    current.filled.set(end);
                    self.short_of.set(None);
                }
                Filled::Short(of) => {
                    self.short_of.set(Some(of));
                    break;
                }
            }
        }
        self.prepare_next().await
    }

    /// How far to fill ahead of a tail: the busier the segment, the further.
    fn ahead(&self, tail: u64) -> u64 {
        if tail == 0 {
            // Nothing was written yet, and a new log should be small.
            return BLOCK;
        }
        let most = self.config.fill_ahead_bytes;
        block_down((2 * tail).clamp(AHEAD_BYTES_MIN.min(most), most))
    }

    /// Has the next segment ready when the current one is half used, or cannot grow.
    async fn prepare_next(&self) -> Result<(), LogError> {
        let current = self.current_file();
        let is_due = current.filled.get() >= self.config.segment_bytes
            && current.tail.get() > self.config.segment_bytes / 2;
        let wanted = self.config.fill_ahead_bytes.min(self.config.segment_bytes);
        if self.next.borrow().is_some() || !(is_due || self.short_of.get().is_some()) {
            return Ok(());
        }
        let (spare, is_used) = match self.largest_spare() {
            Some(spare) => (spare, true),
            // A full disk has no room for a new file: only for one that is there.
            None if !is_due => return Ok(()),
            None => {
                let number = self.next_spare.replace(self.next_spare.get() + 1);
                if let Err(source) = self.storage.create(&spare_name(number)).await {
                    let Some(of) = shortage(&source) else {
                        return Err(self.fail("create", &spare_name(number), source));
                    };
                    self.short_of.set(Some(of));
                    return Ok(());
                }
                (Spare { number, bytes: 0 }, false)
            }
        };
        let name = spare_name(spare.number);
        let filled = block_down(spare.bytes);
        let filled = match filled < wanted {
            false => filled,
            true => match self.fill(&name, filled, wanted).await? {
                Filled::Done => wanted,
                // Nobody fills it further before it is the current one: it has to take any event.
                Filled::Short(_) if is_used && filled >= AHEAD_BYTES_MIN.min(wanted) => filled,
                Filled::Short(of) => {
                    self.short_of.set(Some(of));
                    if !is_used {
                        return self.discard(&name).await;
                    }
                    self.spares.borrow_mut().push(Spare { number: spare.number, bytes: filled });
                    return Ok(());
                }
            },
        };
        if let Err(source) = self.storage.sync_directory().await {
            return Err(self.fail("sync the directory of", &name, source));
        }
        let file = match self.storage.open(&name, Mode::Write).await {
            Ok(file) => file,
            Err(source) => {
                let Some(of) = shortage(&source) else {
                    return Err(self.fail("open", &name, source));
                };
                self.short_of.set(Some(of));
                self.spares.borrow_mut().push(Spare { number: spare.number, bytes: filled });
                return Ok(());
            }
        };
        let open = OpenFile { file, tail: Cell::new(0), filled: Cell::new(filled), is_used };
        *self.next.borrow_mut() = Some(Prepared { number: spare.number, open: Rc::new(open) });
        if is_due {
            self.short_of.set(None);
        }
        Ok(())
    }

    /// Takes the spare that needs the least to be filled.
    fn largest_spare(&self) -> Option<Spare> {
        let mut spares = self.spares.borrow_mut();
        let largest = (0..spares.len()).max_by_key(|index| spares[*index].bytes)?;
        Some(spares.remove(largest))
    }

    /// Removes a file that could not be filled, so that its space is not lost.
    async fn discard(&self, name: &str) -> Result<(), LogError> {
        match self.storage.remove(name).await {
            Ok(()) => Ok(()),
            Err(source) => Err(self.fail("remove", name, source)),
        }
    }

    async fn fill(&self, name: &str, from: u64, to: u64) -> Result<Filled, LogError> {
        let Err(source) = fill(&self.storage, name, from, to).await else {
            return Ok(Filled::Done);
        };
        match shortage(&source) {
            Some(of) => Ok(Filled::Short(of)),
            None => Err(self.fail("fill with zeros", name, source)),
        }
    }
}

/// Writes zeros, durably. The error of a full disk comes before anything was synced.
pub(super) async fn fill<S: Storage>(
    storage: &S,
    name: &str,
    from: u64,
    to: u64,
) -> io::Result<()> {
    let file = storage.open(name, Mode::Write).await?;
    file.reserve(to).await?;
    zero(&file, from, to).await?;
    file.sync().await.map_err(|error| match shortage(&error) {
        // Space was reserved: at this point even this is a failed sync, and final.
        Some(_) => io::Error::other(error),
        None => error,
    })
}

/// Writes zeros from `from` to `to`, both whole blocks.
pub(super) async fn zero<F: File>(file: &F, from: u64, to: u64) -> io::Result<()> {
    let mut offset = from;
    while offset < to {
        let bytes = (to - offset).min(PIECE_BYTES) as usize;
        let mut buffer = file.buffer(bytes);
        buffer.as_mut().fill(0);
        let written = file.write_at(buffer, offset).await?;
        if written < bytes {
            // What takes a part of a write of zeros is full.
            return Err(io::ErrorKind::StorageFull.into());
        }
        offset += bytes as u64;
    }
    Ok(())
}
