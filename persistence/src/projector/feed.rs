//! One core's feed for one shard: subscribes the core's partitions, checks that events follow each
//! other, and decodes them into chunks of what the shard owns.
//!
//! It never runs ahead by more than one frame of the feed, one chunk, and a queue that is bounded in
//! chunks and in rows: while the shard is slow nothing is read, and the engine keeps the log.

use crate::buckets::BucketSet;
use crate::projector::ProjectorError;
use crate::projector::connect::Unconnected;
use crate::projector::decode::Decoder;
use crate::projector::gather::Chunk;
use crate::projector::metrics::ShardMetrics;
use crate::rows::Checkpoint;
use crate::store::Advance;
use doorbuster_client::{ClientError, FeedClient, FeedItem};
use doorbuster_protocol::record::Malformed;
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Why a feed ended.
#[derive(Debug)]
pub(super) enum FeedEnd {
    /// The connection is lost; a new one goes on from the checkpoints.
    Lost(ClientError),
    /// A batch does not follow what came before, or cannot be read. A new connection may do better.
    Unsound {
        /// The partition.
        partition: PartitionId,
        /// The event that was expected.
        expected: Sequence,
        /// What is wrong with what came.
        why: String,
    },
    /// No new connection can help.
    Fatal(ProjectorError),
    /// Nobody takes chunks any more, or the engine was just replaced.
    Unwanted,
}

impl From<Unconnected> for FeedEnd {
    fn from(unconnected: Unconnected) -> Self {
        match unconnected {
            Unconnected::NoAddress => Self::Fatal(ProjectorError::NoAddress),
            Unconnected::Lost(error) => Self::Lost(error),
            Unconnected::Mixed => Self::Unwanted,
        }
    }
}

/// The feed of one core for one shard.
pub(super) struct Feed {
    pub(super) client: FeedClient,
    pub(super) consumer: u8,
    /// Whose changes are passed on.
    pub(super) buckets: BucketSet,
    /// The last event of each partition that was passed on, by partition; only this core's count.
    pub(super) passed_on: Vec<Sequence>,
    pub(super) queue: Queue,
    pub(super) metrics: Arc<ShardMetrics>,
}

/// The way to the gatherer, bounded twice: chunks without rows are many, and rows of one event may
/// be many.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) chunks: mpsc::Sender<Chunk>,
    /// One permit for each row that may wait.
    pub(super) room: Arc<Semaphore>,
    pub(super) rows_max: usize,
    /// Rows of a chunk, past which it is closed.
    pub(super) chunk_rows: usize,
}

impl Queue {
    /// Waits for room and passes a chunk on. One that alone has more rows than may wait goes when it
    /// is the only one.
    async fn send(&self, mut chunk: Chunk) -> Result<(), FeedEnd> {
        let rows = chunk.changes.len().min(self.rows_max) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(rows).await;
        chunk.room = Some(room.map_err(|_| FeedEnd::Unwanted)?);
        self.chunks.send(chunk).await.map_err(|_| FeedEnd::Unwanted)
    }
}

impl Feed {
    /// Runs until the feed ends, from the checkpoints of the partitions that the core owns.
    pub(super) async fn run(mut self, owned: &[Checkpoint]) -> FeedEnd {
        for checkpoint in owned {
            let Checkpoint { partition, sequence, .. } = *checkpoint;
            self.client.subscribe(partition, self.consumer, sequence.next());
        }
        loop {
            let passed_on = match self.client.next().await {
                Ok(item) => self.pass_on(item).await,
                Err(error) => Err(FeedEnd::Lost(error)),
            };
            if let Err(end) = passed_on {
                return end;
            }
        }
    }

    /// Cuts a frame into chunks and passes each on before the next is decoded.
    async fn pass_on(&mut self, item: FeedItem) -> Result<(), FeedEnd> {
        let (partition, first) = match item {
            FeedItem::Batch { partition, first, .. } | FeedItem::Gone { partition, first } => {
                (partition, first)
            }
        };
        let after = self.passed_on.get(partition.index()).copied();
        let expected = after.map_or(Sequence::ZERO, Sequence::next);
        let unsound = |expected, why| FeedEnd::Unsound { partition, expected, why };
        let after = after.ok_or_else(|| unsound(expected, "there is no such partition".into()))?;
        let FeedItem::Batch { epoch, count, durable, durable_at, events, .. } = item else {
            let shard = self.metrics.name().to_owned();
            let error = ProjectorError::Gone { shard, partition, wanted: expected, first };
            return Err(FeedEnd::Fatal(error));
        };
        if durable < after {
            let why = format!("the engine's log ends at event {durable}, before the store's end");
            return Err(unsound(expected, why));
        }
        if first > expected && count > 0 {
            return Err(unsound(expected, format!("the feed goes on at event {first}")));
        }
        self.metrics.told(partition, durable, durable_at);
        let decoder = Decoder::new(partition, self.buckets, first, count, events);
        let mut cutter = Cutter { decoder, epoch, after, chunk_rows: self.queue.chunk_rows };
        while let Some(chunk) =
            cutter.next().map_err(|(at, error)| unsound(at, error.to_string()))?
        {
            let through = chunk.advance.through;
            self.queue.send(chunk).await?;
            self.passed_on[partition.index()] = through;
        }
        Ok(())
    }
}

/// Cuts a frame into chunks.
struct Cutter {
    decoder: Decoder,
    epoch: Epoch,
    /// The last event before the next chunk: those up to it were sent again, and are in the store
    /// or on their way there.
    after: Sequence,
    chunk_rows: usize,
}

impl Cutter {
    /// The next chunk; `None` at the end. Fails with the event that cannot be read; nothing that
    /// stands before it in its chunk is passed on.
    fn next(&mut self) -> Result<Option<Chunk>, (Sequence, Malformed)> {
        let (after, epoch, partition) = (self.after, self.epoch, self.decoder.partition);
        let mut times: Option<(Timestamp, Timestamp)> = None;
        let mut changes = Vec::new();
        while changes.len() < self.chunk_rows {
            let through = self.after;
            let next = self.decoder.next(&mut changes).map_err(|error| (through.next(), error))?;
            let Some((sequence, at)) = next else { break };
            if sequence <= through {
                changes.clear();
                continue;
            }
            times = Some((times.map_or(at, |(first, _)| first), at));
            self.after = sequence;
        }
        let advance = Advance { partition, epoch, after, through: self.after };
        Ok(times.map(|(first_at, last_at)| Chunk {
            advance,
            first_at,
            last_at,
            changes,
            room: None,
        }))
    }
}
