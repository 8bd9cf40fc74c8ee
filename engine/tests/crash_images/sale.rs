//! A sale to log: batches of real events of every kind, and the digest after each.

use doorbuster_engine::log::LogIdentity;
use doorbuster_engine::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Command, Define, Place};
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::{
    BuyerId, Epoch, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp,
};

/// The log that all of it goes to.
pub(crate) fn identity() -> LogIdentity {
    LogIdentity {
        directory: 0x0D00_B057_E2D0_0B57,
        partition: PartitionId::new(0).expect("in range"),
        epoch: Epoch::FIRST,
    }
}

/// Some events that are logged at once.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) first: Sequence,
    pub(crate) count: u32,
    pub(crate) events: Vec<u8>,
    /// Of the state after it.
    pub(crate) digest: u64,
}

impl Batch {
    pub(crate) fn last(&self) -> Sequence {
        Sequence::new(self.first.get() + u64::from(self.count) - 1)
    }
}

/// How many of `batches` a log holds that ends after event `last`; none when it ends within one.
pub(crate) fn logged(batches: &[Batch], last: Sequence) -> Option<usize> {
    let whole = batches.partition_point(|batch| batch.last() <= last);
    let end = whole.checked_sub(1).map_or(Sequence::ZERO, |newest| batches[newest].last());
    (end == last).then_some(whole)
}

struct Sale {
    state: State,
    orders: Vec<OrderId>,
    now: u64,
    random: fastrand::Rng,
}

/// So many batches of 1 to `events_max` events; most of them are small.
pub(crate) fn batches(seed: u64, batches: usize, events_max: u32) -> Vec<Batch> {
    let mut sale = Sale {
        state: State::new(identity().partition),
        orders: Vec::new(),
        now: 1_700_000_000_000_000,
        random: fastrand::Rng::with_seed(seed),
    };
    let mut made = Vec::new();
    for _ in 0..batches {
        let most = if sale.random.u8(..8) == 0 { events_max } else { events_max / 6 };
        let count = sale.random.u32(1..=most.max(2));
        made.push(sale.batch(count));
    }
    made
}

impl Sale {
    fn batch(&mut self, count: u32) -> Batch {
        let first = self.state.sequence().next();
        let mut events = Vec::new();
        let mut left = count;
        while left > 0 {
            self.now += self.random.u64(1..200_000);
            let command = self.command();
            let decision = decide(&self.state, &command, Timestamp::from_micros(self.now));
            let Some(event) = decision.event else { continue };
            if let Fact::Placed(placed) = &event.fact {
                self.orders.push(placed.order);
            }
            event.encode(&mut events);
            apply(&mut self.state, &event);
            left -= 1;
        }
        Batch { first, count, events, digest: self.state.digest() }
    }

    fn command(&mut self) -> Command {
        let product = ProductId::from_bytes([self.random.u8(1..=2); 16]);
        if self.state.sequence().get() < 2 {
            let number = self.state.sequence().get() as u8 + 1;
            return Command::Define(Define {
                price: Some(1_999),
                stock: Some(if number == 1 { 1_000_000 } else { 9 }),
                hold_seconds: Some(4),
                waitlist_capacity: Some(40),
                ..Define::new(ProductId::from_bytes([number; 16]))
            });
        }
        match self.random.u8(..20) {
            0..=3 if !self.orders.is_empty() => {
                let order = self.orders.swap_remove(self.random.usize(..self.orders.len()));
                match self.random.bool() {
                    true => Command::Confirm { order },
                    false => Command::Cancel { order, buyer: None },
                }
            }
            4..=6 => Command::Expire,
            7 => Command::Acknowledge { consumer: 0, through: self.state.sequence() },
            8 => Command::Restock { product, units: self.random.u32(1..3) },
            _ => {
                let mut buyer = [0; 16];
                self.random.fill(&mut buyer);
                Command::Place(Place {
                    product,
                    buyer: BuyerId::from_bytes(buyer),
                    key: IdempotencyKey::from_bytes(buyer),
                    quantity: Quantity::new(self.random.u32(1..=3)).expect("in range"),
                    waitlist: true,
                })
            }
        }
    }
}
