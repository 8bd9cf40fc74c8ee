//! The peer of the projector: a bare binary COPY of the same rows into the same tables, over one
//! connection for each shard, so many orders a transaction.
//!
//! The rows come out of tables that the projector has filled, as Postgres itself spells them, and
//! lie in memory before the clock starts: whoever copies them has nothing else to do.

use crate::shards::{block_on, connect};
use anyhow::{Context, ensure};
use bytes::{Buf, Bytes, BytesMut};
use doorbuster_postgres_harness::Database;
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Orders of one transaction: as many as the projector's batches have at the most.
pub(crate) const BATCH: usize = 10_000;

/// Each table's rows as they were made, oldest first; and what has become of them since.
const READ: [&str; 4] = [
    "SELECT u.* FROM users u JOIN orders o ON o.user_id = u.id ORDER BY o.created_at, o.id",
    "SELECT id, user_id, total_amount, currency, 'pending', created_at, created_at, expires_at, \
     version FROM orders ORDER BY created_at, id",
    "SELECT i.* FROM order_items i JOIN orders o ON o.id = i.order_id \
     ORDER BY o.created_at, o.id, i.line",
    "SELECT id, status, updated_at, version FROM orders WHERE status <> 'pending' \
     ORDER BY updated_at, id",
];
/// Where they go.
const WRITE: [&str; 4] = [
    "users",
    "orders (id, user_id, total_amount, currency, status, created_at, updated_at, expires_at, \
     version)",
    "order_items",
    "changes",
];
/// The table for changes, and how the bare way applies what was copied into it.
const STAGE: &str = "CREATE TEMP TABLE IF NOT EXISTS changes (id UUID, status TEXT, \
                     updated_at TIMESTAMPTZ, version BIGINT) ON COMMIT DELETE ROWS";
const APPLY: &str = "UPDATE orders o SET status = c.status, updated_at = c.updated_at, \
                     version = c.version FROM changes c WHERE o.id = c.id";

/// The signature, no flags, no extension: `COPY`'s manual, "Binary Format".
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &[0xff, 0xff];

/// One shard's rows, by table, each in pieces of at most [`BATCH`].
pub(crate) struct Rows {
    tables: [Vec<Bytes>; 4],
    /// Rows over all tables; a change counts as one.
    pub(crate) count: u64,
}

impl Rows {
    /// Those of a shard that was filled by the projector.
    pub(crate) fn read(database: &Database) -> anyhow::Result<Self> {
        block_on(async {
            let client = connect(&database.url()).await?;
            let mut rows = Self { tables: Default::default(), count: 0 };
            for (table, select) in rows.tables.iter_mut().zip(READ) {
                let (pieces, count) = cut(&copy_out(&client, select).await?)?;
                *table = pieces;
                rows.count += count;
            }
            let [users, orders, items, _] = &rows.tables;
            ensure!(
                users.len() == orders.len() && items.len() == orders.len(),
                "every order has a buyer of its own and one item"
            );
            Ok(rows)
        })
    }
}

async fn copy_out(client: &Client, select: &str) -> anyhow::Result<Bytes> {
    let mut all = BytesMut::new();
    let copied = client.copy_out(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await?;
    let mut copied = pin!(copied);
    while let Some(bytes) = copied.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all.freeze())
}

/// Parts the rows of a COPY into pieces without a header and a trailer, and counts them.
fn cut(copied: &Bytes) -> anyhow::Result<(Vec<Bytes>, u64)> {
    ensure!(copied.starts_with(&HEADER[..11]), "a binary COPY begins with its signature");
    let mut rest = copied.slice(HEADER.len()..);
    let (mut pieces, mut count) = (Vec::new(), 0);
    loop {
        let mut ahead = rest.clone();
        let mut rows = 0;
        while rows < BATCH {
            let before = ahead.clone();
            let Ok(columns) = u16::try_from(ahead.try_get_i16().context("a cut-off COPY")?) else {
                // The trailer stays unread.
                ahead = before;
                break;
            };
            for _ in 0..columns {
                let length = ahead.try_get_i32().context("a cut-off row")?;
                // A NULL has the length -1 and no bytes.
                let length = usize::try_from(length).unwrap_or(0);
                ensure!(ahead.len() >= length, "a cut-off column");
                ahead.advance(length);
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok((pieces, count));
        }
        let length = rest.len() - ahead.len();
        pieces.push(rest.split_to(length));
        count += rows as u64;
    }
}

/// Copies each shard's rows into its database, all shards at once, and says how long it took.
pub(crate) fn copy(databases: &[Database], rows: &[Rows]) -> anyhow::Result<Duration> {
    let ready = Barrier::new(databases.len() + 1);
    thread::scope(|scope| {
        let shards = databases.iter().zip(rows).map(|(database, rows)| {
            let (url, ready) = (database.url(), &ready);
            scope.spawn(move || {
                block_on(async {
                    let connected = connect(&url).await;
                    ready.wait();
                    write(&connected?, rows).await
                })
            })
        });
        let shards: Vec<_> = shards.collect();
        ready.wait();
        let began = Instant::now();
        for shard in shards {
            shard.join().expect("a shard's thread does not panic")?;
        }
        Ok(began.elapsed())
    })
}

async fn write(client: &Client, rows: &Rows) -> anyhow::Result<()> {
    let [users, orders, items, changes] = &rows.tables;
    for batch in 0..orders.len() {
        client.batch_execute("BEGIN").await?;
        for (table, pieces) in [users, orders, items].into_iter().enumerate() {
            copy_in(client, WRITE[table], &pieces[batch]).await?;
        }
        client.batch_execute("COMMIT").await?;
    }
    for piece in changes {
        client.batch_execute(&format!("BEGIN; {STAGE}")).await?;
        copy_in(client, WRITE[3], piece).await?;
        client.batch_execute(&format!("{APPLY}; COMMIT")).await?;
    }
    Ok(())
}

async fn copy_in(client: &Client, table: &str, piece: &Bytes) -> anyhow::Result<()> {
    let copying = client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
    let mut copying = pin!(copying);
    for part in [Bytes::from_static(HEADER), piece.clone(), Bytes::from_static(TRAILER)] {
        copying.feed(part).await?;
    }
    copying.finish().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_cut_between_rows() {
        fn check(rows: usize, pieces: &[usize]) {
            // A column of one byte, and a NULL.
            const ROW: &[u8] = &[0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
            let mut bytes = HEADER.to_vec();
            bytes.extend(ROW.repeat(rows));
            bytes.extend(TRAILER);
            let (cut, count) = cut(&bytes.into()).expect("a sound COPY");
            let lengths: Vec<_> = cut.iter().map(|piece| piece.len() / ROW.len()).collect();
            assert_eq!((lengths.as_slice(), count), (pieces, rows as u64));
        }
        check(0, &[]);
        check(1, &[1]);
        check(BATCH, &[BATCH]);
        check(BATCH + 1, &[BATCH, 1]);
        assert!(cut(&Bytes::from_static(HEADER)).is_err(), "without a trailer");
        assert!(cut(&Bytes::from_static(b"nothing of the kind")).is_err());
    }
}
