//! Everything that only asks. A column that does not hold what this program writes is damage.

use crate::cursor::{OrderCursor, ProductCursor};
use crate::error::StoreError;
use crate::rows::{CatalogEntry, Checkpoint, DeadLetter, OrderItem, OrderRow, ProductRow};
use crate::sqlite::{failure, runs};
use crate::store::{PAGE_ROWS_MAX, Page, StoreIdentity};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp,
};
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use std::cmp::Reverse;

const ORDER_COLUMNS: &str =
    "id, user_id, total_amount, currency, status, created_at, updated_at, expires_at, version";
const PRODUCT_COLUMNS: &str = "id, name, description, price, currency, stock, state, opens_at,
    closes_at, limit_per_user, hold_seconds, waitlist_capacity, created_at, updated_at, version";

/// Whose results these are.
pub(super) fn identity(connection: &Connection) -> Result<Option<StoreIdentity>, StoreError> {
    connection
        .prepare_cached("SELECT directory, partitions FROM store")
        .and_then(|mut select| {
            select
                .query_row([], |row| {
                    let directory: String = row.get(0)?;
                    let directory =
                        u64::from_str_radix(&directory, 16).map_err(|_| bad(0, Type::Text))?;
                    let partitions =
                        PartitionCount::new(row.get(1)?).ok_or_else(|| bad(1, Type::Integer))?;
                    Ok(StoreIdentity { directory, partitions })
                })
                .optional()
        })
        .map_err(failure)
}

/// All checkpoints in order of partition.
pub(super) fn checkpoints(connection: &Connection) -> Result<Vec<Checkpoint>, StoreError> {
    let sql = "SELECT partition, epoch, sequence FROM checkpoints ORDER BY partition";
    rows(connection, sql, [], |row| {
        Ok(Checkpoint {
            partition: partition(row, 0)?,
            epoch: Epoch::new(row.get(1)?),
            sequence: Sequence::new(number(row, 2)?),
        })
    })
}

/// One order with its items.
pub(super) fn order(
    connection: &Connection,
    order: OrderId,
) -> Result<Option<OrderRow>, StoreError> {
    let sql = format!("SELECT {ORDER_COLUMNS} FROM orders WHERE id = ?1");
    orders(connection, &sql, params![order.as_bytes()]).map(|mut found| found.pop())
}

/// A page of a buyer's orders, from the runs that can have some of it.
pub(super) fn orders_of(
    connection: &Connection,
    buyer: BuyerId,
    after: Option<OrderCursor>,
    limit: u32,
) -> Result<Page<OrderRow, OrderCursor>, StoreError> {
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    // No order is as late as this, so that all come after it.
    let before = after.map_or(i64::MAX, |cursor| cursor_time(cursor.created_at));
    let before_id = after.as_ref().map_or(&[][..], |cursor| cursor.order.as_bytes());
    let sql = orders_of_run();
    // All that is read is of one moment.
    let moment = connection.unchecked_transaction().map_err(failure)?;
    let mut found: Vec<OrderRow> = Vec::new();
    for (run, newest) in runs::newest_first(connection).map_err(failure)? {
        let last = found.get(limit as usize).map(|row| cursor_time(row.created_at));
        if last.is_some_and(|last| newest < last) {
            break;
        }
        let values = params![run, buyer.as_bytes(), before, before_id, limit + 1];
        found.extend(rows(connection, &sql, values, order_row)?);
        found.sort_unstable_by_key(|row| Reverse((row.created_at, row.order)));
        found.truncate(limit as usize + 1);
    }
    with_items(connection, &mut found)?;
    moment.finish().map_err(failure)?;
    Ok(page(found, limit, |row| OrderCursor { created_at: row.created_at, order: row.order }))
}

/// What a run has of a buyer's orders: run, buyer, time and id of the order that they come after, and
/// how many at the most.
pub(super) fn orders_of_run() -> String {
    format!(
        "SELECT {ORDER_COLUMNS} FROM orders
         WHERE run = ?1 AND user_id = ?2 AND (created_at, id) < (?3, ?4)
         ORDER BY created_at DESC, id DESC LIMIT ?5"
    )
}

/// One defined product.
pub(super) fn product(
    connection: &Connection,
    product: ProductId,
) -> Result<Option<ProductRow>, StoreError> {
    let sql =
        format!("SELECT {PRODUCT_COLUMNS} FROM products WHERE id = ?1 AND created_at IS NOT NULL");
    rows(connection, &sql, params![product.as_bytes()], product_row).map(|mut found| found.pop())
}

/// What people call a product, defined or not.
pub(super) fn catalog(
    connection: &Connection,
    product: ProductId,
) -> Result<Option<CatalogEntry>, StoreError> {
    let sql = "SELECT name, description FROM products
               WHERE id = ?1 AND (name IS NOT NULL OR description IS NOT NULL)";
    rows(connection, sql, params![product.as_bytes()], |row| {
        Ok(CatalogEntry { product, name: row.get(0)?, description: row.get(1)? })
    })
    .map(|mut found| found.pop())
}

/// A page of the defined products.
pub(super) fn products(
    connection: &Connection,
    after: Option<ProductCursor>,
    limit: u32,
) -> Result<Page<ProductRow, ProductCursor>, StoreError> {
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let found = match after {
        None => rows(
            connection,
            &format!(
                "SELECT {PRODUCT_COLUMNS} FROM products WHERE created_at IS NOT NULL
                 ORDER BY created_at DESC, id DESC LIMIT ?1"
            ),
            params![limit + 1],
            product_row,
        ),
        Some(cursor) => rows(
            connection,
            &format!(
                "SELECT {PRODUCT_COLUMNS} FROM products
                 WHERE created_at IS NOT NULL AND (created_at, id) < (?2, ?3)
                 ORDER BY created_at DESC, id DESC LIMIT ?1"
            ),
            params![limit + 1, cursor_time(cursor.created_at), cursor.product.as_bytes()],
            product_row,
        ),
    }?;
    Ok(page(found, limit, |row| ProductCursor { created_at: row.created_at, product: row.product }))
}

/// A step through orders by id.
pub(super) fn scan_orders(
    connection: &Connection,
    partition: Option<PartitionId>,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<OrderRow>, StoreError> {
    // Bytes 7 and 8 of an id are `0x8000 | partition`, big-endian. The empty blob is before all ids.
    let place = partition.map(|partition| (0x8000 | partition.get()).to_be_bytes());
    let sql = format!(
        "SELECT {ORDER_COLUMNS} FROM orders
         WHERE id > ?1 AND (?2 IS NULL OR substr(id, 7, 2) = ?2) ORDER BY id LIMIT ?3"
    );
    let after = after.as_ref().map_or(&[][..], |order| order.as_bytes());
    orders(connection, &sql, params![after, place, limit.clamp(1, PAGE_ROWS_MAX)])
}

/// A step through products by id.
pub(super) fn scan_products(
    connection: &Connection,
    after: Option<ProductId>,
    limit: u32,
) -> Result<Vec<ProductRow>, StoreError> {
    let sql = format!(
        "SELECT {PRODUCT_COLUMNS} FROM products WHERE id > ?1 AND created_at IS NOT NULL
         ORDER BY id LIMIT ?2"
    );
    let after = after.as_ref().map_or(&[][..], |product| product.as_bytes());
    rows(connection, &sql, params![after, limit.clamp(1, PAGE_ROWS_MAX)], product_row)
}

/// A step through the dead letters.
pub(super) fn dead_letters(
    connection: &Connection,
    after: Option<(PartitionId, Sequence, u32)>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let sql = "SELECT partition, sequence, line, at, reason, change FROM dead_letters
               WHERE (partition, sequence, line) > (?1, ?2, ?3)
               ORDER BY partition, sequence, line LIMIT ?4";
    let (partition_after, sequence, line) = after
        .map_or((-1, 0, 0), |(partition, sequence, line)| {
            (i64::from(partition.get()), sequence.get() as i64, line)
        });
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    rows(connection, sql, params![partition_after, sequence, line, limit], |row| {
        Ok(DeadLetter {
            partition: partition(row, 0)?,
            sequence: Sequence::new(number(row, 1)?),
            line: row.get(2)?,
            at: time(row, 3)?,
            reason: row.get(4)?,
            change: row.get(5)?,
        })
    })
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut select| select.query_map(values, read)?.collect())
        .map_err(failure)
}

/// Orders, and then the items of each: they are written once, with their order, so that the second
/// look sees another state than the first only while a repair sets them right.
fn orders(
    connection: &Connection,
    sql: &str,
    values: impl Params,
) -> Result<Vec<OrderRow>, StoreError> {
    let mut found = rows(connection, sql, values, order_row)?;
    with_items(connection, &mut found)?;
    Ok(found)
}

fn with_items(connection: &Connection, orders: &mut [OrderRow]) -> Result<(), StoreError> {
    for order in orders {
        order.items = rows(
            connection,
            "SELECT product_id, quantity, unit_price FROM order_items WHERE order_id = ?1
             ORDER BY line",
            params![order.order.as_bytes()],
            |row| {
                Ok(OrderItem {
                    product: ProductId::from_bytes(row.get(0)?),
                    quantity: Quantity::new(row.get(1)?).ok_or_else(|| bad(1, Type::Integer))?,
                    unit_price: number(row, 2)?,
                })
            },
        )?;
    }
    Ok(())
}

fn order_row(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    let status: String = row.get(4)?;
    Ok(OrderRow {
        order: OrderId::from_bytes(row.get(0)?),
        buyer: BuyerId::from_bytes(row.get(1)?),
        total_amount: number(row, 2)?,
        currency: currency(row, 3)?,
        status: OrderStatus::parse(&status).ok_or_else(|| bad(4, Type::Text))?,
        created_at: time(row, 5)?,
        updated_at: time(row, 6)?,
        expires_at: optional_time(row, 7)?,
        version: Sequence::new(number(row, 8)?),
        items: Vec::new(),
    })
}

fn product_row(row: &Row<'_>) -> rusqlite::Result<ProductRow> {
    let state: String = row.get(6)?;
    Ok(ProductRow {
        product: ProductId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        description: row.get(2)?,
        price: number(row, 3)?,
        currency: currency(row, 4)?,
        stock: row.get(5)?,
        state: match state.as_str() {
            "open" => SaleState::Open,
            "paused" => SaleState::Paused,
            _ => return Err(bad(6, Type::Text)),
        },
        opens_at: optional_time(row, 7)?,
        closes_at: optional_time(row, 8)?,
        limit_per_buyer: row.get(9)?,
        hold_seconds: row.get(10)?,
        waitlist_capacity: row.get(11)?,
        created_at: time(row, 12)?,
        updated_at: time(row, 13)?,
        version: Sequence::new(number(row, 14)?),
    })
}

/// Splits the row that was read beyond the limit off: it says that there is a next page.
fn page<Row, Cursor>(
    mut found: Vec<Row>,
    limit: u32,
    cursor: impl FnOnce(&Row) -> Cursor,
) -> Page<Row, Cursor> {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = if more { found.last().map(cursor) } else { None };
    Page { rows: found, next }
}

/// A cursor comes from outside: a time beyond the column's range is after everything.
fn cursor_time(at: Timestamp) -> i64 {
    i64::try_from(at.micros()).unwrap_or(i64::MAX)
}

/// A column that never holds a negative number.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    number(row, column).map(Timestamp::from_micros)
}

fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Timestamp::NONE),
        _ => time(row, column),
    }
}

fn currency(row: &Row<'_>, column: usize) -> rusqlite::Result<Currency> {
    let text: String = row.get(column)?;
    Currency::parse(&text).ok_or_else(|| bad(column, Type::Text))
}

fn partition(row: &Row<'_>, column: usize) -> rusqlite::Result<PartitionId> {
    PartitionId::new(row.get(column)?).ok_or_else(|| bad(column, Type::Integer))
}

fn bad(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(FromSqlError::InvalidType))
}
