//! The findings of an audit, for eyes and for programs.

use super::findings::{Check, Divergence, Findings};
use super::version::Version;
use doorbuster_loadgen::units::number as grouped;
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
    /// How the log of each partition ends.
    pub(crate) ends: Vec<End>,
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
    /// Events that the shard that is furthest behind does not have yet, summed over the partitions;
    /// acknowledgements at the end left out.
    pub(crate) store_lag: u64,
    /// The shards of the store.
    pub(crate) shards: Vec<ShardTotals>,
}

/// How a partition's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The partition.
    pub(crate) partition: PartitionId,
    /// Its last event.
    pub(crate) last: Sequence,
    /// The digest of its state then, when the state machine replayed it.
    pub(crate) digest: Option<u64>,
}

/// What was found on a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardTotals {
    /// Its name.
    pub(crate) name: String,
    /// The buckets that it owns.
    pub(crate) buckets: String,
    /// Orders on it.
    pub(crate) orders: u64,
    /// Products on it.
    pub(crate) products: u64,
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
                (_, found) => {
                    let noun = if found == 1 { "divergence" } else { "divergences" };
                    writeln!(text, "  ✗ {:<62} {found:>12} {noun}", check.claim())
                }
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
        for shard in &self.totals.shards {
            let ShardTotals { name, buckets, orders, products } = shard;
            let (orders, products) = (grouped(*orders), grouped(*products));
            let _ = writeln!(
                text,
                "  shard {name}: buckets {buckets}, {orders} orders, {products} products"
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for divergence in self.findings.divergences() {
            text.push_str(&divergence.lines());
        }
        let total = self.findings.total();
        let kept = self.findings.divergences().len() as u64;
        if total > kept {
            let _ = writeln!(text, "  … and {} more", total - kept);
        }
        text.push_str(match self.is_clean() {
            true => "clean\n",
            false => {
                "NOT CLEAN: keep a copy of the data directory and of the store, and report it; \
                 `audit --repair` sets a store right from a sound log\n"
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
        let divergences: Vec<_> =
            self.findings.divergences().iter().map(Divergence::json).collect();
        let ends: Vec<_> = totals
            .ends
            .iter()
            .map(|End { partition, last, digest }| {
                let digest = digest.map(|digest| format!("{digest:016x}"));
                json!({ "partition": partition.get(), "last": last.get(), "digest": digest })
            })
            .collect();
        let shards: Vec<_> = totals
            .shards
            .iter()
            .map(|shard| {
                json!({
                    "name": shard.name,
                    "buckets": shard.buckets,
                    "orders": shard.orders,
                    "products": shard.products,
                })
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
            "shards": shards,
            "ends": ends,
            "checks": checks,
            "notes": self.notes,
            "divergenceCount": self.findings.total(),
            "divergences": divergences,
        })
    }
}

impl Divergence {
    /// For eyes: what it is about, and below it both versions.
    pub(crate) fn lines(&self) -> String {
        let mut text = format!("  {}: {}\n", self.place(), self.text);
        let sides = [("log", &self.log), ("store", &self.store)];
        // A divergence of the log alone has no sides.
        if sides.iter().any(|(_, side)| side.is_some()) {
            for (name, side) in sides {
                let side = side.as_ref().map_or("nothing".to_owned(), Version::text);
                let _ = writeln!(text, "      {name:>5}: {side}");
            }
        }
        text
    }

    fn place(&self) -> String {
        let mut place = self.check.name().to_owned();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(place, " · {name} {value}");
            }
        };
        add("shard", self.shard.clone());
        add("partition", self.partition.map(|it| it.to_string()));
        add("event", self.sequence.map(|it| it.to_string()));
        add("order", self.order.map(|it| it.to_string()));
        add("product", self.product.map(|it| it.to_string()));
        place
    }

    /// For programs.
    fn json(&self) -> Value {
        json!({
            "check": self.check.name(),
            "partition": self.partition.map(PartitionId::get),
            "sequence": self.sequence.map(Sequence::get),
            "shard": self.shard,
            "order": self.order.map(|it| it.to_string()),
            "product": self.product.map(|it| it.to_string()),
            "log": self.log.as_ref().map(Version::json),
            "store": self.store.as_ref().map(Version::json),
            "text": self.text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_audit_is_clean_and_says_what_was_not_checked() {
        let report = Report::default();
        assert!(report.is_clean());
        assert!(report.text().contains("not checked"));
        assert_eq!(report.json()["clean"], true);
    }
}
