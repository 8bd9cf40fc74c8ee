//! The findings of an audit, for eyes and for programs.

use super::findings::{Check, Findings};
use doorbuster_protocol::{PartitionId, Sequence};
use serde_json::{Value, json};
use std::fmt::Write;

/// What an audit has to say.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was checked and found.
    pub(crate) findings: Findings,
    /// What was looked at.
    pub(crate) totals: Totals,
    /// What could not be looked at, and why.
    pub(crate) notes: Vec<String>,
}

/// Sums over all partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Partitions.
    pub(crate) partitions: u32,
    /// Events replayed.
    pub(crate) events: u64,
    /// The last event of each partition, and the digest of its state.
    pub(crate) ends: Vec<(PartitionId, Sequence, u64)>,
    /// Products.
    pub(crate) products: u64,
    /// Units of stock.
    pub(crate) stock: u64,
    /// Units sold.
    pub(crate) sold: u64,
    /// Units held.
    pub(crate) held: u64,
    /// Units available.
    pub(crate) available: u64,
    /// Units sold beyond the stock.
    pub(crate) oversold: u64,
    /// Orders of the log.
    pub(crate) orders: u64,
    /// Orders that are paid.
    pub(crate) paid_orders: u64,
    /// Orders that wait now.
    pub(crate) waiting: u64,
    /// Waiting orders that were served.
    pub(crate) served_from_waitlist: u64,
    /// Orders found in the store; `None` when there is no store.
    pub(crate) store_orders: Option<u64>,
    /// Events that the store does not have yet, acknowledgements at the end left out.
    pub(crate) store_lag: u64,
}

impl Report {
    /// Whether nothing diverges.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.total() == 0
    }

    /// One line per check.
    pub(crate) fn checks(&self) -> String {
        let mut text = String::new();
        for check in Check::ALL {
            let _ = match (self.findings.times(check), self.findings.count(check)) {
                (None, 0) => writeln!(text, "  – {:<62} not checked", check.claim()),
                (times, 0) => {
                    let times = grouped(times.unwrap_or(0));
                    writeln!(text, "  ✓ {:<62} {times:>12} ×", check.claim())
                }
                (_, found) => writeln!(text, "  ✗ {:<62} {found:>12} divergences", check.claim()),
            };
        }
        text
    }

    /// For eyes: sums, checks, each divergence.
    pub(crate) fn text(&self) -> String {
        let Totals { partitions, events, products, orders, .. } = &self.totals;
        let mut text = format!(
            "{} events in {partitions} partitions: {} orders of {} products\n{} sold of {}, {} held, \
             {} available, {} oversold\n",
            grouped(*events),
            grouped(*orders),
            grouped(*products),
            grouped(self.totals.sold),
            grouped(self.totals.stock),
            grouped(self.totals.held),
            grouped(self.totals.available),
            grouped(self.totals.oversold),
        );
        text.push_str(&self.checks());
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for divergence in self.findings.divergences() {
            let event = divergence.sequence.map(|it| format!(" event {it}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "  {} · partition {}{event}: {}",
                divergence.check.name(),
                divergence.partition,
                divergence.text
            );
        }
        let total = self.findings.total();
        let kept = self.findings.divergences().len() as u64;
        if total > kept {
            let _ = writeln!(text, "  … and {} more", total - kept);
        }
        text.push_str(match self.is_clean() {
            true => "clean\n",
            false => {
                "NOT CLEAN: keep a copy of the data directory and of the store, and report it\n"
            }
        });
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let totals = &self.totals;
        let checks: Vec<_> = Check::ALL
            .into_iter()
            .map(|check| {
                json!({
                    "check": check.name(),
                    "claim": check.claim(),
                    "checked": self.findings.times(check),
                    "divergences": self.findings.count(check),
                })
            })
            .collect();
        let divergences: Vec<_> = self
            .findings
            .divergences()
            .iter()
            .map(|divergence| {
                json!({
                    "check": divergence.check.name(),
                    "partition": divergence.partition.get(),
                    "sequence": divergence.sequence.map(Sequence::get),
                    "text": divergence.text,
                })
            })
            .collect();
        let ends: Vec<_> = totals
            .ends
            .iter()
            .map(|(partition, last, digest)| {
                let digest = format!("{digest:016x}");
                json!({ "partition": partition.get(), "last": last.get(), "digest": digest })
            })
            .collect();
        json!({
            "clean": self.is_clean(),
            "partitions": totals.partitions,
            "events": totals.events,
            "products": totals.products,
            "stock": totals.stock,
            "sold": totals.sold,
            "held": totals.held,
            "available": totals.available,
            "oversold": totals.oversold,
            "orders": totals.orders,
            "paidOrders": totals.paid_orders,
            "waiting": totals.waiting,
            "servedFromWaitlist": totals.served_from_waitlist,
            "storeOrders": totals.store_orders,
            "storeLagEvents": totals.store_lag,
            "ends": ends,
            "checks": checks,
            "notes": self.notes,
            "divergenceCount": self.findings.total(),
            "divergences": divergences,
        })
    }
}

/// A number with thin groups of three digits: `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        fn check(number: u64, expected: &str) {
            assert_eq!(grouped(number), expected);
        }
        check(0, "0");
        check(999, "999");
        check(1_000, "1 000");
        check(1_234_567, "1 234 567");
    }

    #[test]
    fn an_empty_audit_is_clean_and_says_what_was_not_checked() {
        let report = Report::default();
        assert!(report.is_clean());
        assert!(report.text().contains("not checked"));
        assert_eq!(report.json()["clean"], true);
    }
}
