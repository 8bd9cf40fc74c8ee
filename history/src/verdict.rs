//! What the checker found.

use crate::ids::Position;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The most violations that are listed with their words. The rest is counted.
pub const LISTED_MAX: usize = 1_000;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The log has a gap, goes back in time, or states what cannot have happened.
    BrokenLog,
    /// More units are sold and held than there are.
    Oversold,
    /// An event took units that were not free, or gave back units that were not taken.
    WrongUnits,
    /// An order ended twice, or in a way in which it could not.
    WrongEnd,
    /// An order was accepted while the sale did not run, or on other terms than those in force.
    OutsideSale,
    /// A buyer got more than the limit.
    OverLimit,
    /// A key made two orders.
    TwoOrdersForKey,
    /// An order overtook another on the waitlist, or was told a wrong place.
    JumpedWaitlist,
    /// Units stayed free while the head of the waitlist fitted, or an order had to wait in vain.
    UnservedWaitlist,
    /// A hold ran out before its deadline.
    EarlyExpiry,
    /// A hold was paid after its deadline.
    LatePayment,
    /// A hold was given another deadline than was promised.
    WrongDeadline,
    /// Something was acknowledged, and the log does not have it.
    LostAcknowledgement,
    /// An answer says something else than the log.
    WrongAnswer,
    /// A key was answered differently than the first time.
    ChangedAnswer,
    /// Two operations were told that they did the same thing.
    AcknowledgedTwice,
    /// A refusal was right at no time between the request and the answer.
    UnjustifiedRefusal,
    /// What was read was true at no time between the request and the answer.
    StaleRead,
    /// Something that was answered before another was asked stands after it in the log.
    RealTimeInversion,
    /// The time of an event lies outside the time of its operation.
    WrongTime,
    /// An event has no operation from which it could have come.
    UnexplainedEvent,
    /// An event did what every client that asked for it was told had not been done.
    DoneThoughRefused,
    /// The store lacks a row.
    MissingRow,
    /// The store has a row too many.
    ExtraRow,
    /// A row says something else than the log.
    WrongRow,
    /// The history itself cannot be: answers before requests, a number given twice.
    BrokenHistory,
}

impl Kind {
    /// Its word, as it stands in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BrokenLog => "broken-log",
            Self::Oversold => "oversold",
            Self::WrongUnits => "wrong-units",
            Self::WrongEnd => "wrong-end",
            Self::OutsideSale => "outside-sale",
            Self::OverLimit => "over-limit",
            Self::TwoOrdersForKey => "two-orders-for-key",
            Self::JumpedWaitlist => "jumped-waitlist",
            Self::UnservedWaitlist => "unserved-waitlist",
            Self::EarlyExpiry => "early-expiry",
            Self::LatePayment => "late-payment",
            Self::WrongDeadline => "wrong-deadline",
            Self::LostAcknowledgement => "lost-acknowledgement",
            Self::WrongAnswer => "wrong-answer",
            Self::ChangedAnswer => "changed-answer",
            Self::AcknowledgedTwice => "acknowledged-twice",
            Self::UnjustifiedRefusal => "unjustified-refusal",
            Self::StaleRead => "stale-read",
            Self::RealTimeInversion => "real-time-inversion",
            Self::WrongTime => "wrong-time",
            Self::UnexplainedEvent => "unexplained-event",
            Self::DoneThoughRefused => "done-though-refused",
            Self::MissingRow => "missing-row",
            Self::ExtraRow => "extra-row",
            Self::WrongRow => "wrong-row",
            Self::BrokenHistory => "broken-history",
        }
    }
}

/// One promise that was broken once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which promise.
    pub kind: Kind,
    /// What was found.
    pub what: String,
    /// Why that cannot be.
    pub why: String,
    /// The operations that show it, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<u64>,
    /// The events that show it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Position>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    why: {}", self.kind.word(), self.what, self.why)?;
        if !self.operations.is_empty() {
            f.write_str("\n    operations:")?;
            for operation in &self.operations {
                write!(f, " {operation}")?;
            }
        }
        if !self.events.is_empty() {
            f.write_str("\n    events:")?;
            for event in &self.events {
                write!(f, " {event}")?;
            }
        }
        Ok(())
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Looked {
    /// Events of the log.
    pub events: u64,
    /// Orders in the log.
    pub orders: u64,
    /// Orders that stood on a waitlist.
    pub waited: u64,
    /// Idempotency keys in the log.
    pub keys: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Operations whose event was found and compared.
    pub acknowledged: u64,
    /// First answers that were given again.
    pub replayed: u64,
    /// Refusals for which a time was found at which they were right.
    pub refused: u64,
    /// Looks at orders and products for which a time was found at which they were true.
    pub read: u64,
    /// Operations without a clear answer.
    pub unknown: u64,
    /// Operations whose answer cannot be judged, or says that nothing was done.
    pub unjudged: u64,
    /// Rows compared.
    pub rows: u64,
}

/// What came out of checking a history.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// How much was looked at.
    pub looked: Looked,
    /// How many violations of each kind were found, those that are not listed included.
    pub counts: BTreeMap<Kind, u64>,
    /// The first [`LISTED_MAX`] violations.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Violations of one kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        let Looked { events, orders, waited, keys, operations, .. } = self.looked;
        let Looked { acknowledged, replayed, refused, read, unknown, unjudged, rows, .. } =
            self.looked;
        writeln!(f, "{events} events: {orders} orders, {waited} of them waited, {keys} keys")?;
        writeln!(
            f,
            "{operations} operations: {acknowledged} acknowledged, {replayed} replayed, \
             {refused} refused, {read} read, {unknown} unknown, {unjudged} not judged"
        )?;
        if rows > 0 {
            writeln!(f, "{rows} rows")?;
        }
        if self.is_clean() {
            return write!(f, "clean");
        }
        let total: u64 = self.counts.values().sum();
        write!(f, "{total} violations:")?;
        for (kind, count) in &self.counts {
            write!(f, " {count} {}", kind.word())?;
        }
        Ok(())
    }
}

/// Where checks put what they find.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) verdict: Verdict,
}

impl Findings {
    /// Adds a violation shown by operations and events.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        operations: &[u64],
        events: &[Position],
        words: (String, String),
    ) {
        *self.verdict.counts.entry(kind).or_default() += 1;
        if self.verdict.violations.len() < LISTED_MAX {
            let (what, why) = words;
            let (operations, events) = (operations.to_vec(), events.to_vec());
            self.verdict.violations.push(Violation { kind, what, why, operations, events });
        }
    }

    /// Adds a violation that one event shows.
    pub(crate) fn in_log(&mut self, kind: Kind, at: Position, what: String, why: String) {
        self.add(kind, &[], &[at], (what, why));
    }
}
