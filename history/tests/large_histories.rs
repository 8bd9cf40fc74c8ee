//! A crowd on one product: the check takes time in proportion to what there is to look at.
//!
//! `DOORBUSTER_OPERATIONS=1000000` makes it larger; the time is printed, and not judged.

use doorbuster_history::answer::{Answer, OrderSeen, Refusal};
use doorbuster_history::event::{Event, Fact, Ordered, Released, Served, Standing};
use doorbuster_history::ids::{BuyerId, KeyId, OrderId, Position, ProductId};
use doorbuster_history::operation::{Ask, Operation};
use doorbuster_history::terms::{Currency, Status, Terms};
use doorbuster_history::{Allowance, History};
use std::collections::VecDeque;
use std::time::Instant;

const BEGIN_US: u64 = 1_700_000_000_000_000;
const PRODUCT: ProductId = ProductId::new(1);
/// Between two requests; a request takes forty times as long.
const PACE_US: u64 = 10;

fn terms(stock: u32, waitlist_capacity: u32) -> Terms {
    Terms {
        price: 1,
        currency: Currency::USD,
        stock,
        opens_us: 0,
        closes_us: 0,
        limit_per_buyer: 0,
        hold_seconds: 3_600,
        waitlist_capacity,
    }
}

/// A sale of one unit to each, in which everybody may wait, and every tenth gives it back.
#[derive(Default)]
struct Sale {
    history: History,
    sequence: u64,
    free: u32,
    waiting: VecDeque<(OrderId, u64)>,
    came: u64,
    left: u64,
}

impl Sale {
    fn at_us(&self) -> u64 {
        BEGIN_US + self.history.operations.len() as u64 * PACE_US
    }

    fn event(&mut self, fact: Fact) {
        self.sequence += 1;
        let position = Position { partition: 0, sequence: self.sequence };
        self.history.events.push(Event { position, at_us: self.at_us(), fact });
    }

    fn operation(&mut self, ask: Ask, answer: Answer) {
        let (number, at_us) = (self.history.operations.len() as u64, self.at_us());
        self.history.operations.push(Operation {
            number,
            client: 0,
            sent_us: at_us - 20 * PACE_US,
            ask,
            answered_us: Some(at_us + 20 * PACE_US),
            answer,
        });
    }

    fn place(&mut self, number: u128, capacity: usize) -> Option<OrderId> {
        let (product, buyer, key) = (PRODUCT, BuyerId::new(number), Some(KeyId::new(number + 1)));
        let order = OrderId::new(number);
        let ask = Ask::Place { product, buyer, key, quantity: 1, waitlist: true };
        let mut seen = OrderSeen::new(order, Status::Pending);
        let standing = if self.free > 0 {
            self.free -= 1;
            Standing::Held { expires_us: self.at_us() + 3_600_000_000 }
        } else if self.waiting.len() < capacity {
            self.waiting.push_back((order, self.came));
            self.came += 1;
            let position = self.waiting.len() as u32;
            (seen.status, seen.position) = (Status::Queued, Some(position));
            Standing::Waiting { position }
        } else {
            self.operation(ask, Answer::Refused(Refusal::SoldOut));
            return None;
        };
        self.event(Fact::Ordered(Ordered {
            order,
            product,
            buyer,
            key,
            quantity: 1,
            unit_price: 1,
            currency: Currency::USD,
            waitlist: true,
            standing,
        }));
        self.operation(ask, Answer::Order { seen: Box::new(seen), replayed: false });
        (seen.status == Status::Pending).then_some(order)
    }

    /// Gives an order back, to whom it serves.
    fn cancel(&mut self, order: OrderId) -> Option<OrderId> {
        let next = self.waiting.pop_front().map(|(next, _)| next);
        self.left += u64::from(next.is_some());
        self.free += u32::from(next.is_none());
        let expires_us = next.map_or(0, |_| self.at_us() + 3_600_000_000);
        let served = Served { orders: next.into_iter().collect(), expires_us };
        let (product, quantity) = (PRODUCT, 1);
        self.event(Fact::Cancelled(Released { order, product, quantity, served }));
        let seen = Box::new(OrderSeen::new(order, Status::Cancelled));
        let ask = Ask::Cancel { order, buyer: None };
        self.operation(ask, Answer::Order { seen, replayed: false });
        next
    }

    /// Somebody looks at a place on the waitlist.
    fn look(&mut self, chance: usize) {
        let Some((order, turn)) = self.waiting.get(chance % self.waiting.len().max(1)) else {
            return;
        };
        let (order, position) = (*order, (turn - self.left) as u32 + 1);
        let seen = OrderSeen { position: Some(position), ..OrderSeen::new(order, Status::Queued) };
        let ask = Ask::LookAtOrder { order, buyer: None };
        self.operation(ask, Answer::Order { seen: Box::new(seen), replayed: false });
    }
}

#[test]
fn a_crowd_is_judged_in_good_time() {
    let operations = std::env::var("DOORBUSTER_OPERATIONS")
        .map_or(100_000, |text| text.parse().expect("DOORBUSTER_OPERATIONS is a number"));
    let mut random = fastrand::Rng::with_seed(11);
    let (stock, capacity) = (operations as u32 / 8, operations / 8);
    let mut sale = Sale { free: stock, ..Sale::default() };
    let terms = terms(stock, capacity as u32);
    sale.event(Fact::Defined { product: PRODUCT, terms, served: Served::default() });
    let mut held: Vec<OrderId> = Vec::new();
    for number in 0.. {
        if sale.history.operations.len() >= operations {
            break;
        }
        held.extend(sale.place(number, capacity));
        if random.u8(..) < 50 && !held.is_empty() {
            let order = held.swap_remove(random.usize(..held.len()));
            held.extend(sale.cancel(order));
        }
        if random.u8(..) < 50 {
            sale.look(random.usize(..));
        }
    }
    let begun = Instant::now();
    let verdict = doorbuster_history::check(&sale.history, &Allowance::default());
    eprintln!("{verdict}\nin {:?}", begun.elapsed());
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.looked.refused > operations as u64 / 10, "{verdict}");
}
