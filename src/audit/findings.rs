//! What an audit checks and what it found.

use super::version::Version;
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::collections::BTreeMap;

/// One invariant. Each is proven from the events themselves, not from the engine's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Check {
    /// Events are dense, their times never go back, and each fits what came before it.
    History,
    /// No more units are sold and held than there are, at every event.
    Oversold,
    /// Units held, sold and available add up to the stock, at every event.
    Balance,
    /// No buyer took more than the limit.
    BuyerLimit,
    /// No idempotency key has two orders.
    OneOrderPerKey,
    /// Units go to the waitlist in order, at once, and nobody overtakes it.
    Waitlist,
    /// No hold expired early or was paid late.
    Holds,
    /// The engine's own state machine comes to the same numbers.
    StateMachine,
    /// Every order of the log is on its buyer's shard, and no other, with the same content.
    StoreOrders,
    /// Every product of the log is on every shard, and no other, with the same content.
    StoreProducts,
    /// No checkpoint of the store is ahead of the log, or behind its beginning.
    Checkpoints,
    /// Every bucket of buyers is owned by one shard.
    Buckets,
    /// The store could write every change.
    DeadLetters,
}

impl Check {
    /// Every check, in the order of the report.
    pub(crate) const ALL: [Self; 13] = [
        Self::History,
        Self::Oversold,
        Self::Balance,
        Self::BuyerLimit,
        Self::OneOrderPerKey,
        Self::Waitlist,
        Self::Holds,
        Self::StateMachine,
        Self::StoreOrders,
        Self::StoreProducts,
        Self::Checkpoints,
        Self::Buckets,
        Self::DeadLetters,
    ];

    /// Whether it is about the log alone.
    pub(crate) const fn is_of_log(self) -> bool {
        match self {
            Self::History
            | Self::Oversold
            | Self::Balance
            | Self::BuyerLimit
            | Self::OneOrderPerKey
            | Self::Waitlist
            | Self::Holds
            | Self::StateMachine => true,
            Self::StoreOrders
            | Self::StoreProducts
            | Self::Checkpoints
            | Self::Buckets
            | Self::DeadLetters => false,
        }
    }

    /// Its name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Oversold => "oversold",
            Self::Balance => "balance",
            Self::BuyerLimit => "buyer-limit",
            Self::OneOrderPerKey => "one-order-per-key",
            Self::Waitlist => "waitlist",
            Self::Holds => "holds",
            Self::StateMachine => "state-machine",
            Self::StoreOrders => "store-orders",
            Self::StoreProducts => "store-products",
            Self::Checkpoints => "checkpoints",
            Self::Buckets => "buckets",
            Self::DeadLetters => "dead-letters",
        }
    }

    /// What holds when nothing is found.
    pub(crate) const fn claim(self) -> &'static str {
        match self {
            Self::History => "the history has no gap and no contradiction",
            Self::Oversold => "sold ≤ stock at every event",
            Self::Balance => "held + sold + available = stock at every event",
            Self::BuyerLimit => "no buyer is over the limit",
            Self::OneOrderPerKey => "one order per idempotency key",
            Self::Waitlist => "freed units went to the waitlist in order, nobody overtook",
            Self::Holds => "no hold expired early or was paid late",
            Self::StateMachine => "the state machine comes to the same numbers",
            Self::StoreOrders => "store rows = the log's orders",
            Self::StoreProducts => "store products = the log's products",
            Self::Checkpoints => "checkpoints ≤ log",
            Self::Buckets => "every bucket of buyers is on one shard",
            Self::DeadLetters => "no change lies dead in the store",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Divergence {
    /// What it contradicts.
    pub(crate) check: Check,
    /// The partition; `None` when it is about all of them.
    pub(crate) partition: Option<PartitionId>,
    /// The event at which it shows, when it is one event.
    pub(crate) sequence: Option<Sequence>,
    /// The order that it is about.
    pub(crate) order: Option<OrderId>,
    /// The product that it is about.
    pub(crate) product: Option<ProductId>,
    /// The shard on which it shows, when it shows in the store.
    pub(crate) shard: Option<String>,
    /// How the log has it; `None` when the log does not have it.
    pub(crate) log: Option<Version>,
    /// How the store has it; `None` when the store does not have it.
    pub(crate) store: Option<Version>,
    /// What was found.
    pub(crate) text: String,
}

impl Divergence {
    /// One of the log.
    pub(crate) fn in_log(
        check: Check,
        partition: PartitionId,
        sequence: Sequence,
        text: String,
    ) -> Self {
        let divergence = Self::in_store(check, String::new(), text);
        Self { partition: Some(partition), sequence: Some(sequence), shard: None, ..divergence }
    }

    /// One of a shard.
    pub(crate) fn in_store(check: Check, shard: String, text: String) -> Self {
        Self {
            check,
            partition: None,
            sequence: None,
            order: None,
            product: None,
            shard: Some(shard),
            log: None,
            store: None,
            text,
        }
    }
}

/// Divergences kept in full; past it they are only counted, so that a wholly wrong store does not
/// fill the memory.
const DIVERGENCES_KEPT_MAX: usize = 10_000;

/// What an audit looked at and found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    divergences: Vec<Divergence>,
    counts: BTreeMap<Check, u64>,
    looked_at: BTreeMap<Check, u64>,
}

impl Findings {
    /// Notes a divergence.
    pub(crate) fn add(&mut self, divergence: Divergence) {
        *self.counts.entry(divergence.check).or_default() += 1;
        if self.divergences.len() < DIVERGENCES_KEPT_MAX {
            self.divergences.push(divergence);
        }
    }
    /// Counts divergences that nobody has in full.
    pub(crate) fn count_more(&mut self, check: Check, count: u64) {
        if count > 0 {
            *self.counts.entry(check).or_default() += count;
        }
    }
    /// Notes that a check was made `times` times.
    pub(crate) fn looked(&mut self, check: Check, times: u64) {
        *self.looked_at.entry(check).or_default() += times;
    }
    /// Takes in what was found elsewhere.
    pub(crate) fn merge(&mut self, other: Self) {
        for (check, count) in other.counts {
            *self.counts.entry(check).or_default() += count;
        }
        for (check, count) in other.looked_at {
            *self.looked_at.entry(check).or_default() += count;
        }
        let room = DIVERGENCES_KEPT_MAX - self.divergences.len();
        self.divergences.extend(other.divergences.into_iter().take(room));
    }
    /// Divergences, at most [`DIVERGENCES_KEPT_MAX`] of them.
    pub(crate) fn divergences(&self) -> &[Divergence] {
        &self.divergences
    }
    /// How many divergences of one check there are.
    pub(crate) fn count(&self, check: Check) -> u64 {
        self.counts.get(&check).copied().unwrap_or(0)
    }
    /// How many divergences there are.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }
    /// Whether the log contradicts itself.
    pub(crate) fn doubt_the_log(&self) -> bool {
        Check::ALL.into_iter().any(|check| check.is_of_log() && self.count(check) > 0)
    }
    /// How often a check was made; `None` when it was not made at all.
    pub(crate) fn times(&self, check: Check) -> Option<u64> {
        self.looked_at.get(&check).copied()
    }
}
