//! Who asks what and when, how long it takes, and what is lost on the way.

use super::engine::{Engine, PARTITIONS};
use super::{BEGIN_US, SKEW_US, STALENESS_US, buyer, product};
use doorbuster_history::History;
use doorbuster_history::answer::{Answer, Refusal};
use doorbuster_history::ids::{BuyerId, KeyId, OrderId, ProductId};
use doorbuster_history::operation::{Ask, Change, Operation};
use doorbuster_history::terms::{Currency, SaleState};
use std::collections::BTreeMap;

const PRODUCTS: u128 = 4;
const BUYERS: u128 = 25;
/// Requests that are on their way at the same time, more or less.
const CLIENTS: u32 = 8;

/// What happens next, at a time.
#[derive(Debug)]
enum Step {
    /// A client sends something.
    Send { client: u32 },
    /// The engine takes a request; whether its answer comes through.
    Arrive { operation: usize, is_heard: bool },
    /// The engine looks for holds to let run out, and the store for news.
    Tick,
}

/// A crowd and its engine.
pub struct Crowd {
    random: fastrand::Rng,
    engine: Engine,
    operations: Vec<Operation>,
    steps: BTreeMap<(u64, u64), Step>,
    next_step: u64,
    now_us: u64,
    /// How far the engine's clock is ahead.
    skew_us: i64,
    next_key: u128,
    /// Attempts with a key, to be sent again.
    attempts: Vec<Ask>,
    orders: Vec<(OrderId, BuyerId)>,
    /// What edges know: when each product was seen to be sold out, as old as they may be.
    flags: BTreeMap<ProductId, bool>,
    flags_at_us: u64,
}

impl Crowd {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let skew_us = random.i64(-(SKEW_US as i64)..=SKEW_US as i64);
        Self {
            random,
            engine: Engine::default(),
            operations: Vec::new(),
            steps: BTreeMap::new(),
            next_step: 0,
            now_us: BEGIN_US,
            skew_us,
            next_key: 1,
            attempts: Vec::new(),
            orders: Vec::new(),
            flags: BTreeMap::new(),
            flags_at_us: 0,
        }
    }

    fn clock_us(&self) -> u64 {
        self.now_us.saturating_add_signed(self.skew_us)
    }

    fn push(&mut self, after_us: u64, step: Step) {
        self.next_step += 1;
        self.steps.insert((self.now_us + after_us, self.next_step), step);
    }

    /// Plays until so many requests were sent and all is quiet.
    pub fn play(mut self, operations: usize) -> History {
        for client in 0..CLIENTS {
            self.push(u64::from(client), Step::Send { client });
        }
        self.push(0, Step::Tick);
        while let Some(((at_us, _), step)) = self.steps.pop_first() {
            self.now_us = at_us;
            match step {
                Step::Send { client } if self.operations.len() < operations => self.send(client),
                Step::Send { .. } => {}
                Step::Arrive { operation, is_heard } => self.arrive(operation, is_heard),
                Step::Tick => self.tick(self.operations.len() < operations),
            }
        }
        let rows = Some(self.engine.rows());
        History { operations: self.operations, events: self.engine.events, rows }
    }

    fn tick(&mut self, goes_on: bool) {
        let clock_us = self.clock_us();
        self.engine.expire(clock_us);
        if self.random.u8(..) < 30 {
            let partition = self.random.u16(..PARTITIONS);
            self.engine.acknowledge(partition, clock_us);
        }
        if self.now_us >= self.flags_at_us + STALENESS_US / 2 {
            self.flags_at_us = self.now_us;
            let engine = &self.engine;
            let is_sold_out = |product| {
                let product: &super::engine::Product = product;
                let takes = product.waiting.is_empty() && engine.available(product) > 0;
                let waits = (product.waiting.len() as u32) < product.terms.waitlist_capacity;
                !takes && !waits
            };
            self.flags =
                engine.products.iter().map(|(id, product)| (*id, is_sold_out(product))).collect();
        }
        if goes_on {
            let after_us = self.random.u64(1_000..20_000);
            self.push(after_us, Step::Tick);
        }
    }

    fn send(&mut self, client: u32) {
        let ask = if client == 0 { self.administrator() } else { self.buyer() };
        let operation = self.operations.len();
        self.operations.push(Operation {
            number: operation as u64,
            client,
            sent_us: self.now_us,
            ask,
            answered_us: None,
            answer: Answer::Unknown,
        });
        // An edge that has seen it sold out a moment ago does not ask, unless there is a key.
        if let Ask::Place { product, key: None, .. } = ask
            && self.flags.get(&product) == Some(&true)
            && self.now_us < self.flags_at_us + STALENESS_US
        {
            self.answer(operation, self.now_us + 30, Answer::Refused(Refusal::SoldOut));
        } else {
            let slow = if self.random.u8(..) < 10 { 300_000 } else { 3_000 };
            let after_us = self.random.u64(100..slow);
            match self.random.u8(..) {
                0..6 => {}
                6..10 => {
                    let busy = Answer::NotDone("overloaded".to_owned());
                    self.answer(operation, self.now_us + 50, busy);
                }
                fate => {
                    let is_heard = fate >= 20;
                    self.push(after_us, Step::Arrive { operation, is_heard });
                }
            }
        }
        // Bursts, and pauses in which holds run out.
        let pause_us = if self.random.u8(..) < 5 { 2_000_000 } else { 6_000 };
        let after_us = self.random.u64(200..pause_us);
        self.push(after_us, Step::Send { client });
    }

    fn arrive(&mut self, operation: usize, is_heard: bool) {
        let ask = self.operations[operation].ask;
        let clock_us = self.clock_us();
        let answer = self.engine.ask(&ask, clock_us);
        if is_heard {
            let after_us = self.random.u64(50..2_000);
            self.answer(operation, self.now_us + after_us, answer);
        }
    }

    fn answer(&mut self, operation: usize, at_us: u64, answer: Answer) {
        let operation = &mut self.operations[operation];
        if let (Ask::Place { buyer, .. }, Answer::Order { seen, .. }) = (&operation.ask, &answer) {
            self.orders.push((seen.order, *buyer));
        }
        operation.answered_us = Some(at_us);
        operation.answer = answer;
    }

    fn product(&mut self) -> ProductId {
        // The first is hot.
        let number = if self.random.bool() { 0 } else { self.random.u128(..PRODUCTS) };
        product(number)
    }

    fn buyer(&mut self) -> Ask {
        let product = self.product();
        match self.random.u8(..100) {
            0..55 => {
                let key = (self.random.u8(..) < 170).then(|| {
                    self.next_key += 1;
                    KeyId::new(self.next_key)
                });
                let ask = Ask::Place {
                    product,
                    buyer: buyer(self.random.u128(..BUYERS)),
                    key,
                    quantity: self.random.u32(1..4),
                    waitlist: self.random.bool(),
                };
                if key.is_some() {
                    self.attempts.push(ask);
                }
                ask
            }
            55..68 if !self.attempts.is_empty() => self.again(),
            kind if !self.orders.is_empty() => {
                // Those of late are most interesting.
                let count = self.orders.len();
                let index = count - 1 - self.random.usize(..count.min(12));
                let (order, owner) = self.orders[index];
                let other = buyer(self.random.u128(..BUYERS));
                let asker = [Some(owner), None, Some(other)][self.random.usize(..3)];
                match kind % 3 {
                    0 => Ask::Pay { order },
                    1 => Ask::Cancel { order, buyer: asker },
                    _ => Ask::LookAtOrder { order, buyer: asker },
                }
            }
            _ => Ask::LookAtProduct { product },
        }
    }

    /// A key once more, now and then with another body.
    fn again(&mut self) -> Ask {
        let count = self.attempts.len();
        let mut ask = self.attempts[count - 1 - self.random.usize(..count.min(8))];
        if let Ask::Place { quantity, waitlist, .. } = &mut ask
            && self.random.u8(..) < 40
        {
            if self.random.bool() {
                *quantity += 1;
            } else {
                *waitlist = !*waitlist;
            }
        }
        ask
    }

    fn administrator(&mut self) -> Ask {
        let product = self.product();
        let soon_us = |random: &mut fastrand::Rng, now_us: u64| match random.u8(..10) {
            0 => now_us + random.u64(..100_000),
            1 => now_us.saturating_sub(random.u64(..100_000)),
            _ => 0,
        };
        match self.random.u8(..10) {
            0..4 => {
                let random = &mut self.random;
                let change = Change {
                    price: Some(random.u64(1..4) * 100),
                    currency: (random.u8(..) < 5).then(|| Currency::parse("EUR")).flatten(),
                    stock: (random.u8(..) < 230).then(|| random.u32(..50)),
                    opens_us: Some(soon_us(random, self.now_us)),
                    closes_us: Some(soon_us(random, self.now_us)),
                    limit_per_buyer: Some(random.u32(..8)),
                    hold_seconds: Some(random.u32(1..3)),
                    waitlist_capacity: Some(random.u32(..5)),
                };
                Ask::Define { product, change }
            }
            4 => Ask::Define { product, change: Change { price: Some(5), ..Change::default() } },
            5 => Ask::Restock { product, units: self.random.u32(1..6) },
            6 => Ask::Withdraw { product, units: self.random.u32(1..6) },
            7 => Ask::LookAtProduct { product },
            8 => Ask::SetState { product, state: SaleState::Open },
            _ => {
                let state = if self.random.bool() { SaleState::Paused } else { SaleState::Open };
                Ask::SetState { product, state }
            }
        }
    }
}
