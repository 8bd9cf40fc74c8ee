//! From an order id to its record, without hashing the id.
//!
//! An order id carries the low 40 bits of the sequence of the event that made it, and an event
//! makes at most one order. So the index is an array over sequences, cut into pages that exist only
//! where orders live: new orders fill one page after the other, and a page goes with its last
//! order.

use super::order::{OrderSlot, Orders};
use doorbuster_protocol::{OrderId, Sequence};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Orders of a page: 512 bytes of slots, which is what one order alone in its page costs.
const PAGE: usize = 128;
/// Sequences whose ids carry the same 40 bits are this far apart.
const LAP: u64 = 1 << 40;

#[derive(Debug)]
struct Page {
    number: u64,
    live: u32,
    slots: Box<[OrderSlot; PAGE]>,
}

/// The sequences up to `newest` whose low bits are those of the id, the last one first.
fn laps(id: OrderId, newest: Sequence) -> impl Iterator<Item = u64> {
    let newest = newest.get();
    let in_this_lap = newest - newest % LAP + id.sequence_bits();
    let last = if in_this_lap <= newest { Some(in_this_lap) } else { in_this_lap.checked_sub(LAP) };
    std::iter::successors(last, |sequence| sequence.checked_sub(LAP))
}

/// Where the order of each sequence lies.
#[derive(Debug, Default)]
pub(super) struct OrderIndex {
    pages: HashTable<Page>,
    orders: usize,
}

fn hash_of(page: u64) -> u64 {
    xxh3_64(&page.to_le_bytes())
}

impl OrderIndex {
    /// Orders in it.
    pub(super) fn len(&self) -> usize {
        self.orders
    }

    fn at(&self, sequence: u64) -> Option<OrderSlot> {
        let number = sequence / PAGE as u64;
        let page = self.pages.find(hash_of(number), |page| page.number == number)?;
        page.slots[sequence as usize % PAGE].some()
    }

    fn locate(&self, id: OrderId, newest: Sequence, orders: &Orders) -> Option<(u64, OrderSlot)> {
        laps(id, newest).find_map(|sequence| {
            let slot = self.at(sequence).filter(|slot| orders[*slot].id == id)?;
            Some((sequence, slot))
        })
    }

    /// The slot of an order.
    pub(super) fn find(&self, id: OrderId, newest: Sequence, orders: &Orders) -> Option<OrderSlot> {
        self.locate(id, newest, orders).map(|(_, slot)| slot)
    }

    /// Adds the order that event `sequence` made; `false` when that event already has one.
    pub(super) fn insert(&mut self, sequence: Sequence, slot: OrderSlot) -> bool {
        let number = sequence.get() / PAGE as u64;
        let page = self
            .pages
            .entry(hash_of(number), |page| page.number == number, |page| hash_of(page.number))
            .or_insert_with(|| Page { number, live: 0, slots: Box::new([OrderSlot::NONE; PAGE]) })
            .into_mut();
        let place = &mut page.slots[sequence.get() as usize % PAGE];
        if !place.is_none() {
            return false;
        }
        *place = slot;
        page.live += 1;
        self.orders += 1;
        true
    }

    /// Adds an order that a snapshot names, whose whole sequence is not known: the last one up to
    /// `newest` that its id can mean and that is free. `false` when there is none.
    pub(super) fn restore(&mut self, id: OrderId, newest: Sequence, slot: OrderSlot) -> bool {
        laps(id, newest).any(|sequence| sequence != 0 && self.insert(Sequence::new(sequence), slot))
    }

    /// Takes an order out that is in it.
    pub(super) fn remove(&mut self, id: OrderId, newest: Sequence, orders: &Orders) {
        let (sequence, _) =
            self.locate(id, newest, orders).expect("only an indexed order is removed");
        let number = sequence / PAGE as u64;
        let mut entry = self
            .pages
            .find_entry(hash_of(number), |page| page.number == number)
            .unwrap_or_else(|_| unreachable!("the order was just found in this page"));
        let page = entry.get_mut();
        page.slots[sequence as usize % PAGE] = OrderSlot::NONE;
        page.live -= 1;
        if page.live == 0 {
            entry.remove();
        }
        self.orders -= 1;
    }
}
