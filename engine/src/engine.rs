//! The engine: makes the cores, hands each its partitions, and ends them together.
//!
//! `start` binds every port, recovers every log and returns when all cores serve. Everything that
//! can be wrong with the machine, the ports or the data directory is an error of `start`; after it
//! only a log can fail, and that ends the engine.

use crate::core::{Core, Parts};
use crate::directory::{DataDirectory, DirectoryError};
use crate::fitness::{self, Unfit};
use crate::log::{Log, LogConfig, LogError, LogIdentity, SnapshotWorker};
use crate::metrics::EngineMetrics;
use crate::net::listener::{self, Bound};
use crate::partition::Partition;
use crate::storage::{GlommioDisk, WriteMode};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{Epoch, PartitionId, limits};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// What an engine is told.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The data directory.
    pub data: PathBuf,
    /// Partitions of a new data directory; an existing one has its own count.
    pub partitions: PartitionCount,
    /// Where the cores listen.
    pub listen: IpAddr,
    /// Core `i` listens on `port + i`; 0: every core on a free port.
    pub port: u16,
    /// Where clients reach the cores, when that is not `listen`.
    pub advertise: Option<IpAddr>,
    /// Cores: 1 to the number of CPUs is sensible. More than partitions is refused.
    pub cores: usize,
    /// The key that clients prove.
    pub key: PreSharedKey,
    /// Bytes of one log segment.
    pub segment_bytes: u64,
    /// Bytes of a partition's log that may wait for its consumers; past it new orders are refused.
    /// What waits is counted in whole segments: less than one counts as one.
    pub high_water_bytes: u64,
}

impl EngineConfig {
    /// The defaults for a data directory and a key: loopback, free ports, one core.
    pub fn new(data: PathBuf, key: PreSharedKey) -> Self {
        Self {
            data,
            partitions: PartitionCount::new(limits::PARTITIONS_DEFAULT)
                .expect("the default is in range"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            advertise: None,
            cores: 1,
            key,
            segment_bytes: 32 << 20,
            high_water_bytes: 4 << 30,
        }
    }
}

/// Why an engine did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine cannot run it.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The data directory is missing, foreign, locked, or of another version.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A port could not be bound.
    #[error(
        "cannot listen on {address}: {source}. Choose another port, or find its user with `ss -ltnp`"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The number of cores makes no sense here.
    #[error("{cores} core(s) cannot share {partitions} partition(s); use 1 to {most}")]
    Cores {
        /// Cores asked for.
        cores: usize,
        /// Partitions there are.
        partitions: u16,
        /// The most that would do.
        most: usize,
    },
    /// A log is damaged, or a write or sync failed.
    #[error("partition {partition}: {source}")]
    Log {
        /// The partition.
        partition: PartitionId,
        /// What happened to its log.
        source: LogError,
    },
    /// A thread could not be made, or ended by a panic.
    #[error("a core ended unexpectedly: {0}")]
    Core(String),
}

/// What the cores and the engine's owner share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stopping: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<EngineError>>,
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
    /// Keeps the first failure and stops every core without draining.
    pub(crate) fn fail(&self, error: EngineError) {
        let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        self.stopping.store(true, Ordering::Release);
    }
}

type CoreHandle = ExecutorJoinHandle<Result<(), EngineError>>;

/// A running engine.
pub struct Engine {
    map: PartitionMap,
    metrics: Arc<EngineMetrics>,
    shared: Arc<Shared>,
    cores: Vec<CoreHandle>,
    write_mode: WriteMode,
    snapshots: SnapshotWorker,
    /// Dropped last: the lock on the data directory goes with it.
    directory: DataDirectory,
}

impl Engine {
    /// Starts the cores; returns when all of them serve.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        fitness::check(config.cores)?;
        let directory = DataDirectory::create_or_open(&config.data, config.partitions)?;
        let partitions = directory.partitions();
        let most = usize::from(partitions.get().min(limits::CORES_MAX));
        if config.cores == 0 || config.cores > most {
            return Err(EngineError::Cores {
                cores: config.cores,
                partitions: partitions.get(),
                most,
            });
        }
        let bound = bind_all(&config)?;
        let map = PartitionMap {
            directory: directory.id(),
            epoch: Epoch::FIRST,
            partitions,
            self_core: 0,
            cores: bound
                .iter()
                .map(|bound| match config.advertise {
                    Some(ip) => SocketAddr::new(ip, bound.address.port()),
                    None => bound.address,
                })
                .collect(),
            owners: partitions.all().map(|id| id.get() % config.cores as u16).collect(),
        };
        let metrics = Arc::new(EngineMetrics::new(config.cores, usize::from(partitions.get())));
        let shared = Arc::new(Shared::default());
        let snapshots = SnapshotWorker::start();
        let write_mode = GlommioDisk::probe(directory.path());
        let config = Arc::new(config);
        let cpus = available_cpus();
        let (ready, readiness) = mpsc::channel();
        let mut cores = Vec::new();
        for (number, bound) in bound.into_iter().enumerate() {
            let start = CoreStart {
                number,
                bound,
                map: PartitionMap { self_core: number as u16, ..map.clone() },
                config: Arc::clone(&config),
                metrics: Arc::clone(&metrics),
                shared: Arc::clone(&shared),
                root: directory.path().to_owned(),
                write_mode,
                snapshots: snapshots.handle(),
                ready: ready.clone(),
            };
            let placement = match cpus.get(number) {
                Some(cpu) if cpus.len() >= config.cores => Placement::Fixed(*cpu),
                _ => Placement::Unbound,
            };
            let spawned = LocalExecutorBuilder::new(placement)
                .name(&format!("core-{number}"))
                .spawn(move || start.run())
                .map_err(|error| EngineError::Core(error.to_string()))?;
            cores.push(spawned);
        }
        drop(ready);
        let engine = Self { map, metrics, shared, cores, write_mode, snapshots, directory };
        for _ in 0..engine.cores.len() {
            // A core that fails to recover says so; one that panics hangs up.
            match readiness.recv() {
                Ok(Ok(())) => {}
                Ok(Err(())) | Err(mpsc::RecvError) => {
                    engine.shared.stopping.store(true, Ordering::Release);
                    return match engine.join() {
                        Err(error) => Err(error),
                        Ok(()) => Err(EngineError::Core("it did not become ready".to_owned())),
                    };
                }
            }
        }
        Ok(engine)
    }

    /// Where the cores listen, by number.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.map.cores
    }
    /// The partition map, as clients see it.
    pub fn map(&self) -> &PartitionMap {
        &self.map
    }
    /// Counters, readable at any time.
    pub fn metrics(&self) -> Arc<EngineMetrics> {
        Arc::clone(&self.metrics)
    }
    /// How the logs are written and synced here.
    pub fn write_mode(&self) -> WriteMode {
        self.write_mode
    }
    /// A handle that stops the engine from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Waits for the end: of a drain, or by a failure. After a failure the data directory stays
    /// locked until the process has ended: a snapshot may still be written, by a disk that may be
    /// slow to fail, and nobody waits for that.
    pub fn join(self) -> Result<(), EngineError> {
        let mut first = None;
        for core in self.cores {
            let ended = match core.join() {
                Ok(ended) => ended,
                Err(error) => Err(EngineError::Core(error.to_string())),
            };
            if let Err(error) = ended {
                self.shared.stopping.store(true, Ordering::Release);
                first.get_or_insert(error);
            }
        }
        let failure =
            self.shared.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match failure.or(first) {
            Some(error) => {
                self.snapshots.abandon();
                std::mem::forget(self.directory);
                Err(error)
            }
            None => Ok(()),
        }
    }
}

/// Stops an engine: nothing new is taken, everything taken is finished.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Begins the drain; [`Engine::join`] returns when it is done.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }
    /// Whether the engine drains, has failed or has ended.
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }
}

fn bind_all(config: &EngineConfig) -> Result<Vec<Bound>, EngineError> {
    (0..config.cores)
        .map(|core| {
            let port = match config.port {
                0 => 0,
                first => first.saturating_add(core as u16),
            };
            let address = SocketAddr::new(config.listen, port);
            listener::bind(address).map_err(|source| EngineError::Listen { address, source })
        })
        .collect()
}

/// The CPUs that this process may run on.
fn available_cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        Err(_) => Vec::new(),
    }
}

/// What a core's thread begins with.
struct CoreStart {
    number: usize,
    bound: Bound,
    map: PartitionMap,
    config: Arc<EngineConfig>,
    metrics: Arc<EngineMetrics>,
    shared: Arc<Shared>,
    root: PathBuf,
    write_mode: WriteMode,
    snapshots: crate::log::SnapshotHandle,
    ready: mpsc::Sender<Result<(), ()>>,
}

impl CoreStart {
    /// Recovers the core's partitions, reports, serves.
    async fn run(self) -> Result<(), EngineError> {
        let ready = self.ready.clone();
        let (parts, bound) = match self.recover().await {
            Ok(recovered) => recovered,
            Err(error) => {
                let _ = ready.send(Err(()));
                return Err(error);
            }
        };
        let core = Core::new(parts);
        let _ = ready.send(Ok(()));
        drop(ready);
        core.run(bound).await
    }

    async fn recover(self) -> Result<(Parts<GlommioDisk>, Bound), EngineError> {
        let mut recovered = Vec::new();
        for id in self.map.partitions.all() {
            if usize::from(self.map.owners[id.index()]) != self.number {
                continue;
            }
            let (log, state) = self
                .recover_partition(id)
                .await
                .map_err(|source| EngineError::Log { partition: id, source })?;
            let durable = state.sequence().get();
            self.metrics.partitions[id.index()].durable.store(durable, Ordering::Relaxed);
            recovered.push((log, Partition::new(state)));
        }
        let parts = Parts {
            number: self.number,
            map: self.map,
            config: self.config,
            recovered,
            metrics: self.metrics,
            shared: self.shared,
        };
        Ok((parts, self.bound))
    }

    async fn recover_partition(
        &self,
        id: PartitionId,
    ) -> Result<(Log<GlommioDisk>, crate::state_machine::State), LogError> {
        let identity =
            LogIdentity { directory: self.map.directory, partition: id, epoch: self.map.epoch };
        let disk = GlommioDisk::open(&self.root, id, self.write_mode);
        let config = LogConfig {
            segment_bytes: self.config.segment_bytes,
            snapshots: Some(self.snapshots.clone()),
            ..LogConfig::default()
        };
        Log::recover(disk, identity, config).await
    }
}
