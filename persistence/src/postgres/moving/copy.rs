//! Rows from shard to shard: all of some buckets at first, then those that changed meanwhile.
//!
//! Both shards have one schema version, so binary COPY goes straight from one to the other. What is
//! written to the target is deleted there before, so that every step can be done again.

use super::capture::{self, array};
use super::{Endpoint, ids_literal};
use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::claim::PRODUCT_COLUMNS;
use crate::postgres::types::Uuid;
use doorbuster_protocol::BuyerId;
use doorbuster_protocol::routing::bucket_of;
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use tokio_postgres::types::Type;

/// Users looked at in one step, and changed rows carried over in one.
const STEP_ROWS: i64 = 10_000;

const ORDERS: &str = "id, user_id, total_amount, currency, status, payment_method,
    shipping_address, created_at, updated_at, expires_at, version";
const ITEMS: &str = "order_id, line, product_id, quantity, price, created_at";
const PAYMENTS: &str = "id, order_id, user_id, amount, currency, status, method, transaction_id,
    created_at, updated_at";
const USERS: &str = "id, email, password_hash, full_name, phone, created_at, updated_at";

/// Table, its columns, and the column that names the order.
const OF_ORDERS: [(&str, &str, &str); 3] = [
    ("orders", ORDERS, "id"),
    ("order_items", ITEMS, "order_id"),
    ("payments", PAYMENTS, "order_id"),
];

/// Copies everything of `buckets`; the number of orders.
pub(super) async fn everything(
    source: &Endpoint,
    target: &Endpoint,
    buckets: &BucketSet,
) -> Result<u64, StoreError> {
    let theirs = format!("= ANY ('{}')", array(buckets));
    source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    target.execute(&format!("BEGIN; DELETE FROM orders WHERE order_bucket(id) {theirs}")).await?;
    let mut orders = 0;
    for (table, columns, order) in OF_ORDERS {
        let condition = format!("order_bucket({order}) {theirs}");
        let copied = pipe(source, target, table, columns, &condition).await?;
        if table == "orders" {
            orders = copied;
        }
    }
    let mut after = None;
    while let Some((last, users)) = users_of(source, buckets, after).await? {
        carry_users(source, target, &users).await?;
        after = Some(last);
    }
    target.execute("COMMIT").await?;
    source.execute("COMMIT").await?;
    Ok(orders)
}

/// Carries over some of what changed; how much that was, zero when nothing is left.
pub(super) async fn changes(
    source: &Endpoint,
    target: &Endpoint,
    buckets: &BucketSet,
) -> Result<u64, StoreError> {
    source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut changes = capture::read(source, STEP_ROWS).await?;
    changes.users.retain(|id| buckets.contains(bucket_of(BuyerId::from_bytes(*id))));
    target.execute("BEGIN").await?;
    if !changes.orders.is_empty() {
        let ids = ids_literal(&changes.orders);
        target.execute(&format!("DELETE FROM orders WHERE id = ANY ({ids})")).await?;
        for (table, columns, order) in OF_ORDERS {
            let condition = format!("{order} = ANY ({ids})");
            pipe(source, target, table, columns, &condition).await?;
        }
    }
    carry_users(source, target, &changes.users).await?;
    target.execute("COMMIT").await?;
    source.execute("COMMIT").await?;
    capture::forget(source, &changes.numbers).await?;
    Ok(changes.numbers.len() as u64)
}

async fn carry_users(
    source: &Endpoint,
    target: &Endpoint,
    users: &[[u8; 16]],
) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    let ids = ids_literal(users);
    target.execute(&format!("DELETE FROM users WHERE id = ANY ({ids})")).await?;
    pipe(source, target, "users", USERS, &format!("id = ANY ({ids})")).await.map(drop)
}

/// The next users of these buckets, and the last that was looked at; `None` after all.
pub(super) async fn users_of(
    shard: &Endpoint,
    buckets: &BucketSet,
    after: Option<[u8; 16]>,
) -> Result<Option<([u8; 16], Vec<[u8; 16]>)>, StoreError> {
    let sql = "SELECT id FROM users WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2";
    let after = after.map(Uuid);
    let rows = shard.query(sql, &[(&after, Type::UUID), (&STEP_ROWS, Type::INT8)]).await?;
    let ids = || rows.iter().map(|row| row.get::<_, Uuid>(0).0);
    let Some(last) = ids().last() else { return Ok(None) };
    let theirs = ids().filter(|id| buckets.contains(bucket_of(BuyerId::from_bytes(*id))));
    Ok(Some((last, theirs.collect())))
}

/// Gives the target the source's products, all of them, in the open transactions of both.
pub(super) async fn products(source: &Endpoint, target: &Endpoint) -> Result<(), StoreError> {
    target.execute("DELETE FROM products").await?;
    pipe(source, target, "products", PRODUCT_COLUMNS, "true").await.map(drop)
}

/// Pipes the rows of a table that meet `condition`; how many there were.
async fn pipe(
    source: &Endpoint,
    target: &Endpoint,
    table: &str,
    columns: &str,
    condition: &str,
) -> Result<u64, StoreError> {
    let out =
        format!("COPY (SELECT {columns} FROM {table} WHERE {condition}) TO STDOUT (FORMAT binary)");
    let into = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
    let mut rows = pin!(source.client.copy_out(&out).await.map_err(|e| source.failure(&e))?);
    let sink = target.client.copy_in(&into).await.map_err(|e| target.failure(&e))?;
    let mut sink = pin!(sink);
    while let Some(bytes) = rows.next().await {
        let bytes = bytes.map_err(|error| source.failure(&error))?;
        sink.send(bytes).await.map_err(|error| target.failure(&error))?;
    }
    sink.as_mut().finish().await.map_err(|error| target.failure(&error))
}
