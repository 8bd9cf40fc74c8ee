//! The engine's own state machine against the books: the log is replayed once more, by the code that
//! sold, and must come to the same numbers.
//!
//! A replay holds the engine's whole state of a partition, as the engine does: about 170 bytes for
//! each order that it has not let go of. So it is left out of a partition with more orders than the
//! caller allows, and the report says so. It is left out, too, when the books found a contradiction:
//! a state machine stops at the first one, and the books have said more.

use super::findings::{Check, Divergence};
use super::ledger::Books;
use super::log_failure;
use super::report::{End, Report};
use crate::exit::Failure;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::log::inspect::{Inspector, LoggedEvent, Visitor};
use doorbuster_engine::state_machine::State;
use doorbuster_loadgen::units::number as grouped;
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{PartitionId, Sequence};

/// Bytes of an order in a snapshot, about.
const SNAPSHOT_ORDER_BYTES: u64 = 104;

/// Replays each partition, compares, and notes how the logs end.
pub(super) fn compare(
    directory: &DataDirectory,
    books: &[Books],
    orders: &[u64],
    orders_max: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    if report.findings.doubt_the_log() {
        let text = "the log contradicts itself: the state machine did not replay it";
        report.notes.push(text.to_owned());
    }
    for (books, orders) in books.iter().zip(orders) {
        let partition = books.partition;
        let inspector = Inspector::new(directory, partition);
        let failure = |error| log_failure(partition, &error);
        let snapshots = inspector.snapshots().map_err(failure)?;
        let largest = snapshots.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let in_memory = (*orders).max(largest / SNAPSHOT_ORDER_BYTES);
        let mut end = End { partition, last: books.last, digest: None };
        if in_memory > orders_max {
            report.notes.push(format!(
                "partition {partition} has {} orders: the state machine did not replay it, nor were \
                 its snapshots read; allow it with --state-orders-max {in_memory}",
                grouped(in_memory)
            ));
        } else if !report.findings.doubt_the_log() {
            let mut replay = Replay { until: books.last, products: None };
            let (_, log) = inspector.replay(&mut replay).map_err(failure)?;
            (end.last, end.digest) = (log.last, Some(log.digest));
            compare_partition(books, replay.products, report);
        }
        report.totals.ends.push(end);
    }
    Ok(())
}

/// Takes the products as they were after one event.
struct Replay {
    until: Sequence,
    products: Option<Vec<ProductView>>,
}

impl Replay {
    fn look(&mut self, state: &State) {
        if state.sequence() == self.until {
            self.products = Some(state.products().collect());
        }
    }
}

impl Visitor for Replay {
    fn begin(&mut self, base: &State) {
        self.products = None;
        self.look(base);
    }
    fn event(&mut self, _event: &LoggedEvent, state: &State) {
        self.look(state);
    }
}

fn compare_partition(books: &Books, products: Option<Vec<ProductView>>, report: &mut Report) {
    let partition = books.partition;
    let Some(products) = products else {
        report.notes.push(format!(
            "partition {partition} let go of events while it was read: the state machine was not \
             compared with the books"
        ));
        return;
    };
    report.findings.looked(Check::StateMachine, products.len() as u64);
    let mut found = Vec::new();
    for view in &products {
        let counted = [view.stock, view.available, view.held, view.sold, view.waitlist_length];
        let booked = books.accounts.get(&view.product).map(|account| {
            let stock = i64::from(account.terms.stock);
            [stock, account.available, account.held, account.sold, i64::from(account.queued)]
        });
        if booked != Some(counted.map(i64::from)) {
            found.push(format!(
                "product {}: stock, available, held, sold, waiting are {counted:?} in the state \
                 machine and {booked:?} in the books",
                view.product
            ));
        }
    }
    if products.len() != books.accounts.len() {
        found.push(format!("{} products, {} in the books", products.len(), books.accounts.len()));
    }
    for text in found {
        add(report, partition, books.last, text);
    }
}

fn add(report: &mut Report, partition: PartitionId, last: Sequence, text: String) {
    report.findings.add(Divergence::in_log(Check::StateMachine, partition, last, text));
}
