//! One batch into one shard, however long the shard is away, and whatever becomes of its answers.
//!
//! After an error the commit may stand all the same, its answer lost. The checkpoints say: they move
//! in the transaction that writes the rows. A transaction that was given up may also commit while
//! the next try waits for its locks; that try is refused as out of step, and the checkpoints say
//! again.

use crate::error::StoreError;
use crate::projector::acknowledger::Report;
use crate::projector::backoff::Backoff;
use crate::projector::gather::Gathered;
use crate::projector::metrics::ShardMetrics;
use crate::rows::Checkpoint;
use crate::store::{Advance, Batch, Shard, Written};
use doorbuster_protocol::{PartitionId, Sequence};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The first and the longest pause between tries.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// Where a shard stands by what was committed last.
pub(super) type Reached = Vec<(PartitionId, Sequence)>;

/// Why no more batches are written.
#[derive(Debug)]
pub(super) enum Halt {
    /// The shard cannot go on.
    Fatal(StoreError),
    /// The shard is not where the batch begins: it was set back, or another one took its place.
    OutOfStep(StoreError),
    /// The shard owns other buckets than the batch was made for.
    Moved(StoreError),
    /// The process stops while the shard is away.
    Stopped,
}

/// Writes batches into one shard, one at a time, and reports each commit.
pub(super) struct Writer {
    pub(super) shard: Arc<dyn Shard>,
    /// The shard's place among the reports.
    pub(super) index: usize,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Writer {
    pub(super) fn metrics(&self) -> &ShardMetrics {
        &self.metrics
    }

    /// Writes one batch, and returns when it is durable, with where the shard stands then.
    pub(super) async fn write(&self, gathered: Gathered) -> Result<Reached, Halt> {
        let Gathered { batch, last_at } = gathered;
        let batch = Arc::new(batch);
        let began = Instant::now();
        self.metrics.asked();
        let written = self.write_until_it_stands(&batch).await?;
        if written.dead_letters > 0 {
            tracing::error!(
                shard = self.shard.name(),
                dead_letters = written.dead_letters,
                "rows could not be written: look into the shard's table `dead_letters`"
            );
        }
        self.metrics.batch(written.rows, written.dead_letters, began.elapsed());
        let mut reached = Vec::with_capacity(batch.advances.len());
        for (advance, at) in batch.advances.iter().zip(last_at) {
            let Advance { partition, through, .. } = *advance;
            self.metrics.written(partition, through, at);
            reached.push((partition, through));
        }
        // Nobody listens any more when all pipelines are being stopped; the next ones say it again.
        let _ = self.reports.send(Report { shard: self.index, reached: reached.clone() });
        Ok(reached)
    }

    /// Looks whether the shard still stands where its commits have left it.
    pub(super) async fn look(
        &self,
        known: BTreeMap<PartitionId, Sequence>,
    ) -> Result<Reached, Halt> {
        self.metrics.asked();
        let checkpoints = match self.shard.checkpoints().await {
            Ok(checkpoints) => checkpoints,
            Err(error) if error.is_retryable() => {
                tracing::debug!(shard = self.shard.name(), %error, "it does not say where it stands");
                self.metrics.away();
                return Ok(Reached::new());
            }
            Err(error) => return Err(Halt::Fatal(error)),
        };
        self.metrics.answered();
        for Checkpoint { partition, sequence: stored, .. } in checkpoints {
            match known.get(&partition) {
                Some(&after) if after != stored => {
                    let elsewhere = StoreError::OutOfStep { partition, stored, after };
                    return Err(Halt::OutOfStep(elsewhere));
                }
                _ => {}
            }
        }
        Ok(Reached::new())
    }

    async fn write_until_it_stands(&self, batch: &Arc<Batch>) -> Result<Written, Halt> {
        let (first, longest) = RETRY_PAUSES;
        let mut backoff = Backoff::new(first, longest);
        let mut stop = self.stop.clone();
        let mut in_doubt = false;
        loop {
            let error = match self.try_once(batch, in_doubt).await {
                Ok(written) => {
                    if in_doubt {
                        tracing::info!(shard = self.shard.name(), "the shard takes batches again");
                    }
                    return Ok(written);
                }
                Err(error) => error,
            };
            match error {
                StoreError::OutOfStep { .. } => return Err(Halt::OutOfStep(error)),
                StoreError::Moved { .. } => return Err(Halt::Moved(error)),
                error if !error.is_retryable() => return Err(Halt::Fatal(error)),
                error => {
                    if !in_doubt {
                        tracing::warn!(shard = self.shard.name(), %error, "a batch waits");
                    }
                    in_doubt = true;
                    self.metrics.away();
                    self.metrics.store_retried();
                    backoff.wait(&mut stop).await.map_err(|_| Halt::Stopped)?;
                }
            }
        }
    }

    /// Writes the batch, unless an earlier try of it did.
    async fn try_once(&self, batch: &Arc<Batch>, in_doubt: bool) -> Result<Written, StoreError> {
        let stands = Written { rows: batch.changes.len() as u64, dead_letters: 0 };
        if in_doubt && self.is_written(batch).await? {
            return Ok(stands);
        }
        match self.shard.write(Arc::clone(batch)).await {
            Err(error @ StoreError::OutOfStep { .. }) if in_doubt => {
                match self.is_written(batch).await? {
                    true => Ok(stands),
                    false => Err(error),
                }
            }
            result => result,
        }
    }

    /// Whether the shard has a batch: all of it or nothing, as it was one transaction.
    async fn is_written(&self, batch: &Batch) -> Result<bool, StoreError> {
        let checkpoints = self.shard.checkpoints().await?;
        Ok(batch.advances.iter().all(|advance| {
            let stored = checkpoints.iter().find(|stored| stored.partition == advance.partition);
            stored.is_some_and(|stored| stored.sequence == advance.through)
        }))
    }
}

#[cfg(test)]
#[path = "writing_test.rs"]
mod tests;
