//! Which rows change while they are copied: triggers on the source, for the time of the move.
//!
//! They fire once a statement and note ids, also of rows that somebody else than the projector
//! writes. An order stands for its items and payments as well.

use super::Endpoint;
use crate::buckets::BucketSet;
use crate::error::StoreError;
use std::fmt::Write;
use tokio_postgres::types::Type;

/// Tables, the column that names the order or user, and what is noted.
const TABLES: [(&str, &str, &str); 4] = [
    ("orders", "id", "order"),
    ("order_items", "order_id", "order"),
    ("payments", "order_id", "order"),
    ("users", "id", "user"),
];

/// Event, and the transition table that holds what it touched.
const EVENTS: [(&str, &str); 3] = [("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")];

/// Some rows that changed, by id, each once.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The notes that say so.
    pub(super) numbers: Vec<i64>,
    /// Orders.
    pub(super) orders: Vec<[u8; 16]>,
    /// Users, of any bucket.
    pub(super) users: Vec<[u8; 16]>,
}

/// What both begin with. Batches move checkpoints first and are held up there, with no other lock
/// taken: who holds the notes and wants the tables must not meet one who holds a table, fires a
/// trigger and wants the notes. Queries queue up behind whoever waits for a table, so that this does
/// not wait for long.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '10s';
    LOCK TABLE checkpoints IN EXCLUSIVE MODE;
    SET LOCAL lock_timeout = '300ms';
    LOCK TABLE orders, order_items, payments, users IN ACCESS EXCLUSIVE MODE;
    TRUNCATE moving_changes;";

/// Begins to note changes of rows in `buckets`; notes of an earlier move that broke off are gone.
pub(super) async fn start(source: &Endpoint, buckets: &BucketSet) -> Result<(), StoreError> {
    let mut sql = String::from(BEGIN);
    push_drops(&mut sql);
    for (table, column, kind) in TABLES {
        let filter = match kind {
            "order" => format!("WHERE order_bucket({column}) = ANY ('{}')", array(buckets)),
            // The bucket of a user is a hash that the database does not know.
            _ => String::new(),
        };
        let _ = write!(
            sql,
            "CREATE FUNCTION moving_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO moving_changes (kind, id)
                     SELECT DISTINCT '{kind}', {column} FROM changed {filter};
                 RETURN NULL;
             END $$;"
        );
        for (event, rows) in EVENTS {
            let _ = write!(
                sql,
                "CREATE TRIGGER moving_{event} AFTER {event} ON {table}
                     REFERENCING {rows} TABLE AS changed
                     FOR EACH STATEMENT EXECUTE FUNCTION moving_{table}();"
            );
        }
    }
    commit(source, sql).await
}

/// Ends it.
pub(super) async fn stop(source: &Endpoint) -> Result<(), StoreError> {
    let mut sql = String::from(BEGIN);
    push_drops(&mut sql);
    commit(source, sql).await
}

/// Runs a transaction to its end; one that failed is taken back, so that it can be tried again.
async fn commit(source: &Endpoint, mut sql: String) -> Result<(), StoreError> {
    sql.push_str("COMMIT");
    let done = source.execute(&sql).await;
    if done.is_err() {
        // A connection that is gone has taken it back as well.
        let _ = source.execute("ROLLBACK").await;
    }
    done
}

fn push_drops(sql: &mut String) {
    for (table, ..) in TABLES {
        for (event, _) in EVENTS {
            let _ = write!(sql, "DROP TRIGGER IF EXISTS moving_{event} ON {table};");
        }
        let _ = write!(sql, "DROP FUNCTION IF EXISTS moving_{table}();");
    }
}

/// Up to `limit` notes, as the source's open transaction sees them.
pub(super) async fn read(source: &Endpoint, limit: i64) -> Result<Changes, StoreError> {
    let sql = "SELECT number, kind, id FROM moving_changes ORDER BY number LIMIT $1";
    let rows = source.query(sql, &[(&limit, Type::INT8)]).await?;
    let mut changes = Changes::default();
    for row in rows {
        let kind: &str = row.get(1);
        let id = row.get::<_, crate::postgres::types::Uuid>(2).0;
        changes.numbers.push(row.get(0));
        match kind {
            "order" => changes.orders.push(id),
            _ => changes.users.push(id),
        }
    }
    for ids in [&mut changes.orders, &mut changes.users] {
        ids.sort_unstable();
        ids.dedup();
    }
    Ok(changes)
}

/// Forgets notes that were carried over. By number and not up to one: a transaction that began
/// earlier may note under a lower number later.
pub(super) async fn forget(source: &Endpoint, numbers: &[i64]) -> Result<(), StoreError> {
    let sql = "DELETE FROM moving_changes WHERE number = ANY ($1)";
    source.query(sql, &[(&numbers, Type::INT8_ARRAY)]).await.map(drop)
}

/// Buckets as the text of an array.
pub(super) fn array(buckets: &BucketSet) -> String {
    let numbers: Vec<_> = buckets.iter().map(|bucket| bucket.to_string()).collect();
    format!("{{{}}}", numbers.join(","))
}
