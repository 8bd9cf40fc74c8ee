//! The whole state as one number, and the records that it is made of.
//!
//! Two states that came from the same events have the same digest, whatever they went through in
//! between: slots, table sizes and waitlist tickets do not count. Queues count in their order;
//! buyers, which have none, through a sum over their hashes.

use super::order::{OrderSlot, RECORD_BYTES};
use super::product::Product;
use super::receipts::ReceiptsLost;
use super::state::State;
use doorbuster_protocol::record::Write;
use std::io;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// "doorbust"
const SEED: u64 = 0x646f_6f72_6275_7374;

impl State {
    /// The digest. Costs one pass over everything. Panics when receipts are lost.
    pub fn digest(&self) -> u64 {
        self.try_digest().unwrap_or_else(|error| std::panic::panic_any(ReceiptsLost(error)))
    }

    /// The same; an error when receipts cannot be read back.
    pub fn try_digest(&self) -> io::Result<u64> {
        let mut hash = Xxh3::with_seed(SEED);
        let mut record = Vec::with_capacity(RECORD_BYTES);
        self.encode_header(&mut record);
        hash.update(&record);
        for product in self.products.iter() {
            record.clear();
            product.encode(&mut record);
            hash.update(&record);
            self.digest_queue(&mut hash, product.holds.iter(&self.orders));
            self.digest_queue(&mut hash, product.waitlist.iter(&self.orders));
        }
        self.digest_queue(&mut hash, self.finals.iter(&self.orders));
        self.receipts.try_each(|_, record| {
            hash.update(record);
            Ok::<_, io::Error>(())
        })?;
        hash.update(&(self.receipts.len() as u32).to_le_bytes());
        let buyers = self.buyers.iter().fold(0u64, |sum, count| {
            record.clear();
            count.encode(&mut record);
            sum.wrapping_add(xxh3_64(&record))
        });
        hash.update(&buyers.to_le_bytes());
        Ok(hash.digest())
    }

    fn digest_queue(&self, hash: &mut Xxh3, queue: impl Iterator<Item = OrderSlot>) {
        let mut record = Vec::with_capacity(RECORD_BYTES);
        let mut length = 0u32;
        for slot in queue {
            record.clear();
            self.orders[slot].encode(&mut record);
            hash.update(&record);
            length += 1;
        }
        hash.update(&length.to_le_bytes());
    }

    /// What there is one of: partition, sequence, time, consumers.
    pub(super) fn encode_header(&self, out: &mut Vec<u8>) {
        out.put_u16(self.partition.get());
        out.put_u64(self.sequence.get());
        out.put_timestamp(self.last_at);
        out.put_u64(self.last_fact.get());
        for consumer in self.acknowledged {
            out.put_u64(consumer.map_or(u64::MAX, doorbuster_protocol::Sequence::get));
        }
    }
}

impl Product {
    /// Its terms and counters, and the lengths of its queues.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.id.as_bytes());
        out.put_u64(self.terms.price);
        out.put_currency(self.terms.currency);
        out.put_u32(u32::from(self.state.code()));
        out.put_timestamp(self.terms.opens_at);
        out.put_timestamp(self.terms.closes_at);
        for number in [
            self.terms.stock,
            self.terms.limit_per_buyer,
            self.terms.hold_seconds,
            self.terms.waitlist_capacity,
            self.available,
            self.held,
            self.sold,
            self.holds.len(),
            self.waitlist.len(),
        ] {
            out.put_u32(number);
        }
    }
}

impl super::buyers::BuyerUnits {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.buyer.as_bytes());
        out.put_u32(self.product.number());
        out.put_u32(self.units);
    }
}

#[cfg(test)]
#[path = "digest_test.rs"]
mod tests;
