//! The tables, and how a file is opened: made when it is new, refused when it is not ours or newer
//! than this program.
//!
//! Ids are the 16 bytes of the UUID, so `hex(id)` prints them; money is minor units; times are
//! microseconds since the epoch. Tables are STRICT, so a column holds what it says. An order's
//! items must have their order. Orders do not reference products: a product whose definition became
//! a dead letter must not take all its orders with it, and with many shards the two live apart.
//!
//! One index beside the primary keys: a buyer's orders, newest first, in runs (`runs`). Nothing asks
//! by status, and each index costs every write.

use crate::error::StoreError;
use crate::sqlite::failure;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::path::Path;

/// Marks the file as Doorbuster's in SQLite's header: `DBst`.
const APPLICATION_ID: i32 = 0x4442_7374;

/// Step `n` takes a file from schema version `n` to `n + 1`. Steps are only ever added.
const STEPS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

/// The schema version that this program writes.
pub(super) const VERSION: u32 = STEPS.len() as u32;

const VERSION_1: &str = "
CREATE TABLE store (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    directory       TEXT NOT NULL,
    partitions      INTEGER NOT NULL CHECK (partitions BETWEEN 1 AND 4096)
) STRICT;

CREATE TABLE checkpoints (
    partition       INTEGER PRIMARY KEY CHECK (partition BETWEEN 0 AND 4095),
    epoch           INTEGER NOT NULL,
    sequence        INTEGER NOT NULL CHECK (sequence >= 0)
) STRICT;

CREATE TABLE products (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 16),
    name                TEXT,
    description         TEXT,
    price               INTEGER CHECK (price BETWEEN 0 AND 1000000000000),
    currency            TEXT CHECK (length(currency) = 3),
    stock               INTEGER CHECK (stock BETWEEN 0 AND 1000000000),
    state               TEXT CHECK (state IN ('open', 'paused')),
    opens_at            INTEGER,
    closes_at           INTEGER,
    limit_per_user      INTEGER,
    hold_seconds        INTEGER,
    waitlist_capacity   INTEGER,
    created_at          INTEGER,
    updated_at          INTEGER,
    CHECK (created_at IS NULL OR (price IS NOT NULL AND currency IS NOT NULL AND stock IS NOT NULL
        AND state IS NOT NULL AND limit_per_user IS NOT NULL AND hold_seconds IS NOT NULL
        AND waitlist_capacity IS NOT NULL AND updated_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX products_by_age ON products (created_at) WHERE created_at IS NOT NULL;

CREATE TABLE orders (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),
    user_id         BLOB NOT NULL CHECK (length(user_id) = 16),
    total_amount    INTEGER NOT NULL CHECK (total_amount >= 0),
    currency        TEXT NOT NULL CHECK (length(currency) = 3),
    status          TEXT NOT NULL CHECK (status IN ('queued', 'pending', 'paid', 'cancelled',
                        'expired', 'shipped', 'completed', 'refunded')),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    expires_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_user ON orders (user_id, created_at);

CREATE TABLE order_items (
    order_id        BLOB NOT NULL REFERENCES orders (id),
    line            INTEGER NOT NULL CHECK (line >= 0),
    product_id      BLOB NOT NULL CHECK (length(product_id) = 16),
    quantity        INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    unit_price      INTEGER NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    partition       INTEGER NOT NULL,
    sequence        INTEGER NOT NULL,
    line            INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    reason          TEXT NOT NULL,
    change          TEXT NOT NULL,
    event           BLOB,
    PRIMARY KEY (partition, sequence, line)
) STRICT, WITHOUT ROWID;
";

/// The event that changed a row last. Rows from before have 0, and so do products that only the
/// catalog knows: every event is newer.
const VERSION_2: &str = "
ALTER TABLE orders ADD COLUMN version INTEGER NOT NULL DEFAULT 0 CHECK (version >= 0);
ALTER TABLE products ADD COLUMN version INTEGER NOT NULL DEFAULT 0 CHECK (version >= 0);
";

/// The index by buyer, in runs. All orders from before are one, which is always looked into: a program
/// from before that still writes puts its orders there.
const VERSION_3: &str = "
CREATE TABLE order_runs (
    run             INTEGER PRIMARY KEY CHECK (run >= 0),
    orders          INTEGER NOT NULL CHECK (orders >= 0),
    newest          INTEGER NOT NULL
) STRICT;
INSERT INTO order_runs SELECT 0, count(*), 9223372036854775807 FROM orders;
ALTER TABLE orders ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
DROP INDEX orders_by_user;
CREATE INDEX orders_by_run ON orders (run, user_id, created_at);
";

/// Looks into a file that was just opened and changes nothing: its schema version, when it is ours
/// or empty, and not too new.
pub(super) fn inspect(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let pragma = |sql| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let opening = |error| opening(&error, path);
    // The table first: who makes a store commits its marks with its tables, so whoever sees a table
    // of ours sees the marks after it.
    let table: Option<String> = connection
        .query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(opening)?;
    let application = pragma("PRAGMA application_id").map_err(opening)?;
    let found = pragma("PRAGMA user_version").map_err(opening)?.cast_unsigned();
    if application != APPLICATION_ID {
        if let Some(table) = table {
            let why = format!("it holds `{table}` of another program");
            return Err(StoreError::NotAStore { path: path.into(), why });
        }
        return Ok(0);
    }
    if found > VERSION {
        return Err(StoreError::NewerSchema { found, known: VERSION });
    }
    Ok(found)
}

/// Brings a file to [`VERSION`], in one transaction.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    if inspect(connection, path)? == VERSION {
        return Ok(());
    }
    // An index over a large table is sorted in a file, not in memory.
    connection.pragma_update(None, "temp_store", "FILE").map_err(failure)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| opening(&error, path))?;
    // Once more: another process may have been faster.
    let found = inspect(&transaction, path)?;
    if found > 0 {
        let path = path.display();
        tracing::info!(%path, from = found, to = VERSION, "bringing the store to this version");
    }
    for step in &STEPS[found as usize..] {
        transaction.execute_batch(step).map_err(failure)?;
    }
    transaction
        .execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        ))
        .map_err(failure)?;
    transaction.commit().map_err(failure)?;
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failure)
}

/// The error of the first look into a file, which may be anything.
pub(super) fn opening(error: &rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            StoreError::NotAStore { path: path.into(), why: "it is no SQLite database".into() }
        }
        Some(rusqlite::ErrorCode::CannotOpen) => StoreError::Failed {
            why: format!(
                "{} cannot be opened ({error}); check its folder and rights",
                path.display()
            ),
        },
        _ => crate::sqlite::classify(error),
    }
}
