//! From chunks of all feeds of a shard to batches: one batch is in the shard's hands at a time, so a
//! checkpoint has one writer, and while it is written the next one gathers.
//!
//! A chunk is a run of events of one partition, decoded. Chunks of all partitions gather until the
//! batch is full, or its first chunk has waited long enough and nothing is being written. So a shard
//! that keeps up gets small batches soon, and one that does not gets full ones without a pause. While
//! rows come by the thousand a second, a batch gathers for longer (`rush`).
//!
//! Between batches the shard is asked now and then where it stands, so that one that has lost commits
//! is noticed also when nothing more is to be written.

use crate::buckets::BucketSet;
use crate::projector::metrics::ShardMetrics;
use crate::projector::rush::Rush;
use crate::projector::writing::{Halt, Reached, Writer};
use crate::rows::Checkpoint;
use crate::store::{Advance, Batch, Change};
use doorbuster_protocol::Timestamp;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

/// A run of events of one partition, as changes of one shard.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) advance: Advance,
    /// When the first and the last event were decided.
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    pub(super) changes: Vec<Change>,
    /// The room that it takes in the queue.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Gathers chunks into batches, and has them written.
pub(super) struct Gatherer<'a> {
    pub(super) writer: &'a Writer,
    pub(super) buckets: BucketSet,
    pub(super) rows_max: usize,
    pub(super) rush: Rush,
    /// Where the shard stands at first.
    pub(super) from: Vec<Checkpoint>,
    pub(super) look_every: Duration,
}

/// What a gatherer waits for.
enum Turn {
    Chunk(Option<Chunk>),
    Written(Result<Reached, Halt>),
    Due,
}

/// What is in the shard's hands.
type Writing<'a> = Pin<Box<dyn Future<Output = Result<Reached, Halt>> + Send + 'a>>;

impl Gatherer<'_> {
    /// Runs until nobody sends chunks any more and all of them are written, or until the shard does
    /// not take them.
    pub(super) async fn run(&self, mut chunks: mpsc::Receiver<Chunk>) -> Result<(), Halt> {
        let mut gathered = Gathered::new(self.buckets);
        // A chunk that did not fit.
        let mut spare: Option<Chunk> = None;
        let mut is_open = true;
        // When the first chunk of the batch came, and the last.
        let mut began = Instant::now();
        let mut latest = began;
        let mut writing: Option<Writing<'_>> = None;
        let known = self.from.iter().map(|stored| (stored.partition, stored.sequence));
        let mut reached: BTreeMap<_, _> = known.collect();
        let mut look_at = Instant::now() + self.look_every;
        let mut is_looking = false;
        loop {
            if writing.is_none() && is_open && Instant::now() >= look_at {
                writing = Some(Box::pin(self.writer.look(reached.clone())));
                is_looking = true;
            }
            let is_full = spare.is_some() || gathered.batch.changes.len() >= self.rows_max;
            let due = self.rush.due(gathered.batch.changes.len(), began, latest);
            let is_due = is_full || !is_open || Instant::now() >= due;
            if writing.is_none() && is_due && !gathered.is_empty() {
                let full = std::mem::replace(&mut gathered, Gathered::new(self.buckets));
                writing = Some(Box::pin(self.writer.write(full)));
                if let Some(chunk) = spare.take() {
                    began = Instant::now();
                    gathered.take(chunk, self.writer.metrics());
                }
                continue;
            }
            if writing.is_none() && !is_open {
                return Ok(());
            }
            let is_idle = writing.is_none();
            let is_waiting = is_idle && !gathered.is_empty();
            let turn = tokio::select! {
                // What is written is counted before more is taken. Chunks that come without end
                // keep nothing from being due: that is looked for in every round.
                biased;
                written = finished(&mut writing) => Turn::Written(written),
                chunk = chunks.recv(), if is_open && !is_full => Turn::Chunk(chunk),
                () = tokio::time::sleep_until(due), if is_waiting => Turn::Due,
                () = tokio::time::sleep_until(look_at), if is_idle => Turn::Due,
            };
            match turn {
                Turn::Due => {}
                Turn::Written(written) => {
                    writing = None;
                    reached.extend(written?);
                    if std::mem::take(&mut is_looking) {
                        look_at = Instant::now() + self.look_every;
                    }
                }
                Turn::Chunk(None) => {
                    is_open = false;
                    if std::mem::take(&mut is_looking) {
                        writing = None;
                    }
                }
                Turn::Chunk(Some(chunk)) => {
                    latest = Instant::now();
                    let rows = gathered.batch.changes.len() + chunk.changes.len();
                    if gathered.is_empty() {
                        began = latest;
                    } else if rows > self.rows_max {
                        spare = Some(chunk);
                        continue;
                    }
                    gathered.take(chunk, self.writer.metrics());
                }
            }
        }
    }
}

/// Waits for the batch that is being written; for ever when none is.
async fn finished(writing: &mut Option<Writing<'_>>) -> Result<Reached, Halt> {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

/// A batch in the making.
pub(super) struct Gathered {
    pub(super) batch: Batch,
    /// For each range: when its last event was decided.
    pub(super) last_at: Vec<Timestamp>,
}

impl Gathered {
    const fn new(buckets: BucketSet) -> Self {
        Self { batch: Batch::new(buckets), last_at: Vec::new() }
    }

    const fn is_empty(&self) -> bool {
        self.batch.advances.is_empty()
    }

    fn take(&mut self, mut chunk: Chunk, metrics: &ShardMetrics) {
        let advance = chunk.advance;
        metrics.waits(advance.partition, chunk.first_at);
        let known =
            self.batch.advances.iter().position(|known| known.partition == advance.partition);
        match known {
            Some(index) => {
                let known = &mut self.batch.advances[index];
                assert_eq!(known.through, advance.after, "chunks of a partition follow each other");
                known.through = advance.through;
                known.epoch = advance.epoch;
                self.last_at[index] = chunk.last_at;
            }
            None => {
                self.batch.advances.push(advance);
                self.last_at.push(chunk.last_at);
            }
        }
        match self.batch.changes.is_empty() {
            true => self.batch.changes = chunk.changes,
            false => self.batch.changes.append(&mut chunk.changes),
        }
    }
}

#[cfg(test)]
#[path = "gather_test.rs"]
mod tests;
