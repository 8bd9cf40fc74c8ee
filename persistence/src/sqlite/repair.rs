//! Rows set as the log has them: the one place that changes rows without an event.
//!
//! One transaction, under the checkpoint for which the rows were computed. Names and descriptions
//! are the catalog's and stay.

use super::write::{
    OrderInserts, Refusal, amount, begin, delete_order, optional_time, state_word, time,
};
use super::{failure, read};
use crate::error::StoreError;
use crate::rows::ProductRow;
use crate::store::Repair;
use doorbuster_protocol::ProductId;
use rusqlite::{Connection, Transaction, params};

/// Does all of a repair, or nothing.
pub(super) fn repair(
    connection: &mut Connection,
    repair: &Repair,
    run_orders: u32,
) -> Result<(), StoreError> {
    let transaction = begin(connection)?;
    let partition = repair.partition;
    let stored = read::checkpoints(&transaction)?
        .into_iter()
        .find(|checkpoint| checkpoint.partition == partition)
        .ok_or(StoreError::NoCheckpoint { partition })?;
    if stored.sequence != repair.at {
        let stored = stored.sequence;
        return Err(StoreError::OutOfStep { partition, stored, after: repair.at });
    }
    match set_right(&transaction, repair, run_orders) {
        Ok(()) => transaction.commit().map_err(failure),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Poison(why)) => {
            Err(StoreError::Failed { why: format!("a row of the log does not fit: {why}") })
        }
    }
}

fn set_right(
    transaction: &Transaction<'_>,
    repair: &Repair,
    run_orders: u32,
) -> Result<(), Refusal> {
    for order in &repair.without_orders {
        delete_order(transaction, *order)?;
    }
    let mut inserts = OrderInserts::prepare(transaction, run_orders)?;
    for order in &repair.orders {
        delete_order(transaction, order.order)?;
        if !inserts.insert(order, order.version)? {
            return Err(Refusal::Poison("the order is there already".into()));
        }
    }
    inserts.finish(transaction)?;
    for product in &repair.without_products {
        forget_product(transaction, *product)?;
    }
    for product in &repair.products {
        set_product(transaction, product)?;
    }
    for (sequence, line) in &repair.settled {
        transaction
            .prepare_cached(
                "DELETE FROM dead_letters WHERE partition = ?1 AND sequence = ?2 AND line = ?3",
            )?
            .execute(params![repair.partition.get(), sequence.get() as i64, line])?;
    }
    if let Some(checkpoint) = repair.checkpoint {
        transaction
            .prepare_cached("UPDATE checkpoints SET sequence = ?2 WHERE partition = ?1")?
            .execute(params![repair.partition.get(), checkpoint.get() as i64])?;
    }
    Ok(())
}

/// Takes a definition away. What the catalog says of the product stays.
fn forget_product(transaction: &Transaction<'_>, product: ProductId) -> Result<(), Refusal> {
    for sql in [
        "DELETE FROM products WHERE id = ?1 AND name IS NULL AND description IS NULL",
        "UPDATE products SET price = NULL, currency = NULL, stock = NULL, state = NULL,
             opens_at = NULL, closes_at = NULL, limit_per_user = NULL, hold_seconds = NULL,
             waitlist_capacity = NULL, created_at = NULL, updated_at = NULL, version = 0
         WHERE id = ?1",
    ] {
        transaction.prepare_cached(sql)?.execute(params![product.as_bytes()])?;
    }
    Ok(())
}

fn set_product(transaction: &Transaction<'_>, row: &ProductRow) -> Result<(), Refusal> {
    transaction
        .prepare_cached(
            "INSERT INTO products (id, price, currency, stock, state, opens_at, closes_at,
                 limit_per_user, hold_seconds, waitlist_capacity, created_at, updated_at, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (id) DO UPDATE SET
                 price = excluded.price,
                 currency = excluded.currency,
                 stock = excluded.stock,
                 state = excluded.state,
                 opens_at = excluded.opens_at,
                 closes_at = excluded.closes_at,
                 limit_per_user = excluded.limit_per_user,
                 hold_seconds = excluded.hold_seconds,
                 waitlist_capacity = excluded.waitlist_capacity,
                 created_at = excluded.created_at,
                 updated_at = excluded.updated_at,
                 version = excluded.version",
        )?
        .execute(params![
            row.product.as_bytes(),
            amount(row.price)?,
            row.currency.as_str(),
            row.stock,
            state_word(row.state),
            optional_time(row.opens_at)?,
            optional_time(row.closes_at)?,
            row.limit_per_buyer,
            row.hold_seconds,
            row.waitlist_capacity,
            time(row.created_at)?,
            time(row.updated_at)?,
            row.version.get() as i64,
        ])?;
    Ok(())
}
