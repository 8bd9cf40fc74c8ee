//! The log replayed: what every product, order, key and buyer was after every event.
//!
//! Events are taken at their word, also those that a check has just found to be impossible, so that
//! one mistake does not hide the next. Nothing is forgotten: what was the case at any place of the
//! log can be asked afterwards.

pub(crate) mod order;
pub(crate) mod partition;
pub(crate) mod product;

use crate::event::{Event, Fact, Ordered, Released, Served, Standing};
use crate::ids::{BuyerId, KeyId, OrderId, ProductId};
use crate::terms::{SaleState, Status, Terms};
use order::{OrderBook, Step};
use partition::PartitionBook;
use product::ProductBook;
use std::collections::{BTreeMap, HashMap};

/// The number of an order in the books, in the order of the events that made them.
pub(crate) type OrderNumber = u32;
/// The number of a product in the books.
pub(crate) type ProductNumber = u32;

/// Units of one buyer and one product from an event on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Units {
    pub(crate) sequence: u64,
    pub(crate) units: i64,
}

/// All books.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) partitions: BTreeMap<u16, PartitionBook>,
    pub(crate) products: Vec<ProductBook>,
    pub(crate) orders: Vec<OrderBook>,
    product_numbers: HashMap<ProductId, ProductNumber>,
    order_numbers: HashMap<OrderId, OrderNumber>,
    /// The last order of each key; it names the one before.
    keys: HashMap<KeyId, OrderNumber>,
    /// Units that a buyer holds, has bought and queues for, over time.
    units: HashMap<(ProductNumber, BuyerId), Vec<Units>>,
}

impl Books {
    /// A product that was defined, or that an event named.
    pub(crate) fn product(&self, product: ProductId) -> Option<&ProductBook> {
        self.product_numbers.get(&product).map(|number| &self.products[*number as usize])
    }

    /// The number of a product.
    pub(crate) fn product_number(&self, product: ProductId) -> Option<ProductNumber> {
        self.product_numbers.get(&product).copied()
    }

    /// An order that an event made.
    pub(crate) fn order(&self, order: OrderId) -> Option<&OrderBook> {
        self.order_numbers.get(&order).map(|number| &self.orders[*number as usize])
    }

    /// The number of an order.
    pub(crate) fn order_number(&self, order: OrderId) -> Option<OrderNumber> {
        self.order_numbers.get(&order).copied()
    }

    /// The orders of a key, the last one first.
    pub(crate) fn orders_of_key(&self, key: KeyId) -> impl Iterator<Item = &OrderBook> {
        let mut next = self.keys.get(&key).copied();
        std::iter::from_fn(move || {
            let order = &self.orders[next? as usize];
            next = order.previous_of_key;
            Some(order)
        })
    }

    /// How many keys made orders.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The units of a buyer over time; none before the first entry.
    pub(crate) fn units(&self, product: ProductNumber, buyer: BuyerId) -> &[Units] {
        self.units.get(&(product, buyer)).map_or(&[], Vec::as_slice)
    }

    /// The units of a buyer after the last event.
    pub(crate) fn units_now(&self, product: ProductNumber, buyer: BuyerId) -> i64 {
        self.units(product, buyer).last().map_or(0, |last| last.units)
    }

    /// Enters one event.
    pub(crate) fn enter(&mut self, event: &Event) {
        let (position, at_us) = (event.position, event.at_us);
        let partition = self.partitions.entry(position.partition).or_default();
        partition.enter(position.sequence, at_us);
        if let Fact::Acknowledged { consumer, through } = event.fact {
            partition.acknowledge(position.sequence, consumer, through);
            return;
        }
        let Some(product) = event.fact.product() else { return };
        let number = self.number_of(product, event);
        match &event.fact {
            Fact::Ordered(ordered) => self.ordered(number, ordered, event),
            Fact::Paid { order, quantity, .. } => {
                let book = &mut self.products[number as usize];
                book.held -= i64::from(*quantity);
                book.sold += i64::from(*quantity);
                self.end(*order, Status::Paid, event);
            }
            Fact::Cancelled(released) => self.released(number, released, Status::Cancelled, event),
            Fact::Expired(released) => self.released(number, released, Status::Expired, event),
            Fact::Defined { terms, .. } => {
                let book = &mut self.products[number as usize];
                book.available += i64::from(terms.stock) - i64::from(book.terms.stock);
                book.terms = *terms;
                book.is_defined = true;
                book.edit(Administration::Defined, position.sequence, at_us);
            }
            Fact::Restocked { units, .. } => {
                let book = &mut self.products[number as usize];
                book.move_stock(i64::from(*units));
                book.edit(Administration::Restocked(*units), position.sequence, at_us);
            }
            Fact::Withdrawn { units, .. } => {
                let book = &mut self.products[number as usize];
                book.move_stock(-i64::from(*units));
                book.edit(Administration::Withdrawn(*units), position.sequence, at_us);
            }
            Fact::StateSet { state, .. } => {
                let book = &mut self.products[number as usize];
                book.state = *state;
                book.edit(Administration::StateSet, position.sequence, at_us);
            }
            Fact::Acknowledged { .. } => {}
        }
        if let Some(served) = event.fact.served() {
            self.serve(number, served, event);
        }
        let book = &mut self.products[number as usize];
        book.forget_who_left(&self.orders);
        book.stand(position.sequence);
    }

    /// The number of a product, which gets one with the first event that names it.
    fn number_of(&mut self, product: ProductId, event: &Event) -> ProductNumber {
        if let Some(number) = self.product_numbers.get(&product) {
            return *number;
        }
        let terms = match &event.fact {
            Fact::Defined { terms, .. } => Terms { stock: 0, ..*terms },
            _ => Terms {
                price: 0,
                currency: crate::terms::Currency::USD,
                stock: 0,
                opens_us: 0,
                closes_us: 0,
                limit_per_buyer: 0,
                hold_seconds: 0,
                waitlist_capacity: 0,
            },
        };
        let number = u32::try_from(self.products.len()).expect("products are counted in 32 bits");
        self.product_numbers.insert(product, number);
        self.products.push(ProductBook::new(product, event.position, event.at_us, terms));
        number
    }

    fn ordered(&mut self, product: ProductNumber, ordered: &Ordered, event: &Event) {
        let number = u32::try_from(self.orders.len()).expect("orders are counted in 32 bits");
        let book = &mut self.products[product as usize];
        let units = i64::from(ordered.quantity);
        let (mut expires_us, mut place, mut turn) = (0, 0, 0);
        match ordered.standing {
            Standing::Held { expires_us: until } => {
                book.available -= units;
                book.held += units;
                book.hold(number);
                expires_us = until;
            }
            Standing::Waiting { position } => {
                turn = book.wait(number, event.position.sequence);
                place = position;
            }
        }
        let previous_of_key = ordered.key.and_then(|key| self.keys.insert(key, number));
        self.order_numbers.entry(ordered.order).or_insert(number);
        self.orders.push(OrderBook {
            id: ordered.order,
            product,
            buyer: ordered.buyer,
            key: ordered.key,
            quantity: ordered.quantity,
            unit_price: ordered.unit_price,
            currency: ordered.currency,
            waitlist: ordered.waitlist,
            made: event.position,
            made_us: event.at_us,
            place,
            expires_us,
            turn,
            served: None,
            ended: None,
            previous_of_key,
        });
        self.count(product, ordered.buyer, units, event.position.sequence);
    }

    fn count(&mut self, product: ProductNumber, buyer: BuyerId, units: i64, sequence: u64) {
        let counts = self.units.entry((product, buyer)).or_default();
        let before = counts.last().map_or(0, |last| last.units);
        counts.push(Units { sequence, units: before + units });
    }

    /// Ends an order that has not ended yet; where it stood before.
    fn end(&mut self, order: OrderId, status: Status, event: &Event) -> Option<Status> {
        let number = *self.order_numbers.get(&order)?;
        let order = &mut self.orders[number as usize];
        let before = order.status();
        if !before.is_final() {
            let sequence = event.position.sequence;
            order.ended = Some((status, Step { sequence, at_us: event.at_us }));
        }
        Some(before)
    }

    fn released(
        &mut self,
        product: ProductNumber,
        released: &Released,
        status: Status,
        event: &Event,
    ) {
        let before = self.end(released.order, status, event);
        let units = i64::from(released.quantity);
        let book = &mut self.products[product as usize];
        match before {
            Some(Status::Queued) => {
                let turn = self.order(released.order).map_or(0, |order| order.turn);
                self.products[product as usize].leave(turn, event.position.sequence);
            }
            _ => {
                book.held -= units;
                book.available += units;
            }
        }
        if let Some(order) = self.order(released.order) {
            let buyer = order.buyer;
            self.count(product, buyer, -units, event.position.sequence);
        }
    }

    fn serve(&mut self, product: ProductNumber, served: &Served, event: &Event) {
        for order in &served.orders {
            let Some(number) = self.order_number(*order) else { continue };
            let order = &mut self.orders[number as usize];
            if order.status() != Status::Queued {
                continue;
            }
            let step = Step { sequence: event.position.sequence, at_us: event.at_us };
            order.served = Some(step);
            order.expires_us = served.expires_us;
            let (units, turn) = (i64::from(order.quantity), order.turn);
            let book = &mut self.products[product as usize];
            book.available -= units;
            book.held += units;
            book.leave(turn, event.position.sequence);
            book.hold(number);
        }
    }
}

/// What is known of a product besides its units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edition {
    /// The event from which on it is so.
    pub(crate) sequence: u64,
    pub(crate) by: Administration,
    pub(crate) terms: Terms,
    pub(crate) state: SaleState,
}

/// What an administrator did to a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Administration {
    /// Made it or changed its terms; or nobody did, and an event named it all the same.
    Defined,
    Restocked(u32),
    Withdrawn(u32),
    StateSet,
}
