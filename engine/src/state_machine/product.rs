//! One product: its terms, its counters, the queue of its holds and its waitlist.

use super::list::List;
use super::order::{OrderSlot, Orders};
use super::tickets::Tickets;
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{ProductId, Timestamp};
use hashbrown::HashTable;
use std::ops::{Index, IndexMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The number of a product in its partition: products are numbered as they are first defined, and
/// never leave. Unlike an order's slot it means something, and stands in snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProductSlot(u32);

impl ProductSlot {
    pub(super) fn new(number: u32) -> Self {
        Self(number)
    }
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// What an edge must know of a product to refuse without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The product.
    pub product: ProductId,
    /// All units.
    pub stock: u32,
    /// Units that are neither held nor sold.
    pub available: u32,
    /// Units held for unpaid orders.
    pub held: u32,
    /// Units sold.
    pub sold: u32,
    /// Standing orders that the waitlist still takes.
    pub waitlist_free: u32,
    /// Whether some new order could be placed or queued, as far as units and waitlist go.
    pub accepting: bool,
}

/// The state of one product.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) id: ProductId,
    pub(super) terms: Terms,
    pub(super) state: SaleState,
    pub(super) available: u32,
    pub(super) held: u32,
    pub(super) sold: u32,
    /// Pending orders, in the order of their deadlines.
    pub(super) holds: List,
    pub(super) waitlist: Waitlist,
    /// The head of the holds and its deadline, as the partition's agenda has them.
    pub(super) agenda: (OrderSlot, Timestamp),
    /// Whether its level changed since it was last asked for.
    pub(super) changed: bool,
}

impl Product {
    /// A product with all of its stock available and an open sale.
    pub(super) fn new(id: ProductId, terms: Terms) -> Self {
        Self {
            id,
            available: terms.stock,
            terms,
            state: SaleState::Open,
            held: 0,
            sold: 0,
            holds: List::default(),
            waitlist: Waitlist::default(),
            agenda: (OrderSlot::NONE, Timestamp::NONE),
            changed: false,
        }
    }

    /// Units that cannot be withdrawn: at most [`Terms::stock`].
    pub(super) fn committed(&self) -> u32 {
        self.held + self.sold
    }

    pub(super) fn view(&self) -> ProductView {
        ProductView {
            product: self.id,
            price: self.terms.price,
            currency: self.terms.currency,
            state: self.state,
            opens_at: self.terms.opens_at,
            closes_at: self.terms.closes_at,
            stock: self.terms.stock,
            available: self.available,
            held: self.held,
            sold: self.sold,
            limit_per_buyer: self.terms.limit_per_buyer,
            hold_seconds: self.terms.hold_seconds,
            waitlist_capacity: self.terms.waitlist_capacity,
            waitlist_length: self.waitlist.len(),
        }
    }

    pub(super) fn level(&self) -> Level {
        let waitlist_free = self.terms.waitlist_capacity.saturating_sub(self.waitlist.len());
        let takes_at_once = self.available > 0 && self.waitlist.is_empty();
        Level {
            product: self.id,
            stock: self.terms.stock,
            available: self.available,
            held: self.held,
            sold: self.sold,
            waitlist_free,
            accepting: takes_at_once || waitlist_free > 0,
        }
    }
}

/// Standing orders, first come first.
#[derive(Debug, Default)]
pub(super) struct Waitlist {
    queue: List,
    tickets: Tickets,
}

impl Waitlist {
    pub(super) fn len(&self) -> u32 {
        self.queue.len()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
    pub(super) fn head(&self) -> Option<OrderSlot> {
        self.queue.head()
    }

    pub(super) fn push_back(&mut self, orders: &mut Orders, slot: OrderSlot) {
        if self.tickets.are_spread() {
            self.deal_anew(orders);
        }
        orders[slot].mark = self.tickets.draw();
        self.queue.push_back(orders, slot);
    }

    fn deal_anew(&mut self, orders: &mut Orders) {
        self.tickets = Tickets::default();
        let mut standing = self.queue.head();
        while let Some(slot) = standing {
            let order = &mut orders[slot];
            order.mark = self.tickets.draw();
            standing = order.links.next.some();
        }
    }

    pub(super) fn remove(&mut self, orders: &mut Orders, slot: OrderSlot) {
        self.tickets.retire(orders[slot].mark);
        self.queue.remove(orders, slot);
    }

    /// The place of an order that stands here, from 1. Exact.
    pub(super) fn position(&self, orders: &Orders, slot: OrderSlot) -> u32 {
        self.tickets.position(orders[slot].mark)
    }

    pub(super) fn iter<'a>(&self, orders: &'a Orders) -> impl Iterator<Item = OrderSlot> + 'a {
        self.queue.iter(orders)
    }
}

/// All products of a partition, numbered as they were first defined.
#[derive(Debug, Default)]
pub(super) struct Products {
    products: Vec<Product>,
    index: HashTable<ProductSlot>,
}

/// Not the seed of routing: all products of a partition agree in that hash's remainder.
const SEED: u64 = 0x7072_6f64_7563_7473;

fn hash_of(id: ProductId) -> u64 {
    xxh3_64_with_seed(id.as_bytes(), SEED)
}

impl Products {
    pub(super) fn len(&self) -> usize {
        self.products.len()
    }

    pub(super) fn find(&self, id: ProductId) -> Option<ProductSlot> {
        self.index.find(hash_of(id), |slot| self[*slot].id == id).copied()
    }

    /// Adds a product that is not in it.
    pub(super) fn insert(&mut self, product: Product) -> ProductSlot {
        let slot = ProductSlot(self.products.len() as u32);
        let hash = hash_of(product.id);
        self.products.push(product);
        let products = &self.products;
        self.index.insert_unique(hash, slot, |slot| hash_of(products[slot.0 as usize].id));
        slot
    }

    /// In the order of their definition.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Product> {
        self.products.iter()
    }

    /// In the order of their definition, with their numbers.
    pub(super) fn slots(&self) -> impl Iterator<Item = (ProductSlot, &Product)> {
        self.products.iter().enumerate().map(|(slot, product)| (ProductSlot(slot as u32), product))
    }
}

impl Index<ProductSlot> for Products {
    type Output = Product;
    fn index(&self, slot: ProductSlot) -> &Product {
        &self.products[slot.0 as usize]
    }
}

impl IndexMut<ProductSlot> for Products {
    fn index_mut(&mut self, slot: ProductSlot) -> &mut Product {
        &mut self.products[slot.0 as usize]
    }
}
