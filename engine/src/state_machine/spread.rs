//! A hash table in parts, so that growing stops nobody for long.
//!
//! A table that is full moves all that it holds into one twice as large before the next entry goes
//! in, and with millions of entries everybody on the core would wait for that. Each part grows by
//! itself, with a small fraction of all entries.

use hashbrown::HashTable;

/// Parts. With as many entries as a partition may hold, each has a million.
const PARTS: usize = 64;

/// Tables by hash. Bits 32 to 37 choose the one; it takes its buckets from the lowest bits and its
/// tags from the highest seven.
#[derive(Debug)]
pub(super) struct Spread<T> {
    parts: Box<[HashTable<T>; PARTS]>,
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self { parts: Box::new(std::array::from_fn(|_| HashTable::new())) }
    }
}

impl<T> Spread<T> {
    /// The table that holds what has this hash.
    pub(super) fn of(&self, hash: u64) -> &HashTable<T> {
        &self.parts[(hash >> 32) as usize % PARTS]
    }

    /// The same, to be changed.
    pub(super) fn of_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        &mut self.parts[(hash >> 32) as usize % PARTS]
    }

    /// Every entry, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flatten()
    }

    /// Entries in it: costs a look at every part.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }
}
