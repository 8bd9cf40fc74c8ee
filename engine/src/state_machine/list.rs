//! A queue of orders, linked through their records: joining the end and leaving from anywhere cost
//! the same few writes. An order stands in exactly one queue at a time: the holds of its product,
//! the waitlist of its product, or the final ones that some consumer does not have.

use super::order::{Links, OrderSlot, Orders};

/// Ends and length of one queue.
#[derive(Debug)]
pub(super) struct List {
    head: OrderSlot,
    tail: OrderSlot,
    length: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: OrderSlot::NONE, tail: OrderSlot::NONE, length: 0 }
    }
}

impl List {
    pub(super) fn len(&self) -> u32 {
        self.length
    }
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// The order that has stood longest.
    pub(super) fn head(&self) -> Option<OrderSlot> {
        self.head.some()
    }
    /// The order that came last.
    pub(super) fn tail(&self) -> Option<OrderSlot> {
        self.tail.some()
    }

    pub(super) fn push_back(&mut self, orders: &mut Orders, slot: OrderSlot) {
        orders[slot].links = Links { previous: self.tail, next: OrderSlot::NONE };
        match self.tail.some() {
            Some(tail) => orders[tail].links.next = slot,
            None => self.head = slot,
        }
        self.tail = slot;
        self.length += 1;
    }

    /// Takes out an order that stands in this queue.
    pub(super) fn remove(&mut self, orders: &mut Orders, slot: OrderSlot) {
        let links = orders[slot].links;
        match links.previous.some() {
            Some(previous) => orders[previous].links.next = links.next,
            None => {
                assert!(self.head == slot, "an order leaves the queue that it stands in");
                self.head = links.next;
            }
        }
        match links.next.some() {
            Some(next) => orders[next].links.previous = links.previous,
            None => {
                assert!(self.tail == slot, "an order leaves the queue that it stands in");
                self.tail = links.previous;
            }
        }
        orders[slot].links = Links::NONE;
        self.length -= 1;
    }

    /// From the head to the tail.
    pub(super) fn iter<'a>(&self, orders: &'a Orders) -> impl Iterator<Item = OrderSlot> + 'a {
        std::iter::successors(self.head(), |slot| orders[*slot].links.next.some())
    }
}
