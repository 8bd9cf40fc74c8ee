//! One core of an engine, for whoever has threads, sockets and a disk to run it on: [`engine`] on
//! pinned executors, the simulator on its own.
//!
//! Two steps, so that no client is served before every core has its partitions: [`CoreParts::recover`]
//! reads the logs, [`RecoveredCore::run`] serves until the [`Stopper`] says so. The first failed write
//! or sync of a log stops all cores that share a stopper, and is kept in it.
//!
//! [`engine`]: crate::engine

use crate::core::Core;
use crate::engine::EngineError;
use crate::host::Host;
use crate::log::{Log, LogConfig, LogError, LogIdentity};
use crate::metrics::EngineMetrics;
use crate::partition::Partition;
use crate::state_machine::State;
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{Epoch, PartitionId};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the cores of an engine are told, wherever they run.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The key that clients prove.
    pub key: PreSharedKey,
    /// The sizes of the logs, and who makes their snapshots.
    pub log: LogConfig,
    /// Bytes of a partition's log that may wait for its consumers; past it new orders are refused.
    pub high_water_bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<EngineError>>,
}

/// Stops an engine: nothing new is taken, everything taken is finished. A clone stops the same one.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Begins the drain.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }
    /// Whether the engine drains, has failed or has ended.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }
    /// Whether a log has failed.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }
    /// The first failure of a log, once.
    pub fn take_failure(&self) -> Option<EngineError> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
    /// Keeps the first failure and stops every core without draining.
    pub(crate) fn fail(&self, error: EngineError) {
        let mut failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.0.failed.store(true, Ordering::Release);
        self.stop();
    }
}

/// The map of an engine whose cores listen at `cores`. The partitions go round.
pub fn partition_map(
    directory: u64,
    partitions: PartitionCount,
    cores: Vec<SocketAddr>,
) -> PartitionMap {
    let count = cores.len() as u16;
    PartitionMap {
        directory,
        epoch: Epoch::FIRST,
        partitions,
        self_core: 0,
        cores,
        owners: partitions.all().map(|id| id.get() % count).collect(),
    }
}

/// What a core is made of, before it has read anything.
#[derive(Clone, Debug)]
pub struct CoreParts<H> {
    /// What it runs on.
    pub host: H,
    /// Who owns what; `self_core` is this core's number.
    pub map: PartitionMap,
    /// What it is told.
    pub config: Arc<CoreConfig>,
    /// Where it counts.
    pub metrics: Arc<EngineMetrics>,
    /// Who stops it, and where it leaves a failure.
    pub stopper: Stopper,
}

/// A core that has its partitions and serves nobody yet.
pub struct RecoveredCore<H: Host>(Rc<Core<H>>);

impl<H: Host> CoreParts<H> {
    /// Reads the logs of this core's partitions, each on its disk.
    pub async fn recover(
        self,
        disk: impl Fn(PartitionId) -> H::Disk,
    ) -> Result<RecoveredCore<H>, EngineError> {
        let mut recovered = Vec::new();
        for id in self.map.partitions.all() {
            if self.map.owners[id.index()] != self.map.self_core {
                continue;
            }
            let (log, state) = self
                .recover_partition(id, disk(id))
                .await
                .map_err(|source| EngineError::Log { partition: id, source })?;
            let durable = state.sequence().get();
            self.metrics.partitions[id.index()].durable.store(durable, Ordering::Relaxed);
            recovered.push((log, Partition::new(state)));
        }
        Ok(RecoveredCore(Core::new(self, recovered)))
    }

    async fn recover_partition(
        &self,
        id: PartitionId,
        disk: H::Disk,
    ) -> Result<(Log<H::Disk>, State), LogError> {
        let identity =
            LogIdentity { directory: self.map.directory, partition: id, epoch: self.map.epoch };
        Log::recover(disk, identity, self.config.log.clone()).await
    }
}

impl<H: Host> RecoveredCore<H> {
    /// The logs as they were recovered, each with the state that it tells.
    pub fn logs(&self) -> impl Iterator<Item = &Log<H::Disk>> {
        self.0.logs()
    }
    /// Calls `look` with each partition's state.
    pub fn inspect(&self, look: impl FnMut(&State)) {
        self.0.inspect(look);
    }
    /// Serves whoever connects, until the engine is stopped or a log fails; then drains, unless one
    /// failed, and seals the logs. An error is one of the drain.
    pub async fn run(self, listener: H::Listener) -> Result<(), EngineError> {
        self.0.run(listener).await
    }
}
