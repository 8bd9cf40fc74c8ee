//! Batches: the checkpoints move and the rows are written in one transaction.
//!
//! ```text
//! BEGIN
//!   checkpoints: lock them, move each from exactly where the batch begins   → out of step, fenced
//!   shard: which buckets it owns                                            → moved
//!   products
//!   COPY: orders that the batch makes, folded to one row each, their buyers and items
//!   COPY: moves of other orders, one row each, into the staging table; merge
//!   dead letters
//! COMMIT
//! ```
//!
//! Whoever writes a batch again finds the checkpoints moved; whoever writes while the transaction
//! of a broken connection is still being committed waits for it at the checkpoints. So a batch is
//! written once or refused, and when a connection breaks, also during COMMIT, the checkpoints tell
//! what became of it.
//!
//! | module | what it owns |
//! |---|---|
//! | `fold` | what becomes of each order within a batch |
//! | `making` | orders that are new, straight into their tables |
//! | `staging` | the staging table and its rows |
//! | `binary` | rows in the format of COPY |
//! | `merge` | sets of staged rows into the tables |
//! | `bisect` | which rows of a set are the ones that cannot stand |
//! | `exact` | one order's changes, one after another |
//! | `products` | changes of products |
//! | `letters` | what could not be written |

mod binary;
mod bisect;
pub(super) mod exact;
mod fold;
mod letters;
mod making;
mod merge;
mod products;
mod staging;

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect::failure;
use crate::postgres::row::{damaged, get};
use crate::postgres::scan;
use crate::postgres::session::{Session, slow, timeouts};
use crate::rows::Checkpoint;
use crate::store::{Advance, Batch, Change, Written};
use fold::{Fold, Folded};
use futures_util::future::{try_join, try_join3};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its row has it now.
    Written,
    /// Its row had it already.
    Skipped,
}

/// Why something cannot be written.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It breaks a rule of the tables or of the order's life: it becomes a dead letter.
    Poison(String),
    /// The shard failed: the transaction goes back.
    Failed(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else { return Self::Failed(error) };
        // Data, constraints, and what a trigger of the shop raises.
        match &said.code().code()[..2] {
            "22" | "23" | "P0" => Self::Poison(said.message().to_owned()),
            _ => Self::Failed(error),
        }
    }
}

/// What a batch did so far.
#[derive(Default)]
pub(super) struct Tally<'a> {
    rows: u64,
    letters: Vec<(&'a Change, String)>,
}

impl<'a> Tally<'a> {
    fn count(&mut self, outcome: Outcome) {
        self.rows += u64::from(outcome == Outcome::Written);
    }

    fn bury(&mut self, change: &'a Change, reason: String) {
        self.letters.push((change, reason));
    }
}

/// Writes a batch: all of it, or nothing and an error.
pub(super) async fn write(
    session: &mut Session,
    shard: &str,
    limit: Duration,
    batch: &Batch,
) -> Result<Written, StoreError> {
    for advance in &batch.advances {
        assert!(advance.after < advance.through, "a range holds at least one event");
    }
    let client = session.take().await?;
    let writing = transaction(&client, shard, limit, batch);
    match tokio::time::timeout(limit, writing).await {
        Ok(Ok(written)) => {
            session.put_back(client);
            Ok(written)
        }
        Ok(Err(Ended::Refused(error))) => {
            // The transaction is sound, only unwanted.
            if client.batch_execute("ROLLBACK").await.is_ok() {
                session.put_back(client);
            }
            Err(error)
        }
        // Whatever state the connection is in, the server ends it with the connection.
        Ok(Err(Ended::Failed(error))) => Err(error),
        Err(_) => Err(slow(shard, limit)),
    }
}

/// Why a transaction did not commit.
enum Ended {
    /// The batch does not belong here.
    Refused(StoreError),
    /// The connection is in a state that nobody knows.
    Failed(StoreError),
}

async fn transaction(
    client: &Client,
    shard: &str,
    limit: Duration,
    batch: &Batch,
) -> Result<Written, Ended> {
    let failed = |error| Ended::Failed(failure(shard, &error));
    begin(client, shard, limit, batch).await?;
    let folded = Folded::new(batch);
    let mut tally = Tally::default();
    let rows = rows(client, &folded, &mut tally).await;
    rows.map_err(|refusal| match refusal {
        Refusal::Failed(error) => failed(error),
        Refusal::Poison(why) => Ended::Failed(StoreError::Failed {
            why: format!("shard {shard} refuses a row and does not say which: {why}"),
        }),
    })?;
    client.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(Written { rows: tally.rows, dead_letters: tally.letters.len() as u64 })
}

async fn rows<'a>(
    client: &Client,
    folded: &Folded<'a>,
    tally: &mut Tally<'a>,
) -> Result<(), Refusal> {
    products::write(client, &folded.products, tally).await?;
    orders(client, folded, tally).await?;
    for (change, reason) in &folded.unreadable {
        tally.bury(change, (*reason).to_owned());
    }
    letters::bury(client, &tally.letters).await
}

async fn orders<'a>(
    client: &Client,
    folded: &Folded<'a>,
    tally: &mut Tally<'a>,
) -> Result<(), Refusal> {
    let in_sets = || folded.orders.iter().filter(|fold| !fold.is_exact);
    if in_sets().next().is_some() {
        client.batch_execute("SAVEPOINT sets").await?;
        match quickly(client, folded).await.map_err(Refusal::from) {
            Ok(true) => tally.rows += in_sets().map(|fold| u64::from(fold.len)).sum::<u64>(),
            Ok(false) | Err(Refusal::Poison(_)) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT sets").await?;
                staging::fill(client, &folded.orders, |fold| !fold.is_exact).await?;
                bisect::write(client, folded, tally).await?;
            }
            Err(failed) => return Err(failed),
        }
    }
    for fold in folded.orders.iter().filter(|fold| fold.is_exact) {
        exact::write(client, folded.changes_of(fold), tally).await?;
    }
    Ok(())
}

/// Takes for granted that nothing of the batch is stored yet and that every move finds its order;
/// whether the counts prove it.
async fn quickly(client: &Client, folded: &Folded<'_>) -> Result<bool, tokio_postgres::Error> {
    let is_move = |fold: &Fold<'_>| !fold.is_exact && fold.created.is_none();
    let moves = folded.orders.iter().filter(|fold| is_move(fold)).count() as u64;
    let makes = folded.orders.iter().any(|fold| !fold.is_exact && fold.created.is_some());
    if makes && !making::write(client, &folded.orders).await? {
        return Ok(false);
    }
    if moves == 0 {
        return Ok(true);
    }
    staging::fill(client, &folded.orders, is_move).await?;
    Ok(merge::moves(client).await? == moves)
}

/// Begins the transaction and moves the checkpoints, or says why the batch cannot be written. All
/// of it is sent at once.
async fn begin(client: &Client, shard: &str, limit: Duration, batch: &Batch) -> Result<(), Ended> {
    let failed = |error| Ended::Failed(failure(shard, &error));
    let advances = &batch.advances;
    let partitions: Vec<_> =
        advances.iter().map(|advance| advance.partition.get() as i16).collect();
    let column = |of: fn(&Advance) -> i64| -> Vec<i64> { advances.iter().map(of).collect() };
    let epochs = column(|advance| i64::from(advance.epoch.get()));
    let afters = column(|advance| advance.after.get() as i64);
    let throughs = column(|advance| advance.through.get() as i64);
    let set_up = format!("{}; {}", timeouts(limit), merge::SETTINGS);
    // In one order, so that two writers never wait for each other.
    let lock = "SELECT partition, epoch, sequence FROM checkpoints WHERE partition = ANY ($1)
                ORDER BY partition FOR NO KEY UPDATE";
    let of_lock: [(&(dyn ToSql + Sync), Type); 1] = [(&partitions, Type::INT2_ARRAY)];
    let advance = "UPDATE checkpoints c SET sequence = a.through, epoch = a.epoch
                   FROM unnest($1, $2, $3, $4) AS a (partition, epoch, after, through)
                   WHERE c.partition = a.partition AND c.sequence = a.after AND c.epoch <= a.epoch";
    let of_advance: [(&(dyn ToSql + Sync), Type); 4] = [
        (&partitions, Type::INT2_ARRAY),
        (&epochs, Type::INT8_ARRAY),
        (&afters, Type::INT8_ARRAY),
        (&throughs, Type::INT8_ARRAY),
    ];
    // BEGIN goes by itself: whatever is wrong with what follows, it happens in the transaction.
    let opening = try_join(
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
        client.batch_execute(&set_up),
    );
    let moving = try_join3(
        client.query_typed(lock, &of_lock),
        client.execute_typed(advance, &of_advance),
        // Locked, so that no bucket moves away before this transaction has ended.
        client.query_typed("SELECT buckets FROM shard FOR SHARE", &[]),
    );
    let (_, (stored, moved, owned)) = try_join(opening, moving).await.map_err(failed)?;
    if moved != advances.len() as u64 {
        let stored: Vec<_> = stored
            .iter()
            .map(scan::checkpoint)
            .collect::<Result<_, _>>()
            .map_err(Ended::Refused)?;
        return Err(Ended::Refused(misstep(advances, &stored)));
    }
    let owned = owned.first().ok_or_else(|| damaged("the row of the shard"));
    let owned: BucketSet = owned
        .and_then(|row| get::<&str>(row, 0)?.parse().map_err(|_| damaged("a set of buckets")))
        .map_err(Ended::Refused)?;
    if owned != batch.buckets {
        let shard = shard.to_owned();
        return Err(Ended::Refused(StoreError::Moved { shard, owned: Box::new(owned) }));
    }
    Ok(())
}

/// Which of the advances was refused, and why.
fn misstep(advances: &[Advance], stored: &[Checkpoint]) -> StoreError {
    for advance in advances {
        let Advance { partition, epoch, after, .. } = *advance;
        let Some(stored) = stored.iter().find(|stored| stored.partition == partition) else {
            return StoreError::NoCheckpoint { partition };
        };
        if stored.epoch > epoch {
            return StoreError::Fenced { partition, stored: stored.epoch, given: epoch };
        }
        if stored.sequence != after {
            return StoreError::OutOfStep { partition, stored: stored.sequence, after };
        }
    }
    StoreError::Damaged { why: "a checkpoint is where it should be and cannot be moved".into() }
}
