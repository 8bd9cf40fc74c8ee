//! From an idempotency key to the order that it made, or to what is kept of that.
//!
//! An entry is 32 bits of the key's hash, and where it is: growing the table reads no order, and a
//! look-up reads one only when the 32 bits agree. Keys are cut from SHA-256, so aiming at one
//! bucket costs an attacker a search per key; the hash on top makes plain numbers spread, too.

use super::order::OrderSlot;
use super::receipts::ReceiptNumber;
use super::spread::Spread;
use doorbuster_protocol::IdempotencyKey;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// "idempote", so that this table's order has nothing to do with any other's.
const SEED: u64 = 0x6964_656d_706f_7465;

/// Where the order of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// In the slab.
    Order(OrderSlot),
    /// Every consumer has it: only its receipt is left.
    Receipt(ReceiptNumber),
}

/// Says that the other 31 bits are a receipt's.
const RECEIPT: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    whereabouts: u32,
}

impl Whereabouts {
    fn bits(self) -> u32 {
        match self {
            Self::Order(slot) => slot.bits(),
            Self::Receipt(number) => RECEIPT | number.bits(),
        }
    }
    fn from_bits(bits: u32) -> Self {
        match bits & RECEIPT {
            0 => Self::Order(OrderSlot::from_bits(bits)),
            _ => Self::Receipt(ReceiptNumber::from_bits(bits & !RECEIPT)),
        }
    }
}

impl Entry {
    /// All 32 bits twice: the lowest choose the part, the ones after them the bucket in it, and the
    /// highest are the tag.
    fn table_hash(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash.rotate_right(6))
    }
}

fn hash_of(key: IdempotencyKey) -> u32 {
    (xxh3_64_with_seed(key.as_bytes(), SEED) >> 32) as u32
}

/// Every remembered key.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    entries: Spread<Entry>,
}

impl KeyIndex {
    /// Keys in it.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where the order is that `key` made; `key_at` reads the key of what is there.
    pub(super) fn find(
        &self,
        key: IdempotencyKey,
        key_at: impl Fn(Whereabouts) -> IdempotencyKey,
    ) -> Option<Whereabouts> {
        let wanted = Entry { hash: hash_of(key), whereabouts: 0 };
        let hash = wanted.table_hash();
        let is_it = |entry: &Entry| {
            entry.hash == wanted.hash && key_at(Whereabouts::from_bits(entry.whereabouts)) == key
        };
        let found = self.entries.of(hash).find(hash, is_it);
        found.map(|entry| Whereabouts::from_bits(entry.whereabouts))
    }

    /// Remembers a key that is not in it.
    pub(super) fn insert(&mut self, key: IdempotencyKey, at: Whereabouts) {
        let entry = Entry { hash: hash_of(key), whereabouts: at.bits() };
        let hash = entry.table_hash();
        self.entries.of_mut(hash).insert_unique(hash, entry, |entry| entry.table_hash());
    }

    /// The order of a key that is in it went elsewhere.
    pub(super) fn moved(&mut self, key: IdempotencyKey, from: OrderSlot, to: ReceiptNumber) {
        let from = Whereabouts::Order(from).bits();
        let hash = Entry { hash: hash_of(key), whereabouts: from }.table_hash();
        let entry = self.entries.of_mut(hash).find_mut(hash, |entry| entry.whereabouts == from);
        entry.expect("an order's key is remembered").whereabouts = Whereabouts::Receipt(to).bits();
    }

    /// Forgets a key that is in it, with a receipt that is gone.
    pub(super) fn remove(&mut self, key: IdempotencyKey, receipt: ReceiptNumber) {
        let at = Whereabouts::Receipt(receipt).bits();
        let hash = Entry { hash: hash_of(key), whereabouts: at }.table_hash();
        match self.entries.of_mut(hash).find_entry(hash, |entry| entry.whereabouts == at) {
            Ok(entry) => entry.remove(),
            Err(_) => unreachable!("a receipt's key is remembered"),
        };
    }
}
