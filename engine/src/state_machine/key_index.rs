//! From an idempotency key to the order that it made.
//!
//! An entry is 32 bits of the key's hash and a slot: growing the table reads no order, and a
//! look-up reads one only when the 32 bits agree. Keys are cut from SHA-256, so aiming at one
//! bucket costs an attacker a search per key; the hash on top makes plain numbers spread, too.

use super::order::{OrderSlot, Orders};
use super::spread::Spread;
use doorbuster_protocol::IdempotencyKey;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// "idempote", so that this table's order has nothing to do with any other's.
const SEED: u64 = 0x6964_656d_706f_7465;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    slot: OrderSlot,
}

impl Entry {
    /// All 32 bits twice: the lowest choose the part, the ones after them the bucket in it, and the
    /// highest are the tag.
    fn table_hash(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash.rotate_right(6))
    }
}

fn entry_of(key: IdempotencyKey, slot: OrderSlot) -> Entry {
    Entry { hash: (xxh3_64_with_seed(key.as_bytes(), SEED) >> 32) as u32, slot }
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

    /// The order that `key` made.
    pub(super) fn find(&self, key: IdempotencyKey, orders: &Orders) -> Option<OrderSlot> {
        let wanted = entry_of(key, OrderSlot::NONE);
        let hash = wanted.table_hash();
        let is_it = |entry: &Entry| entry.hash == wanted.hash && orders[entry.slot].key == key;
        self.entries.of(hash).find(hash, is_it).map(|entry| entry.slot)
    }

    /// Remembers a key that is not in it.
    pub(super) fn insert(&mut self, key: IdempotencyKey, slot: OrderSlot) {
        let entry = entry_of(key, slot);
        let hash = entry.table_hash();
        self.entries.of_mut(hash).insert_unique(hash, entry, |entry| entry.table_hash());
    }

    /// Forgets a key that is in it.
    pub(super) fn remove(&mut self, key: IdempotencyKey, slot: OrderSlot) {
        let hash = entry_of(key, slot).table_hash();
        match self.entries.of_mut(hash).find_entry(hash, |entry| entry.slot == slot) {
            Ok(entry) => entry.remove(),
            Err(_) => unreachable!("only a remembered key is forgotten"),
        };
    }
}
