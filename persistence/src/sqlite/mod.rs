//! The embedded store: one SQLite file in WAL mode, one thread that writes, some that read. It is a
//! store of one shard that owns every bucket, for ever.
//!
//! A commit is durable when it is answered (`synchronous = FULL`): the engine's log is trimmed on
//! the strength of it. Readers see the last commit and never wait for the writer. Several processes
//! may open one file, as `doorbuster edge` and `doorbuster project` do; writers take turns.

mod read;
mod repair;
mod runs;
mod schema;
mod shard;
mod threads;
mod write;

use crate::cursor::{OrderCursor, ProductCursor};
use crate::error::StoreError;
use crate::rows::{CatalogEntry, OrderRow, ProductRow};
use crate::store::{Freshness, Page, Shard, Store, StoreFuture};
use doorbuster_protocol::{BuyerId, OrderId, ProductId};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use shard::SqliteShard;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use threads::{ConnectionThread, Priority};

/// How long to pause between tries to open a file that another process is opening.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Whether to make the file when it is missing. Its folder must be there.
    pub create: bool,
    /// Threads that read, at least 1.
    pub readers: usize,
    /// How long to wait for another process that writes.
    pub busy_timeout: Duration,
    /// Orders after which the index by buyer begins its next run. A file may be written with one
    /// number and then another.
    pub run_orders: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            create: true,
            readers: 2,
            busy_timeout: Duration::from_secs(5),
            run_orders: runs::RUN_ORDERS,
        }
    }
}

/// The embedded store. When it and its shard are dropped, that waits for what they are doing, then
/// closes the file.
pub struct SqliteStore {
    shard: Arc<SqliteShard>,
}

impl SqliteStore {
    /// Opens the file at `path`, and makes it when it is missing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, &SqliteOptions::default())
    }

    /// Opens the file at `path` as `options` say.
    pub fn open_with(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self, StoreError> {
        assert!(options.readers >= 1, "a store has at least one reader");
        // SQLite does not wait its turn for the change to WAL mode, which two processes that open a
        // new file at once both make. So the turn is waited for here.
        let began = Instant::now();
        loop {
            match Self::open_once(path.as_ref(), options) {
                Err(StoreError::Busy { .. }) if began.elapsed() < options.busy_timeout => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    fn open_once(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        if !options.create && !path.exists() {
            return Err(StoreError::Missing { path: path.into() });
        }
        let create =
            if options.create { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
        let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | create, options)?;
        schema::upgrade(&mut writer, path)?;
        let readers = (0..options.readers)
            .map(|number| {
                let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, options)?;
                reader.execute_batch("PRAGMA query_only = ON").map_err(failure)?;
                ConnectionThread::start(&format!("store-read-{number}"), reader, Priority::Normal)
            })
            .collect::<Result<_, _>>()?;
        let writer = ConnectionThread::start("store-write", writer, Priority::Background)?;
        Ok(Self {
            shard: Arc::new(SqliteShard { writer, readers, run_orders: options.run_orders }),
        })
    }
}

fn connect(
    path: &Path,
    flags: OpenFlags,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| schema::opening(&error, path))?;
    connection.busy_timeout(options.busy_timeout).map_err(failure)?;
    // Before anything is set: a file of another program stays as it is.
    schema::inspect(&connection, path)?;
    // A checkpoint moves each changed page once, however often it was written: rare ones cost less.
    // 32 000 pages are 128 MiB of write-ahead log.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA wal_autocheckpoint = 32000;
             PRAGMA journal_size_limit = 67108864;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -65536;",
        )
        .map_err(|error| schema::opening(&error, path))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

impl Store for SqliteStore {
    fn shards(&self) -> Vec<Arc<dyn Shard>> {
        vec![Arc::clone(&self.shard) as Arc<dyn Shard>]
    }

    fn refresh(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn order(&self, order: OrderId, _: Freshness) -> StoreFuture<'_, Option<OrderRow>> {
        self.shard.reader().ask(move |connection| read::order(connection, order))
    }

    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        _: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>> {
        self.shard.reader().ask(move |connection| read::orders_of(connection, buyer, after, limit))
    }

    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>> {
        self.shard.reader().ask(move |connection| read::product(connection, product))
    }

    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>> {
        self.shard.reader().ask(move |connection| read::products(connection, after, limit))
    }

    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()> {
        self.shard.writer.run(move |connection| write::put_catalog(connection, &entry))
    }

    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>> {
        self.shard.reader().ask(move |connection| read::catalog(connection, product))
    }
}

/// What an error of SQLite means to a caller.
fn classify(error: &rusqlite::Error) -> StoreError {
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { why },
        Some(ErrorCode::DiskFull) => StoreError::Full { why },
        // The index of the write-ahead log, which grows with it, found no room.
        Some(_) if error.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_SHMSIZE) => {
            StoreError::Full { why }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { why },
        Some(_) => StoreError::Failed { why },
        // No code of SQLite's: a column did not hold what this program writes.
        None => StoreError::Damaged { why },
    }
}

/// [`classify`] for `map_err`.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failure(error: rusqlite::Error) -> StoreError {
    classify(&error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{History, Model, batches};
    use crate::store::StoreIdentity;
    use doorbuster_protocol::routing::PartitionCount;

    /// Pages that no store of this test reaches.
    const PLENTY: u32 = 1 << 20;

    async fn limit_pages(store: &SqliteStore, pages: u32) {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        let limited = store
            .shard
            .writer
            .run(move |connection| connection.query_row(&pragma, [], |_| Ok(())).map_err(failure));
        limited.await.expect("the limit is set");
    }

    #[test]
    fn no_room_is_told_from_a_disk_that_fails() {
        let check = |code, is_full: bool| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = classify(&error);
            assert_eq!(matches!(error, StoreError::Full { .. }), is_full, "{code}: {error}");
            assert_eq!(error.is_retryable(), is_full, "{code}: {error}");
        };
        check(ffi::SQLITE_FULL, true);
        check(ffi::SQLITE_IOERR_SHMSIZE, true);
        check(ffi::SQLITE_IOERR_WRITE, false);
        check(ffi::SQLITE_CORRUPT, false);
    }

    #[tokio::test]
    async fn a_page_costs_one_look_into_the_index_for_each_run() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(directory.path().join("1.db")).expect("it opens");
        let plan = store.shard.reader().run(|connection| {
            let sql = format!("EXPLAIN QUERY PLAN {}", read::orders_of_run());
            let mut plan = connection.prepare(&sql).map_err(failure)?;
            let steps = plan.query_map([1, 2, 3, 4, 5], |row| row.get::<_, String>(3));
            steps.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failure)
        });
        assert_eq!(
            plan.await.expect("it has a plan"),
            ["SEARCH orders USING INDEX orders_by_run (run=? AND user_id=? AND \
             (created_at,id)<(?,?))"]
        );
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_not_looked_up() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(directory.path().join("store.db")).expect("it opens");
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let held = store.shard.readers[0].ask(move |_| {
            // An error means that the test has ended.
            let _ = gate.recv();
            Ok(())
        });
        let (looked_up, looked) = std::sync::mpsc::channel();
        let answered = looked_up.clone();
        drop(store.shard.readers[0].ask(move |_| looked_up.send("dropped").map_err(|_| closed())));
        let waited_for =
            store.shard.readers[0].ask(move |_| answered.send("waited for").map_err(|_| closed()));
        go.send(()).expect("the reader waits");
        held.await.expect("it was let go");
        waited_for.await.expect("it is looked up");
        assert_eq!(looked.iter().collect::<Vec<_>>(), ["waited for"]);
    }

    fn closed() -> StoreError {
        StoreError::Closed
    }

    /// SQLite answers at its page limit as it does on a full disk.
    #[tokio::test]
    async fn a_full_disk_refuses_whole_batches_until_there_is_room() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(directory.path().join("store.db")).expect("it opens");
        let partitions = PartitionCount::new(1).expect("in range");
        let identity = StoreIdentity { directory: 1, partitions };
        store.shard.claim(identity).await.expect("it is fresh");
        let mut history = History::new(1, 1);
        let steps: Vec<_> = (0..3_000).map(|_| history.step()).collect();
        let (mut model, mut refused) = (Model::default(), 0);
        steps.iter().for_each(|step| model.apply(step.sequence, &step.event));
        let mut random = fastrand::Rng::with_seed(1);
        for batch in batches(&steps, &mut random, 400) {
            let batch = Arc::new(batch);
            limit_pages(&store, 1).await;
            let full = store.shard.write(Arc::clone(&batch)).await;
            limit_pages(&store, PLENTY).await;
            match full {
                // What fits into pages that are there already is written.
                Ok(_) => continue,
                Err(error) => assert!(
                    matches!(error, StoreError::Full { .. }) && error.is_retryable(),
                    "{error}"
                ),
            }
            refused += 1;
            let stored = store.shard.checkpoints().await.expect("it answers")[0].sequence;
            assert_eq!(stored, batch.advances[0].after, "nothing of it is written");
            store.shard.write(batch).await.expect("there is room");
        }
        assert!(refused > 0, "the limit was never reached");
        model.assert_matches(&store).await;
    }
}
