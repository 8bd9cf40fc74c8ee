//! A core: one pinned executor that runs some partitions, shared with nobody.
//!
//! Its tasks, all on one thread:
//!
//! - `serving`: one reader and one writer per connection; requests go through their partition
//! - `committing`: one per partition; writes the gathered batch while the next one gathers
//! - `feeding`: one per subscription; durable events to a consumer
//! - `housekeeping`: a tick for expiries, stock levels and acknowledgements, and the log's upkeep
//!
//! The first failed write or sync ends the whole process: what is on disk then is unknown until
//! recovery reads it, and nothing may be acknowledged before.

mod committing;
mod feeding;
mod housekeeping;
mod serving;
mod tail;

use crate::clock::{Clock, Moment};
use crate::engine::EngineError;
use crate::host::{Host, Listener, Stream};
use crate::log::{Log, LogError};
use crate::metrics::{CoreMetrics, EngineMetrics};
use crate::net::{Connection, Connections};
use crate::node::{CoreConfig, CoreParts, Stopper};
use crate::partition::Partition;
use crate::signal::Signal;
use crate::state_machine::State;
use crate::storage::Storage;
use doorbuster_protocol::handshake::PartitionMap;
use doorbuster_protocol::session::ServerSession;
use doorbuster_protocol::{PartitionId, Timestamp, limits};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tail::Tail;

/// How long a drain waits for readers of feeds and slow sockets before it goes on without them.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A partition with its log and the signals between its tasks.
pub(crate) struct Owned<S: Storage> {
    pub(crate) partition: RefCell<Partition>,
    pub(crate) log: Log<S>,
    /// Raised when the open batch has something in it.
    pub(crate) work: Signal,
    /// Raised when a batch became durable.
    pub(crate) committed: Signal,
    /// Raised when the log wants upkeep.
    pub(crate) upkeep: Signal,
    /// The newest durable batches, for feeds.
    pub(crate) tail: RefCell<Tail>,
}

/// Everything that the tasks of a core share.
pub(crate) struct Core<H: Host> {
    host: H,
    number: usize,
    map: PartitionMap,
    config: Arc<CoreConfig>,
    /// By partition number; `None` lives on another core.
    partitions: Vec<Option<Rc<Owned<H::Disk>>>>,
    connections: Connections<H::Stream>,
    clock: Cell<Clock>,
    metrics: Arc<EngineMetrics>,
    stopper: Stopper,
    draining: Cell<bool>,
    /// Raised when fewer answers wait for the disk.
    relieved: Signal,
    /// Raised when the core fails or is told to stop.
    stopped: Signal,
}

impl<H: Host> Core<H> {
    pub(crate) fn new(start: CoreParts<H>, recovered: Vec<(Log<H::Disk>, Partition)>) -> Rc<Self> {
        let mut partitions: Vec<Option<Rc<Owned<H::Disk>>>> = Vec::new();
        partitions.resize_with(usize::from(start.map.partitions.get()), || None);
        let newest = recovered.iter().map(|(_, partition)| partition.state().last_at()).max();
        let newest = newest.unwrap_or(Timestamp::NONE);
        let clock = Clock::new(start.host.monotonic(), start.host.wall_clock(), newest);
        for (log, partition) in recovered {
            let slot = partition.id().index();
            let next = partition.durable().next();
            let owned = Owned {
                partition: RefCell::new(partition),
                log,
                work: Signal::default(),
                committed: Signal::default(),
                upkeep: Signal::default(),
                tail: RefCell::new(Tail::new(next)),
            };
            assert!(partitions[slot].is_none(), "a partition has one owner");
            partitions[slot] = Some(Rc::new(owned));
        }
        Rc::new(Self {
            host: start.host,
            number: usize::from(start.map.self_core),
            map: start.map,
            config: start.config,
            partitions,
            connections: Connections::default(),
            clock: Cell::new(clock),
            metrics: start.metrics,
            stopper: start.stopper,
            draining: Cell::new(false),
            relieved: Signal::default(),
            stopped: Signal::default(),
        })
    }

    /// What time it is. Read once per turn and handed down from here.
    fn moment(&self) -> Moment {
        let wall = self.host.wall_clock();
        let mut clock = self.clock.get();
        let now = clock.read(self.host.monotonic(), wall);
        self.clock.set(clock);
        Moment { now, wall }
    }
    fn now(&self) -> Timestamp {
        self.moment().now
    }

    /// Serves until the engine is told to stop, drains, seals the logs.
    pub(crate) async fn run(self: Rc<Self>, listener: H::Listener) -> Result<(), EngineError> {
        for owned in self.owned() {
            self.refresh_room(owned);
            self.host.spawn(Rc::clone(&self).commit_batches(Rc::clone(owned)));
            self.host.spawn(Rc::clone(&self).keep_log(Rc::clone(owned)));
        }
        self.host.spawn(Rc::clone(&self).keep_house());
        self.host.spawn(Rc::clone(&self).accept(listener));
        while !self.stopper.is_stopping() {
            self.stopped.wait().await;
        }
        if !self.stopper.has_failed() {
            self.drain().await?;
        }
        // After a failure nobody is answered any more, and nobody should wait for it.
        for connection in self.connections.all() {
            connection.close();
        }
        Ok(())
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log<H::Disk>> {
        self.owned().map(|owned| &owned.log)
    }
    pub(crate) fn inspect(&self, mut look: impl FnMut(&State)) {
        self.owned().for_each(|owned| look(owned.partition.borrow().state()));
    }

    fn owned(&self) -> impl Iterator<Item = &Rc<Owned<H::Disk>>> {
        self.partitions.iter().flatten()
    }

    fn owner(&self, partition: PartitionId) -> Option<&Rc<Owned<H::Disk>>> {
        self.partitions.get(partition.index())?.as_ref()
    }

    /// Whether so many answers wait for the disk that no more requests are read.
    fn is_crowded(&self) -> bool {
        let waiting = self.core_metrics().queue_depth.load(Relaxed);
        waiting >= limits::WAITING_PER_CORE_MAX as u64
    }

    fn core_metrics(&self) -> &CoreMetrics {
        &self.metrics.cores[self.number]
    }

    /// Ends the process's service: the first failure of a log is the last thing that it does.
    fn fail(&self, partition: PartitionId, error: LogError) {
        tracing::error!(partition = partition.get(), %error, "the log failed; stopping");
        self.stopper.fail(EngineError::Log { partition, source: error });
        self.stopped.raise();
    }

    async fn accept(self: Rc<Self>, listener: H::Listener) {
        loop {
            match listener.accept().await {
                Ok(stream) if self.draining.get() => drop(stream),
                Ok(stream) if self.connections.len() >= limits::CONNECTIONS_PER_CORE_MAX => {
                    tracing::warn!("refused a connection: the core has as many as it may");
                    stream.shutdown();
                }
                Ok(stream) => self.open(stream),
                Err(error) => {
                    // Out of descriptors, mostly: nothing to do but wait for some to come back.
                    tracing::warn!(%error, "could not accept a connection");
                    self.host.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn open(self: &Rc<Self>, stream: H::Stream) {
        let mut nonce = [0; 32];
        if let Err(error) = self.host.fill_random(&mut nonce) {
            tracing::warn!(%error, "could not set a connection up");
            return;
        }
        let session = ServerSession::new(&self.config.key, nonce, self.map.clone());
        let number = self.connections.next_number();
        let connection = Rc::new(Connection::new(number, stream, session, self.host.monotonic()));
        self.connections.insert(Rc::clone(&connection));
        self.count_connections();
        self.host.spawn({
            let connection = Rc::clone(&connection);
            async move { connection.write_all_output().await }
        });
        self.host.spawn(Rc::clone(self).serve(connection));
    }

    fn close(&self, connection: &Connection<H::Stream>) {
        connection.close();
        self.connections.remove(connection.number);
        self.count_connections();
        // Feeds of the connection wait on these, and have to see that it is gone.
        for partition in connection.feeds.borrow().iter() {
            if let Some(owned) = self.owner(*partition) {
                owned.committed.raise();
            }
        }
    }

    fn count_connections(&self) {
        let open = self.connections.len() as u64;
        self.core_metrics().connections.store(open, Relaxed);
    }

    /// Takes nothing new, finishes what was taken, says goodbye, seals the logs.
    async fn drain(&self) -> Result<(), EngineError> {
        self.draining.set(true);
        for owned in self.owned() {
            owned.partition.borrow_mut().drain();
        }
        for owned in self.owned() {
            while !self.stopper.has_failed() && !owned.partition.borrow().is_drained() {
                owned.committed.wait().await;
            }
        }
        if self.stopper.has_failed() {
            return Ok(());
        }
        if self.connections.all().iter().any(|connection| !connection.feeds.borrow().is_empty()) {
            // Consumers that keep up get the last events, too.
            self.host.sleep(2 * feeding::BEAT).await;
        }
        for connection in self.connections.all() {
            connection.session.borrow_mut().goodbye();
            connection.flush();
        }
        let until = self.host.monotonic() + DRAIN_MAX;
        for connection in self.connections.all() {
            while connection.output_bytes() > 0
                && !connection.is_closed()
                && self.host.monotonic() < until
            {
                self.host.sleep(Duration::from_millis(1)).await;
            }
            connection.close();
        }
        for owned in self.owned() {
            let (id, sequence) = {
                let partition = owned.partition.borrow();
                (partition.id(), partition.durable())
            };
            owned.log.seal().await.map_err(|source| EngineError::Log { partition: id, source })?;
            // Not the state's digest: that would be a pass over all of it, for each partition.
            tracing::debug!(partition = id.get(), sequence = sequence.get(), "sealed");
        }
        Ok(())
    }
}
