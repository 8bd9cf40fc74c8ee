//! From an idempotency key to the order that it made.
//!
//! An entry is 32 bits of the key's hash and a slot: growing the table reads no order, and a
//! look-up reads one only when the 32 bits agree. Keys are cut from SHA-256, so aiming at one
//! bucket costs an attacker a search per key; the hash on top makes plain numbers spread, too.

use super::order::{OrderSlot, Orders};
use doorbuster_protocol::IdempotencyKey;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// "idempote", so that this table's order has nothing to do with any other's.
const SEED: u64 = 0x6964_656d_706f_7465;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    slot: OrderSlot,
}

impl Entry {
    /// The table takes its bucket from the low bits and its 7-bit tag from the high ones.
    fn table_hash(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash)
    }
}

fn entry_of(key: IdempotencyKey, slot: OrderSlot) -> Entry {
    Entry { hash: (xxh3_64_with_seed(key.as_bytes(), SEED) >> 32) as u32, slot }
}

/// Every remembered key.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    entries: HashTable<Entry>,
}

impl KeyIndex {
    /// Keys in it.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The order that `key` made.
    pub(super) fn find(&self, key: IdempotencyKey, orders: &Orders) -> Option<OrderSlot> {
        let wanted = entry_of(key, OrderSlot::NONE);
        self.entries
            .find(wanted.table_hash(), |entry| {
                entry.hash == wanted.hash && orders[entry.slot].key == key
            })
            .map(|entry| entry.slot)
    }

    /// Remembers a key that is not in it.
    pub(super) fn insert(&mut self, key: IdempotencyKey, slot: OrderSlot) {
        let entry = entry_of(key, slot);
        self.entries.insert_unique(entry.table_hash(), entry, |entry| entry.table_hash());
    }

    /// Forgets a key that is in it.
    pub(super) fn remove(&mut self, key: IdempotencyKey, slot: OrderSlot) {
        let hash = entry_of(key, slot).table_hash();
        match self.entries.find_entry(hash, |entry| entry.slot == slot) {
            Ok(entry) => entry.remove(),
            Err(_) => unreachable!("only a remembered key is forgotten"),
        };
    }
}
