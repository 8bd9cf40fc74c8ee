//! The superblock: the few facts about a data directory that never change.

use crc32c::crc32c;
use doorbuster_protocol::routing::PartitionCount;
use serde_json::Value;
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
        let Self { directory, partitions, created } = self;
        crc32c(format!("{VERSION} {directory:016x} {} {created}", partitions.get()).as_bytes())
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
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| SuperblockError::Damaged(error.to_string()))?;
        let format = value["format"].as_u64();
        let format = format.ok_or_else(|| damaged("it has no format version"))?;
        let facts = Self::facts(&value);
        let checksum = hex(&value, "checksum");
        let is_sound = facts.is_ok_and(|facts| checksum == Some(u64::from(facts.checksum())));
        match (format == u64::from(VERSION), is_sound) {
            (true, true) => facts.map_err(damaged),
            (true, false) => {
                Err(facts
                    .map_or_else(damaged, |_| damaged("its facts do not match their checksum")))
            }
            // The checksum is over the version, too: it says that this one was written here.
            (false, true) => Err(damaged("its format version does not match its checksum")),
            (false, false) => {
                Err(SuperblockError::Version(u32::try_from(format).unwrap_or(u32::MAX)))
            }
        }
    }

    fn facts(value: &Value) -> Result<Self, &'static str> {
        let partitions = value["partitions"].as_u64();
        let partitions = partitions.and_then(|count| u16::try_from(count).ok());
        let partitions = partitions.and_then(PartitionCount::new);
        Ok(Self {
            directory: hex(value, "directory").ok_or("it has no directory id")?,
            partitions: partitions.ok_or("its partitions make no sense")?,
            created: value["created"].as_u64().ok_or("it has no time of making")?,
        })
    }
}

fn hex(value: &Value, name: &str) -> Option<u64> {
    value[name].as_str().and_then(|digits| u64::from_str_radix(digits, 16).ok())
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
        let other = text.replace("\"format\": 1", "\"format\": 2");
        let read = Superblock::parse(other.as_bytes());
        assert!(matches!(read, Err(SuperblockError::Damaged(_))), "only the version: {read:?}");
        // A newer program takes the checksum over its own version.
        let checksum = format!("{:08x}", superblock().checksum());
        let newer = other.replace(&checksum, "01234567");
        assert_eq!(Superblock::parse(newer.as_bytes()), Err(SuperblockError::Version(2)));
    }
}
