//! What a buyer remembers: the attempts to buy, and what became of them. It outlives the process of
//! a client, as the storage of an app does, and is the same on all devices of the buyer.

use crate::chance::Chance;
use doorbuster_protocol::OrderId;
use doorbuster_protocol::command::Place;
use std::collections::VecDeque;

/// Attempts that a buyer remembers, to come back to them much later.
const REMEMBERED_MAX: usize = 48;

/// What one buyer remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    attempts: VecDeque<Attempt>,
    keys: u64,
}

/// An attempt to buy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) place: Place,
    /// The order that it made, when that is known.
    pub(super) order: Option<OrderId>,
    /// Whether nobody knows what became of it.
    is_open: bool,
}

impl Memory {
    /// The number of a new key.
    pub(super) fn next_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    /// Some key, new or old: fingers that press twice, programs that count wrongly.
    pub(super) fn some_key(&self, chance: &Chance) -> u64 {
        self.keys.saturating_sub(chance.below(8)).max(1)
    }

    /// An attempt is about to be made.
    pub(super) fn begins(&mut self, place: Place) {
        if self.attempts.len() == REMEMBERED_MAX {
            self.attempts.pop_front();
        }
        self.attempts.push_back(Attempt { place, order: None, is_open: true });
    }

    /// An attempt has come to its end, with an order or without.
    pub(super) fn ends(&mut self, place: &Place, order: Option<OrderId>) {
        let same = self.attempts.iter_mut().rev().find(|attempt| attempt.place == *place);
        if let Some(attempt) = same {
            attempt.is_open = false;
            attempt.order = order.or(attempt.order);
        }
    }

    /// An attempt to come back to.
    pub(super) fn some(&self, chance: &Chance) -> Option<Attempt> {
        let index = chance.below(self.attempts.len() as u64) as usize;
        self.attempts.get(index).copied()
    }

    /// The attempts with a key of which nobody knows what became of them, the oldest first: their
    /// client was killed, gave up, or still waits. Without a key, asking again might buy twice.
    pub(super) fn open(&self) -> Vec<Place> {
        let is_open = |attempt: &&Attempt| attempt.is_open && !attempt.place.key.is_none();
        self.attempts.iter().filter(is_open).map(|attempt| attempt.place).collect()
    }
}
