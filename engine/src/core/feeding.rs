//! Feeding a consumer: durable events of one partition from a sequence on, in order, without gaps.
//!
//! What is recent comes from memory, the rest from the log. A consumer that reads slowly is fed
//! slowly: nothing piles up past the connection's bound. One that keeps up is fed at a beat that all
//! feeds of a core share: a frame for each of thousands of commits a second, to each consumer, would
//! cost the core more than the sale itself.

use super::tail::skip_events;
use super::{Core, Owned};
use crate::host::Host;
use crate::log::FeedRead;
use crate::net::Connection;
use doorbuster_protocol::session::FeedBatch;
use doorbuster_protocol::{PartitionId, Sequence};
use std::rc::Rc;
use std::time::Duration;

/// How often a consumer that keeps up is fed at the most.
pub(super) const BEAT: Duration = Duration::from_millis(10);
/// Bytes of events in one feed frame, unless one batch alone is larger.
const FEED_BYTES: usize = 256 << 10;

impl<H: Host> Core<H> {
    /// Feeds `connection` until it closes.
    pub(super) async fn feed(
        self: Rc<Self>,
        connection: Rc<Connection<H::Stream>>,
        owned: Rc<Owned<H::Disk>>,
        from: Sequence,
    ) {
        let partition = owned.partition.borrow().id();
        // Events are counted from 1; a consumer that has none may ask from 0.
        let mut next = from.max(Sequence::new(1));
        let mut events = Vec::new();
        // An empty batch first: it tells a consumer at once how far it is behind.
        self.send(&connection, &owned, partition, next, 0, &events);
        while !connection.is_closed() {
            if connection.is_congested() {
                connection.relieved.wait().await;
                continue;
            }
            events.clear();
            let in_memory = owned.tail.borrow().read(next, FEED_BYTES, &mut events);
            match in_memory {
                Some(0) => self.wait_for_more(&owned).await,
                Some(count) => {
                    self.send(&connection, &owned, partition, next, count, &events);
                    next = next.plus(u64::from(count));
                }
                None => match owned.log.read_from(next, FEED_BYTES).await {
                    Ok(FeedRead::Batches(batches)) if !batches.is_empty() => {
                        for batch in batches {
                            let skipped = next.get().saturating_sub(batch.first.get());
                            let count = batch.count - skipped as u32;
                            let rest = skip_events(&batch.events, skipped);
                            self.send(&connection, &owned, partition, next, count, rest);
                            next = next.plus(u64::from(count));
                        }
                    }
                    Ok(FeedRead::Batches(_)) => self.wait_for_more(&owned).await,
                    Ok(FeedRead::Gone { first }) => {
                        connection.session.borrow_mut().feed_gone(partition, first);
                        connection.flush();
                        return;
                    }
                    Err(error) => {
                        tracing::error!(partition = partition.get(), %error, "cannot feed");
                        connection.close();
                    }
                },
            }
        }
    }

    fn send(
        &self,
        connection: &Connection<H::Stream>,
        owned: &Owned<H::Disk>,
        partition: PartitionId,
        first: Sequence,
        count: u32,
        events: &[u8],
    ) {
        connection.session.borrow_mut().batch(&FeedBatch {
            partition,
            epoch: self.map.epoch,
            first,
            count,
            durable: owned.partition.borrow().durable(),
            durable_at: self.now(),
            events,
        });
        connection.flush();
    }

    /// Waits for a commit and for the next beat, at which whatever was committed until then goes
    /// out.
    async fn wait_for_more(&self, owned: &Owned<H::Disk>) {
        owned.committed.wait().await;
        let beat_us = BEAT.as_micros() as u64;
        // By the clock, so that the feeds of one connection fill one write.
        let rest_us = beat_us - self.host.monotonic().as_micros() as u64 % beat_us;
        self.host.sleep(Duration::from_micros(rest_us)).await;
    }
}
