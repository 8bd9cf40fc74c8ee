//! How many units each buyer holds, has bought and queues for, product by product.
//!
//! The counts outlive the orders: a buyer who has paid stays at the limit after the store took the
//! order over. A count that falls to zero is dropped.

use super::product::ProductSlot;
use super::spread::Spread;
use doorbuster_protocol::BuyerId;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Units of one buyer and one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuyerUnits {
    pub(super) buyer: BuyerId,
    pub(super) product: ProductSlot,
    pub(super) units: u32,
}

const _: () = assert!(size_of::<BuyerUnits>() == 24);

/// The counts of a partition.
#[derive(Debug, Default)]
pub(super) struct Buyers {
    counts: Spread<BuyerUnits>,
    len: usize,
}

fn hash_of(product: ProductSlot, buyer: BuyerId) -> u64 {
    // The seed differs per product, so buyers that crowd one bucket for one do not for the next.
    let seed = u64::from(product.number()).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    xxh3_64_with_seed(buyer.as_bytes(), seed)
}

impl Buyers {
    /// (product, buyer) pairs counted.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Units of `buyer`, zero for a stranger.
    pub(super) fn units(&self, product: ProductSlot, buyer: BuyerId) -> u32 {
        let hash = hash_of(product, buyer);
        let is_it = |count: &BuyerUnits| count.buyer == buyer && count.product == product;
        self.counts.of(hash).find(hash, is_it).map_or(0, |count| count.units)
    }

    /// Counts `units` more, and says how many there are now; `None` when nobody can have so many.
    pub(super) fn add(&mut self, product: ProductSlot, buyer: BuyerId, units: u32) -> Option<u32> {
        let hash = hash_of(product, buyer);
        let entry = self.counts.of_mut(hash).entry(
            hash,
            |count| count.buyer == buyer && count.product == product,
            |count| hash_of(count.product, count.buyer),
        );
        match entry {
            Entry::Occupied(mut entry) => {
                let count = entry.get_mut();
                count.units = count.units.checked_add(units)?;
                Some(count.units)
            }
            Entry::Vacant(entry) => {
                entry.insert(BuyerUnits { buyer, product, units });
                self.len += 1;
                Some(units)
            }
        }
    }

    /// Counts `units` less; `false` when the buyer does not have them.
    pub(super) fn take(&mut self, product: ProductSlot, buyer: BuyerId, units: u32) -> bool {
        let hash = hash_of(product, buyer);
        let is_it = |count: &BuyerUnits| count.buyer == buyer && count.product == product;
        let entry = self.counts.of_mut(hash).find_entry(hash, is_it);
        let Ok(mut entry) = entry else { return false };
        let count = entry.get_mut();
        let Some(left) = count.units.checked_sub(units) else { return false };
        count.units = left;
        if left == 0 {
            entry.remove();
            self.len -= 1;
        }
        true
    }

    /// Every count, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &BuyerUnits> {
        self.counts.iter()
    }
}
