//! The 32-byte header that opens every frame, and the checks that it must pass.
//!
//! ```text
//! offset  0      2        3     4      6          8       12           16           24        28
//!         magic  version  kind  flags  partition  epoch   body length  correlation  body crc
//!         header crc u16    u8       u8    u16    u16        u32     u32          u64          u32
//!               u32
//! ```
//!
//! Everything is little-endian; checksums are CRC-32C. A header is believed only after its own
//! checksum held, and its length only after it was compared with the most that its kind may have:
//! nothing is allocated, and no body is waited for, before that.

use crate::limits;
use crate::record::{Malformed, Reader, Write};
use crate::{Epoch, PartitionId};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 32;
/// The first two bytes of every frame: `0xB5 0xDB` on the wire.
pub const MAGIC: u16 = 0xDBB5;
/// The oldest version that this build speaks.
pub const VERSION_MIN: u8 = 1;
/// The newest version that this build speaks.
pub const VERSION_MAX: u8 = 1;
/// The partition field of a frame that concerns none.
pub const NO_PARTITION: u16 = u16::MAX;

/// Bytes in front of the records of a frame that counts them: `count u32 · reserved u32`.
pub const COUNT_BYTES: usize = 8;

const BODY_LENGTH_AT: usize = 12;
const CORRELATION_AT: usize = 16;
const BODY_CRC_AT: usize = 24;
const HEADER_CRC_AT: usize = 28;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Client: the versions it speaks, and its nonce.
    Hello = 1,
    /// Server: the version chosen, and its nonce.
    Challenge = 2,
    /// Client: its proof that it knows the key.
    Proof = 3,
    /// Server: its own proof, and the partition map.
    Welcome = 4,
    /// Server: why it will not serve. It closes the connection.
    Refused = 5,
    /// Client: request records.
    Requests = 16,
    /// Server: reply records.
    Replies = 17,
    /// Client: send the feed of a partition from a sequence on.
    Subscribe = 18,
    /// Server: events of a partition.
    Batch = 19,
    /// Client: a consumer has made the events of a partition durable up to a sequence.
    Acknowledge = 20,
    /// Client: push stock levels from now on.
    WatchStock = 21,
    /// Server: stock levels.
    Levels = 22,
    /// Server: the sequence asked for has left the log.
    FeedGone = 23,
    /// Server: it drains. Requests in flight are answered, new ones are not wanted.
    Goodbye = 24,
}

impl Kind {
    /// Every kind, in order of code.
    pub const ALL: [Self; 14] = [
        Self::Hello,
        Self::Challenge,
        Self::Proof,
        Self::Welcome,
        Self::Refused,
        Self::Requests,
        Self::Replies,
        Self::Subscribe,
        Self::Batch,
        Self::Acknowledge,
        Self::WatchStock,
        Self::Levels,
        Self::FeedGone,
        Self::Goodbye,
    ];

    /// Its byte on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a byte.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Hello,
            2 => Self::Challenge,
            3 => Self::Proof,
            4 => Self::Welcome,
            5 => Self::Refused,
            16 => Self::Requests,
            17 => Self::Replies,
            18 => Self::Subscribe,
            19 => Self::Batch,
            20 => Self::Acknowledge,
            21 => Self::WatchStock,
            22 => Self::Levels,
            23 => Self::FeedGone,
            24 => Self::Goodbye,
            _ => return None,
        })
    }

    /// The fewest and the most bytes of its body.
    pub const fn body_bytes(self) -> (u32, u32) {
        use crate::handshake as h;
        match self {
            Self::Hello => (h::HELLO_BYTES, h::HELLO_BYTES),
            Self::Challenge => (h::CHALLENGE_BYTES, h::CHALLENGE_BYTES),
            Self::Proof => (h::PROOF_BYTES, h::PROOF_BYTES),
            Self::Welcome => (h::PROOF_BYTES + h::MAP_BYTES_MIN, h::PROOF_BYTES + h::MAP_BYTES_MAX),
            Self::Refused => (h::REFUSED_BYTES, h::REFUSED_BYTES),
            Self::Requests => (COUNT_BYTES as u32, limits::REQUEST_BODY_MAX as u32),
            Self::Replies | Self::Levels => (COUNT_BYTES as u32, limits::REPLY_BODY_MAX as u32),
            Self::Batch => (32, limits::REPLY_BODY_MAX as u32),
            Self::Subscribe | Self::Acknowledge => (16, 16),
            Self::FeedGone => (8, 8),
            Self::WatchStock | Self::Goodbye => (0, 0),
        }
    }

    /// Whether its header names a partition.
    pub const fn has_partition(self) -> bool {
        matches!(self, Self::Subscribe | Self::Batch | Self::Acknowledge | Self::FeedGone)
    }
}

/// A header whose checks have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The protocol version of the frame.
    pub version: u8,
    /// What the frame is for.
    pub kind: Kind,
    /// The partition that it concerns; for kinds that concern one.
    pub partition: Option<PartitionId>,
    /// The reign that the sender believes in.
    pub epoch: Epoch,
    /// The correlation id of the first record; 0 in frames without correlated records.
    pub correlation: u64,
    /// Bytes of the body.
    pub body_length: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
}

/// Why 32 bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first two bytes are not [`MAGIC`]: the peer speaks something else.
    #[error("the bytes are no Doorbuster frame: the peer speaks another protocol")]
    BadMagic,
    /// The header's checksum does not hold.
    #[error("a frame header is damaged: its checksum does not hold")]
    HeaderChecksum,
    /// The body's checksum does not hold.
    #[error("a frame body is damaged: its checksum does not hold")]
    BodyChecksum,
    /// The version is outside of what this build speaks.
    #[error(
        "the peer speaks protocol version {theirs}, this side {VERSION_MIN} to {VERSION_MAX}: \
         upgrade the older of the two"
    )]
    VersionUnsupported {
        /// The version of the frame.
        theirs: u8,
    },
    /// No frame has this kind.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// The body is shorter or longer than its kind allows.
    #[error("a {kind:?} frame of {length} bytes: it has {min} to {max}")]
    BadLength {
        /// The kind of the frame.
        kind: Kind,
        /// The length that it claims.
        length: u32,
        /// The fewest bytes of its kind.
        min: u32,
        /// The most bytes of its kind.
        max: u32,
    },
    /// A header field holds a value that it cannot have.
    #[error("header field `{0}` is out of range")]
    BadField(&'static str),
}

impl Header {
    /// Checks and reads a header: magic, checksum, version, kind, length, fields, in this order.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let mut from = Reader::new(bytes);
        Self::read(&mut from, bytes).unwrap_or_else(|never: Malformed| {
            unreachable!("a header has {HEADER_BYTES} bytes: {never}")
        })
    }

    fn read(
        from: &mut Reader<'_>,
        bytes: &[u8; HEADER_BYTES],
    ) -> Result<Result<Self, FrameError>, Malformed> {
        if from.u16()? != MAGIC {
            return Ok(Err(FrameError::BadMagic));
        }
        let (version, kind, flags) = (from.u8()?, from.u8()?, from.u16()?);
        let (partition, epoch, body_length) = (from.u16()?, from.u32()?, from.u32()?);
        let (correlation, body_crc, header_crc) = (from.u64()?, from.u32()?, from.u32()?);
        if crc32c::crc32c(&bytes[..HEADER_CRC_AT]) != header_crc {
            return Ok(Err(FrameError::HeaderChecksum));
        }
        if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
            return Ok(Err(FrameError::VersionUnsupported { theirs: version }));
        }
        let Some(kind) = Kind::from_code(kind) else {
            return Ok(Err(FrameError::UnknownKind(kind)));
        };
        let (min, max) = kind.body_bytes();
        if !(min..=max).contains(&body_length) {
            return Ok(Err(FrameError::BadLength { kind, length: body_length, min, max }));
        }
        if flags != 0 {
            return Ok(Err(FrameError::BadField("flags")));
        }
        let partition = match (kind.has_partition(), PartitionId::new(partition)) {
            (true, Some(partition)) => Some(partition),
            (false, None) if partition == NO_PARTITION => None,
            _ => return Ok(Err(FrameError::BadField("partition"))),
        };
        let epoch = Epoch::new(epoch);
        Ok(Ok(Self { version, kind, partition, epoch, correlation, body_length, body_crc }))
    }

    /// Whether `body` is what the header promised.
    pub fn check_body(&self, body: &[u8]) -> Result<(), FrameError> {
        if body.len() == self.body_length as usize && crc32c::crc32c(body) == self.body_crc {
            Ok(())
        } else {
            Err(FrameError::BodyChecksum)
        }
    }
}

/// A frame being written at the end of a buffer: the header stands, the body follows, [`close`]
/// fills in length and checksums. Nothing is copied.
///
/// [`close`]: OpenFrame::close
#[derive(Debug)]
#[must_use = "a frame that is not closed is not a frame"]
pub struct OpenFrame {
    start: usize,
    kind: Kind,
}

impl OpenFrame {
    /// Appends a header whose lengths and checksums are still zero.
    pub fn new(
        out: &mut Vec<u8>,
        kind: Kind,
        partition: Option<PartitionId>,
        epoch: Epoch,
        correlation: u64,
    ) -> Self {
        let start = out.len();
        assert_eq!(kind.has_partition(), partition.is_some(), "{kind:?} and its partition");
        let mut header = [0; HEADER_BYTES];
        header[0..2].copy_from_slice(&MAGIC.to_le_bytes());
        header[2] = VERSION_MAX;
        header[3] = kind.code();
        let partition = partition.map_or(NO_PARTITION, PartitionId::get);
        header[6..8].copy_from_slice(&partition.to_le_bytes());
        header[8..12].copy_from_slice(&epoch.get().to_le_bytes());
        header[CORRELATION_AT..BODY_CRC_AT].copy_from_slice(&correlation.to_le_bytes());
        out.put(&header);
        Self { start, kind }
    }

    /// Bytes of the body so far.
    pub fn body_length(&self, out: &[u8]) -> usize {
        out.len() - self.start - HEADER_BYTES
    }

    /// Fills in the count in front of the records of a frame that counts them.
    pub fn set_count(&self, out: &mut [u8], count: u32) {
        let at = self.start + HEADER_BYTES;
        out[at..at + 4].copy_from_slice(&count.to_le_bytes());
    }

    /// Fills in the length and both checksums. Panics when the body is out of its kind's bounds.
    pub fn close(self, out: &mut [u8]) {
        let (header, body) = out[self.start..].split_at_mut(HEADER_BYTES);
        let length = u32::try_from(body.len()).expect("a body is bounded");
        let (min, max) = self.kind.body_bytes();
        assert!((min..=max).contains(&length), "{:?} frame of {length} bytes", self.kind);
        header[BODY_LENGTH_AT..CORRELATION_AT].copy_from_slice(&length.to_le_bytes());
        header[BODY_CRC_AT..HEADER_CRC_AT].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let header_crc = crc32c::crc32c(&header[..HEADER_CRC_AT]);
        header[HEADER_CRC_AT..].copy_from_slice(&header_crc.to_le_bytes());
    }
}
