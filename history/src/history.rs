//! Everything that is judged together, and by what measure.

use crate::event::Event;
use crate::operation::Operation;
use crate::row::Rows;

/// What clients saw, what the log holds, what the store holds.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What clients did, in any order.
    pub operations: Vec<Operation>,
    /// The log, from the first event of each partition on, each partition in its order.
    pub events: Vec<Event>,
    /// The store, once it has everything; `None` when it is not to be compared.
    pub rows: Option<Rows>,
}

/// How much clocks may differ, and who else may have acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How far the engine's clock may be from the clients' clocks, either way.
    pub engine_skew_us: u64,
    /// How far the clocks of two clients may be apart. What one did counts as before what another
    /// did only when it was that much earlier.
    pub client_skew_us: u64,
    /// How long an edge may go on refusing orders without a key as sold out after units have come
    /// back. Orders with a key are always asked about.
    pub flag_staleness_us: u64,
    /// How long the engine may take from reading the clock for a request to deciding it.
    pub decision_us: u64,
    /// Whether clients asked the engine itself, which lets go of orders that have ended once the
    /// store has them: then they are not found there any more.
    pub orders_leave: bool,
    /// Who else may have acted.
    pub others: Others,
    /// Whether every operation that was sent is in the history. It is not when a client was killed
    /// that wrote its journal a moment later than its requests.
    pub operations_are_complete: bool,
}

/// Who acted that is not in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody: every event comes from an operation.
    Nobody,
    /// Buyers that have no operation in the history, and administrators of products for which there
    /// is no operation of an administrator. Events of all others come from operations.
    Strangers,
}

impl Default for Allowance {
    /// For one machine, one clock, and clients that are known with all that they did.
    fn default() -> Self {
        Self {
            engine_skew_us: 20_000,
            client_skew_us: 0,
            flag_staleness_us: 100_000,
            decision_us: 60_000_000,
            orders_leave: false,
            others: Others::Strangers,
            operations_are_complete: true,
        }
    }
}
