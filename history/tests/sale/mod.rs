//! A small sale that keeps its promises, to make histories from: plain maps, one event after the
//! other, nothing clever. It shares nothing with the checker but the types of a history.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod crowd;
pub mod engine;
pub mod story;

use doorbuster_history::ids::{BuyerId, ProductId};
use doorbuster_history::{Allowance, History, Others};

/// When the sales begin, in microseconds since the epoch.
pub const BEGIN_US: u64 = 1_700_000_000_000_000;
/// How far the engine's clock is from that of the clients at the most.
pub const SKEW_US: u64 = 5_000;
/// How long an edge says "sold out" after units have come back, at the most.
pub const STALENESS_US: u64 = 100_000;

/// A product by its number.
pub const fn product(number: u128) -> ProductId {
    ProductId::new(0x9000 + number)
}

/// A buyer by the number.
pub const fn buyer(number: u128) -> BuyerId {
    BuyerId::new(0xB000 + number)
}

/// A history of some `operations`, as the seed has it.
pub fn history(seed: u64, operations: usize) -> History {
    crowd::Crowd::new(seed).play(operations)
}

/// What a history of this sale is to be measured by.
pub fn allowance() -> Allowance {
    Allowance {
        engine_skew_us: SKEW_US,
        flag_staleness_us: STALENESS_US,
        decision_us: 1_000_000,
        orders_leave: true,
        others: Others::Nobody,
        ..Allowance::default()
    }
}
