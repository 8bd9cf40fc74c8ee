//! The bytes of a frame: one batch of events, written at once and durable at once.
//!
//! A frame starts on a 4 KiB block and is padded with the byte `0xDB` to the end of one. It begins
//! with a header of 64 bytes, little-endian:
//!
//! | offset | field | |
//! |---|---|---|
//! | 0 | magic u32 | `"DBLF"` |
//! | 4 | version u16 | 1 |
//! | 6 | partition u16 | |
//! | 8 | epoch u32 | |
//! | 12 | count u32 | events; 0 only in a seal |
//! | 16 | first u64 | sequence of the first event; of a seal: of the next event to come |
//! | 24 | body length u32 | bytes of events, without padding |
//! | 28 | body checksum u32 | CRC-32C of everything after the header, padding included |
//! | 32 | previous u32 | header checksum of the frame before; 0 in the first frame of a log |
//! | 36 | flags u32 | bit 0: a seal, written by a clean stop |
//! | 40 | directory u64 | the data directory's random id |
//! | 48 | reserved 12 bytes | zero |
//! | 60 | header checksum u32 | CRC-32C of bytes 0 to 59 |
//!
//! The padding is under the checksum, so that no bit of a frame can change unseen. It is nothing in
//! particular to a reader; a writer makes sure with it that no sector of a frame is all zeros: a
//! sector that a crash cut off, in space that was filled with zeros, shows as what it is. (Logs of
//! before are padded with zeros, and read the same.)

use super::error::{DamageKind, LogIdentity};
use crate::storage::{BLOCK, block_up};
use crc32c::crc32c;
use doorbuster_protocol::limits::BATCH_BYTES_MAX;
use doorbuster_protocol::record::{Reader, Write};
use doorbuster_protocol::{Epoch, Sequence};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of the largest frame, padding included.
pub const FRAME_BYTES_MAX: u64 = frame_bytes(BATCH_BYTES_MAX);

/// What follows the events, to the end of the block.
pub(super) const PADDING: u8 = 0xDB;
/// No log has so many events: sequences can be counted up without a care.
pub(super) const SEQUENCE_MAX: u64 = 1 << 63;

const MAGIC: u32 = u32::from_le_bytes(*b"DBLF");
const VERSION: u16 = 1;
const SEAL: u32 = 1;

const _: () = assert!(HEADER_BYTES < BLOCK as usize);
const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize);

/// Bytes on disk of a frame with this many bytes of events.
pub const fn frame_bytes(body: usize) -> u64 {
    block_up((HEADER_BYTES + body) as u64)
}

/// The header of a frame whose checksum was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The partition, as a number that was not checked.
    pub partition: u16,
    /// The epoch of its writer.
    pub epoch: Epoch,
    /// Events in it.
    pub count: u32,
    /// Sequence of the first one.
    pub first: Sequence,
    /// Bytes of events.
    pub body_length: u32,
    /// Checksum of what follows the header.
    pub body_checksum: u32,
    /// Checksum of the header before.
    pub previous: u32,
    /// Whether a clean stop wrote it.
    pub is_seal: bool,
    /// The data directory.
    pub directory: u64,
    /// Its own checksum: the next frame's `previous`.
    pub checksum: u32,
}

/// What stands where a frame could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header with a good checksum.
    Header(Header),
    /// A good checksum over a version that is not known here.
    UnknownVersion(u16),
    /// A good checksum over fields that cannot be: no writer made them, and no crash.
    Senseless,
    /// Anything else.
    Nothing,
}

impl Header {
    /// Reads a header off the front of a block.
    pub fn parse(block: &[u8]) -> Parsed {
        let Some(bytes) = block.first_chunk::<HEADER_BYTES>() else { return Parsed::Nothing };
        Self::read(bytes).unwrap_or(Parsed::Nothing)
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Parsed> {
        let mut fields = Reader::new(bytes);
        if fields.u32().ok()? != MAGIC {
            return None;
        }
        let version = fields.u16().ok()?;
        let partition = fields.u16().ok()?;
        let epoch = Epoch::new(fields.u32().ok()?);
        let count = fields.u32().ok()?;
        let first = fields.sequence().ok()?;
        let body_length = fields.u32().ok()?;
        let body_checksum = fields.u32().ok()?;
        let previous = fields.u32().ok()?;
        let flags = fields.u32().ok()?;
        let directory = fields.u64().ok()?;
        let reserved: [u8; 12] = fields.array().ok()?;
        let checksum = fields.u32().ok()?;
        if checksum != crc32c(&bytes[..HEADER_BYTES - 4]) {
            return None;
        }
        if version != VERSION {
            return Some(Parsed::UnknownVersion(version));
        }
        let is_seal = flags == SEAL;
        let sound = reserved == [0; 12]
            && flags <= SEAL
            && body_length as usize <= BATCH_BYTES_MAX
            && is_seal == (count == 0)
            && is_seal == (body_length == 0)
            && first.get().checked_add(u64::from(count)).is_some_and(|end| end <= SEQUENCE_MAX);
        let header = Self {
            partition,
            epoch,
            count,
            first,
            body_length,
            body_checksum,
            previous,
            is_seal,
            directory,
            checksum,
        };
        Some(if sound { Parsed::Header(header) } else { Parsed::Senseless })
    }

    /// Bytes of the whole frame on disk.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.body_length as usize)
    }
    /// The sequence after its last event.
    pub fn end(&self) -> Sequence {
        self.first.plus(u64::from(self.count))
    }
    /// Whether it is of this log.
    pub(crate) fn belongs_to(&self, identity: &LogIdentity) -> bool {
        self.directory == identity.directory && self.partition == identity.partition.get()
    }
    /// Why it is not of this log, or not of a time that can be.
    pub(crate) fn check_identity(&self, identity: &LogIdentity) -> Result<(), DamageKind> {
        if self.directory != identity.directory {
            return Err(DamageKind::OtherDirectory { found: self.directory });
        }
        if self.partition != identity.partition.get() {
            return Err(DamageKind::OtherPartition { found: self.partition });
        }
        if self.epoch > identity.epoch {
            return Err(DamageKind::Epoch { found: self.epoch });
        }
        Ok(())
    }
    /// Whether `rest`, everything of the frame after the header, is what was written.
    pub fn matches_body(&self, rest: &[u8]) -> bool {
        rest.len() as u64 == self.frame_bytes() - HEADER_BYTES as u64
            && crc32c(rest) == self.body_checksum
    }
}

/// Fills `frame`, which has the length of the whole frame, and returns the header's checksum.
/// With `count` 0 and no events it is a seal.
pub fn encode(
    frame: &mut [u8],
    identity: &LogIdentity,
    first: Sequence,
    count: u32,
    events: &[u8],
    previous: u32,
) -> u32 {
    assert!(events.len() <= BATCH_BYTES_MAX, "a batch is bounded");
    assert_eq!(frame.len() as u64, frame_bytes(events.len()), "the buffer is the whole frame");
    assert_eq!(count == 0, events.is_empty(), "only a seal is empty");
    let (head, rest) = frame.split_at_mut(HEADER_BYTES);
    rest[..events.len()].copy_from_slice(events);
    rest[events.len()..].fill(PADDING);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.put_u32(MAGIC);
    header.put_u16(VERSION);
    header.put_u16(identity.partition.get());
    header.put_u32(identity.epoch.get());
    header.put_u32(count);
    header.put_u64(first.get());
    header.put_u32(events.len() as u32);
    header.put_u32(crc32c(rest));
    header.put_u32(previous);
    header.put_u32(if count == 0 { SEAL } else { 0 });
    header.put_u64(identity.directory);
    header.put(&[0; 12]);
    let checksum = crc32c(&header);
    header.put_u32(checksum);
    head.copy_from_slice(&header);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_protocol::PartitionId;

    fn identity() -> LogIdentity {
        LogIdentity {
            directory: 0x0123_4567_89AB_CDEF,
            partition: PartitionId::new(7).expect("in range"),
            epoch: Epoch::FIRST,
        }
    }

    #[test]
    fn the_bytes_of_a_frame_are_frozen() {
        let mut frame = vec![0xEE; 4096];
        let checksum =
            encode(&mut frame, &identity(), Sequence::new(42), 3, b"events", 0xDEAD_BEEF);
        let hex: String = frame[..70].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "44424c46010007000100000003000000\
             2a000000000000000600000058834a17\
             efbeadde00000000efcdab8967452301\
             000000000000000000000000f6790de6\
             6576656e7473"
        );
        assert!(frame[70..].iter().all(|byte| *byte == 0xDB));
        let Parsed::Header(header) = Header::parse(&frame) else { panic!("a header") };
        assert_eq!(header.checksum, checksum);
        assert_eq!((header.first.get(), header.count, header.body_length), (42, 3, 6));
        assert!(header.matches_body(&frame[HEADER_BYTES..]));
    }

    /// As the golden bytes were before the padding had a value.
    #[test]
    fn a_frame_that_is_padded_with_zeros_is_read() {
        let mut frame = vec![0; 4096];
        encode(&mut frame, &identity(), Sequence::new(42), 3, b"events", 0xDEAD_BEEF);
        frame[70..].fill(0);
        frame[28..32].copy_from_slice(&[0x65, 0x88, 0x83, 0xB4]);
        frame[60..64].copy_from_slice(&[0x84, 0xF6, 0xC3, 0x19]);
        let Parsed::Header(header) = Header::parse(&frame) else { panic!("a header") };
        assert!(header.matches_body(&frame[HEADER_BYTES..]));
    }

    #[test]
    fn fields_that_cannot_be_are_told_from_garbage() {
        let mut frame = vec![0; 4096];
        encode(&mut frame, &identity(), Sequence::new(1), 1, &[9; 100], 0);
        // Events without a count; a flag that means nothing; a last event past every log.
        for (byte, value) in [(12, 0), (37, 1), (23, 0xFF), (50, 1), (27, 0xFF)] {
            let mut frame = frame.clone();
            frame[byte] = value;
            let checksum = crc32c(&frame[..60]);
            frame[60..64].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(Header::parse(&frame), Parsed::Senseless, "byte {byte}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_seen() {
        let mut frame = vec![0; 4096];
        encode(&mut frame, &identity(), Sequence::new(1), 1, &[9; 100], 0);
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            let sound = match Header::parse(&frame) {
                Parsed::Header(header) => header.matches_body(&frame[HEADER_BYTES..]),
                Parsed::UnknownVersion(_) | Parsed::Senseless | Parsed::Nothing => false,
            };
            assert!(!sound, "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_version_from_the_future_is_told_from_garbage() {
        let mut frame = vec![0; 4096];
        encode(&mut frame, &identity(), Sequence::new(1), 1, &[9; 100], 0);
        frame[4] = 2;
        let checksum = crc32c(&frame[..60]);
        frame[60..64].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::parse(&frame), Parsed::UnknownVersion(2));
    }
}
