//! Changes of products, in the order of their events. They are few and rare, so each is a statement
//! of its own; they are sent one behind another without waiting for answers.

use crate::postgres::row::state_word;
use crate::postgres::types::Uuid;
use crate::postgres::write::exact::{amount, optional_time, time};
use crate::postgres::write::{Outcome, Refusal, Tally};
use crate::store::{Change, RowChange};
use doorbuster_protocol::ProductId;
use doorbuster_protocol::event::Terms;
use futures_util::future::join_all;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// Statements under way at a time.
const PIPELINED: usize = 256;

/// Writes them all.
pub(super) async fn write<'a>(
    client: &Client,
    changes: &[&'a Change],
    tally: &mut Tally<'a>,
) -> Result<(), Refusal> {
    for some in changes.chunks(PIPELINED) {
        client.batch_execute("SAVEPOINT products").await?;
        let written = join_all(some.iter().map(|change| write_one(client, change))).await;
        // What comes after a statement that failed is refused, too: the first refusal is the cause.
        match written.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(outcomes) => {
                client.batch_execute("RELEASE SAVEPOINT products").await?;
                outcomes.into_iter().for_each(|outcome| tally.count(outcome));
            }
            Err(Refusal::Poison(_)) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT products").await?;
                one_by_one(client, some, tally).await?;
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

async fn one_by_one<'a>(
    client: &Client,
    changes: &[&'a Change],
    tally: &mut Tally<'a>,
) -> Result<(), Refusal> {
    for change in changes {
        client.batch_execute("SAVEPOINT one").await?;
        match write_one(client, change).await {
            Ok(outcome) => {
                client.batch_execute("RELEASE SAVEPOINT one").await?;
                tally.count(outcome);
            }
            Err(Refusal::Poison(reason)) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one").await?;
                tally.bury(change, reason);
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

async fn write_one(client: &Client, change: &Change) -> Result<Outcome, Refusal> {
    match &change.row {
        RowChange::ProductDefined { product, terms } => {
            define(client, change, *product, terms).await
        }
        RowChange::StockMoved { product, units } => {
            // Sums are made wider than the column, so that its CHECK refuses what does not fit.
            let sql = "UPDATE products SET inventory = (inventory + $4)::int, updated_at = $2,
                           version = $3
                       WHERE id = $1 AND created_at IS NOT NULL AND version < $3 RETURNING 1";
            alter(client, change, *product, sql, (units, Type::INT8)).await
        }
        RowChange::StateSet { product, state } => {
            let sql = "UPDATE products SET state = $4, updated_at = $2, version = $3
                       WHERE id = $1 AND created_at IS NOT NULL AND version < $3 RETURNING 1";
            alter(client, change, *product, sql, (&state_word(*state), Type::TEXT)).await
        }
        RowChange::OrderCreated(_)
        | RowChange::OrderMoved { .. }
        | RowChange::Unreadable { .. } => unreachable!("it is no change of a product"),
    }
}

async fn define(
    client: &Client,
    change: &Change,
    product: ProductId,
    terms: &Terms,
) -> Result<Outcome, Refusal> {
    let sql = "INSERT INTO products AS p (id, price, currency, inventory, state, flash_sale_start,
                   flash_sale_end, limit_per_user, hold_seconds, waitlist_capacity, created_at,
                   updated_at, version)
               VALUES ($1, $2, $3, $4::int8::int, 'open', $5, $6, $7, $8, $9, $10, $10, $11)
               ON CONFLICT (id) DO UPDATE SET
                   price = excluded.price,
                   currency = excluded.currency,
                   inventory = excluded.inventory,
                   state = coalesce(p.state, excluded.state),
                   flash_sale_start = excluded.flash_sale_start,
                   flash_sale_end = excluded.flash_sale_end,
                   limit_per_user = excluded.limit_per_user,
                   hold_seconds = excluded.hold_seconds,
                   waitlist_capacity = excluded.waitlist_capacity,
                   created_at = coalesce(p.created_at, excluded.created_at),
                   updated_at = excluded.updated_at,
                   version = excluded.version
               WHERE coalesce(p.version, 0) < excluded.version";
    let values: [(&(dyn ToSql + Sync), Type); 11] = [
        (&Uuid(*product.as_bytes()), Type::UUID),
        (&amount(terms.price)?, Type::INT8),
        (&terms.currency.as_str(), Type::TEXT),
        (&i64::from(terms.stock), Type::INT8),
        (&optional_time(terms.opens_at)?, Type::TIMESTAMPTZ),
        (&optional_time(terms.closes_at)?, Type::TIMESTAMPTZ),
        (&i64::from(terms.limit_per_buyer), Type::INT8),
        (&i64::from(terms.hold_seconds), Type::INT8),
        (&i64::from(terms.waitlist_capacity), Type::INT8),
        (&time(change.at)?, Type::TIMESTAMPTZ),
        (&(change.sequence.get() as i64), Type::INT8),
    ];
    let written = client.execute_typed(sql, &values).await?;
    Ok(if written == 1 { Outcome::Written } else { Outcome::Skipped })
}

/// Changes a product that is defined. Whether it is must be told in the same statement: an event
/// that comes later in the batch may define it.
async fn alter(
    client: &Client,
    change: &Change,
    product: ProductId,
    update: &str,
    value: (&(dyn ToSql + Sync), Type),
) -> Result<Outcome, Refusal> {
    let sql = format!(
        "WITH changed AS ({update})
         SELECT EXISTS (SELECT FROM changed),
             EXISTS (SELECT FROM products WHERE id = $1 AND created_at IS NOT NULL)"
    );
    let values: [(&(dyn ToSql + Sync), Type); 4] = [
        (&Uuid(*product.as_bytes()), Type::UUID),
        (&time(change.at)?, Type::TIMESTAMPTZ),
        (&(change.sequence.get() as i64), Type::INT8),
        value,
    ];
    let row = client.query_typed_one(&sql, &values).await?;
    match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Ok(Outcome::Written),
        (false, true) => Ok(Outcome::Skipped),
        (false, false) => Err(Refusal::Poison("there is no such product".into())),
    }
}
