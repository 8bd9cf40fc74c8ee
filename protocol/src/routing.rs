//! Where things live: a product's partition, a buyer's bucket.
//!
//! The hash is XXH3-64 with seed 0 over the 16 bytes of the id (RFC 9562 order), and it never
//! changes: data directories and stores are laid out by it.

use crate::ids::{BuyerId, PartitionId, ProductId};
use crate::limits;
use xxhash_rust::xxh3::xxh3_64;

/// How many partitions a data directory has: 1 to [`limits::PARTITIONS_MAX`], fixed at its making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount(u16);

impl PartitionCount {
    /// `None` when `count` is 0 or more than [`limits::PARTITIONS_MAX`].
    pub const fn new(count: u16) -> Option<Self> {
        if count >= 1 && count <= limits::PARTITIONS_MAX { Some(Self(count)) } else { None }
    }
    /// The count.
    pub const fn get(self) -> u16 {
        self.0
    }
    /// The partition that owns `product`.
    pub fn partition_of(self, product: ProductId) -> PartitionId {
        let index = xxh3_64(product.as_bytes()) % u64::from(self.0);
        PartitionId::new(index as u16).expect("an index below the count is below the limit")
    }
    /// All partitions, in order.
    pub fn all(self) -> impl Iterator<Item = PartitionId> {
        (0..self.0).filter_map(PartitionId::new)
    }
}

/// The bucket of a buyer, 0 to 1023: it names the store shard.
pub fn bucket_of(buyer: BuyerId) -> u16 {
    (xxh3_64(buyer.as_bytes()) % u64::from(limits::BUYER_BUCKETS)) as u16
}
