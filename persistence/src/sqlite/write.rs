//! Everything that changes the file: the claim, the batches, the catalog.
//!
//! A batch is one transaction: first the checkpoints move, each only from where the batch expects
//! it, then the rows. A change that breaks a rule of the tables or of the order's life becomes a
//! dead letter there and then; any other error takes the whole transaction back.

use crate::error::StoreError;
use crate::rows::{CatalogEntry, OrderRow};
use crate::sqlite::{failure, read};
use crate::store::{Advance, Batch, Change, RowChange, StoreIdentity, Written, statuses_before};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Epoch, OrderId, ProductId, Timestamp};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

/// Bytes of a dead letter's description that are kept.
const DESCRIPTION_BYTES_MAX: usize = 4_096;

/// Why one change cannot stand, or why nothing can.
enum Refusal {
    /// The change breaks a rule: it becomes a dead letter.
    Poison(String),
    /// The store failed: the transaction goes back.
    Failed(StoreError),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                Self::Poison(error.to_string())
            }
            _ => Self::Failed(failure(error)),
        }
    }
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    // Immediate: a writer that waits does so here, where the busy timeout applies, and holds
    // nothing.
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)
}

/// Binds the file to a data directory, or checks that it is bound to this one.
pub(super) fn claim(
    connection: &mut Connection,
    identity: StoreIdentity,
) -> Result<(), StoreError> {
    let transaction = begin(connection)?;
    if let Some(stored) = read::identity(&transaction)? {
        if stored == identity {
            return Ok(());
        }
        return Err(StoreError::Foreign { stored: name(stored), given: name(identity) });
    }
    transaction
        .execute(
            "INSERT INTO store (only, directory, partitions) VALUES (1, ?1, ?2)",
            params![format!("{:016x}", identity.directory), identity.partitions.get()],
        )
        .map_err(failure)?;
    for partition in identity.partitions.all() {
        transaction
            .prepare_cached(
                "INSERT INTO checkpoints (partition, epoch, sequence) VALUES (?1, ?2, 0)",
            )
            .and_then(|mut insert| insert.execute(params![partition.get(), Epoch::FIRST.get()]))
            .map_err(failure)?;
    }
    transaction.commit().map_err(failure)
}

fn name(identity: StoreIdentity) -> String {
    format!("{:016x} with {} partitions", identity.directory, identity.partitions.get())
}

/// Sets the columns of the catalog and no others.
pub(super) fn put_catalog(
    connection: &mut Connection,
    entry: &CatalogEntry,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO products (id, name, description) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET
                 name = coalesce(excluded.name, name),
                 description = coalesce(excluded.description, description)",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![entry.product.as_bytes(), entry.name, entry.description])
        })
        .map(|_| ())
        .map_err(failure)
}

/// Writes a batch: all of it, or nothing and an error.
pub(super) fn batch(connection: &mut Connection, batch: &Batch) -> Result<Written, StoreError> {
    let transaction = begin(connection)?;
    for advance in &batch.advances {
        move_checkpoint(&transaction, advance)?;
    }
    let mut written = Written::default();
    for change in &batch.changes {
        match write_change(&transaction, change) {
            Ok(()) => written.rows += 1,
            Err(Refusal::Poison(reason)) => {
                bury(&transaction, change, &reason)?;
                written.dead_letters += 1;
            }
            Err(Refusal::Failed(error)) => return Err(error),
        }
    }
    transaction.commit().map_err(failure)?;
    Ok(written)
}

fn move_checkpoint(transaction: &Transaction<'_>, advance: &Advance) -> Result<(), StoreError> {
    assert!(advance.after < advance.through, "a range holds at least one event");
    let moved = transaction
        .prepare_cached(
            "UPDATE checkpoints SET sequence = ?1, epoch = ?2
             WHERE partition = ?3 AND sequence = ?4 AND epoch <= ?2",
        )
        .and_then(|mut update| {
            update.execute(params![
                advance.through.get() as i64,
                advance.epoch.get(),
                advance.partition.get(),
                advance.after.get() as i64,
            ])
        })
        .map_err(failure)?;
    if moved == 1 {
        return Ok(());
    }
    let partition = advance.partition;
    let stored = read::checkpoints(transaction)?
        .into_iter()
        .find(|checkpoint| checkpoint.partition == partition)
        .ok_or(StoreError::NoCheckpoint { partition })?;
    if stored.epoch > advance.epoch {
        return Err(StoreError::Fenced { partition, stored: stored.epoch, given: advance.epoch });
    }
    Err(StoreError::OutOfStep { partition, stored: stored.sequence, after: advance.after })
}

fn write_change(transaction: &Transaction<'_>, change: &Change) -> Result<(), Refusal> {
    let at = time(change.at)?;
    match &change.row {
        RowChange::OrderCreated(order) => insert_order(transaction, order),
        RowChange::OrderMoved { order, status, expires_at } => {
            move_order(transaction, *order, *status, *expires_at, at)
        }
        RowChange::ProductDefined { product, terms } => {
            define_product(transaction, *product, terms, at)
        }
        RowChange::StockMoved { product, units } => change_product(
            transaction,
            "UPDATE products SET stock = stock + ?2, updated_at = ?3
             WHERE id = ?1 AND created_at IS NOT NULL",
            params![product.as_bytes(), units, at],
        ),
        RowChange::StateSet { product, state } => change_product(
            transaction,
            "UPDATE products SET state = ?2, updated_at = ?3
             WHERE id = ?1 AND created_at IS NOT NULL",
            params![product.as_bytes(), state_word(*state), at],
        ),
        RowChange::Unreadable { reason, .. } => Err(Refusal::Poison(reason.clone())),
    }
}

fn insert_order(transaction: &Transaction<'_>, order: &OrderRow) -> Result<(), Refusal> {
    transaction
        .prepare_cached(
            "INSERT INTO orders (id, user_id, total_amount, currency, status, created_at,
                 updated_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            order.order.as_bytes(),
            order.buyer.as_bytes(),
            amount(order.total_amount)?,
            order.currency.as_str(),
            order.status.as_str(),
            time(order.created_at)?,
            time(order.updated_at)?,
            optional_time(order.expires_at)?,
        ])?;
    let items = insert_items(transaction, order);
    if matches!(items, Err(Refusal::Poison(_))) {
        // The order is either there with all its items or a dead letter.
        for sql in
            ["DELETE FROM order_items WHERE order_id = ?1", "DELETE FROM orders WHERE id = ?1"]
        {
            transaction.prepare_cached(sql)?.execute(params![order.order.as_bytes()])?;
        }
    }
    items
}

fn insert_items(transaction: &Transaction<'_>, order: &OrderRow) -> Result<(), Refusal> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (line, item) in (0_u32..).zip(&order.items) {
        insert.execute(params![
            order.order.as_bytes(),
            line,
            item.product.as_bytes(),
            item.quantity.get(),
            amount(item.unit_price)?,
        ])?;
    }
    Ok(())
}

fn move_order(
    transaction: &Transaction<'_>,
    order: OrderId,
    status: OrderStatus,
    expires_at: Timestamp,
    at: i64,
) -> Result<(), Refusal> {
    // At most two statuses lead anywhere; the second parameter repeats the first when there is one.
    let before = statuses_before(status);
    let (Some(first), Some(last)) = (before.first(), before.last()) else {
        return Err(Refusal::Poison(format!("no event makes an order {}", status.as_str())));
    };
    let moved = transaction
        .prepare_cached(
            "UPDATE orders SET status = ?2, updated_at = ?3, expires_at = coalesce(?4, expires_at)
             WHERE id = ?1 AND status IN (?5, ?6)",
        )?
        .execute(params![
            order.as_bytes(),
            status.as_str(),
            at,
            optional_time(expires_at)?,
            first.as_str(),
            last.as_str(),
        ])?;
    if moved == 1 {
        return Ok(());
    }
    let reason = match read::order(transaction, order).map_err(Refusal::Failed)? {
        Some(row) => format!("a {} order cannot become {}", row.status.as_str(), status.as_str()),
        None => "there is no such order".into(),
    };
    Err(Refusal::Poison(reason))
}

fn define_product(
    transaction: &Transaction<'_>,
    product: ProductId,
    terms: &Terms,
    at: i64,
) -> Result<(), Refusal> {
    transaction
        .prepare_cached(
            "INSERT INTO products (id, price, currency, stock, state, opens_at, closes_at,
                 limit_per_user, hold_seconds, waitlist_capacity, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 'open', ?5, ?6, ?7, ?8, ?9, ?10, ?10)
             ON CONFLICT (id) DO UPDATE SET
                 price = excluded.price,
                 currency = excluded.currency,
                 stock = excluded.stock,
                 state = coalesce(state, excluded.state),
                 opens_at = excluded.opens_at,
                 closes_at = excluded.closes_at,
                 limit_per_user = excluded.limit_per_user,
                 hold_seconds = excluded.hold_seconds,
                 waitlist_capacity = excluded.waitlist_capacity,
                 created_at = coalesce(created_at, excluded.created_at),
                 updated_at = excluded.updated_at",
        )?
        .execute(params![
            product.as_bytes(),
            amount(terms.price)?,
            terms.currency.as_str(),
            terms.stock,
            optional_time(terms.opens_at)?,
            optional_time(terms.closes_at)?,
            terms.limit_per_buyer,
            terms.hold_seconds,
            terms.waitlist_capacity,
            at,
        ])?;
    Ok(())
}

fn change_product(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<(), Refusal> {
    match transaction.prepare_cached(sql)?.execute(values)? {
        1 => Ok(()),
        _ => Err(Refusal::Poison("there is no such product".into())),
    }
}

/// Writes a dead letter. One that cannot be written either takes the batch back.
fn bury(transaction: &Transaction<'_>, change: &Change, reason: &str) -> Result<(), StoreError> {
    let event = match &change.row {
        RowChange::Unreadable { bytes, .. } => Some(bytes.as_slice()),
        _ => None,
    };
    let mut description = match event {
        Some(bytes) => format!("an event of {} bytes", bytes.len()),
        None => format!("{:?}", change.row),
    };
    description.truncate(description.floor_char_boundary(DESCRIPTION_BYTES_MAX));
    transaction
        .prepare_cached(
            "INSERT INTO dead_letters (partition, sequence, line, at, reason, change, event)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                change.partition.get(),
                change.sequence.get() as i64,
                change.line,
                // A time out of range may be the very reason.
                i64::try_from(change.at.micros()).unwrap_or(i64::MAX),
                reason,
                description,
                event,
            ])
        })
        .map(|_| ())
        .map_err(failure)
}

/// The word of a state in the tables.
pub(super) const fn state_word(state: SaleState) -> &'static str {
    match state {
        SaleState::Open => "open",
        SaleState::Paused => "paused",
    }
}

fn amount(minor_units: u64) -> Result<i64, Refusal> {
    i64::try_from(minor_units).map_err(|_| Refusal::Poison("an amount is out of range".into()))
}

fn time(at: Timestamp) -> Result<i64, Refusal> {
    i64::try_from(at.micros()).map_err(|_| Refusal::Poison("a time is out of range".into()))
}

fn optional_time(at: Timestamp) -> Result<Option<i64>, Refusal> {
    at.some().map(time).transpose()
}
