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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_bounded() {
        for (count, is_count) in [(0, false), (1, true), (16, true), (4096, true), (4097, false)] {
            assert_eq!(PartitionCount::new(count).is_some(), is_count, "{count}");
        }
    }

    /// Data directories and stores are laid out by these numbers.
    #[test]
    fn the_hash_is_frozen() {
        let check = |name: &str, of_16: u16, of_4096: u16, bucket: u16| {
            let product = ProductId::parse(name).expect("a name");
            let buyer = BuyerId::from_bytes(*product.as_bytes());
            let of = |count| PartitionCount::new(count).expect("in range").partition_of(product);
            let found = (of(16).get(), of(4096).get(), bucket_of(buyer));
            assert_eq!(found, (of_16, of_4096, bucket), "{name}");
        };
        check("sneaker", 3, 1523, 499);
        check("boot", 2, 3698, 626);
        check("00000000-0000-0000-0000-000000000000", 8, 2408, 360);
        check("ffffffff-ffff-ffff-ffff-ffffffffffff", 3, 787, 787);
    }

    #[test]
    fn every_partition_and_bucket_gets_its_share() {
        let count = PartitionCount::new(16).expect("in range");
        let mut partitions = [0; 16];
        let mut buckets = vec![0; usize::from(limits::BUYER_BUCKETS)];
        for number in 0..160_000u128 {
            partitions[count.partition_of(ProductId::from_bytes(number.to_be_bytes())).index()] +=
                1;
            buckets[usize::from(bucket_of(BuyerId::from_bytes(number.to_be_bytes())))] += 1;
        }
        assert!(partitions.iter().all(|share| (9_500..10_500).contains(share)), "{partitions:?}");
        assert!(buckets.iter().all(|share| (80..260).contains(share)), "{buckets:?}");
        assert_eq!(count.all().count(), 16);
    }
}
