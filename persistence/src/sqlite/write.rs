//! Everything that changes the file: the claim, the batches, the catalog.
//!
//! A batch is one transaction: first the checkpoints move, each only from where the batch expects
//! it, then the rows. A change that is not newer than its row is skipped; one that breaks a rule of
//! the tables or of the order's life becomes a dead letter there and then; any other error takes the
//! whole transaction back.
//!
//! No event changes one row twice, so that the event is version enough.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::rows::{CatalogEntry, OrderRow};
use crate::sqlite::runs::LastRun;
use crate::sqlite::{failure, read, shard};
use crate::store::{Advance, Batch, Change, RowChange, StoreIdentity, Written, statuses_before};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Epoch, OrderId, ProductId, Sequence, Timestamp};
use rusqlite::{CachedStatement, Connection, ErrorCode, Transaction, TransactionBehavior, params};

/// Bytes of a dead letter's description that are kept.
const DESCRIPTION_BYTES_MAX: usize = 4_096;

/// What became of a change that can stand.
enum Effect {
    /// The row is as the change wants it.
    Written,
    /// The row is as an event from then or later wanted it.
    Skipped,
}

/// Why one change cannot stand, or why nothing can.
pub(super) enum Refusal {
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

pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
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
pub(super) fn batch(
    connection: &mut Connection,
    batch: &Batch,
    run_orders: u32,
) -> Result<Written, StoreError> {
    let transaction = begin(connection)?;
    for advance in &batch.advances {
        move_checkpoint(&transaction, advance)?;
    }
    if batch.buckets != BucketSet::ALL {
        let owned = Box::new(BucketSet::ALL);
        return Err(StoreError::Moved { shard: shard::NAME.into(), owned });
    }
    let mut written = Written::default();
    let mut inserts = OrderInserts::prepare(&transaction, run_orders).map_err(failure)?;
    for change in &batch.changes {
        match write_change(&transaction, &mut inserts, change) {
            Ok(Effect::Written) => written.rows += 1,
            Ok(Effect::Skipped) => {}
            Err(Refusal::Poison(reason)) => {
                bury(&transaction, change, &reason)?;
                written.dead_letters += 1;
            }
            Err(Refusal::Failed(error)) => return Err(error),
        }
    }
    inserts.finish(&transaction).map_err(failure)?;
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

fn write_change(
    transaction: &Transaction<'_>,
    inserts: &mut OrderInserts<'_>,
    change: &Change,
) -> Result<Effect, Refusal> {
    let at = time(change.at)?;
    let version = change.sequence.get() as i64;
    match &change.row {
        RowChange::OrderCreated(order) => {
            create_order(transaction, inserts, order, change.sequence)
        }
        RowChange::OrderMoved { order, status, expires_at } => {
            move_order(transaction, *order, *status, *expires_at, change)
        }
        RowChange::ProductDefined { product, terms } => {
            define_product(transaction, *product, terms, at, version)
        }
        RowChange::StockMoved { product, units } => change_product(
            transaction,
            "UPDATE products SET stock = stock + ?2, updated_at = ?3, version = ?4
             WHERE id = ?1 AND created_at IS NOT NULL AND version < ?4",
            *product,
            params![product.as_bytes(), units, at, version],
        ),
        RowChange::StateSet { product, state } => change_product(
            transaction,
            "UPDATE products SET state = ?2, updated_at = ?3, version = ?4
             WHERE id = ?1 AND created_at IS NOT NULL AND version < ?4",
            *product,
            params![product.as_bytes(), state_word(*state), at, version],
        ),
        RowChange::Unreadable { reason, .. } => Err(Refusal::Poison(reason.clone())),
    }
}

fn create_order(
    transaction: &Transaction<'_>,
    inserts: &mut OrderInserts<'_>,
    order: &OrderRow,
    event: Sequence,
) -> Result<Effect, Refusal> {
    match inserts.insert(order, event) {
        Ok(true) => Ok(Effect::Written),
        Ok(false) => {
            let version: i64 = transaction
                .prepare_cached("SELECT version FROM orders WHERE id = ?1")?
                .query_row(params![order.order.as_bytes()], |row| row.get(0))?;
            match version >= event.get() as i64 {
                true => Ok(Effect::Skipped),
                false => Err(Refusal::Poison("another event made this order".into())),
            }
        }
        Err(Refusal::Poison(reason)) => {
            // The order is either there with all its items or a dead letter.
            delete_order(transaction, order.order)?;
            Err(Refusal::Poison(reason))
        }
        Err(failed) => Err(failed),
    }
}

/// The statements that make orders. Nearly every row comes through them, and finding a statement
/// among those that are prepared takes as long as a part of running it: a batch does it once.
pub(super) struct OrderInserts<'a> {
    order: CachedStatement<'a>,
    item: CachedStatement<'a>,
    run: LastRun,
}

impl<'a> OrderInserts<'a> {
    pub(super) fn prepare(connection: &'a Connection, run_orders: u32) -> rusqlite::Result<Self> {
        Ok(Self {
            run: LastRun::of(connection, run_orders)?,
            order: connection.prepare_cached(
                "INSERT INTO orders (id, user_id, total_amount, currency, status, created_at,
                     updated_at, expires_at, version, run)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO NOTHING",
            )?,
            item: connection.prepare_cached(
                "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
        })
    }

    /// Makes an order with its items, as of an event. `false`: there is one with this id.
    pub(super) fn insert(&mut self, order: &OrderRow, version: Sequence) -> Result<bool, Refusal> {
        let created_at = time(order.created_at)?;
        let inserted = self.order.execute(params![
            order.order.as_bytes(),
            order.buyer.as_bytes(),
            amount(order.total_amount)?,
            order.currency.as_str(),
            order.status.as_str(),
            created_at,
            time(order.updated_at)?,
            optional_time(order.expires_at)?,
            version.get() as i64,
            self.run.number,
        ])?;
        if inserted == 0 {
            return Ok(false);
        }
        self.run.add(created_at);
        for (line, item) in (0_u32..).zip(&order.items) {
            self.item.execute(params![
                order.order.as_bytes(),
                line,
                item.product.as_bytes(),
                item.quantity.get(),
                amount(item.unit_price)?,
            ])?;
        }
        Ok(true)
    }

    /// To be called when all are made: notes what the run has now.
    pub(super) fn finish(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.run.save(transaction)
    }
}

/// Takes an order and its items away, if it is there.
pub(super) fn delete_order(transaction: &Transaction<'_>, order: OrderId) -> Result<(), Refusal> {
    for sql in ["DELETE FROM order_items WHERE order_id = ?1", "DELETE FROM orders WHERE id = ?1"] {
        transaction.prepare_cached(sql)?.execute(params![order.as_bytes()])?;
    }
    Ok(())
}

fn move_order(
    transaction: &Transaction<'_>,
    order: OrderId,
    status: OrderStatus,
    expires_at: Timestamp,
    change: &Change,
) -> Result<Effect, Refusal> {
    // At most three statuses lead anywhere; the last is repeated when there are fewer.
    let before = statuses_before(status);
    assert!(before.len() <= 3, "the statement has room for three statuses");
    let Some(last) = before.last() else {
        return Err(Refusal::Poison(format!("no event makes an order {}", status.as_str())));
    };
    let before = |index: usize| before.get(index).unwrap_or(last).as_str();
    let moved = transaction
        .prepare_cached(
            "UPDATE orders SET status = ?2, updated_at = ?3, expires_at = coalesce(?4, expires_at),
                 version = ?5
             WHERE id = ?1 AND version < ?5 AND status IN (?6, ?7, ?8)",
        )?
        .execute(params![
            order.as_bytes(),
            status.as_str(),
            time(change.at)?,
            optional_time(expires_at)?,
            change.sequence.get() as i64,
            before(0),
            before(1),
            before(2),
        ])?;
    if moved == 1 {
        return Ok(Effect::Written);
    }
    let reason = match read::order(transaction, order).map_err(Refusal::Failed)? {
        Some(row) if row.version >= change.sequence => return Ok(Effect::Skipped),
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
    version: i64,
) -> Result<Effect, Refusal> {
    let written = transaction
        .prepare_cached(
            "INSERT INTO products (id, price, currency, stock, state, opens_at, closes_at,
                 limit_per_user, hold_seconds, waitlist_capacity, created_at, updated_at, version)
             VALUES (?1, ?2, ?3, ?4, 'open', ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11)
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
                 updated_at = excluded.updated_at,
                 version = excluded.version
             WHERE version < excluded.version",
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
            version,
        ])?;
    Ok(if written == 1 { Effect::Written } else { Effect::Skipped })
}

fn change_product(
    transaction: &Transaction<'_>,
    sql: &str,
    product: ProductId,
    values: impl rusqlite::Params,
) -> Result<Effect, Refusal> {
    if transaction.prepare_cached(sql)?.execute(values)? == 1 {
        return Ok(Effect::Written);
    }
    match read::product(transaction, product).map_err(Refusal::Failed)? {
        // The statement passes over nothing but rows that are as new as the change.
        Some(_) => Ok(Effect::Skipped),
        None => Err(Refusal::Poison("there is no such product".into())),
    }
}

/// Writes a dead letter, unless it is there from before the checkpoint was set back. One that cannot
/// be written either takes the batch back.
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
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (partition, sequence, line) DO NOTHING",
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

pub(super) fn amount(minor_units: u64) -> Result<i64, Refusal> {
    i64::try_from(minor_units).map_err(|_| Refusal::Poison("an amount is out of range".into()))
}

pub(super) fn time(at: Timestamp) -> Result<i64, Refusal> {
    i64::try_from(at.micros()).map_err(|_| Refusal::Poison("a time is out of range".into()))
}

pub(super) fn optional_time(at: Timestamp) -> Result<Option<i64>, Refusal> {
    at.some().map(time).transpose()
}
