//! Records of any length in a temporary file without a name: written once, read once, in order.
//!
//! The rows of a shard wait here while the log is read, and what is to be set right waits here until
//! the audit is over.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

/// Bytes that are gathered before they are written, and read ahead.
const BUFFER_BYTES: usize = 1 << 20;

/// Takes records.
#[derive(Debug)]
pub(super) struct Spool {
    file: BufWriter<File>,
    records: u64,
}

impl Spool {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile()?);
        Ok(Self { file, records: 0 })
    }

    /// Takes one more.
    pub(super) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(record)?;
        self.records += 1;
        Ok(())
    }

    /// How many were taken.
    pub(super) fn len(&self) -> u64 {
        self.records
    }

    /// From the first to the last.
    pub(super) fn finish(self) -> io::Result<Spooled> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Spooled { file, left: self.records, record: Vec::new() })
    }
}

/// Gives them back.
#[derive(Debug)]
pub(super) struct Spooled {
    file: BufReader<File>,
    left: u64,
    record: Vec<u8>,
}

impl Spooled {
    /// The next record; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        self.record.resize(u32::from_le_bytes(length) as usize, 0);
        self.file.read_exact(&mut self.record)?;
        Ok(Some(&self.record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_given() {
        let mut spool = Spool::new().expect("room");
        let records = [&b"one"[..], b"", &[7; 3_000_000], b"four"];
        records.iter().for_each(|record| spool.push(record).expect("room"));
        assert_eq!(spool.len(), 4);
        let mut spooled = spool.finish().expect("room");
        for record in records {
            assert_eq!(spooled.next().expect("readable"), Some(record));
        }
        assert_eq!(spooled.next().expect("readable"), None);
    }
}
