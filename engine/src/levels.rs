//! The stock levels of a partition as they stand on disk, for the edges that are told of them.
//!
//! The state runs ahead of the log by the batch that gathers and by the one that is written. Whoever
//! is told of that, and refuses somebody because of it, refuses because of a hold that a crash may
//! take away again: it was sold out at no time. So a level counts from when its batch is durable.

use crate::state_machine::{Level, State};
use doorbuster_protocol::ProductId;
use std::collections::{BTreeMap, BTreeSet};

/// Levels of what is durable, and which of them changed.
#[derive(Debug)]
pub(crate) struct DurableLevels {
    levels: BTreeMap<ProductId, Level>,
    /// Units of all of them that can be ordered.
    available: u64,
    /// Levels at the end of the batch that is written now, as far as they changed in it.
    written: Vec<Level>,
    changed: BTreeSet<ProductId>,
}

impl DurableLevels {
    /// Of a state that was recovered: all of it is durable, and who asks is told all of it.
    pub(crate) fn new(state: &mut State) -> Self {
        state.take_changed_products();
        let products = state.products().map(|product| product.product);
        let levels = products.filter_map(|product| Some((product, state.level(product)?)));
        let levels: BTreeMap<ProductId, Level> = levels.collect();
        let available = levels.values().map(|level| u64::from(level.available)).sum();
        Self { levels, available, written: Vec::new(), changed: BTreeSet::new() }
    }

    /// The batch that ends with this state is about to be written.
    pub(crate) fn batch_taken(&mut self, state: &mut State) {
        debug_assert!(self.written.is_empty(), "one batch is written at a time");
        let changed = state.take_changed_products();
        self.written.extend(changed.into_iter().filter_map(|product| state.level(product)));
    }

    /// The batch that was taken is durable.
    pub(crate) fn batch_durable(&mut self) {
        for level in self.written.drain(..) {
            self.changed.insert(level.product);
            let before = self.levels.insert(level.product, level);
            self.available += u64::from(level.available);
            self.available -= before.map_or(0, |before| u64::from(before.available));
        }
    }

    /// The level of every product.
    pub(crate) fn all(&self) -> impl Iterator<Item = Level> {
        self.levels.values().copied()
    }

    /// Units of all products that can be ordered.
    pub(crate) fn available(&self) -> u64 {
        self.available
    }

    /// The levels that changed since this was last called.
    pub(crate) fn take_changed(&mut self) -> Vec<Level> {
        let changed = std::mem::take(&mut self.changed);
        changed.iter().filter_map(|product| self.levels.get(product).copied()).collect()
    }
}
