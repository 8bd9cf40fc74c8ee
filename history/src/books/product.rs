//! One product: its units after every event, its terms over time, its holds and its waitlist.

use super::order::OrderBook;
use super::{Administration, Edition, OrderNumber};
use crate::answer::ProductSeen;
use crate::ids::{Position, ProductId};
use crate::terms::{SaleState, Status, Terms};
use std::collections::VecDeque;

/// Entries of a queue beyond twice those that count, past which the others are taken out.
const SLACK: usize = 64;

/// One product.
#[derive(Debug)]
pub(crate) struct ProductBook {
    pub(crate) id: ProductId,
    /// The first event that named it.
    pub(crate) first: Position,
    pub(crate) first_us: u64,
    /// When its row last changed.
    pub(crate) changed_us: u64,
    pub(crate) is_defined: bool,
    pub(crate) terms: Terms,
    pub(crate) state: SaleState,
    pub(crate) available: i64,
    pub(crate) held: i64,
    pub(crate) sold: i64,
    pub(crate) waiting: u32,
    /// Orders that wait, first come first, and some that left.
    queue: VecDeque<OrderNumber>,
    /// Orders whose units are held, in the order in which they were, and some that ended.
    holds: Vec<OrderNumber>,
    /// How many of them were left when the others were taken out.
    holds_kept: usize,
    pub(crate) editions: Vec<Edition>,
    pub(crate) levels: Vec<Level>,
    /// For everybody who ever waited, in order: the events at which they came and left.
    pub(crate) turns: Vec<Turn>,
}

/// The units of a product from an event on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) sequence: u64,
    pub(crate) available: i64,
    pub(crate) held: i64,
    pub(crate) sold: i64,
    pub(crate) waiting: u32,
    /// The index of the edition that was in force.
    pub(crate) edition: u32,
}

/// Somebody's time on the waitlist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) came: u64,
    /// The event at which it ended; `u64::MAX` when it did not.
    pub(crate) left: u64,
}

impl ProductBook {
    pub(super) fn new(id: ProductId, first: Position, first_us: u64, terms: Terms) -> Self {
        Self {
            id,
            first,
            first_us,
            changed_us: first_us,
            is_defined: false,
            terms,
            state: SaleState::Open,
            available: 0,
            held: 0,
            sold: 0,
            waiting: 0,
            queue: VecDeque::new(),
            holds: Vec::new(),
            holds_kept: 0,
            editions: Vec::new(),
            levels: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// Units that are sold or held.
    pub(crate) fn committed(&self) -> i64 {
        self.held + self.sold
    }

    /// The orders that wait, first come first, but for `leaving`.
    pub(crate) fn waiting<'a>(
        &'a self,
        orders: &'a [OrderBook],
        leaving: Option<OrderNumber>,
    ) -> impl Iterator<Item = &'a OrderBook> {
        let is_there = move |number: &&OrderNumber| Some(**number) != leaving;
        let order = |number: &OrderNumber| &orders[*number as usize];
        self.queue.iter().filter(is_there).map(order).filter(|it| it.status() == Status::Queued)
    }

    /// The latest deadline of the units that are held, those of `leaving` aside; 0 for none.
    pub(crate) fn last_deadline(&self, orders: &[OrderBook], leaving: Option<OrderNumber>) -> u64 {
        let is_there = |number: &&OrderNumber| {
            Some(**number) != leaving && orders[**number as usize].status() == Status::Pending
        };
        let last = self.holds.iter().rev().find(is_there);
        last.map_or(0, |number| orders[*number as usize].expires_us)
    }

    pub(super) fn hold(&mut self, order: OrderNumber) {
        self.holds.push(order);
    }

    /// Somebody comes to the end of the waitlist, and gets a number.
    pub(super) fn wait(&mut self, order: OrderNumber, sequence: u64) -> u32 {
        self.queue.push_back(order);
        self.waiting += 1;
        self.turns.push(Turn { came: sequence, left: u64::MAX });
        self.turns.len() as u32 - 1
    }

    pub(super) fn leave(&mut self, turn: u32, sequence: u64) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(turn) = self.turns.get_mut(turn as usize) {
            turn.left = sequence;
        }
    }

    pub(super) fn move_stock(&mut self, units: i64) {
        self.available += units;
        let stock = i64::from(self.terms.stock) + units;
        self.terms.stock = u32::try_from(stock.max(0)).unwrap_or(u32::MAX);
    }

    /// Terms or state are others from here on.
    pub(super) fn edit(&mut self, by: Administration, sequence: u64, at_us: u64) {
        self.changed_us = at_us;
        self.editions.push(Edition { sequence, by, terms: self.terms, state: self.state });
    }

    /// Notes the units after an event.
    pub(super) fn stand(&mut self, sequence: u64) {
        if self.editions.is_empty() {
            self.edit(Administration::Defined, sequence, self.first_us);
        }
        self.levels.push(Level {
            sequence,
            available: self.available,
            held: self.held,
            sold: self.sold,
            waiting: self.waiting,
            edition: self.editions.len() as u32 - 1,
        });
    }

    /// Takes orders out of the queues that are no longer in them, when there are many.
    pub(super) fn forget_who_left(&mut self, orders: &[OrderBook]) {
        let status = |number: &OrderNumber| orders[*number as usize].status();
        while self.queue.front().is_some_and(|number| status(number) != Status::Queued) {
            self.queue.pop_front();
        }
        while self.holds.last().is_some_and(|number| status(number) != Status::Pending) {
            self.holds.pop();
        }
        if self.queue.len() > SLACK + 2 * self.waiting as usize {
            self.queue.retain(|number| status(number) == Status::Queued);
        }
        if self.holds.len() > SLACK + 2 * self.holds_kept {
            self.holds.retain(|number| status(number) == Status::Pending);
            self.holds_kept = self.holds.len();
        }
    }

    /// The index of the last entry of a list at or before an event.
    fn index_at(sequences: impl Fn(usize) -> u64, count: usize, sequence: u64) -> Option<usize> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = (low + high) / 2;
            if sequences(middle) <= sequence { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// The index of the level that held after an event; `None` before the first.
    pub(crate) fn level_at(&self, sequence: u64) -> Option<usize> {
        Self::index_at(|index| self.levels[index].sequence, self.levels.len(), sequence)
    }

    /// The index of the edition in force after an event; `None` before the first.
    pub(crate) fn edition_at(&self, sequence: u64) -> Option<usize> {
        Self::index_at(|index| self.editions[index].sequence, self.editions.len(), sequence)
    }

    /// The product as a client would have seen it; `None` when its numbers cannot be.
    pub(crate) fn seen(&self, level: &Level) -> Option<ProductSeen> {
        let edition = self.editions[level.edition as usize];
        Some(ProductSeen {
            product: self.id,
            terms: edition.terms,
            state: edition.state,
            available: u32::try_from(level.available).ok()?,
            held: u32::try_from(level.held).ok()?,
            sold: u32::try_from(level.sold).ok()?,
            waiting: level.waiting,
        })
    }
}
