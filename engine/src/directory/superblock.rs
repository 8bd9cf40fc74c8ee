//! The superblock: the few facts about a data directory that never change.

use crc32c::crc32c;
use doorbuster_protocol::routing::PartitionCount;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// The format of a data directory that this program reads and writes.
pub(super) const VERSION: u32 = 1;

/// What a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Its random id, which stands in every frame. Zero is left for "none".
    pub directory: u64,
    /// Its partitions.
    pub partitions: PartitionCount,
    /// Unix seconds of its making.
    pub created: u64,
}

/// Why a superblock cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SuperblockError {
    /// It is of another format.
    Version(u32),
    /// It is not what was written.
    Damaged(String),
}

impl Superblock {
    /// A new one, with a random id.
    pub(super) fn new(partitions: PartitionCount) -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            directory: u64::from_le_bytes(bytes).max(1),
            partitions,
            created: since.map_or(0, |since| since.as_secs()),
        })
    }

    fn checksum(&self) -> u32 {
        let facts =
            format!("{VERSION} {:016x} {} {}", self.directory, self.partitions.get(), self.created);
        crc32c(facts.as_bytes())
    }

    /// As the text of `superblock.json`.
    pub(super) fn render(&self) -> String {
        let value = serde_json::json!({
            "format": VERSION,
            "directory": format!("{:016x}", self.directory),
            "partitions": self.partitions.get(),
            "created": self.created,
            "checksum": format!("{:08x}", self.checksum()),
        });
        format!("{value:#}\n")
    }

    /// From the bytes of `superblock.json`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, SuperblockError> {
        let damaged = |why: &str| SuperblockError::Damaged(why.to_owned());
        let value: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| SuperblockError::Damaged(error.to_string()))?;
        let number = |name: &str| value[name].as_u64();
        let hex = |name: &str| {
            let digits = value[name].as_str()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let format = number("format").ok_or_else(|| damaged("it has no format version"))?;
        if format != u64::from(VERSION) {
            return Err(SuperblockError::Version(u32::try_from(format).unwrap_or(u32::MAX)));
        }
        let partitions = number("partitions")
            .and_then(|count| u16::try_from(count).ok())
            .and_then(PartitionCount::new);
        let superblock = Self {
            directory: hex("directory").ok_or_else(|| damaged("it has no directory id"))?,
            partitions: partitions.ok_or_else(|| damaged("its partitions make no sense"))?,
            created: number("created").ok_or_else(|| damaged("it has no time of making"))?,
        };
        if hex("checksum") != Some(u64::from(superblock.checksum())) {
            return Err(damaged("its facts do not match their checksum"));
        }
        Ok(superblock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Superblock {
        Superblock {
            directory: 0x0123_4567_89AB_CDEF,
            partitions: PartitionCount::new(16).expect("in range"),
            created: 1_700_000_000,
        }
    }

    #[test]
    fn it_reads_what_it_wrote() {
        assert_eq!(Superblock::parse(superblock().render().as_bytes()), Ok(superblock()));
    }

    #[test]
    fn no_changed_fact_is_believed() {
        let text = superblock().render();
        for (from, to) in [
            ("\"partitions\": 16", "\"partitions\": 17"),
            ("0123456789abcdef", "0123456789abcdee"),
            ("1700000000", "1700000001"),
            ("\"partitions\": 16", "\"partitions\": 0"),
            ("{", ""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let read = Superblock::parse(changed.as_bytes());
            assert!(matches!(read, Err(SuperblockError::Damaged(_))), "{from}: {read:?}");
        }
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        assert_eq!(Superblock::parse(newer.as_bytes()), Err(SuperblockError::Version(2)));
    }
}
