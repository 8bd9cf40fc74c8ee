//! The staging table of a transaction: moves of orders that are there already, and, where something
//! stands in the way of the quick path, the orders that are made as well.
//!
//! It is a temporary table that is made when the session has none, is emptied by every COMMIT, and
//! whose name carries its version: whichever session of a pooler a transaction gets, it finds the
//! columns that it expects. Words have a length, so that the table needs no second file for long
//! ones.

use crate::postgres::write::binary::{Rows, copy};
use crate::postgres::write::fold::Fold;
use crate::rows::{OrderItem, OrderRow};
use tokio_postgres::{Client, Error};

/// Makes it, unless the session has it.
const CREATE: &str = "CREATE TEMPORARY TABLE IF NOT EXISTS staged_results_1 (
    seat INTEGER, of_new_buyer BOOLEAN, id UUID, version BIGINT, status VARCHAR(16),
    updated_at TIMESTAMPTZ, expires_at TIMESTAMPTZ,
    first BIGINT, before_1 VARCHAR(16), before_2 VARCHAR(16), before_3 VARCHAR(16),
    user_id UUID, total_amount BIGINT, currency VARCHAR(3), created_at TIMESTAMPTZ,
    line SMALLINT, product_id UUID, quantity INTEGER, price BIGINT
) ON COMMIT DELETE ROWS";
const COPY: &str = "COPY pg_temp.staged_results_1 FROM STDIN (FORMAT binary)";
/// Columns of a row.
const COLUMNS: i16 = 19;
/// About what a row takes.
const ROW_BYTES: usize = 240;

/// Fills it with the folds that `is_wanted`, each with its seat. An order that is made has a row per
/// item; the first carries the order.
pub(super) async fn fill(
    client: &Client,
    folds: &[Fold<'_>],
    is_wanted: impl Fn(&Fold<'_>) -> bool,
) -> Result<(), Error> {
    client.batch_execute(CREATE).await?;
    let into = client.prepare(COPY).await?;
    let mut out =
        Rows::with_capacity(folds.iter().filter(|fold| is_wanted(fold)).count() * ROW_BYTES);
    for (seat, fold) in (0_i32..).zip(folds).filter(|(_, fold)| is_wanted(fold)) {
        match fold.created {
            Some(row) => created(&mut out, seat, fold, row),
            None => {
                order(&mut out, seat, fold);
                moved(&mut out, fold);
                out.absent(8);
            }
        }
    }
    copy(client, &into, out).await.map(drop)
}

fn created(out: &mut Rows, seat: i32, fold: &Fold<'_>, row: &OrderRow) {
    order(out, seat, fold);
    out.absent(4);
    out.uuid(row.buyer.as_bytes());
    out.long(row.total_amount as i64);
    out.text(row.currency.as_str());
    out.time(row.created_at);
    match row.items.first() {
        Some(first) => item(out, 0, first),
        None => out.absent(4),
    }
    for (line, other) in (1_i16..).zip(row.items.iter().skip(1)) {
        out.begin(COLUMNS);
        out.int(seat);
        out.absent(1);
        out.uuid(fold.order.as_bytes());
        out.absent(8);
        out.absent(3);
        out.time(row.created_at);
        item(out, line, other);
    }
}

/// The columns that every order has.
fn order(out: &mut Rows, seat: i32, fold: &Fold<'_>) {
    out.begin(COLUMNS);
    out.int(seat);
    out.boolean(fold.is_first_of_buyer);
    out.uuid(fold.order.as_bytes());
    out.long(fold.version.get() as i64);
    out.text(fold.status.as_str());
    out.time(fold.updated_at);
    out.optional_time(fold.expires_at);
}

/// What the stored row must be for the fold to follow it.
fn moved(out: &mut Rows, fold: &Fold<'_>) {
    assert!(fold.before.len() <= 3, "the table has room for three statuses");
    out.long(fold.first.get() as i64);
    for place in 0..3 {
        match fold.before.get(place) {
            Some(status) => out.text(status.as_str()),
            None => out.absent(1),
        }
    }
}

fn item(out: &mut Rows, line: i16, item: &OrderItem) {
    out.small(line);
    out.uuid(item.product.as_bytes());
    out.int(item.quantity.get() as i32);
    out.long(item.unit_price as i64);
}
