//! What is decided, and what is the case after it.

use doorbuster_history::answer::{Answer, OrderSeen, ProductSeen, Refusal};
use doorbuster_history::event::{Event, Fact, Ordered, Released, Served, Standing};
use doorbuster_history::ids::{BuyerId, KeyId, OrderId, Position, ProductId};
use doorbuster_history::operation::Ask;
use doorbuster_history::row::{OrderRow, ProductRow, Rows};
use doorbuster_history::terms::{SaleState, Status, Terms};
use std::collections::BTreeMap;

pub const PARTITIONS: u16 = 3;

/// An order.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub first: Ordered,
    pub status: Status,
    pub created_us: u64,
    pub updated_us: u64,
    pub expires_us: u64,
    pub ended_by: u64,
    pub has_left: bool,
}

/// A product.
#[derive(Clone, Debug)]
pub struct Product {
    pub terms: Terms,
    pub state: SaleState,
    pub created_us: u64,
    pub updated_us: u64,
    pub holds: Vec<OrderId>,
    pub waiting: Vec<OrderId>,
    pub sold: u32,
}

/// The whole state, and the log.
#[derive(Debug, Default)]
pub struct Engine {
    pub products: BTreeMap<ProductId, Product>,
    pub orders: BTreeMap<OrderId, Order>,
    pub keys: BTreeMap<KeyId, OrderId>,
    pub events: Vec<Event>,
    pub sequences: [u64; PARTITIONS as usize],
    last_us: [u64; PARTITIONS as usize],
}

pub fn partition_of(product: ProductId) -> u16 {
    (product.get() % u128::from(PARTITIONS)) as u16
}

impl Engine {
    pub fn held(&self, product: &Product) -> u32 {
        product.holds.iter().map(|order| self.orders[order].first.quantity).sum()
    }

    pub fn available(&self, product: &Product) -> u32 {
        product.terms.stock - self.held(product) - product.sold
    }

    fn units_of(&self, product: ProductId, buyer: BuyerId) -> u32 {
        let is_counted = |order: &&Order| {
            (order.first.product, order.first.buyer) == (product, buyer)
                && !matches!(order.status, Status::Cancelled | Status::Expired)
        };
        self.orders.values().filter(is_counted).map(|order| order.first.quantity).sum()
    }

    fn seen(&self, id: ProductId) -> Answer {
        let product = &self.products[&id];
        Answer::Product(Box::new(ProductSeen {
            product: id,
            terms: product.terms,
            state: product.state,
            available: self.available(product),
            held: self.held(product),
            sold: product.sold,
            waiting: product.waiting.len() as u32,
        }))
    }

    fn order_seen(&self, id: OrderId) -> OrderSeen {
        let order = &self.orders[&id];
        let waiting = &self.products[&order.first.product].waiting;
        let place = waiting.iter().position(|it| *it == id).map_or(0, |index| index as u32 + 1);
        OrderSeen {
            order: id,
            status: order.status,
            product: Some(order.first.product),
            buyer: Some(order.first.buyer),
            quantity: Some(order.first.quantity),
            unit_price: Some(order.first.unit_price),
            created_us: Some(order.created_us),
            updated_us: Some(order.updated_us),
            expires_us: Some(order.expires_us),
            position: Some(place),
        }
    }

    fn first_seen(&self, id: OrderId) -> OrderSeen {
        let order = &self.orders[&id];
        let (status, expires_us, place) = match order.first.standing {
            Standing::Held { expires_us } => (Status::Pending, expires_us, 0),
            Standing::Waiting { position } => (Status::Queued, 0, position),
        };
        OrderSeen {
            status,
            expires_us: Some(expires_us),
            position: Some(place),
            updated_us: Some(order.created_us),
            ..self.order_seen(id)
        }
    }

    /// Takes a request at a time by the engine's clock.
    pub fn ask(&mut self, ask: &Ask, clock_us: u64) -> Answer {
        match *ask {
            Ask::Place { .. } => self.place(ask, clock_us),
            Ask::Pay { order } => self.end(order, None, Status::Paid, clock_us),
            Ask::Cancel { order, buyer } => self.end(order, buyer, Status::Cancelled, clock_us),
            Ask::LookAtOrder { order, buyer } => match self.find(order, buyer) {
                Some(_) => {
                    Answer::Order { seen: Box::new(self.order_seen(order)), replayed: false }
                }
                None => Answer::Refused(Refusal::OrderNotFound),
            },
            Ask::LookAtProduct { product } => match self.products.contains_key(&product) {
                true => self.seen(product),
                false => Answer::Refused(Refusal::ProductNotFound),
            },
            _ => self.administer(ask, clock_us),
        }
    }

    fn find(&self, id: OrderId, buyer: Option<BuyerId>) -> Option<Order> {
        let order = self.orders.get(&id).filter(|order| !order.has_left)?;
        buyer.is_none_or(|buyer| buyer == order.first.buyer).then_some(*order)
    }

    fn place(&mut self, ask: &Ask, clock_us: u64) -> Answer {
        let Ask::Place { product: id, buyer, key, quantity, waitlist } = *ask else {
            unreachable!("it is an attempt to buy")
        };
        let refused = Answer::Refused;
        let Some(product) = self.products.get(&id) else {
            return refused(Refusal::ProductNotFound);
        };
        if let Some(order) = key.and_then(|key| self.keys.get(&key)) {
            let Ordered { quantity: units, waitlist: waits, .. } = self.orders[order].first;
            return match (units, waits) == (quantity, waitlist) {
                true => Answer::Order { seen: Box::new(self.first_seen(*order)), replayed: true },
                false => refused(Refusal::IdempotencyMismatch),
            };
        }
        let now_us = self.now_us(partition_of(id), clock_us);
        let terms = product.terms;
        if product.state == SaleState::Paused {
            return refused(Refusal::SalePaused);
        }
        if now_us < terms.opens_us {
            return refused(Refusal::SaleNotOpen);
        }
        if terms.closes_us != 0 && terms.closes_us <= now_us {
            return refused(Refusal::SaleEnded);
        }
        let units = self.units_of(id, buyer) + quantity;
        if terms.limit_per_buyer != 0 && units > terms.limit_per_buyer {
            return refused(Refusal::PurchaseLimit);
        }
        let standing = if product.waiting.is_empty() && quantity <= self.available(product) {
            Standing::Held { expires_us: self.deadline(product, None, now_us) }
        } else if waitlist && (product.waiting.len() as u32) < terms.waitlist_capacity {
            Standing::Waiting { position: product.waiting.len() as u32 + 1 }
        } else {
            return refused(Refusal::SoldOut);
        };
        let order = OrderId::new(0xA0_0000 + self.events.len() as u128);
        let (unit_price, currency) = (terms.price, terms.currency);
        let first = Ordered {
            order,
            product: id,
            buyer,
            key,
            quantity,
            unit_price,
            currency,
            waitlist,
            standing,
        };
        self.happen(id, now_us, &Fact::Ordered(first));
        Answer::Order { seen: Box::new(self.first_seen(order)), replayed: false }
    }

    fn deadline(&self, product: &Product, leaving: Option<OrderId>, now_us: u64) -> u64 {
        let last = product.holds.iter().rfind(|order| Some(**order) != leaving);
        let last_us = last.map_or(0, |order| self.orders[order].expires_us);
        last_us.max(now_us + u64::from(product.terms.hold_seconds) * 1_000_000)
    }

    fn end(&mut self, id: OrderId, buyer: Option<BuyerId>, end: Status, clock_us: u64) -> Answer {
        let Some(order) = self.find(id, buyer) else {
            return Answer::Refused(Refusal::OrderNotFound);
        };
        let Ordered { product, quantity, .. } = order.first;
        let now_us = self.now_us(partition_of(product), clock_us);
        let is_overdue = order.status == Status::Pending && order.expires_us <= now_us;
        match order.status {
            _ if is_overdue => return Answer::Refused(Refusal::OrderFinal(Some(Status::Expired))),
            Status::Queued if end == Status::Paid => return Answer::Refused(Refusal::OrderQueued),
            Status::Queued | Status::Pending => {}
            status => return Answer::Refused(Refusal::OrderFinal(Some(status))),
        }
        let fact = match end {
            Status::Paid => Fact::Paid { order: id, product, quantity },
            _ => {
                let served = self.served(product, Some(id), now_us);
                Fact::Cancelled(Released { order: id, product, quantity, served })
            }
        };
        self.happen(product, now_us, &fact);
        Answer::Order { seen: Box::new(self.order_seen(id)), replayed: false }
    }

    /// Lets every hold run out whose deadline has passed.
    pub fn expire(&mut self, clock_us: u64) {
        let overdue = |engine: &Self| {
            let order = engine.orders.iter().find(|(_, order)| {
                let now_us = engine.now_us(partition_of(order.first.product), clock_us);
                order.status == Status::Pending && order.expires_us <= now_us
            });
            order.map(|(id, order)| (*id, order.first))
        };
        while let Some((order, Ordered { product, quantity, .. })) = overdue(self) {
            let now_us = self.now_us(partition_of(product), clock_us);
            let served = self.served(product, Some(order), now_us);
            let fact = Fact::Expired(Released { order, product, quantity, served });
            self.happen(product, now_us, &fact);
        }
    }

    /// The store has everything; what has ended leaves.
    pub fn acknowledge(&mut self, partition: u16, clock_us: u64) {
        let through = self.sequences[usize::from(partition)];
        let now_us = self.now_us(partition, clock_us);
        self.log(partition, now_us, Fact::Acknowledged { consumer: 0, through });
        for order in self.orders.values_mut() {
            let is_here = partition_of(order.first.product) == partition;
            if is_here && order.status.is_final() && order.ended_by <= through {
                order.has_left = true;
            }
        }
    }

    fn administer(&mut self, ask: &Ask, clock_us: u64) -> Answer {
        let refused = Answer::Refused;
        let id = ask.product().expect("it is about a product");
        let now_us = self.now_us(partition_of(id), clock_us);
        let Some(product) = self.products.get(&id) else {
            let Ask::Define { change, .. } = ask else { return refused(Refusal::ProductNotFound) };
            let Some(terms) = change.applied_to(None) else {
                return refused(Refusal::DefinitionIncomplete);
            };
            let served = Served::default();
            self.happen(id, now_us, &Fact::Defined { product: id, terms, served });
            return self.seen(id);
        };
        let (terms, committed) = (product.terms, self.held(product) + product.sold);
        let fact = match *ask {
            Ask::Define { change, .. } => {
                let new = change.applied_to(Some(&terms)).expect("it is defined");
                if new.currency != terms.currency {
                    return refused(Refusal::CurrencyFixed);
                }
                if new.closes_us != 0 && new.closes_us <= new.opens_us {
                    return refused(Refusal::WindowReversed);
                }
                if new.stock < committed {
                    return refused(Refusal::StockCommitted(Some(committed)));
                }
                if new == terms {
                    return self.seen(id);
                }
                self.products.get_mut(&id).expect("it is there").terms = new;
                let served = self.served(id, None, now_us);
                self.products.get_mut(&id).expect("it is there").terms = terms;
                Fact::Defined { product: id, terms: new, served }
            }
            Ask::Restock { units, .. } => {
                if terms.stock + units > 1_000_000_000 {
                    return refused(Refusal::StockTooLarge);
                }
                self.products.get_mut(&id).expect("it is there").terms.stock += units;
                let served = self.served(id, None, now_us);
                self.products.get_mut(&id).expect("it is there").terms.stock -= units;
                Fact::Restocked { product: id, units, served }
            }
            Ask::Withdraw { units, .. } => {
                if units > self.available(product) {
                    return refused(Refusal::StockCommitted(Some(committed)));
                }
                Fact::Withdrawn { product: id, units }
            }
            Ask::SetState { state, .. } if product.state == state => return self.seen(id),
            Ask::SetState { state, .. } => Fact::StateSet { product: id, state },
            _ => unreachable!("it is of an administrator"),
        };
        self.happen(id, now_us, &fact);
        self.seen(id)
    }

    /// Whom the free units serve when `leaving` is gone.
    fn served(&self, id: ProductId, leaving: Option<OrderId>, now_us: u64) -> Served {
        let product = &self.products[&id];
        let held: u32 = product
            .holds
            .iter()
            .filter(|order| Some(**order) != leaving)
            .map(|order| self.orders[order].first.quantity)
            .sum();
        let mut free = product.terms.stock - held - product.sold;
        let mut served = Served::default();
        for order in product.waiting.iter().filter(|order| Some(**order) != leaving) {
            let quantity = self.orders[order].first.quantity;
            if quantity > free {
                break;
            }
            free -= quantity;
            served.orders.push(*order);
            served.expires_us = self.deadline(product, leaving, now_us);
        }
        served
    }

    fn now_us(&self, partition: u16, clock_us: u64) -> u64 {
        clock_us.max(self.last_us[usize::from(partition)])
    }

    fn log(&mut self, partition: u16, at_us: u64, fact: Fact) -> u64 {
        let index = usize::from(partition);
        self.sequences[index] += 1;
        self.last_us[index] = at_us;
        let sequence = self.sequences[index];
        self.events.push(Event { position: Position { partition, sequence }, at_us, fact });
        sequence
    }

    fn happen(&mut self, id: ProductId, at_us: u64, fact: &Fact) {
        let sequence = self.log(partition_of(id), at_us, fact.clone());
        if let Fact::Defined { terms, .. } = fact {
            self.products.entry(id).or_insert(Product {
                terms: *terms,
                state: SaleState::Open,
                created_us: at_us,
                updated_us: at_us,
                holds: Vec::new(),
                waiting: Vec::new(),
                sold: 0,
            });
        }
        let product = self.products.get_mut(&id).expect("it is defined");
        let mut ended = None;
        match fact {
            Fact::Ordered(first) => {
                let (status, expires_us) = match first.standing {
                    Standing::Held { expires_us } => (Status::Pending, expires_us),
                    Standing::Waiting { .. } => (Status::Queued, 0),
                };
                match status {
                    Status::Pending => product.holds.push(first.order),
                    _ => product.waiting.push(first.order),
                }
                if let Some(key) = first.key {
                    self.keys.insert(key, first.order);
                }
                let order = Order {
                    first: *first,
                    status,
                    created_us: at_us,
                    updated_us: at_us,
                    expires_us,
                    ended_by: 0,
                    has_left: false,
                };
                self.orders.insert(first.order, order);
            }
            Fact::Paid { order, quantity, .. } => {
                product.sold += quantity;
                ended = Some((*order, Status::Paid));
            }
            Fact::Cancelled(released) => ended = Some((released.order, Status::Cancelled)),
            Fact::Expired(released) => ended = Some((released.order, Status::Expired)),
            Fact::Defined { terms, .. } => product.terms = *terms,
            Fact::Restocked { units, .. } => product.terms.stock += units,
            Fact::Withdrawn { units, .. } => product.terms.stock -= units,
            Fact::StateSet { state, .. } => product.state = *state,
            Fact::Acknowledged { .. } => unreachable!("it is about no product"),
        }
        if let Some((id, status)) = ended {
            product.holds.retain(|order| *order != id);
            product.waiting.retain(|order| *order != id);
            let order = self.orders.get_mut(&id).expect("it was made");
            (order.status, order.updated_us, order.ended_by) = (status, at_us, sequence);
        } else if !matches!(fact, Fact::Ordered(_)) {
            product.updated_us = at_us;
        }
        for id in fact.served().map_or(&[][..], |served| &served.orders) {
            product.waiting.retain(|order| order != id);
            product.holds.push(*id);
            let order = self.orders.get_mut(id).expect("it was made");
            (order.status, order.updated_us) = (Status::Pending, at_us);
            order.expires_us = fact.served().map_or(0, |served| served.expires_us);
        }
    }

    /// What the store has in the end.
    pub fn rows(&self) -> Rows {
        let order = |(id, order): (&OrderId, &Order)| OrderRow {
            order: *id,
            product: order.first.product,
            buyer: order.first.buyer,
            quantity: order.first.quantity,
            unit_price: order.first.unit_price,
            total_amount: order.first.unit_price * u64::from(order.first.quantity),
            currency: order.first.currency,
            status: order.status,
            created_us: order.created_us,
            updated_us: order.updated_us,
            expires_us: order.expires_us,
        };
        let product = |(id, product): (&ProductId, &Product)| ProductRow {
            product: *id,
            terms: product.terms,
            state: product.state,
            created_us: product.created_us,
            updated_us: product.updated_us,
        };
        Rows {
            orders: self.orders.iter().map(order).collect(),
            products: self.products.iter().map(product).collect(),
            set_aside: Vec::new(),
        }
    }
}
