//! A file, and the part of it that was read last: so that a walk reads large pieces once.

use crate::storage::{BLOCK, File};
use std::io;

/// The readable part of a file. All offsets and lengths are whole blocks.
pub(super) struct Window<F> {
    file: F,
    buffer: Vec<u8>,
    start: u64,
    valid: usize,
    read_bytes: usize,
}

impl<F: File> Window<F> {
    /// Nothing of `file` yet; it will be read in pieces of `read_bytes`.
    pub(super) fn new(file: F, read_bytes: usize) -> Self {
        Self { file, buffer: Vec::new(), start: 0, valid: 0, read_bytes }
    }

    /// Makes `bytes` bytes from `offset` readable, or as many as the file has.
    pub(super) async fn load(&mut self, offset: u64, bytes: usize) -> io::Result<()> {
        let end = self.start + self.valid as u64;
        if offset >= self.start && offset + bytes as u64 <= end {
            return Ok(());
        }
        if offset >= self.start && offset < end && end.is_multiple_of(BLOCK) {
            self.buffer.copy_within((offset - self.start) as usize..self.valid, 0);
            self.valid = (end - offset) as usize;
        } else {
            self.valid = 0;
        }
        self.start = offset;
        let wanted = bytes.max(self.read_bytes);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let at = offset + self.valid as u64;
        self.valid += self.file.read_at(at, &mut self.buffer[self.valid..wanted]).await?;
        Ok(())
    }
    /// What is readable of `bytes` bytes from `offset`, which was loaded before.
    pub(super) fn view(&self, offset: u64, bytes: usize) -> &[u8] {
        let from = ((offset - self.start) as usize).min(self.valid);
        &self.buffer[from..(from + bytes).min(self.valid)]
    }
    /// Forgets what was read from `end` on: it may change.
    pub(super) fn forget_from(&mut self, end: u64) {
        self.valid = self.valid.min(end.saturating_sub(self.start) as usize);
    }
}
