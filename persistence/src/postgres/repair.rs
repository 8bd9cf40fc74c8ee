//! Rows set as the log has them: the one place that changes rows without an event.
//!
//! One transaction, under the checkpoint for which the rows were computed. What the shop filled in
//! stays: names and descriptions of products, payments and addresses of orders that are to stand.

use crate::error::StoreError;
use crate::postgres::connect::failure;
use crate::postgres::row::state_word;
use crate::postgres::scan;
use crate::postgres::session::{Session, slow, timeouts};
use crate::postgres::types::Uuid;
use crate::postgres::write::Refusal;
use crate::postgres::write::exact::{amount, insert_items, optional_time, time};
use crate::rows::{OrderRow, ProductRow};
use crate::store::Repair;
use doorbuster_protocol::Sequence;
use futures_util::future::join_all;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// Rows that are set at a time: their statements are sent one behind another.
const PIPELINED: usize = 128;
/// A repair is as large as what was found to be wrong: it may take this many times the time of a
/// batch.
const PATIENCE_FACTOR: u32 = 10;

/// Does all of a repair, or nothing.
pub(super) async fn repair(
    session: &mut Session,
    shard: &str,
    limit: Duration,
    repair: &Repair,
) -> Result<(), StoreError> {
    let limit = limit.saturating_mul(PATIENCE_FACTOR);
    let client = session.take().await?;
    let failed = |error| failure(shard, &error);
    let work = async {
        let sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", timeouts(limit));
        client.batch_execute(&sql).await.map_err(failed)?;
        let at = checkpoint(&client, shard, repair).await?;
        if at != repair.at {
            let partition = repair.partition;
            client.batch_execute("ROLLBACK").await.map_err(failed)?;
            // The session is between two transactions again.
            return Ok(Err(StoreError::OutOfStep { partition, stored: at, after: repair.at }));
        }
        set_right(&client, repair).await.map_err(|refusal| match refusal {
            Refusal::Failed(error) => failure(shard, &error),
            Refusal::Poison(why) => StoreError::Failed {
                why: format!("shard {shard}: a row of the log does not fit: {why}"),
            },
        })?;
        client.batch_execute("COMMIT").await.map_err(failed)?;
        Ok(Ok(()))
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done?,
        Err(_) => return Err(slow(shard, limit)),
    };
    session.put_back(client);
    done
}

async fn checkpoint(client: &Client, shard: &str, repair: &Repair) -> Result<Sequence, StoreError> {
    let partition = repair.partition;
    let sql = "SELECT partition, epoch, sequence FROM checkpoints WHERE partition = $1
               FOR NO KEY UPDATE";
    let values: [(&(dyn ToSql + Sync), Type); 1] = [(&(partition.get() as i16), Type::INT2)];
    let rows = client.query_typed(sql, &values).await.map_err(|error| failure(shard, &error))?;
    let row = rows.first().ok_or(StoreError::NoCheckpoint { partition })?;
    scan::checkpoint(row).map(|checkpoint| checkpoint.sequence)
}

async fn set_right(client: &Client, repair: &Repair) -> Result<(), Refusal> {
    let gone: Vec<_> = repair.without_orders.iter().map(|id| Uuid(*id.as_bytes())).collect();
    let sql = "DELETE FROM orders WHERE id = ANY ($1)";
    client.execute_typed(sql, &[(&gone, Type::UUID_ARRAY)]).await?;
    for some in repair.orders.chunks(PIPELINED) {
        let set = join_all(some.iter().map(|row| set_order(client, row))).await;
        set.into_iter().collect::<Result<(), _>>()?;
    }
    let gone: Vec<_> = repair.without_products.iter().map(|id| Uuid(*id.as_bytes())).collect();
    forget_products(client, &gone).await?;
    for some in repair.products.chunks(PIPELINED) {
        let set = join_all(some.iter().map(|row| set_product(client, row))).await;
        set.into_iter().collect::<Result<(), _>>()?;
    }
    let partition = repair.partition.get() as i16;
    let sequences: Vec<_> = repair.settled.iter().map(|(event, _)| event.get() as i64).collect();
    let lines: Vec<_> = repair.settled.iter().map(|(_, line)| i64::from(*line)).collect();
    let sql = "DELETE FROM dead_letters d USING unnest($2, $3) AS s (sequence, line)
               WHERE d.partition = $1 AND d.sequence = s.sequence AND d.line = s.line";
    let values: [(&(dyn ToSql + Sync), Type); 3] =
        [(&partition, Type::INT2), (&sequences, Type::INT8_ARRAY), (&lines, Type::INT8_ARRAY)];
    client.execute_typed(sql, &values).await?;
    if let Some(checkpoint) = repair.checkpoint {
        let sql = "UPDATE checkpoints SET sequence = $2 WHERE partition = $1";
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&partition, Type::INT2), (&(checkpoint.get() as i64), Type::INT8)];
        client.execute_typed(sql, &values).await?;
    }
    Ok(())
}

async fn set_order(client: &Client, row: &OrderRow) -> Result<(), Refusal> {
    let (id, buyer) = (Uuid(*row.order.as_bytes()), Uuid(*row.buyer.as_bytes()));
    let created_at = time(row.created_at)?;
    let sql = "INSERT INTO users (id, created_at, updated_at) VALUES ($1, $2, $2)
               ON CONFLICT (id) DO NOTHING";
    client.execute_typed(sql, &[(&buyer, Type::UUID), (&created_at, Type::TIMESTAMPTZ)]).await?;
    let sql = "INSERT INTO orders (id, user_id, total_amount, currency, status, created_at,
                   updated_at, expires_at, version)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               ON CONFLICT (id) DO UPDATE SET
                   user_id = excluded.user_id,
                   total_amount = excluded.total_amount,
                   currency = excluded.currency,
                   status = excluded.status,
                   created_at = excluded.created_at,
                   updated_at = excluded.updated_at,
                   expires_at = excluded.expires_at,
                   version = excluded.version";
    let values: [(&(dyn ToSql + Sync), Type); 9] = [
        (&id, Type::UUID),
        (&buyer, Type::UUID),
        (&amount(row.total_amount)?, Type::INT8),
        (&row.currency.as_str(), Type::TEXT),
        (&row.status.as_str(), Type::TEXT),
        (&created_at, Type::TIMESTAMPTZ),
        (&time(row.updated_at)?, Type::TIMESTAMPTZ),
        (&optional_time(row.expires_at)?, Type::TIMESTAMPTZ),
        (&(row.version.get() as i64), Type::INT8),
    ];
    client.execute_typed(sql, &values).await?;
    let sql = "DELETE FROM order_items WHERE order_id = $1";
    client.execute_typed(sql, &[(&id, Type::UUID)]).await?;
    insert_items(client, row).await
}

/// Takes definitions away. What the catalog says of the products stays.
async fn forget_products(client: &Client, gone: &[Uuid]) -> Result<(), Refusal> {
    for sql in [
        "DELETE FROM products WHERE id = ANY ($1) AND name IS NULL AND description IS NULL",
        "UPDATE products SET price = NULL, currency = NULL, inventory = NULL, state = NULL,
             flash_sale_start = NULL, flash_sale_end = NULL, limit_per_user = NULL,
             hold_seconds = NULL, waitlist_capacity = NULL, created_at = NULL, updated_at = NULL,
             version = NULL
         WHERE id = ANY ($1)",
    ] {
        client.execute_typed(sql, &[(&gone, Type::UUID_ARRAY)]).await?;
    }
    Ok(())
}

async fn set_product(client: &Client, row: &ProductRow) -> Result<(), Refusal> {
    let sql = "INSERT INTO products (id, price, currency, inventory, state, flash_sale_start,
                   flash_sale_end, limit_per_user, hold_seconds, waitlist_capacity, created_at,
                   updated_at, version)
               VALUES ($1, $2, $3, $4::int8::int, $5, $6, $7, $8, $9, $10, $11, $12, $13)
               ON CONFLICT (id) DO UPDATE SET
                   price = excluded.price,
                   currency = excluded.currency,
                   inventory = excluded.inventory,
                   state = excluded.state,
                   flash_sale_start = excluded.flash_sale_start,
                   flash_sale_end = excluded.flash_sale_end,
                   limit_per_user = excluded.limit_per_user,
                   hold_seconds = excluded.hold_seconds,
                   waitlist_capacity = excluded.waitlist_capacity,
                   created_at = excluded.created_at,
                   updated_at = excluded.updated_at,
                   version = excluded.version";
    let values: [(&(dyn ToSql + Sync), Type); 13] = [
        (&Uuid(*row.product.as_bytes()), Type::UUID),
        (&amount(row.price)?, Type::INT8),
        (&row.currency.as_str(), Type::TEXT),
        (&i64::from(row.stock), Type::INT8),
        (&state_word(row.state), Type::TEXT),
        (&optional_time(row.opens_at)?, Type::TIMESTAMPTZ),
        (&optional_time(row.closes_at)?, Type::TIMESTAMPTZ),
        (&i64::from(row.limit_per_buyer), Type::INT8),
        (&i64::from(row.hold_seconds), Type::INT8),
        (&i64::from(row.waitlist_capacity), Type::INT8),
        (&time(row.created_at)?, Type::TIMESTAMPTZ),
        (&time(row.updated_at)?, Type::TIMESTAMPTZ),
        (&(row.version.get() as i64), Type::INT8),
    ];
    client.execute_typed(sql, &values).await?;
    Ok(())
}
