//! A sale that goes through everything that a partition can do: what the logs and snapshots that
//! are damaged here were made of.

use doorbuster_engine::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Command, Define, Place, SaleState};
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::{
    BuyerId, Event, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity, Timestamp,
};

const START_US: u64 = 1_700_000_000_000_000;

/// A sale in the works.
pub(crate) struct Sale {
    pub(crate) state: State,
    orders: Vec<OrderId>,
    dice: fastrand::Rng,
    now: Timestamp,
}

/// The partition of all sales here.
pub(crate) fn partition() -> PartitionId {
    PartitionId::new(3).expect("in range")
}

fn product(number: u8) -> ProductId {
    ProductId::from_bytes([number; 16])
}

impl Sale {
    /// A sale that nothing has happened in.
    pub(crate) fn new(seed: u64) -> Self {
        Self::resume(State::new(partition()), seed)
    }

    /// Goes on with a state.
    pub(crate) fn resume(state: State, seed: u64) -> Self {
        let now = state.last_at().max(Timestamp::from_micros(START_US));
        Self { state, orders: Vec::new(), dice: fastrand::Rng::with_seed(seed), now }
    }

    /// The next event.
    pub(crate) fn next_event(&mut self) -> Event {
        for _ in 0..10_000 {
            self.now = self.now.plus_micros(self.dice.u64(..2_000_000));
            let command = self.command();
            let Some(event) = decide(&self.state, &command, self.now).event else { continue };
            match &event.fact {
                Fact::Placed(placed) => self.orders.push(placed.order),
                Fact::Queued(queued) => self.orders.push(queued.order),
                _ => {}
            }
            apply(&mut self.state, &event);
            return event;
        }
        panic!("a sale goes on");
    }

    /// The next `count` events, encoded one behind the other.
    pub(crate) fn events(&mut self, count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            self.next_event().encode(&mut bytes);
        }
        bytes
    }

    fn command(&mut self) -> Command {
        let known = self.state.products().count() as u8;
        if known < 3 && self.dice.u8(..8) == 0 || known == 0 {
            return Command::Define(Define {
                price: Some(1_999),
                stock: Some(6),
                hold_seconds: Some(20),
                limit_per_buyer: Some(5),
                waitlist_capacity: Some(8),
                ..Define::new(product(known + 1))
            });
        }
        let product = product(self.dice.u8(1..=known));
        match self.dice.u8(..16) {
            0 => Command::Restock { product, units: self.dice.u32(1..4) },
            1 => Command::Withdraw { product, units: 1 },
            2 => Command::SetState { product, state: SaleState::Open },
            3 => {
                let through = self.state.sequence();
                Command::Acknowledge { consumer: self.dice.u8(..2), through }
            }
            4 | 5 => Command::Expire,
            6..9 if !self.orders.is_empty() => {
                let order = self.orders.swap_remove(self.dice.usize(..self.orders.len()));
                match self.dice.bool() {
                    true => Command::Confirm { order },
                    false => Command::Cancel { order, buyer: None },
                }
            }
            _ => {
                let mut key = [0; 16];
                self.dice.fill(&mut key);
                Command::Place(Place {
                    product,
                    buyer: BuyerId::from_bytes([self.dice.u8(..20); 16]),
                    key: IdempotencyKey::from_bytes(key),
                    quantity: Quantity::new(self.dice.u32(1..3)).expect("in range"),
                    waitlist: self.dice.bool(),
                })
            }
        }
    }
}
