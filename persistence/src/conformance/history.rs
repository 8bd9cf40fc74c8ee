//! Random histories of partitions: every event could have come from the engine, as far as a store
//! can tell. Times often stand still, waitlists are matched, products are redefined.

use crate::buckets::BucketSet;
use crate::conformance::{Model, Open, PARTITIONS, claimed, partition, write, write_each};
use crate::error::StoreError;
use crate::projector::changes_of;
use crate::store::{Advance, Batch};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::{Event, Fact, Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity, Sequence,
    Timestamp,
};
use std::collections::BTreeMap;

/// One event of a history.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whose event it is.
    pub partition: PartitionId,
    /// Its number.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
}

/// Makes events.
pub struct History {
    random: fastrand::Rng,
    partitions: Vec<Partition>,
}

struct Partition {
    id: PartitionId,
    sequence: Sequence,
    now: Timestamp,
    products: Vec<Product>,
}

struct Product {
    id: ProductId,
    stock: u32,
    pending: Vec<OrderId>,
    queued: Vec<OrderId>,
}

impl History {
    /// Histories of partitions 0 to `partitions` − 1. Equal seeds give equal histories.
    pub fn new(seed: u64, partitions: u16) -> Self {
        let partitions = (0..partitions)
            .map(|number| Partition {
                id: partition(number),
                sequence: Sequence::ZERO,
                now: Timestamp::from_micros(1_700_000_000_000_000),
                products: Vec::new(),
            })
            .collect();
        Self { random: fastrand::Rng::with_seed(seed), partitions }
    }

    /// The next event of some partition.
    pub fn step(&mut self) -> Step {
        let index = self.random.usize(..self.partitions.len());
        let random = &mut self.random;
        let partition = &mut self.partitions[index];
        if random.bool() {
            partition.now = partition.now.plus_micros(random.u64(..2_000));
        }
        partition.sequence = partition.sequence.next();
        let fact = partition.fact(random);
        let event = Event { at: partition.now, fact };
        Step { partition: partition.id, sequence: partition.sequence, event }
    }
}

impl Partition {
    fn fact(&mut self, random: &mut fastrand::Rng) -> Fact {
        if self.products.is_empty() || (self.products.len() < 8 && random.u32(..50) == 0) {
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            let id = ProductId::from_bytes(bytes);
            let terms = terms(random);
            let product = Product { id, stock: terms.stock, pending: vec![], queued: vec![] };
            self.products.push(product);
            return Fact::Defined { product: id, terms, matched: Matched::default() };
        }
        let index = random.usize(..self.products.len());
        let mut buyer = [7; 16];
        buyer[15] = random.u8(..20);
        let buyer = BuyerId::from_bytes(buyer);
        let order = OrderId::new(self.now, self.id, buyer, self.sequence);
        let expires_at = self.now.plus_seconds(600);
        let product = &mut self.products[index];
        let quantity = Quantity::new(random.u32(1..=1_000)).expect("the quantity is in range");
        match random.u32(..100) {
            0..45 => {
                product.pending.push(order);
                Fact::Placed(Placed {
                    order,
                    product: product.id,
                    buyer,
                    key: IdempotencyKey::NONE,
                    quantity,
                    unit_price: random.u64(..1_000_000),
                    currency: Currency::USD,
                    expires_at,
                    waitlist: random.bool(),
                })
            }
            45..60 => {
                product.queued.push(order);
                Fact::Queued(Queued {
                    order,
                    product: product.id,
                    buyer,
                    key: IdempotencyKey::NONE,
                    quantity,
                    unit_price: random.u64(..1_000_000),
                    currency: Currency::USD,
                    position: product.queued.len() as u32,
                })
            }
            60..75 => match take(random, &mut product.pending) {
                Some(order) => Fact::Paid { order, product: product.id, quantity },
                None => product.state(random),
            },
            75..88 => {
                let from_queue = random.bool();
                let ended = if from_queue { &mut product.queued } else { &mut product.pending };
                match take(random, ended) {
                    Some(order) => {
                        let released = product.released(order, quantity, random, expires_at);
                        if from_queue || random.bool() {
                            Fact::Cancelled(released)
                        } else {
                            Fact::Expired(released)
                        }
                    }
                    None => product.state(random),
                }
            }
            88..91 => {
                let units = random.u32(1..100);
                product.stock += units;
                let matched = product.matched(random, expires_at);
                Fact::Restocked { product: product.id, units, matched }
            }
            91..93 if product.stock > 1 => {
                let units = random.u32(1..product.stock);
                product.stock -= units;
                Fact::Withdrawn { product: product.id, units }
            }
            93..95 => {
                let terms = terms(random);
                product.stock = terms.stock;
                let matched = product.matched(random, expires_at);
                Fact::Defined { product: product.id, terms, matched }
            }
            95..97 => Fact::Acknowledged { consumer: 0, through: self.sequence },
            _ => product.state(random),
        }
    }
}

impl Product {
    fn state(&self, random: &mut fastrand::Rng) -> Fact {
        let state = if random.bool() { SaleState::Open } else { SaleState::Paused };
        Fact::StateSet { product: self.id, state }
    }

    fn released(
        &mut self,
        order: OrderId,
        quantity: Quantity,
        random: &mut fastrand::Rng,
        expires_at: Timestamp,
    ) -> Released {
        let matched = self.matched(random, expires_at);
        Released { order, product: self.id, quantity, matched }
    }

    fn matched(&mut self, random: &mut fastrand::Rng, expires_at: Timestamp) -> Matched {
        let orders: Vec<_> = self.queued.drain(..random.usize(..=self.queued.len())).collect();
        if orders.is_empty() {
            return Matched::default();
        }
        self.pending.extend(&orders);
        Matched { orders, expires_at }
    }
}

fn take(random: &mut fastrand::Rng, orders: &mut Vec<OrderId>) -> Option<OrderId> {
    if orders.is_empty() { None } else { Some(orders.swap_remove(random.usize(..orders.len()))) }
}

fn terms(random: &mut fastrand::Rng) -> Terms {
    let time = |random: &mut fastrand::Rng| {
        Timestamp::from_micros(if random.bool() { 0 } else { random.u64(1..1 << 50) })
    };
    Terms {
        price: random.u64(..1_000_000),
        currency: Currency::USD,
        stock: random.u32(..10_000),
        opens_at: time(random),
        closes_at: time(random),
        limit_per_buyer: random.u32(..5),
        hold_seconds: random.u32(1..1_000),
        waitlist_capacity: random.u32(..1_000),
    }
}

/// Cuts steps into batches of one to `steps_max` steps, for a shard that owns all buckets. The first
/// step of each partition may be any.
pub fn batches(steps: &[Step], random: &mut fastrand::Rng, steps_max: usize) -> Vec<Batch> {
    let mut done: BTreeMap<PartitionId, Sequence> = BTreeMap::new();
    let mut left = steps;
    let mut batches = Vec::new();
    while !left.is_empty() {
        let (now, later) = left.split_at(random.usize(1..=steps_max.min(left.len())));
        left = later;
        let mut batch = Batch::new(BucketSet::ALL);
        for step in now {
            let before = Sequence::new(step.sequence.get() - 1);
            let last = done.insert(step.partition, step.sequence);
            assert!(last.is_none_or(|last| last == before), "a history is dense");
            let Step { partition, sequence, ref event } = *step;
            changes_of(partition, sequence, event.clone(), &batch.buckets, &mut batch.changes);
            let known = batch.advances.iter_mut().find(|known| known.partition == step.partition);
            match known {
                Some(advance) => advance.through = step.sequence,
                None => batch.advances.push(Advance {
                    partition: step.partition,
                    epoch: Epoch::FIRST,
                    after: before,
                    through: step.sequence,
                }),
            }
        }
        batches.push(batch);
    }
    batches
}

/// Batches are written, written again by mistake, and the store is closed and opened in between.
pub(super) async fn random_histories_match_the_model(open: &Open, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut history = History::new(seed, PARTITIONS);
    let steps: Vec<_> = (0..5_000).map(|_| history.step()).collect();
    let mut model = Model::default();
    steps.iter().for_each(|step| model.apply(step.sequence, &step.event));

    let mut store = claimed(open).await;
    for batch in batches(&steps, &mut random, 300) {
        write(&*store, &batch).await.expect("the batch is next");
        if random.u32(..4) == 0 {
            for again in write_each(&*store, &batch).await {
                let is_refused = matches!(again, Err(StoreError::OutOfStep { .. }));
                assert!(is_refused, "{again:?}, seed {seed}");
            }
        }
        if random.u32(..8) == 0 {
            drop(store);
            store = open().await.expect("the store opens again");
        }
    }
    model.assert_matches(&*store).await;
}
