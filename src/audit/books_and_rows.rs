//! Compares one partition's books with its rows in the store, both ways.
//!
//! A live store moves while it is read. So its checkpoint is read before and after its rows, and a
//! row must stand as the log had it at some event in between. The log is read last: it has
//! everything that the store can have.

use super::account::Entry;
use super::findings::{Check, Divergence};
use super::ledger::Ledger;
use doorbuster_persistence::store::PAGE_ROWS_MAX;
use doorbuster_persistence::{OrderItem, OrderRow, ProductRow, Store, StoreError};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence, Timestamp};
use std::collections::HashMap;

/// The rows of one partition.
#[derive(Debug)]
pub(super) struct Rows {
    /// The checkpoint before they were read.
    pub(super) before: Sequence,
    /// The checkpoint after they were read.
    pub(super) after: Sequence,
    /// The orders.
    pub(super) orders: HashMap<OrderId, OrderRow>,
}

impl Rows {
    /// Reads them.
    pub(super) async fn read(
        store: &dyn Store,
        partition: PartitionId,
    ) -> Result<Self, StoreError> {
        let before = checkpoint(store, partition).await?;
        let mut orders = HashMap::new();
        let mut after_id = None;
        loop {
            let page = store.scan_orders(Some(partition), after_id, PAGE_ROWS_MAX).await?;
            let Some(last) = page.last() else { break };
            after_id = Some(last.order);
            orders.extend(page.into_iter().map(|row| (row.order, row)));
        }
        let after = checkpoint(store, partition).await?;
        Ok(Self { before, after, orders })
    }

    /// Whether the store stood still while it was read.
    pub(super) fn are_still(&self) -> bool {
        self.before == self.after
    }
}

async fn checkpoint(store: &dyn Store, partition: PartitionId) -> Result<Sequence, StoreError> {
    let checkpoints = store.checkpoints().await?;
    checkpoints
        .iter()
        .find(|checkpoint| checkpoint.partition == partition)
        .map(|checkpoint| checkpoint.sequence)
        .ok_or(StoreError::NoCheckpoint { partition })
}

/// The products as the log had them at some event.
pub(super) type ProductTerms = HashMap<ProductId, (Terms, SaleState)>;

/// Notes in the ledger's findings whatever differs.
pub(super) fn compare(ledger: &mut Ledger, partition: PartitionId, rows: &Rows) {
    let mut found = Vec::new();
    let mut report = |check, sequence, text| {
        found.push(Divergence { check, partition, sequence, text });
    };
    if rows.after > ledger.last() {
        let text = format!(
            "the store is at event {}, the log ends at {}: it was filled from another log, or the \
             log lost its end",
            rows.after,
            ledger.last()
        );
        report(Check::Checkpoints, None, text);
    }
    for (order, entry) in &ledger.orders {
        match rows.orders.get(order) {
            None if entry.created <= rows.before => {
                let text = format!("order {order} is not in the store");
                report(Check::StoreOrders, Some(entry.created), text);
            }
            None => {}
            Some(_) if entry.created > rows.after => {
                let text = format!("order {order} is in the store before its checkpoint");
                report(Check::StoreOrders, Some(entry.created), text);
            }
            Some(row) => {
                for text in differences(entry, row, rows) {
                    report(
                        Check::StoreOrders,
                        Some(entry.created),
                        format!("order {order}: {text}"),
                    );
                }
            }
        }
    }
    for order in rows.orders.keys() {
        let is_older_than_the_log = order.sequence_bits() < ledger.first().get();
        if !ledger.orders.contains_key(order) && !is_older_than_the_log {
            report(Check::StoreOrders, None, format!("order {order} is in the store only"));
        }
    }
    ledger.findings.looked(Check::StoreOrders, rows.orders.len() as u64);
    ledger.findings.looked(Check::Checkpoints, 1);
    found.into_iter().for_each(|divergence| ledger.findings.add(divergence));
}

fn differences(entry: &Entry, row: &OrderRow, rows: &Rows) -> Vec<String> {
    let item = OrderItem {
        product: entry.product,
        quantity: entry.quantity,
        unit_price: entry.unit_price,
    };
    let total = entry.unit_price * u64::from(entry.quantity.get());
    let mut found = Vec::new();
    let mut differs = |is_same: bool, field: &str| {
        if !is_same {
            found.push(format!("its {field} in the store is not the log's"));
        }
    };
    differs(row.buyer == entry.buyer, "buyer");
    differs(row.items == [item], "items");
    differs(row.total_amount == total, "total");
    differs(row.currency == entry.currency, "currency");
    differs(row.created_at == entry.created_at, "time of creation");
    if rows.are_still() {
        let has_hold = entry.held != Sequence::ZERO && entry.held <= rows.after;
        let expires_at = if has_hold { entry.expires_at } else { Timestamp::NONE };
        differs(row.expires_at == expires_at, "time of expiry");
    }
    if !may_have(entry, row.status, rows) {
        found.push(format!(
            "it is {} in the store and {} in the log",
            row.status.as_str(),
            entry.status_after(rows.after).as_str()
        ));
    }
    found
}

/// Whether the log had the status at some event between the two checkpoints. What comes after
/// `paid` belongs to the store.
fn may_have(entry: &Entry, status: OrderStatus, rows: &Rows) -> bool {
    let status = match status {
        OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Refunded => OrderStatus::Paid,
        other => other,
    };
    let since = rows.before.max(entry.created);
    [since, entry.held, entry.ended.0, rows.after]
        .into_iter()
        .filter(|event| (since..=rows.after).contains(event))
        .any(|event| entry.status_after(event) == status)
}

/// Compares the products of all partitions; the rows were read while the store stood still.
pub(super) fn compare_products(
    products: &ProductTerms,
    rows: &[ProductRow],
    partition_of: impl Fn(ProductId) -> PartitionId,
) -> Vec<Divergence> {
    let mut found = Vec::new();
    let mut report = |product, text: &str| {
        found.push(Divergence {
            check: Check::StoreProducts,
            partition: partition_of(product),
            sequence: None,
            text: format!("product {product} {text}"),
        });
    };
    let mut left: HashMap<_, _> = products.iter().collect();
    for row in rows {
        let Some((terms, state)) = left.remove(&row.product) else {
            report(row.product, "is in the store only");
            continue;
        };
        let stored = Terms {
            price: row.price,
            currency: row.currency,
            stock: row.stock,
            opens_at: row.opens_at,
            closes_at: row.closes_at,
            limit_per_buyer: row.limit_per_buyer,
            hold_seconds: row.hold_seconds,
            waitlist_capacity: row.waitlist_capacity,
        };
        if (stored, row.state) != (*terms, *state) {
            report(row.product, "has other terms in the store than in the log");
        }
    }
    left.into_keys().for_each(|product| report(*product, "is not in the store"));
    found
}
