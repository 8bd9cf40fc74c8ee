//! A sale to log in tests: batches of real events, and the digest after each.

use super::{Log, LogConfig, LogError, LogIdentity, create};
use crate::state_machine::{State, apply, decide};
use crate::storage::{MemoryDisk, run_immediate};
use doorbuster_protocol::command::{Command, Define, Place};
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::{
    BuyerId, Epoch, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp,
};

pub(super) fn identity() -> LogIdentity {
    LogIdentity {
        directory: 0xD00B_0057,
        partition: PartitionId::new(3).expect("in range"),
        epoch: Epoch::FIRST,
    }
}

/// Small segments, so that a few batches fill one.
pub(super) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 32 << 10,
        first_fill_bytes: 16 << 10,
        fill_ahead_bytes: 16 << 10,
        spares_max: 2,
        snapshot_segments: 2,
        snapshots: None,
    }
}

/// A disk with an empty log on it, durable.
pub(super) fn fresh() -> MemoryDisk {
    let disk = MemoryDisk::new();
    run_immediate(create(&disk, &config())).expect("a new log");
    disk.reset();
    disk
}

pub(super) fn recover(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, State), LogError> {
    run_immediate(Log::recover(disk.clone(), identity(), config()))
}

/// One batch, and the digest of the state after it.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) first: Sequence,
    pub(super) count: u32,
    pub(super) events: Vec<u8>,
    pub(super) digest: u64,
}

impl Batch {
    pub(super) fn last(&self) -> Sequence {
        Sequence::new(self.first.get() + u64::from(self.count) - 1)
    }
}

/// A sale in the works.
pub(super) struct Sale {
    state: State,
    orders: Vec<OrderId>,
    dice: fastrand::Rng,
}

impl Sale {
    pub(super) fn new() -> Self {
        let state = State::new(identity().partition);
        Self { state, orders: Vec::new(), dice: fastrand::Rng::with_seed(7) }
    }

    /// Goes on with a state that was recovered.
    pub(super) fn resume(state: State) -> Self {
        // Other buyers than before.
        let dice = fastrand::Rng::with_seed(1_000 + state.sequence().get());
        Self { state, orders: Vec::new(), dice }
    }

    fn command(&mut self) -> Command {
        let product = ProductId::from_bytes([1; 16]);
        if self.state.sequence() == Sequence::ZERO {
            let mut define = Define::new(product);
            define.price = Some(1_999);
            define.stock = Some(1_000_000);
            return Command::Define(define);
        }
        if self.dice.u8(..4) == 0
            && let Some(order) = self.orders.pop()
        {
            return match self.dice.bool() {
                true => Command::Confirm { order },
                false => Command::Cancel { order, buyer: None },
            };
        }
        let mut buyer = [0; 16];
        self.dice.fill(&mut buyer);
        Command::Place(Place {
            product,
            buyer: BuyerId::from_bytes(buyer),
            key: IdempotencyKey::from_bytes(buyer),
            quantity: Quantity::ONE,
            waitlist: false,
        })
    }

    /// The next `count` events.
    pub(super) fn batch(&mut self, count: u32) -> Batch {
        self.batch_of(count, Self::command)
    }

    /// The next `count` events, which leave the state as large as it is.
    pub(super) fn restocks(&mut self, count: u32) -> Batch {
        let product = ProductId::from_bytes([1; 16]);
        self.batch_of(count, |sale| match sale.state.sequence() {
            Sequence::ZERO => sale.command(),
            _ => Command::Restock { product, units: 1 },
        })
    }

    fn batch_of(&mut self, count: u32, mut next: impl FnMut(&mut Self) -> Command) -> Batch {
        let first = self.state.sequence().next();
        let mut events = Vec::new();
        for _ in 0..count {
            let command = next(self);
            let now = Timestamp::from_micros(1_700_000_000_000_000 + self.state.sequence().get());
            let decision = decide(&self.state, &command, now);
            let event = decision.event.expect("every command of the sale changes something");
            if let Fact::Placed(placed) = &event.fact {
                self.orders.push(placed.order);
            }
            event.encode(&mut events);
            apply(&mut self.state, &event);
        }
        Batch { first, count, events, digest: self.state.digest() }
    }

    /// Batches of 1 to 40 events: some share a block, some take two.
    pub(super) fn batches(&mut self, batches: usize) -> Vec<Batch> {
        (0..batches)
            .map(|_| {
                let count = self.dice.u32(1..=40);
                self.batch(count)
            })
            .collect()
    }
}

pub(super) fn append(log: &Log<MemoryDisk>, batch: &Batch) -> Result<(), LogError> {
    run_immediate(log.append(batch.first, batch.count, &batch.events))
}

/// Appends with the upkeep after each, as an engine does.
pub(super) fn append_all(log: &Log<MemoryDisk>, batches: &[Batch]) {
    for batch in batches {
        append(log, batch).expect("a good disk");
        run_immediate(log.prepare()).expect("a good disk");
    }
}

/// A disk with `batches` logged on it, and these batches.
pub(super) fn logged(batches: usize) -> (MemoryDisk, Vec<Batch>) {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    let batches = Sale::new().batches(batches);
    append_all(&log, &batches);
    (disk, batches)
}

/// Names of the segments, oldest first.
pub(super) fn segments(disk: &MemoryDisk) -> Vec<String> {
    names(disk, ".log")
}

pub(super) fn names(disk: &MemoryDisk, suffix: &str) -> Vec<String> {
    use crate::storage::Storage as _;
    let entries = run_immediate(disk.list()).expect("a listing");
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(suffix)).collect()
}
