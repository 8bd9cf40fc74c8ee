//! Setting the store right from the log: rows that differ, orders that are missing or misplaced,
//! checkpoints ahead of the log, dead letters whose rows are right.
//!
//! It begins with an audit, refuses when that finds the log itself in doubt, and ends with another.
//! Each step is one transaction of a shard that holds only while the partition's checkpoint is where
//! the rows were computed for; when a live projector moved it, the rows are computed again for where
//! it is now. Orders that the log does not reach back to are left alone.

use super::letters::{Letters, Subject};
use super::mends::{Mend, Mends, SetBack};
use super::repair_plan::{Done, Plan};
use super::report::Report;
use super::shards::ShardRows;
use super::since::Since;
use super::{Look, ledger::Books, log_failure, look, no_room};
use crate::exit::Failure;
use crate::roles;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_persistence::{DeadLetter, Repair, Store, StoreError};
use doorbuster_protocol::{PartitionId, Sequence};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Audits followed by repairs, before what is left is called beyond repair.
const ROUNDS_MAX: u32 = 10;
/// Rows of one transaction.
const BATCH_ROWS: usize = 500;
/// Rows that wait for their batches to fill.
const WAITING_MAX: usize = 20_000;
/// Tries of one transaction while a projector moves the checkpoint, or the shard is busy.
const TRIES_MAX: u32 = 60;
/// Repairs that are told one by one; those past it are only counted.
const DONE_KEPT_MAX: usize = 10_000;

/// What a repair did.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    /// The audit before it.
    pub(crate) found: Report,
    /// The audit after it; `None` when nothing was touched.
    pub(crate) after: Option<Report>,
    /// The first things that were set right.
    pub(crate) done: Vec<Done>,
    /// How many were.
    pub(crate) done_count: u64,
    /// What could not be set right, and why.
    pub(crate) left: Vec<String>,
    /// Whether the log is in doubt, so that the store was not touched.
    pub(crate) refused: bool,
}

impl Repairs {
    /// Whether nothing diverges any more.
    pub(crate) fn is_clean(&self) -> bool {
        !self.refused && self.after.as_ref().unwrap_or(&self.found).is_clean()
    }
}

/// Audits the store of the data directory at `data`, sets it right, and audits it again.
pub(crate) fn run(
    data: &Path,
    store: &dyn Store,
    state_orders_max: u64,
) -> Result<Repairs, Failure> {
    let mut looked = look(data, Some(store), state_orders_max)?;
    let mut repairs = Repairs { found: std::mem::take(&mut looked.report), ..Repairs::default() };
    if repairs.found.findings.doubt_the_log() {
        repairs.refused = true;
        return Ok(repairs);
    }
    if repairs.found.is_clean() {
        return Ok(repairs);
    }
    for _ in 0..ROUNDS_MAX {
        let done_before = repairs.done_count;
        repairs.left.clear();
        let Look { directory, books, letters, shards, mends, .. } = looked;
        let mut was_outrun = false;
        if let Some(mends) = mends {
            let runtime = roles::runtime();
            let mut work = Work {
                runtime,
                directory: &directory,
                books: &books,
                shards: &shards,
                since: HashMap::new(),
                repairs: &mut repairs,
                failed: HashSet::new(),
                was_outrun: false,
            };
            work.mend(mends)?;
            work.settle(&letters)?;
            was_outrun = work.was_outrun;
        }
        looked = look(data, Some(store), state_orders_max)?;
        let report = std::mem::take(&mut looked.report);
        let is_over = report.is_clean()
            || report.findings.doubt_the_log()
            || (repairs.done_count == done_before && !was_outrun);
        repairs.after = Some(report);
        if is_over {
            break;
        }
    }
    Ok(repairs)
}

/// One round of repairs.
struct Work<'a> {
    runtime: Runtime,
    directory: &'a DataDirectory,
    books: &'a [Books],
    shards: &'a [ShardRows],
    /// What the log says after what was read, for partitions where that was asked.
    since: HashMap<PartitionId, Since>,
    repairs: &'a mut Repairs,
    /// Rows that could not be set right, by shard.
    failed: HashSet<(u16, Subject)>,
    /// Whether a shard was further than the log tells: the next round looks again.
    was_outrun: bool,
}

/// How a try to set rows right ended.
enum Tried {
    Done,
    Failed(StoreError),
}

impl Work<'_> {
    fn mend(&mut self, mends: Mends) -> Result<(), Failure> {
        let (checkpoints, mut waiting) = mends.finish().map_err(|error| no_room(&error))?;
        // Rows are computed for where a checkpoint stands, so those come first.
        for set_back in checkpoints {
            self.set_back(set_back)?;
        }
        let mut batches: HashMap<(u16, PartitionId), Vec<Mend>> = HashMap::new();
        let mut rows = 0;
        while let Some(mend) = waiting.next().map_err(|error| no_room(&error))? {
            let key = (mend.shard, mend.partition);
            let batch = batches.entry(key).or_default();
            batch.push(mend);
            rows += 1;
            if batch.len() == BATCH_ROWS {
                rows -= BATCH_ROWS;
                let batch = std::mem::take(batch);
                self.rows(key, &batch)?;
            } else if rows == WAITING_MAX {
                for (key, batch) in batches.drain() {
                    self.rows(key, &batch)?;
                }
                rows = 0;
            }
        }
        for (key, batch) in batches {
            self.rows(key, &batch)?;
        }
        Ok(())
    }

    /// Sets rows right; when some row of many cannot be written, finds out which.
    fn rows(&mut self, key: (u16, PartitionId), mends: &[Mend]) -> Result<(), Failure> {
        if mends.is_empty() {
            return Ok(());
        }
        match self.try_rows(key, mends)? {
            Tried::Done => Ok(()),
            Tried::Failed(_) if mends.len() > 1 => {
                let (first, second) = mends.split_at(mends.len() / 2);
                self.rows(key, first)?;
                self.rows(key, second)
            }
            Tried::Failed(error) => {
                self.leave(&mends[0], &error.to_string());
                Ok(())
            }
        }
    }

    fn try_rows(&mut self, key: (u16, PartitionId), mends: &[Mend]) -> Result<Tried, Failure> {
        let (shard, partition) = key;
        let mut last_error = None;
        for attempt in 0..TRIES_MAX {
            let at = match self.checkpoint(shard, partition) {
                Ok(at) => at,
                Err(error) => {
                    self.pause(attempt, &error)?;
                    continue;
                }
            };
            let name = &self.shards[usize::from(shard)].name;
            let since = self.since_of(partition);
            if !since.follow(at).map_err(|error| log_failure(partition, &error))? {
                self.was_outrun = true;
                return Ok(Tried::Done);
            }
            let plan = Plan::of(partition, at, name, mends, since);
            let outcome = match plan.is_empty() {
                true => Ok(()),
                false => self.send(shard, plan.repair),
            };
            match outcome {
                Ok(()) => {
                    plan.done.into_iter().for_each(|done| self.done(done));
                    for (index, why) in plan.left {
                        self.leave(&mends[index], why);
                    }
                    return Ok(Tried::Done);
                }
                Err(error @ StoreError::OutOfStep { .. }) => last_error = Some(error),
                Err(error) if error.is_retryable() => {
                    self.pause(attempt, &error)?;
                    last_error = Some(error);
                }
                Err(error) => return Ok(Tried::Failed(error)),
            }
        }
        let error = last_error.unwrap_or(StoreError::Closed);
        Err(roles::store::failure(&error))
    }

    fn since_of(&mut self, partition: PartitionId) -> &mut Since {
        let (directory, books) = (self.directory, &self.books[partition.index()]);
        self.since.entry(partition).or_insert_with(|| Since::new(directory, books))
    }

    fn set_back(&mut self, set_back: SetBack) -> Result<(), Failure> {
        let SetBack { shard, partition, from, to } = set_back;
        let repair = Repair { checkpoint: Some(to), ..Plan::nothing(partition, from) };
        match self.send(shard, repair) {
            Ok(()) => {
                let name = &self.shards[usize::from(shard)].name;
                let done = Done::checkpoint(name, partition, from, to);
                self.done(done);
                Ok(())
            }
            // Somebody moved it meanwhile: the next round looks again.
            Err(StoreError::OutOfStep { .. }) => Ok(()),
            Err(error) => Err(roles::store::failure(&error)),
        }
    }

    /// Takes away the dead letters whose rows are as the log has them by now.
    fn settle(&mut self, letters: &Letters) -> Result<(), Failure> {
        let shards = self.shards;
        for (index, shard) in (0..).zip(shards) {
            let mut by_partition: HashMap<PartitionId, Vec<&DeadLetter>> = HashMap::new();
            for letter in &shard.letters {
                let Some(books) = self.books.get(letter.partition.index()) else { continue };
                let subjects = letters.subjects(letter.partition, letter.sequence);
                if letter.sequence < books.first {
                    self.repairs.left.push(format!(
                        "the dead letter of event {} of partition {} on shard {}: the log does not \
                         reach back to it",
                        letter.sequence, letter.partition, shard.name
                    ));
                } else if subjects.iter().all(|it| !self.failed.contains(&(index, *it))) {
                    by_partition.entry(letter.partition).or_default().push(letter);
                }
            }
            for (partition, letters) in by_partition {
                for letters in letters.chunks(BATCH_ROWS) {
                    self.settle_some(index, partition, letters)?;
                }
            }
        }
        Ok(())
    }

    fn settle_some(
        &mut self,
        shard: u16,
        partition: PartitionId,
        letters: &[&DeadLetter],
    ) -> Result<(), Failure> {
        let settled: Vec<_> = letters.iter().map(|letter| (letter.sequence, letter.line)).collect();
        for attempt in 0..TRIES_MAX {
            let sent = self.checkpoint(shard, partition).and_then(|at| {
                let settled = settled.clone();
                self.send(shard, Repair { settled, ..Plan::nothing(partition, at) })
            });
            match sent {
                Ok(()) => {
                    let name = &self.shards[usize::from(shard)].name;
                    let all: Vec<_> =
                        letters.iter().map(|letter| Done::dead_letter(name, letter)).collect();
                    all.into_iter().for_each(|done| self.done(done));
                    return Ok(());
                }
                Err(StoreError::OutOfStep { .. }) => {}
                Err(error) => self.pause(attempt, &error)?,
            }
        }
        Ok(())
    }

    fn checkpoint(&self, shard: u16, partition: PartitionId) -> Result<Sequence, StoreError> {
        let shard = &self.shards[usize::from(shard)].shard;
        let checkpoints = self.runtime.block_on(shard.checkpoints())?;
        let found = checkpoints.iter().find(|checkpoint| checkpoint.partition == partition);
        found.map(|it| it.sequence).ok_or(StoreError::NoCheckpoint { partition })
    }

    fn send(&self, shard: u16, repair: Repair) -> Result<(), StoreError> {
        let shard = &self.shards[usize::from(shard)].shard;
        self.runtime.block_on(shard.repair(Arc::new(repair)))
    }

    /// Waits a little before the next try, longer each time; fails when trying again is no use.
    fn pause(&self, attempt: u32, error: &StoreError) -> Result<(), Failure> {
        if !error.is_retryable() || attempt + 1 == TRIES_MAX {
            return Err(roles::store::failure(error));
        }
        let pause = Duration::from_millis(20) * attempt.min(25);
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
        Ok(())
    }

    fn done(&mut self, done: Done) {
        self.repairs.done_count += 1;
        if self.repairs.done.len() < DONE_KEPT_MAX {
            self.repairs.done.push(done);
        }
    }

    fn leave(&mut self, mend: &Mend, why: &str) {
        let shard = &self.shards[usize::from(mend.shard)].name;
        let (subject, name) = match (mend.what.order(), mend.what.product()) {
            (Some(order), _) => (Some(Subject::Order(order)), format!("order {order}")),
            (_, Some(product)) => (Some(Subject::Product(product)), format!("product {product}")),
            _ => (None, "a row".to_owned()),
        };
        self.failed.extend(subject.map(|subject| (mend.shard, subject)));
        if self.repairs.left.len() < DONE_KEPT_MAX {
            self.repairs.left.push(format!("{name} on shard {shard}: {why}"));
        }
    }
}
