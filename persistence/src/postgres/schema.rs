//! The tables of a shard, brought up to date by refinery from `migrations/`.
//!
//! Whoever migrates holds an advisory lock of a transaction on a second connection meanwhile, so
//! that several processes that start at once take turns. A lock of a transaction, because a lock of
//! a session would stay behind in a transaction pooler; a second connection, because refinery makes
//! its own transactions. If the lock's connection breaks, the history's primary key still lets only
//! one of two migrations commit. All pending migrations of a shard are one transaction.

use crate::error::StoreError;
use crate::postgres::connect::{connect, failure};
use crate::postgres::url::ShardUrl;
use refinery::Runner;
use std::error::Error;
use std::iter;
use std::time::Duration;
use tokio_postgres::Client;

mod embedded {
    #![allow(missing_docs, unreachable_pub, reason = "a macro writes it")]
    refinery::embed_migrations!("src/postgres/migrations");
}

/// The key of the advisory lock: `doorbust` in ASCII.
const LOCK_KEY: i64 = 0x646f_6f72_6275_7374;
/// How long to wait for another process that migrates.
const LOCK_WAIT_S: u32 = 120;
/// The name of the first migration, which tells our history from another program's.
const FIRST_MIGRATION: &str = "results";

/// What a migration did to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigratedShard {
    /// The shard.
    pub name: String,
    /// Host, port and database.
    pub place: String,
    /// The version before; 0 when there were no tables.
    pub from: u32,
    /// The version now.
    pub to: u32,
}

/// The version that this program needs.
pub(super) fn newest() -> u32 {
    let migrations = embedded::migrations::runner();
    let versions = migrations.get_migrations().iter().map(refinery::Migration::version);
    versions.max().map_or(0, |version| version as u32)
}

/// Makes sure that the tables are those of this program; the version that was there before.
pub(super) async fn prepare(
    shard: &str,
    url: &ShardUrl,
    client: &Client,
    migrate: bool,
    limit: Duration,
) -> Result<u32, StoreError> {
    let (found, needed) = (inspect(shard, url, client).await?, newest());
    if found > needed {
        return Err(StoreError::NewerSchema { found, known: needed });
    }
    if found == needed {
        return Ok(found);
    }
    if !migrate {
        return Err(StoreError::OlderSchema { shard: shard.to_owned(), found, needed });
    }
    let lock = connect(shard, url, limit).await?;
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'; SELECT pg_advisory_xact_lock({LOCK_KEY})"
    );
    lock.batch_execute(&sql).await.map_err(|error| failure(shard, &error))?;
    // Somebody may have done it while the lock was waited for.
    let found = inspect(shard, url, client).await?;
    if found < needed {
        let mut own = connect(shard, url, limit).await?;
        apply(shard, &mut own, embedded::migrations::runner()).await?;
    }
    // Whatever comes of this, the lock goes with its connection.
    let _ = lock.batch_execute("COMMIT").await;
    Ok(found)
}

async fn apply(shard: &str, client: &mut Client, runner: Runner) -> Result<(), StoreError> {
    let runner = runner.set_grouped(true);
    match runner.run_async(client).await {
        Ok(_) => Ok(()),
        Err(error) => match said_by_server(&error) {
            Some(cause) => Err(failure(shard, cause)),
            None => Err(StoreError::Misconfigured {
                what: format!("shard {shard} of the store cannot be migrated: {error}"),
                next: "Its tables were made by another program or by an unreleased one. Use \
                       another database; this one is left as it is"
                    .into(),
            }),
        },
    }
}

/// What the server or its connection said, however deep the migrator wrapped it: a connection
/// that broke off is no sign of foreign tables.
fn said_by_server<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a tokio_postgres::Error> {
    iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<tokio_postgres::Error>())
}

/// The version of the tables; 0 when there are none. Tables that are not ours are refused.
async fn inspect(shard: &str, url: &ShardUrl, client: &Client) -> Result<u32, StoreError> {
    let ask = |sql: &'static str| async move {
        client.query_typed(sql, &[]).await.map_err(|error| failure(shard, &error))
    };
    let sql = "SELECT to_regclass('refinery_schema_history') IS NOT NULL,
                   to_regclass('shard') IS NOT NULL AND to_regclass('checkpoints') IS NOT NULL,
                   coalesce(to_regclass('shard'), to_regclass('users'), to_regclass('products'),
                       to_regclass('orders'), to_regclass('order_items'), to_regclass('payments'),
                       to_regclass('checkpoints'), to_regclass('dead_letters'))::text";
    let rows = ask(sql).await?;
    let row = rows.first().ok_or_else(|| StoreError::Damaged { why: "no answer".into() })?;
    let (has_history, has_ours, table): (bool, bool, Option<String>) =
        (row.get(0), row.get(1), row.get(2));
    let foreign = |what: &str| StoreError::Misconfigured {
        what: format!("the database of shard {shard} ({}) holds {what}", url.place()),
        next: "Name an empty database; this one is left as it is".into(),
    };
    if !has_history {
        return match table {
            None => Ok(0),
            Some(table) => Err(foreign(&format!("a table {table} that is not Doorbuster's"))),
        };
    }
    let rows = ask("SELECT version, name FROM refinery_schema_history ORDER BY version").await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        // A migration that was taken back leaves an empty history.
        return match table {
            None => Ok(0),
            Some(table) => Err(foreign(&format!("a table {table} that is not Doorbuster's"))),
        };
    };
    if first.get::<_, Option<&str>>(1) != Some(FIRST_MIGRATION) || !has_ours {
        return Err(foreign("the tables of another program"));
    }
    u32::try_from(last.get::<_, i32>(0)).map_err(|_| foreign("a history with a negative version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] Box<dyn Error + Send + Sync>);

    #[test]
    fn what_the_server_said_is_found_at_every_depth() {
        let server = || "port=none".parse::<tokio_postgres::Config>().expect_err("no port");
        assert!(said_by_server(&server()).is_some());
        let once = Wrapped(Box::new(server()));
        assert!(said_by_server(&once).is_some());
        assert!(said_by_server(&Wrapped(Box::new(once))).is_some());
        assert!(said_by_server(&Wrapped("a divergent version".into())).is_none());
    }
}
