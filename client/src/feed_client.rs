//! The feed of one core: events of the partitions that a consumer subscribes to.
//!
//! One connection, no tasks, no reconnecting: the consumer knows from which sequence it goes on, so
//! it is the one to dial again.

use crate::ClientError;
use crate::connection::{Connection, poll_receive};
use crate::network::{Network, Stream, TcpNetwork};
use bytes::Bytes;
use doorbuster_protocol::event::Events;
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::session::{ClientSession, ServerMessage, SessionError};
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the feed brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// Events of a partition.
    Batch {
        /// The partition.
        partition: PartitionId,
        /// The reign in which they were decided.
        epoch: Epoch,
        /// The sequence of the first event.
        first: Sequence,
        /// How many events there are; may be 0.
        count: u32,
        /// The newest durable sequence when the batch was sent.
        durable: Sequence,
        /// The core's clock when it read `durable`.
        durable_at: Timestamp,
        /// The events; [`FeedItem::events`] reads them.
        events: Bytes,
    },
    /// The sequence asked for has left the log: the consumer cannot go on from there.
    Gone {
        /// The partition.
        partition: PartitionId,
        /// The first sequence that is still there.
        first: Sequence,
    },
}

impl FeedItem {
    /// The events of a batch with their sequences; none of the other items.
    pub fn events(&self) -> Events<'_> {
        match self {
            Self::Batch { first, count, events, .. } => Events::new(events, *first, *count),
            Self::Gone { first, .. } => Events::new(&[], *first, 0),
        }
    }
}

/// A consumer's connection to one core.
#[derive(Debug)]
pub struct FeedClient {
    stream: Box<dyn Stream>,
    session: ClientSession,
    map: PartitionMap,
    /// Bytes on their way to the socket, and how many of them are there.
    writing: Vec<u8>,
    written: usize,
}

impl FeedClient {
    /// Dials a core and shakes hands.
    pub async fn connect(address: SocketAddr, key: &PreSharedKey) -> Result<Self, ClientError> {
        Self::connect_over(&TcpNetwork, address, key).await
    }

    /// Dials a core over a network of the caller's and shakes hands.
    pub async fn connect_over(
        network: &dyn Network,
        address: SocketAddr,
        key: &PreSharedKey,
    ) -> Result<Self, ClientError> {
        let Connection { stream, session, map } =
            Connection::open(network, address, key, CONNECT_TIMEOUT).await?;
        Ok(Self { stream, session, map, writing: Vec::new(), written: 0 })
    }

    /// Which core owns which partition, and where it listens.
    pub const fn map(&self) -> &PartitionMap {
        &self.map
    }

    /// Asks for the events of a partition of this core from `from` (the first one wanted, at least
    /// 1) on. Leaves with the next call of [`FeedClient::next`] or [`FeedClient::flush`].
    pub fn subscribe(&mut self, partition: PartitionId, consumer: u8, from: Sequence) {
        self.session.subscribe(partition, consumer, from);
    }

    /// Says that the consumer has made a partition's events durable up to `through`. Leaves with
    /// the next call of [`FeedClient::next`] or [`FeedClient::flush`].
    pub fn acknowledge(
        &mut self,
        partition: PartitionId,
        consumer: u8,
        epoch: Epoch,
        through: Sequence,
    ) {
        self.session.acknowledge(partition, consumer, epoch, through);
    }

    /// The next item. May be dropped at any await and called again: nothing gets lost.
    pub async fn next(&mut self) -> Result<FeedItem, ClientError> {
        loop {
            // Writing goes on beside the reading: never holds it up, and is not held up by it.
            poll_fn(|context| match self.poll_write(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            })
            .await?;
            if let Some(item) = self.take()? {
                return Ok(item);
            }
            let read = poll_fn(|context| {
                if let Poll::Ready(Err(error)) = self.poll_write(context) {
                    return Poll::Ready(Err(error));
                }
                poll_receive(&mut self.stream, &mut self.session, context)
            });
            if read.await? == 0 {
                return Err(ClientError::Lost);
            }
        }
    }

    /// Writes what waits for the socket.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        Ok(poll_fn(|context| self.poll_write(context)).await?)
    }

    fn take(&mut self) -> Result<Option<FeedItem>, ClientError> {
        while let Some(message) = self.session.poll()? {
            match message {
                ServerMessage::Batch(batch) => {
                    return Ok(Some(FeedItem::Batch {
                        partition: batch.partition,
                        epoch: batch.epoch,
                        first: batch.first,
                        count: batch.count,
                        durable: batch.durable,
                        durable_at: batch.durable_at,
                        events: Bytes::copy_from_slice(batch.events),
                    }));
                }
                ServerMessage::FeedGone { partition, first } => {
                    return Ok(Some(FeedItem::Gone { partition, first }));
                }
                // What is committed still comes; then the server closes.
                ServerMessage::Goodbye => {}
                ServerMessage::Welcomed | ServerMessage::Replies(_) | ServerMessage::Levels(_) => {
                    return Err(SessionError::OutOfOrder.into());
                }
            }
        }
        Ok(None)
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                std::mem::swap(&mut self.writing, self.session.output());
                if self.writing.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            let rest = &self.writing[self.written..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
    }
}
