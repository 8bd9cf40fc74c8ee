//! Orders that a batch makes, straight into their tables.
//!
//! Nearly all of them are new, and then nothing is quicker than COPY. Where one is not, all of the
//! set is taken back and goes through the staging table.

use crate::postgres::types::Uuid;
use crate::postgres::write::binary::{Rows, copy};
use crate::postgres::write::fold::Fold;
use crate::rows::OrderRow;
use futures_util::future::try_join4;
use std::collections::HashSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// Which buyers are there already: they are left alone. One that somebody else is just making ends
/// in an error. That is cheaper for each new buyer than to expect conflicts.
const KNOWN: &str = "SELECT u.id FROM unnest($1) AS b (id) JOIN users u ON u.id = b.id";
const BUYERS: &str = "COPY users (id, created_at, updated_at) FROM STDIN (FORMAT binary)";
const BUYER_COLUMNS: i16 = 3;
const ORDERS: &str = "COPY orders (id, user_id, total_amount, currency, status, created_at,
    updated_at, expires_at, version) FROM STDIN (FORMAT binary)";
const ORDER_COLUMNS: i16 = 9;
const ITEMS: &str = "COPY order_items (order_id, line, product_id, quantity, price, created_at)
    FROM STDIN (FORMAT binary)";
const ITEM_COLUMNS: i16 = 6;
/// About what a row takes.
const BUYER_BYTES: usize = 46;
const ORDER_BYTES: usize = 144;
const ITEM_BYTES: usize = 86;

/// Writes every order that is made by one of these folds, its buyer and its items; whether the
/// tables took all of them.
pub(super) async fn write(client: &Client, folds: &[Fold<'_>]) -> Result<bool, Error> {
    let made = || {
        let staged = folds.iter().filter(|fold| !fold.is_exact);
        staged.filter_map(|fold| Some((fold, fold.created?)))
    };
    let new = || made().filter(|(fold, _)| fold.is_first_of_buyer);
    let ids: Vec<_> = new().map(|(_, row)| Uuid(*row.buyer.as_bytes())).collect();
    let buyers: [(&(dyn ToSql + Sync), Type); 1] = [(&ids, Type::UUID_ARRAY)];
    let (known, into_buyers, into_orders, into_items) = try_join4(
        client.query_typed(KNOWN, &buyers),
        client.prepare(BUYERS),
        client.prepare(ORDERS),
        client.prepare(ITEMS),
    )
    .await?;
    let known = known.iter().map(|row| Ok(row.try_get::<_, Uuid>(0)?.0));
    let known = known.collect::<Result<HashSet<_>, Error>>()?;
    let mut buyers = Rows::with_capacity((ids.len() - known.len()) * BUYER_BYTES);
    let mut buyer_count = 0;
    for (_, row) in new().filter(|(_, row)| !known.contains(row.buyer.as_bytes())) {
        buyers.begin(BUYER_COLUMNS);
        buyers.uuid(row.buyer.as_bytes());
        buyers.time(row.created_at);
        buyers.time(row.created_at);
        buyer_count += 1;
    }
    let count = made().count();
    let mut orders = Rows::with_capacity(count * ORDER_BYTES);
    let mut items = Rows::with_capacity(count * ITEM_BYTES);
    let (mut order_count, mut item_count) = (0, 0);
    for (fold, row) in made() {
        order(&mut orders, fold, row);
        order_count += 1;
        for (line, item) in (0_i16..).zip(&row.items) {
            items.begin(ITEM_COLUMNS);
            items.uuid(row.order.as_bytes());
            items.small(line);
            items.uuid(item.product.as_bytes());
            items.int(item.quantity.get() as i32);
            items.long(item.unit_price as i64);
            items.time(row.created_at);
            item_count += 1;
        }
    }
    if buyer_count > 0 && copy(client, &into_buyers, buyers).await? != buyer_count {
        return Ok(false);
    }
    Ok(copy(client, &into_orders, orders).await? == order_count
        && copy(client, &into_items, items).await? == item_count)
}

fn order(out: &mut Rows, fold: &Fold<'_>, row: &OrderRow) {
    out.begin(ORDER_COLUMNS);
    out.uuid(row.order.as_bytes());
    out.uuid(row.buyer.as_bytes());
    out.long(row.total_amount as i64);
    out.text(row.currency.as_str());
    out.text(fold.status.as_str());
    out.time(row.created_at);
    out.time(fold.updated_at);
    out.optional_time(fold.expires_at);
    out.long(fold.version.get() as i64);
}
