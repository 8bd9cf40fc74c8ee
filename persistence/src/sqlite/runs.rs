//! Runs: the index of orders by buyer, in pieces that are filled one after the other.
//!
//! Buyers are spread evenly over an index by buyer, so once it is large each order of a batch changes
//! a page of its own there, and that page is written twice, into the write-ahead log and out of it.
//! An index by run and buyer is written in its last run alone, whose pages many orders share.
//! Measured on two cores with batches of 5 000 orders, moved on later: 92 000 orders/s at first and
//! 70 000 at four million with 1.7 KB written an order, where it was 75 000 and 31 000 with 9.3 KB.
//!
//! A page of a buyer's orders is put together from the runs, the newest first, until none that is left
//! can have newer ones: for a buyer with few orders that is a look into each. So runs grow with the
//! store, and there are never many; past six million orders writing slows down as one index of a
//! thirty-second of them would.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Orders after which the next run begins: the pages of so many fit well into the cache. With more
/// than so many times [`PART`] a run has its part of all orders.
pub(super) const RUN_ORDERS: u32 = 200_000;
/// A run is no less than this part of the orders before it, so that their number grows with the
/// logarithm of the orders: 32 at six million, 120 at a hundred million.
const PART: i64 = 32;

/// The run that is being filled.
pub(super) struct LastRun {
    pub(super) number: i64,
    orders: i64,
    /// The latest creation of one of its orders.
    newest: i64,
}

impl LastRun {
    /// The last one, or the next when that has as many as `run_orders`.
    pub(super) fn of(connection: &Connection, run_orders: u32) -> rusqlite::Result<Self> {
        let all: i64 = connection
            .prepare_cached("SELECT coalesce(sum(orders), 0) FROM order_runs")?
            .query_row([], |row| row.get(0))?;
        let is_full = |run: &Self| run.orders >= i64::from(run_orders).max(all / PART);
        let last = connection
            .prepare_cached("SELECT run, orders, newest FROM order_runs ORDER BY run DESC LIMIT 1")?
            .query_row([], |row| {
                Ok(Self { number: row.get(0)?, orders: row.get(1)?, newest: row.get(2)? })
            })
            .optional()?;
        Ok(match last {
            Some(last) if !is_full(&last) => last,
            full => Self { number: full.map_or(0, |full| full.number + 1), orders: 0, newest: 0 },
        })
    }

    /// Counts an order that was put into it.
    pub(super) fn add(&mut self, created_at: i64) {
        self.orders += 1;
        self.newest = self.newest.max(created_at);
    }

    /// Has it known, in the transaction that put orders into it.
    pub(super) fn save(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        if self.orders == 0 {
            return Ok(());
        }
        transaction
            .prepare_cached(
                "INSERT INTO order_runs (run, orders, newest) VALUES (?1, ?2, ?3)
                 ON CONFLICT (run) DO UPDATE SET orders = excluded.orders, newest = excluded.newest",
            )?
            .execute(params![self.number, self.orders, self.newest])?;
        Ok(())
    }
}

/// Every run, and the latest creation of one of its orders, the newest run first.
pub(super) fn newest_first(connection: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    connection
        .prepare_cached("SELECT run, newest FROM order_runs ORDER BY newest DESC, run DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
