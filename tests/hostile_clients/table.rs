//! What an attack did to honest buyers and to the server, as a line of a table.

use super::attack::Tally;
use super::attackers::Kind;
use std::time::Duration;

/// One attack.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// Connections that were held at the most; or, of those who come and go, made per second.
    pub(crate) connections: u64,
    /// Honest requests answered rightly in a second: without the attack, and beside it.
    pub(crate) goodput: [f64; 2],
    /// The same while they asked for all that was possible.
    pub(crate) full: [f64; 2],
    /// The slowest hundredth of honest answers, without the attack and beside it.
    pub(crate) p99: [Duration; 2],
    /// Memory of the server: before the attack, when all had come, at the most.
    pub(crate) memory_kib: [u64; 3],
    /// Connections that the server ended.
    pub(crate) closed: u64,
    /// How long they lived: the middle one, the longest.
    pub(crate) lifetimes: Option<(Duration, Duration)>,
}

impl Row {
    /// What is left of the goodput beside the attack.
    pub(crate) fn ratio(&self) -> f64 {
        self.goodput[1] / self.goodput[0]
    }

    /// What is left of what is possible.
    pub(crate) fn full_ratio(&self) -> f64 {
        self.full[1] / self.full[0]
    }

    /// Bytes of the server for each connection that is held.
    pub(crate) fn bytes_each(&self) -> Option<u64> {
        let grown = self.memory_kib[1].saturating_sub(self.memory_kib[0]) * 1_024;
        (self.kind.is_held() && self.connections > 0).then(|| grown / self.connections)
    }

    /// The closings that the tally counted.
    pub(crate) fn with_closings(mut self, tally: &Tally) -> Self {
        self.closed = tally.get(|tally| &tally.closed);
        self.lifetimes = tally.lifetimes();
        self
    }
}

/// The line over the rows.
pub(crate) fn head() {
    println!(
        "{:<24} {:>11} {:>9} {:>7} {:>7} {:>16} {:>11} {:>9} {:>8} {:>14}",
        "attack",
        "connections",
        "goodput/s",
        "ratio",
        "at full",
        "p99 ms",
        "memory MiB",
        "each",
        "closed",
        "lived s"
    );
}

/// One row.
pub(crate) fn print(row: &Row) {
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    let connections = match row.kind.is_held() {
        true => row.connections.to_string(),
        false => format!("{}/s", row.connections),
    };
    let lived = row
        .lifetimes
        .map(|(middle, longest)| format!("{}, max {}", seconds(middle), seconds(longest)));
    println!(
        "{:<24} {connections:>11} {:>9.0} {:>7.3} {:>7.3} {:>16} {:>11.1} {:>9} {:>8} {:>14}",
        row.kind.name(),
        row.goodput[1],
        row.ratio(),
        row.full_ratio(),
        format!("{} → {}", millis(row.p99[0]), millis(row.p99[1])),
        row.memory_kib[2] as f64 / 1_024.0,
        row.bytes_each().map_or_else(String::new, |bytes| format!("{bytes} B")),
        row.closed,
        lived.unwrap_or_default(),
    );
}

/// The line under the rows.
pub(crate) fn print_end(rows: &[Row], skipped: usize) {
    let worst = |ratio: fn(&Row) -> f64| rows.iter().map(ratio).fold(f64::INFINITY, f64::min);
    println!(
        "{} held, {skipped} skipped; worst ratio {:.3}, at full load {:.3}",
        rows.len(),
        worst(Row::ratio),
        worst(Row::full_ratio)
    );
}
