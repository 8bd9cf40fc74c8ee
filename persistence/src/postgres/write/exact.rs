//! One order's changes, one after another, each as the store's rules have it: written, skipped
//! because it is there already, or a dead letter. Only for what the sets could not settle.

use crate::postgres::types::{Time, Uuid};
use crate::postgres::write::{Outcome, Refusal, Tally};
use crate::rows::OrderRow;
use crate::store::{Change, RowChange, statuses_before};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{OrderId, Timestamp};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// Writes changes of orders, in their order.
pub(super) async fn write<'a>(
    client: &Client,
    changes: impl Iterator<Item = &'a Change>,
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
    let at = time(change.at)?;
    let version = i64::try_from(change.sequence.get()).map_err(|_| out_of_range("a sequence"))?;
    match &change.row {
        RowChange::OrderCreated(row) => create(client, row, version).await,
        RowChange::OrderMoved { order, status, expires_at } => {
            advance(client, *order, *status, optional_time(*expires_at)?, at, version).await
        }
        RowChange::ProductDefined { .. }
        | RowChange::StockMoved { .. }
        | RowChange::StateSet { .. }
        | RowChange::Unreadable { .. } => unreachable!("it is no change of an order"),
    }
}

async fn create(client: &Client, row: &OrderRow, version: i64) -> Result<Outcome, Refusal> {
    let id = Uuid(*row.order.as_bytes());
    match stored(client, id).await? {
        Some((_, stored)) if stored >= version => return Ok(Outcome::Skipped),
        Some(_) => return Err(Refusal::Poison("another event made this order".into())),
        None => {}
    }
    insert(client, row, version).await?;
    Ok(Outcome::Written)
}

/// Makes an order with its items and its buyer, as of an event.
pub(in crate::postgres) async fn insert(
    client: &Client,
    row: &OrderRow,
    version: i64,
) -> Result<(), Refusal> {
    let (id, buyer) = (Uuid(*row.order.as_bytes()), Uuid(*row.buyer.as_bytes()));
    let (created_at, updated_at) = (time(row.created_at)?, time(row.updated_at)?);
    let sql = "INSERT INTO users (id, created_at, updated_at) VALUES ($1, $2, $2)
               ON CONFLICT (id) DO NOTHING";
    client.execute_typed(sql, &[(&buyer, Type::UUID), (&created_at, Type::TIMESTAMPTZ)]).await?;
    let sql = "INSERT INTO orders (id, user_id, total_amount, currency, status, created_at,
                   updated_at, expires_at, version)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values: [(&(dyn ToSql + Sync), Type); 9] = [
        (&id, Type::UUID),
        (&buyer, Type::UUID),
        (&amount(row.total_amount)?, Type::INT8),
        (&row.currency.as_str(), Type::TEXT),
        (&row.status.as_str(), Type::TEXT),
        (&created_at, Type::TIMESTAMPTZ),
        (&updated_at, Type::TIMESTAMPTZ),
        (&optional_time(row.expires_at)?, Type::TIMESTAMPTZ),
        (&version, Type::INT8),
    ];
    client.execute_typed(sql, &values).await?;
    insert_items(client, row).await
}

/// Makes the items of an order that has none.
pub(in crate::postgres) async fn insert_items(
    client: &Client,
    row: &OrderRow,
) -> Result<(), Refusal> {
    let id = Uuid(*row.order.as_bytes());
    let products: Vec<_> = row.items.iter().map(|item| Uuid(*item.product.as_bytes())).collect();
    let quantities: Vec<_> = row.items.iter().map(|item| item.quantity.get() as i32).collect();
    let prices =
        row.items.iter().map(|item| amount(item.unit_price)).collect::<Result<Vec<_>, _>>()?;
    let sql = "INSERT INTO order_items (order_id, line, product_id, quantity, price, created_at)
               SELECT $1, (i.number - 1)::int2, i.product, i.quantity, i.price, $5
               FROM unnest($2, $3, $4) WITH ORDINALITY AS i (product, quantity, price, number)";
    let values: [(&(dyn ToSql + Sync), Type); 5] = [
        (&id, Type::UUID),
        (&products, Type::UUID_ARRAY),
        (&quantities, Type::INT4_ARRAY),
        (&prices, Type::INT8_ARRAY),
        (&time(row.created_at)?, Type::TIMESTAMPTZ),
    ];
    client.execute_typed(sql, &values).await?;
    Ok(())
}

async fn advance(
    client: &Client,
    order: OrderId,
    status: OrderStatus,
    expires_at: Option<Time>,
    at: Time,
    version: i64,
) -> Result<Outcome, Refusal> {
    let before: Vec<_> = statuses_before(status).iter().map(|status| status.as_str()).collect();
    if before.is_empty() {
        return Err(Refusal::Poison(format!("no event makes an order {}", status.as_str())));
    }
    let id = Uuid(*order.as_bytes());
    let sql = "UPDATE orders SET status = $2, updated_at = $3,
                   expires_at = coalesce($4, expires_at), version = $5
               WHERE id = $1 AND version < $5 AND status = ANY ($6)";
    let values: [(&(dyn ToSql + Sync), Type); 6] = [
        (&id, Type::UUID),
        (&status.as_str(), Type::TEXT),
        (&at, Type::TIMESTAMPTZ),
        (&expires_at, Type::TIMESTAMPTZ),
        (&version, Type::INT8),
        (&before, Type::TEXT_ARRAY),
    ];
    if client.execute_typed(sql, &values).await? == 1 {
        return Ok(Outcome::Written);
    }
    let reason = match stored(client, id).await? {
        Some((_, stored)) if stored >= version => return Ok(Outcome::Skipped),
        Some((from, _)) => format!("a {from} order cannot become {}", status.as_str()),
        None => "there is no such order".into(),
    };
    Err(Refusal::Poison(reason))
}

async fn stored(client: &Client, id: Uuid) -> Result<Option<(String, i64)>, Refusal> {
    let sql = "SELECT status, version FROM orders WHERE id = $1";
    let rows = client.query_typed(sql, &[(&id, Type::UUID)]).await?;
    rows.first().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

pub(in crate::postgres) fn amount(minor_units: u64) -> Result<i64, Refusal> {
    i64::try_from(minor_units).map_err(|_| out_of_range("an amount"))
}

pub(in crate::postgres) fn time(at: Timestamp) -> Result<Time, Refusal> {
    Time::new(at).ok_or_else(|| out_of_range("a time"))
}

pub(in crate::postgres) fn optional_time(at: Timestamp) -> Result<Option<Time>, Refusal> {
    at.some().map(time).transpose()
}

fn out_of_range(what: &str) -> Refusal {
    Refusal::Poison(format!("{what} is out of range"))
}
