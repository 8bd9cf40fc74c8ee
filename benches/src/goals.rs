//! The goals of speed, P1 to P12, all of them, in one place: what is measured and what it must come
//! to. Figures of one machine drift from day to day, so nearly all of them are ratios to a peer
//! that is measured in the same run.

use serde::Serialize;
use std::fmt;

/// What a figure must come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

/// One goal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Goal {
    /// P1 to P12.
    pub(crate) number: u8,
    pub(crate) what: &'static str,
    pub(crate) bound: Bound,
    /// Of the bound and of what is compared with it.
    pub(crate) unit: &'static str,
    /// Whether one of the goals of this number that say so is enough.
    pub(crate) is_alternative: bool,
}

const fn goal(number: u8, what: &'static str, bound: Bound, unit: &'static str) -> Goal {
    Goal { number, what, bound, unit, is_alternative: false }
}

const fn either(number: u8, what: &'static str, bound: Bound, unit: &'static str) -> Goal {
    Goal { number, what, bound, unit, is_alternative: true }
}

use Bound::{AtLeast, AtMost, Below};

pub(crate) const DECISIONS_TO_HASH_MAP: Goal =
    goal(1, "decisions, to the bare hash-map work", AtLeast(0.5), "×");
pub(crate) const DECISIONS: Goal = goal(1, "decisions of one core", AtLeast(5e6), "/s");
pub(crate) const DURABLE_TO_REDIS: Goal =
    goal(2, "durable orders, to Redis Lua, synced, pipelined by 32", AtLeast(5.0), "×");
pub(crate) const DURABLE_TO_TIGERBEETLE: Goal =
    goal(2, "durable orders, to TigerBeetle", AtLeast(3.0), "×");
pub(crate) const DURABLE_TO_UNSYNCED: Goal =
    goal(3, "durable orders, to the same without sync", AtLeast(0.85), "×");
pub(crate) const COMMIT_TO_BARE_SYNC: Goal =
    goal(4, "commit wait p50, to a bare write + fdatasync", AtMost(1.3), "×");
pub(crate) const HTTP_TO_HYPER: Goal =
    goal(5, "durable HTTP orders, to bare hyper's JSON POST", AtLeast(0.7), "×");
pub(crate) const SOLD_OUT_TO_HYPER: Goal =
    goal(5, "sold-out refusals, to bare hyper's JSON POST", AtLeast(0.9), "×");
pub(crate) const SALE_P95: Goal = goal(6, "flash sale, order p95", Below(5.0), "ms");
pub(crate) const SALE_P999: Goal = goal(6, "flash sale, order p99.9", Below(25.0), "ms");
pub(crate) const SALE_ERRORS: Goal = goal(6, "flash sale, orders not taken", AtMost(0.0), "");
pub(crate) const PROJECTOR_TO_COPY: Goal =
    goal(7, "projector into Postgres, to a bare COPY", AtLeast(0.7), "×");
pub(crate) const LAG_P95: Goal = goal(7, "projector's lag p95 in a sale", Below(2.0), "s");
pub(crate) const RECOVERY: Goal = either(8, "recovery", AtLeast(3e6), "events/s");
pub(crate) const RECOVERY_TO_READ: Goal =
    either(8, "recovery, to the sequential read of its files", AtLeast(0.5), "×");
pub(crate) const CONNECTION_MEMORY: Goal =
    goal(9, "user-space memory of an idle HTTP connection", AtMost(12.0), "KiB");
pub(crate) const ORDER_MEMORY: Goal =
    goal(9, "memory of a live order, indexes included", AtMost(256.0), "B");
pub(crate) const HOT_TO_MANY: Goal =
    goal(10, "one hot product, to 10 000 on one partition", AtLeast(0.95), "×");
pub(crate) const BESIDE_DRAIN: Goal =
    goal(11, "order p99 beside drain and snapshots, to without", AtMost(1.3), "×");
pub(crate) const TWO_CORES_TO_ONE: Goal = goal(12, "two cores, to one", AtLeast(1.8), "×");

/// All of them, in their order.
pub(crate) const ALL: [&Goal; 20] = [
    &DECISIONS_TO_HASH_MAP,
    &DECISIONS,
    &DURABLE_TO_REDIS,
    &DURABLE_TO_TIGERBEETLE,
    &DURABLE_TO_UNSYNCED,
    &COMMIT_TO_BARE_SYNC,
    &HTTP_TO_HYPER,
    &SOLD_OUT_TO_HYPER,
    &SALE_P95,
    &SALE_P999,
    &SALE_ERRORS,
    &PROJECTOR_TO_COPY,
    &LAG_P95,
    &RECOVERY,
    &RECOVERY_TO_READ,
    &CONNECTION_MEMORY,
    &ORDER_MEMORY,
    &HOT_TO_MANY,
    &BESIDE_DRAIN,
    &TWO_CORES_TO_ONE,
];

impl Bound {
    pub(crate) fn is_met_by(self, value: f64) -> bool {
        match self {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
            Below(bound) => value < bound,
        }
    }
}

impl fmt::Display for Goal {
    /// The bound with its unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            AtLeast(bound) => ("≥", bound),
            AtMost(bound) => ("≤", bound),
            Below(bound) => ("<", bound),
        };
        let bound = match bound {
            bound if bound >= 1e6 => format!("{} M", bound / 1e6),
            bound => bound.to_string(),
        };
        // As one pads a text, and a text only.
        f.pad(format!("{sign} {bound} {}", self.unit).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_edges() {
        assert!(AtLeast(0.5).is_met_by(0.5) && !AtLeast(0.5).is_met_by(0.49));
        assert!(AtMost(0.0).is_met_by(0.0) && !AtMost(0.0).is_met_by(1.0));
        assert!(Below(5.0).is_met_by(4.99) && !Below(5.0).is_met_by(5.0));
        for bound in [AtLeast(0.0), AtMost(0.0), Below(0.0)] {
            assert!(!bound.is_met_by(f64::NAN), "what was not measured is not met");
        }
    }

    #[test]
    fn goals_show_their_bounds() {
        assert_eq!(DECISIONS.to_string(), "≥ 5 M /s");
        assert_eq!(SALE_ERRORS.to_string(), "≤ 0");
        assert_eq!(format!("{BESIDE_DRAIN:>8}|"), " ≤ 1.3 ×|");
    }

    #[test]
    fn every_number_is_there_in_order() {
        assert!(ALL.is_sorted_by_key(|goal| goal.number));
        for number in 1..=12 {
            assert!(ALL.iter().any(|goal| goal.number == number), "P{number}");
        }
    }
}
