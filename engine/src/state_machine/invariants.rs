//! Everything that must hold, checked from the ground up: for tests, audits and debug builds.

use super::key_index::Whereabouts;
use super::order::{Order, OrderSlot};
use super::product::{Product, ProductSlot};
use super::state::State;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{BuyerId, Sequence, Timestamp, limits};
use hashbrown::HashMap;
use std::io;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

type Units = HashMap<(ProductSlot, BuyerId), u64, Xxh3DefaultBuilder>;

impl std::hash::Hash for ProductSlot {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write_u32(self.number());
    }
}

fn ensure(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

impl State {
    /// Panics, saying which, when something does not hold. Costs a pass over everything in memory
    /// and a table of all buyers.
    pub fn check_invariants(&self) {
        if let Err(broken) = self.verify() {
            panic!("partition {} after event {}: {broken}", self.partition, self.sequence);
        }
    }

    /// The first thing that does not hold.
    pub(super) fn verify(&self) -> Result<(), &'static str> {
        let mut known = Units::default();
        let mut found = Found::default();
        for (number, product) in self.products.slots() {
            self.verify_product(number, product, &mut known, &mut found)?;
        }
        ensure(self.agenda.len() == found.agenda, "the agenda names products with holds")?;
        self.verify_final(&mut found)?;
        let findable = found.orders;
        self.verify_receipts(&mut found)?;
        ensure(self.orders_remembered() == found.orders, "every order stands in a queue")?;
        ensure(self.by_key.len() == found.keys, "every key belongs to an order")?;
        ensure(self.by_id.len() == findable, "every id belongs to an order")?;
        self.verify_buyers(known)
    }

    fn verify_product(
        &self,
        number: ProductSlot,
        product: &Product,
        known: &mut Units,
        found: &mut Found,
    ) -> Result<(), &'static str> {
        ensure(self.products.find(product.id) == Some(number), "a product is found by its id")?;
        let sum = u64::from(product.available) + u64::from(product.held) + u64::from(product.sold);
        ensure(sum == u64::from(product.terms.stock), "available + held + sold is the stock")?;
        ensure(product.terms.stock <= limits::STOCK_MAX, "stock is bounded")?;

        let mut held = 0;
        let mut deadline = Timestamp::NONE;
        for slot in product.holds.iter(&self.orders) {
            let order = self.verify_order(slot, number, found)?;
            ensure(order.status == OrderStatus::Pending, "a hold is pending")?;
            ensure(deadline <= order.expires_at, "holds run out in the order of their queue")?;
            deadline = order.expires_at;
            held += u64::from(order.quantity.get());
            *known.entry((number, order.buyer)).or_default() += u64::from(order.quantity.get());
        }
        ensure(held == u64::from(product.held), "units held are those of the holds")?;
        let first = product.holds.head().map(|head| (self.orders[head].expires_at, number));
        ensure(
            first.is_none_or(|first| self.agenda.contains(&first)),
            "a first deadline is known",
        )?;
        found.agenda += usize::from(first.is_some());

        for (index, slot) in product.waitlist.iter(&self.orders).enumerate() {
            let order = self.verify_order(slot, number, found)?;
            ensure(order.status == OrderStatus::Queued, "a standing order is queued")?;
            ensure(order.expires_at.is_none(), "a standing order has no deadline")?;
            let position = product.waitlist.position(&self.orders, slot);
            ensure(position as usize == index + 1, "a place on the waitlist is exact")?;
            *known.entry((number, order.buyer)).or_default() += u64::from(order.quantity.get());
        }
        let head = product.waitlist.head().map(|head| self.orders[head].quantity.get());
        ensure(head.is_none_or(|units| units > product.available), "a waitlist's head does not fit")
    }

    fn verify_order(
        &self,
        slot: OrderSlot,
        number: ProductSlot,
        found: &mut Found,
    ) -> Result<&Order, &'static str> {
        let order = &self.orders[slot];
        found.orders += 1;
        ensure(order.product == number, "an order stands in a queue of its product")?;
        let by_id = self.by_id.find(order.id, self.sequence, &self.orders);
        ensure(by_id == Some(slot), "an order is found by its id")?;
        if !order.key.is_none() {
            found.keys += 1;
            let by_key = self.find_key(order.key);
            ensure(by_key == Some(Whereabouts::Order(slot)), "an order is found by its key")?;
        }
        Ok(order)
    }

    fn verify_final(&self, found: &mut Found) -> Result<(), &'static str> {
        let mut last = Sequence::ZERO;
        let mut length = 0;
        for slot in self.finals.iter(&self.orders) {
            let order = self.verify_order(slot, self.orders[slot].product, found)?;
            ensure(order.status.is_final(), "a final order is final")?;
            ensure(last < order.final_sequence(), "final orders stand as they ended")?;
            last = order.final_sequence();
            length += 1;
        }
        ensure(self.finals.len() == length, "a queue knows its length")
    }

    fn verify_receipts(&self, found: &mut Found) -> Result<(), &'static str> {
        let mut last = Sequence::ZERO;
        let mut length = 0;
        let verified = self.receipts.try_each(|number, record| {
            let (order, is_receipt) = Order::decode(record)?;
            ensure(is_receipt && order.status.is_final(), "a receipt is of a final order")?;
            if length == 0 {
                let oldest_at = self.receipts.oldest_at();
                ensure(oldest_at == Some(order.updated_at), "the oldest receipt is known")?;
            }
            ensure(last < order.final_sequence(), "receipts stand as their orders ended")?;
            last = order.final_sequence();
            let by_id = self.by_id.find(order.id, self.sequence, &self.orders);
            ensure(by_id.is_none(), "a receipt's order is gone")?;
            let by_key = self.find_key(order.key);
            ensure(by_key == Some(Whereabouts::Receipt(number)), "a receipt is found by its key")?;
            found.orders += 1;
            found.keys += 1;
            length += 1;
            Ok::<_, Broken>(())
        });
        verified.map_err(|Broken(what)| what)?;
        ensure(self.receipts.len() == length, "receipts are counted")
    }

    /// Buyers have at least what their live orders hold; the rest is what they have bought.
    fn verify_buyers(&self, mut live: Units) -> Result<(), &'static str> {
        let mut bought = vec![0u64; self.products.len()];
        for count in self.buyers.iter() {
            ensure(count.units > 0, "a count of zero is dropped")?;
            let lives = live.remove(&(count.product, count.buyer)).unwrap_or(0);
            let rest = u64::from(count.units).checked_sub(lives);
            bought[count.product.number() as usize] +=
                rest.ok_or("a buyer's units cover the live orders")?;
        }
        ensure(live.is_empty(), "every buyer with a live order is counted")?;
        let sold = self.products.iter().map(|product| u64::from(product.sold));
        ensure(bought.into_iter().eq(sold), "buyers have what is sold")
    }
}

/// What does not hold of a receipt.
struct Broken(&'static str);

impl From<&'static str> for Broken {
    fn from(what: &'static str) -> Self {
        Self(what)
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self("receipts can be read")
    }
}

/// What the queues hold together.
#[derive(Default)]
struct Found {
    orders: usize,
    keys: usize,
    agenda: usize,
}
