//! Serving one connection: bytes in, messages through their partitions, answers out.

use super::{Core, Owned};
use crate::clock::Moment;
use crate::host::Host;
use crate::net::Connection;
use crate::partition::ReplyTo;
use crate::storage::Storage;
use doorbuster_protocol::command::{Ask, Command, Read, Request};
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::session::{ClientMessage, Requests, SessionError};
use doorbuster_protocol::{Outcome, PartitionId};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes read in one turn.
const READ_BYTES: usize = 128 << 10;

/// What one message asks of the reading task.
enum Step<S: Storage> {
    /// No whole message is there.
    Idle,
    /// Go on with the next one.
    Served,
    /// Go on when this partition has written its batch.
    Full(Rc<Owned<S>>),
    /// Feed this partition to the connection, from this event on.
    Feed(Rc<Owned<S>>, doorbuster_protocol::Sequence),
}

impl<H: Host> Core<H> {
    /// Serves a connection until it ends, one way or the other.
    pub(super) async fn serve(self: Rc<Self>, connection: Rc<Connection<H::Stream>>) {
        if let Err(error) = self.clone().serve_until_error(&connection).await {
            tracing::debug!(%error, connection = connection.number, "closing a connection");
            connection.fail();
            // The session may have said why; give the writer its turn before the end.
            connection.flush();
            while connection.output_bytes() > 0 && !connection.is_closed() {
                connection.relieved.wait().await;
            }
        }
        self.close(&connection);
    }

    async fn serve_until_error(
        self: Rc<Self>,
        connection: &Rc<Connection<H::Stream>>,
    ) -> Result<(), SessionError> {
        let mut buffer = vec![0; READ_BYTES];
        let mut immediate = Vec::new();
        // The handshake's first bytes are the client's; ours come in answer to them.
        loop {
            while connection.is_congested() && !connection.is_closed() {
                connection.relieved.wait().await;
            }
            while self.is_crowded() && !connection.is_closed() {
                self.relieved.wait().await;
            }
            let read = match connection.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => read,
            };
            connection.session.borrow_mut().receive(&buffer[..read]);
            let mut at = self.moment();
            loop {
                match self.step(connection, at, &mut immediate)? {
                    Step::Idle => break,
                    Step::Served => {}
                    Step::Full(owned) => {
                        connection.flush();
                        owned.committed.wait().await;
                        // Deadlines have passed meanwhile.
                        at = self.moment();
                    }
                    Step::Feed(owned, from) => {
                        let feed = Rc::clone(&self).feed(Rc::clone(connection), owned, from);
                        self.host.spawn(feed);
                    }
                }
                if connection.is_closed() {
                    return Ok(());
                }
            }
            connection.flush();
        }
    }

    fn step(
        &self,
        connection: &Connection<H::Stream>,
        at: Moment,
        immediate: &mut Vec<Reply>,
    ) -> Result<Step<H::Disk>, SessionError> {
        let mut session = connection.session.borrow_mut();
        match session.poll()? {
            None => Ok(Step::Idle),
            Some(ClientMessage::Welcomed) => Ok(Step::Served),
            Some(ClientMessage::Requests(requests)) => {
                let full = self.take_requests(connection, requests, at, immediate)?;
                for reply in immediate.drain(..) {
                    session.reply(&reply);
                }
                Ok(full.map_or(Step::Served, Step::Full))
            }
            Some(ClientMessage::Subscribe { partition, consumer: _, from }) => {
                let Some(owned) = self.owner(partition) else {
                    return Err(SessionError::OutOfOrder);
                };
                let mut feeds = connection.feeds.borrow_mut();
                if feeds.contains(&partition) {
                    return Err(SessionError::OutOfOrder);
                }
                feeds.push(partition);
                Ok(Step::Feed(Rc::clone(owned), from))
            }
            Some(ClientMessage::Acknowledge { partition, consumer, epoch, through }) => {
                let known = self.owner(partition).is_some_and(|owned| {
                    epoch == self.map.epoch
                        && owned.partition.borrow_mut().acknowledge(consumer, through)
                });
                if known { Ok(Step::Served) } else { Err(SessionError::OutOfOrder) }
            }
            Some(ClientMessage::WatchStock) => {
                // Once: every time brings all levels, however many there are.
                if connection.watches_stock.replace(true) {
                    return Err(SessionError::OutOfOrder);
                }
                drop(session);
                self.push_all_levels(connection);
                Ok(Step::Served)
            }
        }
    }

    /// Runs every request of a frame; the last partition whose batch is full, if one is.
    fn take_requests(
        &self,
        connection: &Connection<H::Stream>,
        requests: Requests<'_>,
        at: Moment,
        immediate: &mut Vec<Reply>,
    ) -> Result<Option<Rc<Owned<H::Disk>>>, SessionError> {
        let mut full = Ok(None);
        let (mut taken, mut waiting) = (0u64, 0u64);
        for (correlation, request) in requests {
            let request = match request {
                Ok(request) => request,
                Err(malformed) => {
                    full = Err(malformed.into());
                    break;
                }
            };
            taken += 1;
            let outcome = match self.route(&request) {
                Ok(owned) => {
                    let to = ReplyTo { connection: connection.number, correlation };
                    let mut partition = owned.partition.borrow_mut();
                    let outcome = partition.ask(&request, to, at);
                    if partition.has_open_batch() {
                        owned.work.raise();
                        if partition.is_full() {
                            full = Ok(Some(Rc::clone(owned)));
                        }
                    }
                    outcome
                }
                Err(refusal) => Some(refusal),
            };
            match outcome {
                Some(outcome) => immediate.push(Reply { correlation, outcome }),
                None => waiting += 1,
            }
        }
        connection.in_flight.set(connection.in_flight.get() + waiting as usize);
        let metrics = self.core_metrics();
        metrics.requests.fetch_add(taken, Relaxed);
        metrics.queue_depth.fetch_add(waiting, Relaxed);
        full
    }

    /// The partition that owns what the request is about, or who to ask instead.
    fn route(&self, request: &Request) -> Result<&Rc<Owned<H::Disk>>, Outcome> {
        let partition = match &request.ask {
            Ask::Command(Command::Place(place)) => self.map.partitions.partition_of(place.product),
            Ask::Command(Command::Define(define)) => {
                self.map.partitions.partition_of(define.product)
            }
            Ask::Command(
                Command::Restock { product, .. }
                | Command::Withdraw { product, .. }
                | Command::SetState { product, .. },
            )
            | Ask::Read(Read::Product { product }) => self.map.partitions.partition_of(*product),
            Ask::Command(Command::Confirm { order } | Command::Cancel { order, .. })
            | Ask::Read(Read::Order { order, .. }) => order.partition(),
            Ask::Command(Command::Expire | Command::Acknowledge { .. }) => request.partition,
        };
        match self.owner(partition) {
            Some(owned) if partition == request.partition => Ok(owned),
            _ => Err(self.wrong_owner(partition)),
        }
    }

    fn wrong_owner(&self, partition: PartitionId) -> Outcome {
        match self.map.owners.get(partition.index()) {
            Some(core) => Outcome::WrongOwner { core: *core },
            // An order id that names a partition which this engine does not have.
            None => Outcome::OrderNotFound,
        }
    }
}
