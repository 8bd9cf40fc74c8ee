//! The engine: makes the cores, hands each its partitions, and ends them together.
//!
//! `start` binds every port, recovers every log and returns when all cores serve. Everything that
//! can be wrong with the machine, the ports or the data directory is an error of `start`; after it
//! only a log can fail, and that ends the engine.

use crate::directory::{DataDirectory, DirectoryError};
use crate::fitness::{self, Unfit};
use crate::host::GlommioHost;
use crate::log::{LogConfig, LogError, SnapshotWorker};
use crate::metrics::EngineMetrics;
use crate::net::listener::{self, Bound};
pub use crate::node::Stopper;
use crate::node::{CoreConfig, CoreParts, partition_map};
use crate::reserve::Reserve;
use crate::storage::{GlommioDisk, WriteMode, start_shelf_writer, wait_for_writes_in_flight};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{PartitionId, limits};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

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
    /// Bytes of memory that are held at the most for orders to come; 0: none.
    pub reserve_bytes_max: u64,
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
            reserve_bytes_max: 1 << 30,
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

type CoreHandle = ExecutorJoinHandle<Result<(), EngineError>>;

/// A running engine.
pub struct Engine {
    map: PartitionMap,
    metrics: Arc<EngineMetrics>,
    stopper: Stopper,
    cores: Vec<CoreHandle>,
    write_mode: WriteMode,
    snapshots: SnapshotWorker,
    /// Ends, and gives back what it holds, when this is dropped.
    _reserve: Option<Reserve>,
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
        let addresses = bound.iter().map(|bound| match config.advertise {
            Some(ip) => SocketAddr::new(ip, bound.address.port()),
            None => bound.address,
        });
        let map = partition_map(directory.id(), partitions, addresses.collect());
        let metrics = Arc::new(EngineMetrics::new(config.cores, usize::from(partitions.get())));
        let stopper = Stopper::default();
        let snapshots = SnapshotWorker::start();
        start_shelf_writer();
        wait_for_writes(&directory)?;
        let write_mode = GlommioDisk::probe(directory.path());
        let core_config = Arc::new(CoreConfig {
            key: config.key,
            log: LogConfig {
                segment_bytes: config.segment_bytes,
                snapshots: Some(snapshots.handle()),
                ..LogConfig::default()
            },
            high_water_bytes: config.high_water_bytes,
        });
        let cpus = available_cpus();
        let (ready, readiness) = mpsc::channel();
        let mut cores = Vec::new();
        for (number, bound) in bound.into_iter().enumerate() {
            let start = CoreStart {
                core: CoreParts {
                    host: GlommioHost,
                    map: PartitionMap { self_core: number as u16, ..map.clone() },
                    config: Arc::clone(&core_config),
                    metrics: Arc::clone(&metrics),
                    stopper: stopper.clone(),
                },
                bound,
                root: directory.path().to_owned(),
                write_mode,
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
        let reserve = Reserve::start(config.reserve_bytes_max, Arc::clone(&metrics));
        let engine = Self {
            map,
            metrics,
            stopper,
            cores,
            write_mode,
            snapshots,
            _reserve: reserve,
            directory,
        };
        for _ in 0..engine.cores.len() {
            // A core that fails to recover says so; one that panics hangs up.
            match readiness.recv() {
                Ok(Ok(())) => {}
                Ok(Err(())) | Err(mpsc::RecvError) => {
                    engine.stopper.stop();
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
        self.stopper.clone()
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
                self.stopper.stop();
                first.get_or_insert(error);
            }
        }
        match self.stopper.take_failure().or(first) {
            Some(error) => {
                self.snapshots.abandon();
                std::mem::forget(self.directory);
                Err(error)
            }
            None => {
                drained().insert(self.directory.id());
                Ok(())
            }
        }
    }
}

/// Ids of the directories with which an engine drained in this process. It has no write left, but may
/// have files open: glommio closes what an executor leaves behind only with the process, and until
/// then those look as if they were written.
fn drained() -> MutexGuard<'static, BTreeSet<u64>> {
    static DRAINED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    DRAINED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for what a killed process left to the kernel: a log must not change once it is read.
fn wait_for_writes(directory: &DataDirectory) -> Result<(), EngineError> {
    if drained().contains(&directory.id()) {
        return Ok(());
    }
    for partition in directory.partitions().all() {
        let path = directory.partition_path(partition);
        wait_for_writes_in_flight(&path).map_err(|source| EngineError::Log {
            partition,
            source: LogError::Io { doing: "look for late writes in", file: path, source },
        })?;
    }
    Ok(())
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
    core: CoreParts<GlommioHost>,
    bound: Bound,
    root: PathBuf,
    write_mode: WriteMode,
    ready: mpsc::Sender<Result<(), ()>>,
}

impl CoreStart {
    /// Recovers the core's partitions, reports, serves.
    async fn run(self) -> Result<(), EngineError> {
        let Self { core, bound, root, write_mode, ready } = self;
        let recovered = core.recover(|id| GlommioDisk::open(&root, id, write_mode)).await;
        let _ = ready.send(recovered.as_ref().map(drop).map_err(drop));
        drop(ready);
        recovered?.run(bound.into_listener()).await
    }
}
