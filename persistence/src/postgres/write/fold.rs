//! A batch's changes, folded: what becomes of one order within the batch is one staged row.
//!
//! Orders do not depend on each other, nor on products, so that each can be taken by itself as long
//! as its own changes stay in the order of their events. What cannot stand, as far as memory tells,
//! is left to the exact way, which knows what is stored: an impossible move may be no more than one
//! that is there already.

use crate::postgres::types::Time;
use crate::rows::OrderRow;
use crate::store::{Batch, Change, RowChange, statuses_before};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{BuyerId, OrderId, Sequence, Timestamp};
use std::collections::{HashMap, HashSet};

/// Ends a chain of changes.
const NONE: u32 = u32::MAX;

/// A batch, order by order.
pub(super) struct Folded<'a> {
    changes: &'a [Change],
    /// For each change the next one of the same order.
    next: Vec<u32>,
    /// In the order of their first changes.
    pub(super) orders: Vec<Fold<'a>>,
    /// Changes of products, in the order of their events.
    pub(super) products: Vec<&'a Change>,
    /// What nothing can write.
    pub(super) unreadable: Vec<(&'a Change, &'a str)>,
}

/// What becomes of one order.
pub(super) struct Fold<'a> {
    pub(super) order: OrderId,
    /// The order as it was made, when this batch makes it.
    pub(super) created: Option<&'a OrderRow>,
    /// Whether it is made here, and no staged order before it is of the same buyer.
    pub(super) is_first_of_buyer: bool,
    /// Its status in the end.
    pub(super) status: OrderStatus,
    /// Statuses of the stored row from which the first move leads on; none for an order made here.
    pub(super) before: &'static [OrderStatus],
    pub(super) updated_at: Timestamp,
    /// None keeps what is there.
    pub(super) expires_at: Timestamp,
    /// The first event.
    pub(super) first: Sequence,
    /// The last event.
    pub(super) version: Sequence,
    /// Whether it must go the exact way.
    pub(super) is_exact: bool,
    /// How many changes it holds.
    pub(super) len: u32,
    head: u32,
    tail: u32,
}

impl<'a> Folded<'a> {
    pub(super) fn new(batch: &'a Batch) -> Self {
        let changes = &batch.changes[..];
        let mut folded = Self {
            changes,
            next: vec![NONE; changes.len()],
            orders: Vec::with_capacity(changes.len()),
            products: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut places: HashMap<OrderId, usize> = HashMap::with_capacity(changes.len());
        for (index, change) in (0_u32..).zip(changes) {
            let order = match &change.row {
                RowChange::OrderCreated(row) => row.order,
                RowChange::OrderMoved { order, .. } => *order,
                RowChange::ProductDefined { .. }
                | RowChange::StockMoved { .. }
                | RowChange::StateSet { .. } => {
                    folded.products.push(change);
                    continue;
                }
                RowChange::Unreadable { reason, .. } => {
                    folded.unreadable.push((change, reason));
                    continue;
                }
            };
            match places.get(&order) {
                Some(place) => folded.add(*place, index),
                None => {
                    places.insert(order, folded.orders.len());
                    folded.orders.push(begin(index, change, order));
                }
            }
        }
        // Those that go the exact way bring their buyers themselves.
        let mut buyers: HashSet<BuyerId> = HashSet::with_capacity(folded.orders.len());
        for fold in folded.orders.iter_mut().filter(|fold| !fold.is_exact) {
            fold.is_first_of_buyer = fold.created.is_some_and(|row| buyers.insert(row.buyer));
        }
        folded
    }

    /// The changes of an order, in the order of their events.
    pub(super) fn changes_of(&self, fold: &Fold<'_>) -> impl Iterator<Item = &'a Change> + '_ {
        let mut at = fold.head;
        std::iter::from_fn(move || {
            let change = self.changes.get(at as usize)?;
            at = self.next[at as usize];
            Some(change)
        })
    }

    fn add(&mut self, place: usize, index: u32) {
        let change = &self.changes[index as usize];
        let fold = &mut self.orders[place];
        self.next[fold.tail as usize] = index;
        fold.tail = index;
        fold.len += 1;
        let RowChange::OrderMoved { status, expires_at, .. } = &change.row else {
            fold.is_exact = true;
            return;
        };
        let follows = statuses_before(*status).contains(&fold.status)
            && change.sequence > fold.version
            && fits(change, *expires_at);
        if !follows {
            fold.is_exact = true;
            return;
        }
        fold.status = *status;
        fold.updated_at = change.at;
        fold.expires_at = expires_at.some().unwrap_or(fold.expires_at);
        fold.version = change.sequence;
    }
}

fn begin(index: u32, change: &Change, order: OrderId) -> Fold<'_> {
    let mut fold = Fold {
        order,
        created: None,
        is_first_of_buyer: false,
        status: OrderStatus::Queued,
        before: &[],
        updated_at: change.at,
        expires_at: Timestamp::NONE,
        first: change.sequence,
        version: change.sequence,
        is_exact: false,
        len: 1,
        head: index,
        tail: index,
    };
    match &change.row {
        RowChange::OrderCreated(row) => {
            fold.status = row.status;
            fold.updated_at = row.updated_at;
            fold.expires_at = row.expires_at;
            fold.is_exact = !(fits(change, row.expires_at) && row_fits(row));
            fold.created = Some(row);
        }
        RowChange::OrderMoved { status, expires_at, .. } => {
            fold.status = *status;
            fold.before = statuses_before(*status);
            fold.expires_at = *expires_at;
            fold.is_exact = fold.before.is_empty() || !fits(change, *expires_at);
        }
        RowChange::ProductDefined { .. }
        | RowChange::StockMoved { .. }
        | RowChange::StateSet { .. }
        | RowChange::Unreadable { .. } => unreachable!("it is no change of an order"),
    }
    fold
}

/// Whether what every change of an order has fits into the columns.
fn fits(change: &Change, expires_at: Timestamp) -> bool {
    i64::try_from(change.sequence.get()).is_ok()
        && Time::new(change.at).is_some()
        && Time::new(expires_at).is_some()
}

fn row_fits(row: &OrderRow) -> bool {
    i64::try_from(row.total_amount).is_ok()
        && Time::new(row.created_at).is_some()
        && Time::new(row.updated_at).is_some()
        && i16::try_from(row.items.len()).is_ok()
        && row.items.iter().all(|item| i64::try_from(item.unit_price).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buckets::BucketSet;
    use crate::conformance::{History, batches};
    use crate::store::Change;
    use doorbuster_protocol::PartitionId;

    fn order(number: u8) -> OrderId {
        OrderId::from_bytes([number; 16])
    }

    fn moved(sequence: u64, number: u8, status: OrderStatus, expires: u64) -> Change {
        let expires_at = Timestamp::from_micros(expires);
        Change {
            partition: PartitionId::new(0).expect("in range"),
            sequence: Sequence::new(sequence),
            line: 0,
            at: Timestamp::from_micros(sequence),
            row: RowChange::OrderMoved { order: order(number), status, expires_at },
        }
    }

    #[test]
    fn moves_that_follow_each_other_are_one_row() {
        use OrderStatus::{Cancelled, Paid, Pending, Shipped};
        fn check(what: &str, changes: Vec<Change>, folded: &[(OrderStatus, u64, u64, bool)]) {
            let batch = Batch { changes, ..Batch::new(BucketSet::ALL) };
            let folds = Folded::new(&batch);
            let seen: Vec<_> = folds
                .orders
                .iter()
                .map(|fold| {
                    (fold.status, fold.version.get(), fold.expires_at.micros(), fold.is_exact)
                })
                .collect();
            assert_eq!(seen, folded, "{what}");
            let all: u32 = folds.orders.iter().map(|fold| fold.len).sum();
            assert_eq!(all as usize, batch.changes.len(), "{what}");
        }
        let m = moved;
        check("one", vec![m(5, 1, Paid, 0)], &[(Paid, 5, 0, false)]);
        check(
            "two orders between each other",
            vec![m(1, 1, Pending, 9), m(2, 2, Paid, 0), m(3, 1, Paid, 0), m(4, 1, Shipped, 0)],
            &[(Shipped, 4, 9, false), (Paid, 2, 0, false)],
        );
        check("impossible", vec![m(1, 1, Paid, 0), m(2, 1, Cancelled, 0)], &[(Paid, 1, 0, true)]);
        check(
            "no event does that",
            vec![m(1, 1, OrderStatus::Queued, 0)],
            &[(OrderStatus::Queued, 1, 0, true)],
        );
        check(
            "one event twice",
            vec![m(1, 1, Pending, 0), m(1, 1, Paid, 0)],
            &[(Pending, 1, 0, true)],
        );
        check("no such time", vec![m(1, 1, Paid, u64::MAX)], &[(Paid, 1, u64::MAX, true)]);
    }

    #[test]
    fn a_history_folds_into_fewer_rows_and_loses_no_change() {
        let seed = 7;
        let mut history = History::new(seed, 2);
        let steps: Vec<_> = (0..2_000).map(|_| history.step()).collect();
        for batch in batches(&steps, &mut fastrand::Rng::with_seed(seed), 500) {
            let folded = Folded::new(&batch);
            let mut count = folded.products.len() + folded.unreadable.len();
            for fold in &folded.orders {
                let sequences: Vec<_> =
                    folded.changes_of(fold).map(|change| change.sequence).collect();
                assert!(sequences.is_sorted(), "seed {seed}");
                assert_eq!(sequences.len(), fold.len as usize);
                assert!(!fold.is_exact, "a history is sound, seed {seed}");
                count += sequences.len();
            }
            assert_eq!(count, batch.changes.len());
        }
    }
}
