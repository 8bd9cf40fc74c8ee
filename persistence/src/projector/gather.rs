//! From chunks of all feeds to transactions: gathers, writes, and only then acknowledges.
//!
//! A chunk is a run of events of one partition, decoded. Chunks of all partitions gather until the
//! batch is full or its first chunk has waited long enough; meanwhile the feeds decode ahead into a
//! bounded queue. One batch is in the store's hands at a time, so a checkpoint has one writer.

use crate::error::StoreError;
use crate::projector::ProjectorMetrics;
use crate::projector::backoff::Backoff;
use crate::store::{Advance, Batch, Change, Shard, Written};
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A run of events of one partition, as changes.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) advance: Advance,
    /// When the first and the last event were decided.
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    pub(super) changes: Vec<Change>,
}

/// Events that are durable in the store: what the engine may forget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) partition: PartitionId,
    pub(super) epoch: Epoch,
    pub(super) through: Sequence,
}

/// Gathers chunks, and writes them.
pub(super) struct Gatherer<'a> {
    pub(super) store: &'a dyn Shard,
    pub(super) metrics: &'a ProjectorMetrics,
    pub(super) rows_max: usize,
    pub(super) delay: Duration,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Why the store was given up.
pub(super) enum Halt {
    /// The store cannot go on.
    Store(StoreError),
    /// The process stops while the store is away.
    Shutdown,
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Gatherer<'_> {
    /// Writes chunks until nobody sends any more. `acknowledge` is called after each commit.
    pub(super) async fn run(
        &mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        mut acknowledge: impl FnMut(Acknowledgement),
    ) -> Result<(), Halt> {
        let mut next = chunks.recv().await;
        while let Some(first) = next {
            let mut gathered = Gathered::new(self.store.buckets());
            gathered.take(first, self.metrics);
            next = self.fill(&mut gathered, &mut chunks).await;
            let Gathered { batch, last_at } = gathered;
            let batch = Arc::new(batch);
            self.write(&batch).await?;
            for (advance, at) in batch.advances.iter().zip(last_at) {
                let Advance { partition, epoch, through, .. } = *advance;
                self.metrics.written(partition, through, at);
                acknowledge(Acknowledgement { partition, epoch, through });
            }
            if next.is_none() {
                next = chunks.recv().await;
            }
        }
        Ok(())
    }

    /// Takes chunks until the batch is full, its time is over, or there are none; returns the chunk
    /// that did not fit.
    async fn fill(
        &self,
        gathered: &mut Gathered,
        chunks: &mut mpsc::Receiver<Chunk>,
    ) -> Option<Chunk> {
        let deadline = Instant::now() + self.delay;
        while gathered.batch.changes.len() < self.rows_max {
            match tokio::time::timeout_at(deadline, chunks.recv()).await {
                Ok(Some(chunk)) => {
                    if gathered.batch.changes.len() + chunk.changes.len() > self.rows_max {
                        return Some(chunk);
                    }
                    gathered.take(chunk, self.metrics);
                }
                Ok(None) | Err(_) => break,
            }
        }
        None
    }

    /// Writes one batch, however long the store is away.
    async fn write(&mut self, batch: &Arc<Batch>) -> Result<(), Halt> {
        let began = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        let mut in_doubt = false;
        let written = loop {
            // After an error the commit may stand all the same, its answer lost: the checkpoint
            // says.
            let result = match in_doubt {
                true => match is_written(self.store, batch).await {
                    Ok(true) => {
                        break Written { rows: batch.changes.len() as u64, dead_letters: 0 };
                    }
                    Ok(false) => self.store.write(Arc::clone(batch)).await,
                    Err(error) => Err(error),
                },
                false => self.store.write(Arc::clone(batch)).await,
            };
            match result {
                Ok(written) => break written,
                Err(error) if error.is_retryable() => {
                    if !in_doubt {
                        tracing::warn!(%error, "a batch waits for the store");
                    }
                    in_doubt = true;
                    self.metrics.store_retried();
                    backoff.wait(&mut self.shutdown).await.map_err(|_| Halt::Shutdown)?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        if in_doubt {
            tracing::info!("the store takes batches again");
        }
        if written.dead_letters > 0 {
            tracing::error!(
                dead_letters = written.dead_letters,
                "rows could not be written: look into the store's table `dead_letters`"
            );
        }
        self.metrics.batch(written.rows, written.dead_letters, began.elapsed());
        Ok(())
    }
}

/// Whether the store has a batch: all of it or nothing, as it was one transaction.
async fn is_written(store: &dyn Shard, batch: &Batch) -> Result<bool, StoreError> {
    let Some(advance) = batch.advances.first() else { return Ok(true) };
    let checkpoints = store.checkpoints().await?;
    let stored = checkpoints.iter().find(|stored| stored.partition == advance.partition);
    Ok(stored.is_some_and(|stored| stored.sequence == advance.through))
}

/// A batch in the making.
struct Gathered {
    batch: Batch,
    /// For each range: when its last event was decided.
    last_at: Vec<Timestamp>,
}

impl Gathered {
    fn new(buckets: crate::BucketSet) -> Self {
        Self { batch: Batch::new(buckets), last_at: Vec::new() }
    }

    fn take(&mut self, mut chunk: Chunk, metrics: &ProjectorMetrics) {
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
        self.batch.changes.append(&mut chunk.changes);
    }
}
