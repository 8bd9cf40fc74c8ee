//! One flipped bit, told from a write that was cut off.
//!
//! The last frame of a log that ended in a crash may be the rest of a write that nobody was
//! answered for, or a frame that was acknowledged and has rotted since: the first is to be cut
//! off, the second never. A CRC-32C tells them apart. Its polynomial has order 2³¹ − 1, so in up
//! to 256 MiB each flipped bit gives another difference between the checksum that stands there and
//! the checksum of what stands there, and that difference says which bit it was.
//!
//! A cut write can look like a flipped bit only by chance, and hardly by that:
//!
//! - A cut write lacks whole sectors. In space that was filled with zeros it shows one that is all
//!   zeros, and a frame has none of these (see [`PADDING`](super::frame::PADDING)): no chance at all.
//! - In a segment that is used again the sector shows what was there before. One of 2³² / bits
//!   of such cuts has the difference of one bit: 1 in 131 072 for a block, 1 in 128 for the largest
//!   frame. But then the events with that bit set right would have to be readable, every one, and
//!   not go back in time, although those of the old sector are older than those before it.
//!
//! A bit that was found is not set right here. It could be: what then matches both checksums was
//! written. But three flipped bits can look like one elsewhere, a device or a memory that flips
//! one will flip more, and somebody should know. So it is said which bit it is, and what to do.

use super::frame::{HEADER_BYTES, Header, Parsed};
use crc32c::crc32c;
use doorbuster_protocol::Timestamp;
use doorbuster_protocol::event::Events;

/// The least that a device writes whole.
const SECTOR: usize = 512;
/// The polynomial of CRC-32C, lowest coefficient in the highest bit.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// A bit of a frame that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flip {
    /// The byte, counted from the frame's first.
    pub(super) byte: usize,
    /// The bit of it, from the lowest.
    pub(super) bit: u8,
    /// What the byte should be.
    pub(super) right: u8,
}

/// The header that stands at the front of `block` but for one bit.
pub(super) fn in_header(block: &[u8]) -> Option<(Header, Flip)> {
    let mut bytes = *block.first_chunk::<HEADER_BYTES>()?;
    for byte in 0..HEADER_BYTES {
        for bit in 0..8 {
            bytes[byte] ^= 1 << bit;
            if let Parsed::Header(header) = Header::parse(&bytes) {
                return Some((header, Flip { byte, bit, right: bytes[byte] }));
            }
            bytes[byte] ^= 1 << bit;
        }
    }
    None
}

/// The bit of a frame's body without which it is what was written.
pub(super) fn in_body(header: &Header, frame: &[u8]) -> Option<Flip> {
    let rest = frame.get(HEADER_BYTES..)?;
    if frame.len() as u64 != header.frame_bytes() {
        return None;
    }
    let (byte, bit) = locate(rest, header.body_checksum)?;
    let mut whole = rest.to_vec();
    whole[byte] ^= 1 << bit;
    let right = whole[byte];
    is_readable(header, &whole).then_some(Flip { byte: HEADER_BYTES + byte, bit, right })
}

/// Whether a sector of a frame holds nothing, so that it was cut off and did not rot.
pub(super) fn lacks_a_sector(frame: &[u8]) -> bool {
    frame.chunks(SECTOR).any(|sector| sector.iter().all(|byte| *byte == 0))
}

/// The bit that has to be flipped for `bytes` to have this checksum.
fn locate(bytes: &[u8], checksum: u32) -> Option<(usize, u8)> {
    let difference = crc32c(bytes) ^ checksum;
    // What the last bit makes of the checksum, then the one before it, and so on.
    let mut trace = 1;
    for place in (0..8 * bytes.len()).rev() {
        trace = (trace >> 1) ^ if trace & 1 == 1 { POLYNOMIAL } else { 0 };
        if trace == difference {
            return Some((place / 8, (place % 8) as u8));
        }
    }
    None
}

/// Whether the events can be read, every one, and do not go back in time.
fn is_readable(header: &Header, rest: &[u8]) -> bool {
    let Some(events) = rest.get(..header.body_length as usize) else { return false };
    let mut last = Timestamp::NONE;
    Events::new(events, header.first, header.count).all(|event| match event {
        Ok((_, event)) => event.at >= std::mem::replace(&mut last, event.at),
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogIdentity;
    use doorbuster_protocol::event::{Event, Fact};
    use doorbuster_protocol::{Epoch, PartitionId, Sequence};

    #[test]
    fn every_flipped_bit_is_found() {
        let mut random = fastrand::Rng::with_seed(1);
        for length in [1, 2, 64, 4_032, 20_000] {
            let mut bytes: Vec<u8> =
                std::iter::repeat_with(|| random.u8(..)).take(length).collect();
            let checksum = crc32c(&bytes);
            assert_eq!(locate(&bytes, checksum), None, "nothing is flipped");
            let step = 1 + 8 * length / 4_096;
            for place in (0..8 * length).step_by(step) {
                bytes[place / 8] ^= 1 << (place % 8);
                assert_eq!(locate(&bytes, checksum), Some((place / 8, (place % 8) as u8)));
                bytes[place / 8] ^= 1 << (place % 8);
            }
        }
    }

    /// Frames of a kind of event at the same places, as a segment has them that is used again: what
    /// a cut write leaves of the new one and shows of the old one can be read, and is no flip.
    #[test]
    fn a_cut_write_is_no_flipped_bit() {
        let identity = LogIdentity {
            directory: 1,
            partition: PartitionId::new(0).expect("in range"),
            epoch: Epoch::FIRST,
        };
        let mut random = fastrand::Rng::with_seed(3);
        let mut frame = |at: u64, count: u32| {
            let mut events = Vec::new();
            for number in 0..u64::from(count) {
                let through = Sequence::new(random.u64(..1 << 40));
                let fact = Fact::Acknowledged { consumer: random.u8(..8), through };
                Event { at: Timestamp::from_micros(at + number), fact }.encode(&mut events);
            }
            let mut frame = vec![0; super::super::frame::frame_bytes(events.len()) as usize];
            super::super::frame::encode(
                &mut frame,
                &identity,
                Sequence::new(at),
                count,
                &events,
                0,
            );
            frame
        };
        let (mut cut, mut alike) = (0, 0);
        for round in 0..400 {
            let count = 30 + round % 90;
            let (old, new) = (frame(1_000, count as u32), frame(900_000_000, count as u32));
            let Parsed::Header(header) = Header::parse(&new) else { panic!("a frame") };
            for way in 0..20 {
                let mut torn = new.clone();
                let mut dice = fastrand::Rng::with_seed(round as u64 * 20 + way);
                for sector in (SECTOR..torn.len()).step_by(SECTOR).filter(|_| dice.bool()) {
                    let from = if way % 2 == 0 { &old[..] } else { &[0; 1 << 15][..] };
                    torn[sector..sector + SECTOR].copy_from_slice(&from[sector..sector + SECTOR]);
                }
                if torn == new {
                    continue;
                }
                cut += 1;
                alike += usize::from(locate(&torn[HEADER_BYTES..], header.body_checksum).is_some());
                let found = in_body(&header, &torn);
                assert!(found.is_none() || lacks_a_sector(&torn), "round {round}, way {way}");
            }
        }
        println!(
            "{cut} cut writes, {alike} of them with the difference of one bit, none taken for it"
        );
        assert!(cut > 7_000);
    }

    #[test]
    fn two_flipped_bits_are_not_one() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..2_000 {
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(200).collect();
            let checksum = crc32c(&bytes);
            let first = random.usize(..1_600);
            let second = (first + random.usize(1..1_600)) % 1_600;
            for place in [first, second] {
                bytes[place / 8] ^= 1 << (place % 8);
            }
            assert_eq!(locate(&bytes, checksum), None, "bits {first} and {second}");
        }
    }
}
