//! Orders that a batch makes, straight into their tables.
//!
//! Nearly all of them are new, and then nothing is quicker than COPY. Where one is not, all of the
//! set is taken back and goes through the staging table.

use crate::postgres::types::{Time, Uuid};
use crate::postgres::write::binary::{Rows, copy};
use crate::postgres::write::fold::Fold;
use crate::rows::OrderRow;
use futures_util::future::try_join3;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// Buyers that are there already are left alone; one that somebody else is just making ends in an
/// error. That is cheaper for each new buyer than to expect conflicts.
const BUYERS: &str = "INSERT INTO users (id, created_at, updated_at)
    SELECT b.id, b.at, b.at FROM unnest($1, $2) AS b (id, at)
    WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = b.id)";
const ORDERS: &str = "COPY orders (id, user_id, total_amount, currency, status, created_at,
    updated_at, expires_at, version) FROM STDIN (FORMAT binary)";
const ORDER_COLUMNS: i16 = 9;
const ITEMS: &str = "COPY order_items (order_id, line, product_id, quantity, price, created_at)
    FROM STDIN (FORMAT binary)";
const ITEM_COLUMNS: i16 = 6;
/// About what a row takes.
const ORDER_BYTES: usize = 144;
const ITEM_BYTES: usize = 86;

/// Writes every order that is made by one of these folds, its buyer and its items; whether the
/// tables took all of them.
pub(super) async fn write(client: &Client, folds: &[Fold<'_>]) -> Result<bool, Error> {
    let made = || {
        let staged = folds.iter().filter(|fold| !fold.is_exact);
        staged.filter_map(|fold| Some((fold, fold.created?)))
    };
    let new = made().filter(|(fold, _)| fold.is_first_of_buyer);
    let (ids, since): (Vec<_>, Vec<_>) =
        new.map(|(_, row)| (Uuid(*row.buyer.as_bytes()), Time::nearest(row.created_at))).unzip();
    let buyers: [(&(dyn ToSql + Sync), Type); 2] =
        [(&ids, Type::UUID_ARRAY), (&since, Type::TIMESTAMPTZ_ARRAY)];
    let (_, into_orders, into_items) = try_join3(
        client.execute_typed(BUYERS, &buyers),
        client.prepare(ORDERS),
        client.prepare(ITEMS),
    )
    .await?;
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
