//! The staging table of a transaction, and its rows in the binary format of COPY.
//!
//! It is a temporary table that is made when the session has none, is emptied by every COMMIT, and
//! whose name carries its version: whichever session of a pooler a transaction gets, it finds the
//! columns that it expects. Words have a length, so that the table needs no second file for long
//! ones.

use crate::postgres::types::Time;
use crate::postgres::write::fold::Fold;
use crate::rows::{OrderItem, OrderRow};
use bytes::{BufMut, Bytes, BytesMut};
use doorbuster_protocol::Timestamp;

/// Makes it, unless the session has it.
pub(super) const CREATE: &str = "CREATE TEMPORARY TABLE IF NOT EXISTS staged_results_1 (
    seat INTEGER, of_new_buyer BOOLEAN, id UUID, version BIGINT, status VARCHAR(16),
    updated_at TIMESTAMPTZ, expires_at TIMESTAMPTZ,
    first BIGINT, before_1 VARCHAR(16), before_2 VARCHAR(16), before_3 VARCHAR(16),
    user_id UUID, total_amount BIGINT, currency VARCHAR(3), created_at TIMESTAMPTZ,
    line SMALLINT, product_id UUID, quantity INTEGER, price BIGINT
) ON COMMIT DELETE ROWS";

/// Fills it.
pub(super) const COPY: &str = "COPY pg_temp.staged_results_1 FROM STDIN (FORMAT binary)";

/// Columns of a row.
const COLUMNS: i16 = 19;
/// Signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
/// What is handed to the connection at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// About what a row takes.
const ROW_BYTES: usize = 240;

/// Rows of these folds, each with its seat, in pieces. An order that is made has a row per item;
/// the first carries the order.
pub(super) fn rows(folds: &[Fold<'_>]) -> Vec<Bytes> {
    let mut out = BytesMut::with_capacity(HEADER.len() + folds.len() * ROW_BYTES);
    out.put_slice(HEADER);
    for (seat, fold) in (0_i32..).zip(folds).filter(|(_, fold)| !fold.is_exact) {
        match fold.created {
            Some(row) => created(&mut out, seat, fold, row),
            None => {
                order(&mut out, seat, fold);
                moved(&mut out, fold);
                absent(&mut out, 8);
            }
        }
    }
    out.put_i16(TRAILER);
    let mut all = out.freeze();
    let mut pieces = Vec::with_capacity(all.len() / CHUNK_BYTES + 1);
    while all.len() > CHUNK_BYTES {
        pieces.push(all.split_to(CHUNK_BYTES));
    }
    pieces.push(all);
    pieces
}

fn created(out: &mut BytesMut, seat: i32, fold: &Fold<'_>, row: &OrderRow) {
    order(out, seat, fold);
    absent(out, 4);
    uuid(out, row.buyer.as_bytes());
    long(out, row.total_amount as i64);
    text(out, row.currency.as_str());
    time(out, row.created_at);
    match row.items.first() {
        Some(first) => item(out, 0, first),
        None => absent(out, 4),
    }
    for (line, other) in (1_i16..).zip(row.items.iter().skip(1)) {
        out.put_i16(COLUMNS);
        int(out, seat);
        absent(out, 1);
        uuid(out, fold.order.as_bytes());
        absent(out, 8);
        absent(out, 3);
        time(out, row.created_at);
        item(out, line, other);
    }
}

/// The columns that every order has.
fn order(out: &mut BytesMut, seat: i32, fold: &Fold<'_>) {
    out.put_i16(COLUMNS);
    int(out, seat);
    out.put_i32(1);
    out.put_u8(u8::from(fold.is_first_of_buyer));
    uuid(out, fold.order.as_bytes());
    long(out, fold.version.get() as i64);
    text(out, fold.status.as_str());
    time(out, fold.updated_at);
    match fold.expires_at.some() {
        Some(at) => time(out, at),
        None => absent(out, 1),
    }
}

/// What the stored row must be for the fold to follow it.
fn moved(out: &mut BytesMut, fold: &Fold<'_>) {
    assert!(fold.before.len() <= 3, "the table has room for three statuses");
    long(out, fold.first.get() as i64);
    for place in 0..3 {
        match fold.before.get(place) {
            Some(status) => text(out, status.as_str()),
            None => absent(out, 1),
        }
    }
}

fn item(out: &mut BytesMut, line: i16, item: &OrderItem) {
    out.put_i32(2);
    out.put_i16(line);
    uuid(out, item.product.as_bytes());
    int(out, item.quantity.get() as i32);
    long(out, item.unit_price as i64);
}

fn absent(out: &mut BytesMut, columns: usize) {
    (0..columns).for_each(|_| out.put_i32(-1));
}

fn int(out: &mut BytesMut, value: i32) {
    out.put_i32(4);
    out.put_i32(value);
}

fn long(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

fn uuid(out: &mut BytesMut, id: &[u8; 16]) {
    out.put_i32(16);
    out.put_slice(id);
}

fn text(out: &mut BytesMut, word: &str) {
    out.put_i32(word.len() as i32);
    out.put_slice(word.as_bytes());
}

fn time(out: &mut BytesMut, at: Timestamp) {
    long(out, Time::nearest(at).micros());
}
