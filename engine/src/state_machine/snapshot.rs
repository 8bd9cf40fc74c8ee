//! The state as bytes, and back.
//!
//! Layout, all little-endian: magic, format version, then the header (partition, sequence, time,
//! consumers, how many products, final orders, receipts and buyers) and its CRC-32C; a record per
//! product; the orders, queue by queue (of each product its holds and its waitlist, then the final
//! ones, then the receipts), each from the head; a record per (product, buyer) count; and the
//! CRC-32C of everything before it. What can be derived is not written: indexes, the agenda,
//! tickets.
//!
//! Buyers stand in no particular order, so two snapshots of equal states may differ in their bytes;
//! their digests do not.

mod reader;
mod visit;

pub use reader::{SnapshotError, read, read_into};
pub use visit::{SnapshotVisitor, visit};

use super::order::RECORD_BYTES as ORDER_BYTES;
use super::state::State;
use doorbuster_protocol::limits;
use doorbuster_protocol::record::Write as _;
use std::io;

const MAGIC: [u8; 8] = *b"DOORSNAP";
/// The version that this code writes, and the only one that it reads.
const VERSION: u32 = 1;
/// Magic, version, and the header with its CRC.
const HEADER_BYTES: usize = 8 + 4 + (2 + 8 * 3 + 8 * limits::CONSUMERS_MAX as usize) + 4 * 4 + 4;
const PRODUCT_BYTES: usize = 16 + 8 + 4 + 4 + 8 + 8 + 4 * 9;
const BUYER_BYTES: usize = 16 + 4 + 4;
/// Bytes gathered before they are handed on.
const BLOCK_BYTES: usize = 256 << 10;

/// Writes the state. The writer gets blocks of some hundred kilobytes, and no flush.
pub fn write(state: &State, out: &mut impl io::Write) -> io::Result<()> {
    let mut writer = Writer { out, block: Vec::with_capacity(BLOCK_BYTES + 1024), crc: 0 };
    let header = &mut writer.block;
    header.put(&MAGIC);
    header.put_u32(VERSION);
    state.encode_header(header);
    for count in [
        state.products.len(),
        state.finals.len() as usize,
        state.receipts.len(),
        state.buyers.len(),
    ] {
        header.put_u32(u32::try_from(count).expect("every collection is bounded below 2^32"));
    }
    header.put_u32(crc32c::crc32c(header));
    assert!(header.len() == HEADER_BYTES, "the header has its layout");

    for product in state.products.iter() {
        product.encode(writer.room()?);
    }
    for product in state.products.iter() {
        writer.orders(state, product.holds.iter(&state.orders))?;
        writer.orders(state, product.waitlist.iter(&state.orders))?;
    }
    writer.orders(state, state.finals.iter(&state.orders))?;
    state.receipts.try_each(|_, record| {
        writer.room()?.extend_from_slice(record);
        Ok::<_, io::Error>(())
    })?;
    for count in state.buyers.iter() {
        count.encode(writer.room()?);
    }
    writer.finish()
}

struct Writer<'a, W> {
    out: &'a mut W,
    block: Vec<u8>,
    /// Of everything handed on.
    crc: u32,
}

impl<W: io::Write> Writer<'_, W> {
    /// The block, with room for one more record.
    fn room(&mut self) -> io::Result<&mut Vec<u8>> {
        if self.block.len() >= BLOCK_BYTES {
            self.hand_on()?;
        }
        Ok(&mut self.block)
    }

    fn orders(
        &mut self,
        state: &State,
        queue: impl Iterator<Item = super::order::OrderSlot>,
    ) -> io::Result<()> {
        for slot in queue {
            state.orders[slot].encode(self.room()?);
        }
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, &self.block);
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.hand_on()?;
        self.out.write_all(&self.crc.to_le_bytes())
    }
}

#[cfg(test)]
#[path = "snapshot/snapshot_test.rs"]
mod tests;
