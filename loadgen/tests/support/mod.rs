//! A shop that keeps the contract (or breaks it on purpose), and two servers in front of it.

#![allow(dead_code, reason = "not every test file needs every part")]

pub(crate) mod binary_server;
pub(crate) mod http_server;

use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{BuyerId, OrderId, PartitionId, Sequence, Timestamp};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for something that must come; far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, and fails the test when it does not come.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// An order and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) status: OrderStatus,
}

/// What the shop says to an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sale {
    Order { order: Order, replayed: bool },
    SoldOut,
    Limit,
}

/// One product's stock, its orders and its queue.
#[derive(Debug, Default)]
pub(crate) struct Shop {
    pub(crate) stock: usize,
    pub(crate) waitlist: usize,
    /// The fault: it does not remember keys.
    forgets_keys: bool,
    pub(crate) orders: HashMap<OrderId, OrderStatus>,
    buyers: HashMap<Vec<u8>, usize>,
    keys: HashMap<(Vec<u8>, Vec<u8>), Order>,
    queue: VecDeque<OrderId>,
}

impl Shop {
    pub(crate) fn new(stock: usize, waitlist: usize) -> Self {
        Self { stock, waitlist, ..Self::default() }
    }

    /// A shop that does not keep the contract.
    pub(crate) fn forgetful(stock: usize) -> Self {
        Self { forgets_keys: true, ..Self::new(stock, 0) }
    }

    /// Every order that was ever accepted.
    pub(crate) fn ids(&self) -> HashSet<OrderId> {
        self.orders.keys().copied().collect()
    }

    pub(crate) fn place(&mut self, buyer: &[u8], key: &[u8], may_queue: bool) -> Sale {
        let full_key = (buyer.to_vec(), key.to_vec());
        if !self.forgets_keys {
            if let Some(order) = self.keys.get(&full_key) {
                return Sale::Order { order: *order, replayed: true };
            }
            if self.buyers.contains_key(buyer) {
                return Sale::Limit;
            }
        }
        let status = if self.stock > 0 {
            self.stock -= 1;
            OrderStatus::Pending
        } else if may_queue && self.queue.len() < self.waitlist {
            OrderStatus::Queued
        } else {
            return Sale::SoldOut;
        };
        let id = OrderId::new(
            Timestamp::from_micros(1_700_000_000_000_000),
            PartitionId::new(0).expect("in range"),
            BuyerId::from_bytes([7; 16]),
            Sequence::new(self.orders.len() as u64 + 1),
        );
        if status == OrderStatus::Queued {
            self.queue.push_back(id);
        }
        let order = Order { id, status };
        self.orders.insert(id, status);
        *self.buyers.entry(buyer.to_vec()).or_default() += 1;
        self.keys.insert(full_key, order);
        Sale::Order { order, replayed: false }
    }

    pub(crate) fn look(&self, id: OrderId) -> Option<Order> {
        self.orders.get(&id).map(|status| Order { id, status: *status })
    }

    pub(crate) fn pay(&mut self, id: OrderId) -> Option<Order> {
        let status = self.orders.get_mut(&id).filter(|s| **s == OrderStatus::Pending)?;
        *status = OrderStatus::Paid;
        self.look(id)
    }

    pub(crate) fn cancel(&mut self, id: OrderId) -> Option<Order> {
        let status = self.orders.get_mut(&id).filter(|s| **s == OrderStatus::Pending)?;
        *status = OrderStatus::Cancelled;
        match self.queue.pop_front() {
            Some(next) => {
                self.orders.insert(next, OrderStatus::Pending);
            }
            None => self.stock += 1,
        }
        self.look(id)
    }

    pub(crate) fn count(&self, status: OrderStatus) -> u64 {
        self.orders.values().filter(|other| **other == status).count() as u64
    }
}

/// A door that a test closes and opens; whoever comes while it is closed waits.
#[derive(Debug, Default)]
pub(crate) struct Door {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    pub(crate) fn close(&self) {
        *self.is_closed.lock().expect("no panic under the lock") = true;
    }
    pub(crate) fn open(&self) {
        *self.is_closed.lock().expect("no panic under the lock") = false;
        self.opened.notify_all();
    }
    pub(crate) fn pass(&self) {
        let closed = self.is_closed.lock().expect("no panic under the lock");
        let waited = self.opened.wait_timeout_while(closed, PATIENCE, |is_closed| *is_closed);
        drop(waited.expect("no panic under the lock"));
    }
}
