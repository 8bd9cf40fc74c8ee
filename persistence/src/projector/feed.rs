//! One core's feed: subscribes its partitions, checks that events follow each other, decodes them
//! into chunks, and passes acknowledgements back.
//!
//! It never runs ahead by more than one batch of the feed and a bounded queue: while the store is
//! slow nothing is read, and the engine keeps the log.

use crate::projector::decode::Decoder;
use crate::projector::gather::{Acknowledgement, Chunk};
use crate::projector::{ProjectorError, ProjectorMetrics};
use crate::rows::Checkpoint;
use crate::store::Advance;
use doorbuster_client::{ClientError, FeedClient, FeedItem};
use doorbuster_protocol::record::Malformed;
use doorbuster_protocol::{Epoch, PartitionId, Sequence};
use std::collections::VecDeque;
use tokio::sync::mpsc;

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
    /// Nobody takes chunks any more.
    Unwanted,
}

/// The feed of one core.
pub(super) struct Feed<'a> {
    pub(super) client: FeedClient,
    pub(super) consumer: u8,
    /// The last event of each partition that was passed on, by partition; only this core's count.
    pub(super) passed_on: Vec<Sequence>,
    /// Rows of a chunk, past which it is closed.
    pub(super) chunk_rows: usize,
    pub(super) chunks: mpsc::Sender<Chunk>,
    pub(super) acknowledgements: mpsc::UnboundedReceiver<Acknowledgement>,
    pub(super) metrics: &'a ProjectorMetrics,
}

impl Feed<'_> {
    /// Runs until the feed ends, from the checkpoints of the partitions that the core owns.
    pub(super) async fn run(mut self, owned: &[Checkpoint]) -> FeedEnd {
        // The reign that the engine is in now, whatever it was when the events were written.
        let epoch = self.client.map().epoch;
        for checkpoint in owned {
            let Checkpoint { partition, sequence, .. } = *checkpoint;
            self.client.subscribe(partition, self.consumer, sequence.next());
            // The engine may not have heard the last acknowledgement, and may have no room for the
            // event that would bring the next.
            if sequence > Sequence::ZERO {
                self.client.acknowledge(partition, self.consumer, epoch, sequence);
            }
        }
        if let Err(error) = self.client.flush().await {
            return FeedEnd::Lost(error);
        }
        let mut ready = VecDeque::new();
        loop {
            let turn = tokio::select! {
                acknowledgement = self.acknowledgements.recv() => {
                    acknowledgement.map_or(Turn::Unwanted, Turn::Acknowledge)
                }
                permit = self.chunks.reserve(), if !ready.is_empty() => match permit {
                    Ok(permit) => {
                        permit.send(ready.pop_front().expect("a chunk is ready"));
                        Turn::PassedOn
                    }
                    Err(_) => Turn::Unwanted,
                },
                item = self.client.next(), if ready.is_empty() => Turn::Received(item),
            };
            let done = match turn {
                Turn::Acknowledge(acknowledgement) => self.acknowledge(acknowledgement).await,
                Turn::Received(Ok(item)) => self.take(&item, &mut ready),
                Turn::Received(Err(error)) => Err(FeedEnd::Lost(error)),
                Turn::PassedOn => Ok(()),
                Turn::Unwanted => Err(FeedEnd::Unwanted),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn acknowledge(&mut self, first: Acknowledgement) -> Result<(), FeedEnd> {
        let mut next = Some(first);
        while let Some(Acknowledgement { partition, epoch, through }) = next {
            self.client.acknowledge(partition, self.consumer, epoch, through);
            next = self.acknowledgements.try_recv().ok();
        }
        self.client.flush().await.map_err(FeedEnd::Lost)
    }

    fn take(&mut self, item: &FeedItem, ready: &mut VecDeque<Chunk>) -> Result<(), FeedEnd> {
        let (partition, first) = match item {
            FeedItem::Batch { partition, first, .. } | FeedItem::Gone { partition, first } => {
                (*partition, *first)
            }
        };
        let after = self.passed_on.get(partition.index()).copied();
        let expected = after.map_or(Sequence::ZERO, Sequence::next);
        let unsound = |why| FeedEnd::Unsound { partition, expected, why };
        let after = after.ok_or_else(|| unsound("there is no such partition".into()))?;
        let FeedItem::Batch { epoch, count, durable, events, .. } = item else {
            let error = ProjectorError::Gone { partition, wanted: expected, first };
            return Err(FeedEnd::Fatal(error));
        };
        if *durable < after {
            let why = format!("the engine's log ends at event {durable}, before the store's end");
            return Err(unsound(why));
        }
        if first > expected && *count > 0 {
            return Err(unsound(format!("the feed goes on at event {first}")));
        }
        self.metrics.told(partition, *durable);
        let decoder = Decoder::new(partition, first, *count, events);
        self.passed_on[partition.index()] =
            cut(decoder, *epoch, after, self.chunk_rows, ready).map_err(|(sequence, error)| {
                FeedEnd::Unsound { partition, expected: sequence, why: error.to_string() }
            })?;
        Ok(())
    }
}

/// What one turn of a feed brought.
enum Turn {
    Acknowledge(Acknowledgement),
    Received(Result<FeedItem, ClientError>),
    PassedOn,
    Unwanted,
}

/// Cuts the events after `after` into chunks and returns the last one. Fails with the event that
/// cannot be read; what was cut before it is of no use then, as the feed ends.
fn cut(
    mut decoder: Decoder<'_>,
    epoch: Epoch,
    after: Sequence,
    chunk_rows: usize,
    ready: &mut VecDeque<Chunk>,
) -> Result<Sequence, (Sequence, Malformed)> {
    let partition = decoder.partition;
    let mut through = after;
    let mut chunk: Option<Chunk> = None;
    let mut changes = Vec::new();
    while let Some((sequence, at)) =
        decoder.next(&mut changes).map_err(|error| (through.next(), error))?
    {
        if sequence <= through {
            // Sent again: it is in the store, or on its way there.
            changes.clear();
            continue;
        }
        let open = chunk.get_or_insert_with(|| Chunk {
            advance: Advance { partition, epoch, after: through, through },
            first_at: at,
            last_at: at,
            changes: Vec::new(),
        });
        open.changes.append(&mut changes);
        open.advance.through = sequence;
        open.last_at = at;
        through = sequence;
        if open.changes.len() >= chunk_rows {
            ready.extend(chunk.take());
        }
    }
    ready.extend(chunk);
    Ok(through)
}
