//! An engine in this process: the product's cores, partitions and logs, on pinned executors as the
//! product starts them, with a disk and with sockets of the benchmark's choice.

use crate::machine;
use crate::unsynced::{BenchDisk, Syncing};
use anyhow::{Context, anyhow, bail};
use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::engine::EngineError;
use doorbuster_engine::host::{GlommioHost, Host, Listener, Stream};
use doorbuster_engine::log::{LogConfig, SnapshotWorker};
use doorbuster_engine::metrics::EngineMetrics;
use doorbuster_engine::node::{CoreConfig, CoreParts, Stopper, partition_map};
use doorbuster_engine::partition::{Batch, Partition};
use doorbuster_engine::reserve::{self, Reserve};
use doorbuster_engine::storage::{GlommioDisk, start_shelf_writer};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{Timestamp, limits};
use glommio::net::{TcpListener, TcpStream};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use hdrhistogram::Histogram;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a partition's log that may wait: nobody follows it.
const HIGH_WATER_BYTES: u64 = 64 << 30;

/// Bytes that are held for orders to come at the most: the product's default.
const RESERVE_BYTES_MAX: u64 = 1 << 30;
/// How long memory for orders to come may take to be there, and time between two looks.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The key of every engine here.
pub(crate) fn key() -> PreSharedKey {
    PreSharedKey::new([7; 32])
}

/// Where the connections of cores come from.
pub(crate) trait Sockets: Clone + Send + 'static {
    type Stream: Stream;
    type Listener: Listener<Stream = Self::Stream>;

    /// Called on the executor of the core that `map` is for, before it serves.
    fn listen(&self, map: &PartitionMap) -> io::Result<Self::Listener>;
}

/// TCP, as in the product: each core at its address of the map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp;

impl Sockets for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;

    fn listen(&self, map: &PartitionMap) -> io::Result<TcpListener> {
        let address = map.cores[usize::from(map.self_core)];
        TcpListener::bind(address).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// How long commits took, in nanoseconds.
type Commits = Arc<Mutex<Histogram<u64>>>;

/// The product's host, but for the disk, the sockets, and that commits are timed.
struct BenchHost<S> {
    commits: Commits,
    sockets: PhantomData<S>,
}

impl<S> Clone for BenchHost<S> {
    fn clone(&self) -> Self {
        Self { commits: Arc::clone(&self.commits), sockets: PhantomData }
    }
}

impl<S: Sockets> Host for BenchHost<S> {
    type Disk = BenchDisk;
    type Stream = S::Stream;
    type Listener = S::Listener;

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        GlommioHost.spawn(task);
    }
    async fn sleep(&self, time: Duration) {
        GlommioHost.sleep(time).await;
    }
    fn wall_clock(&self) -> Timestamp {
        GlommioHost.wall_clock()
    }
    fn monotonic(&self) -> Duration {
        GlommioHost.monotonic()
    }
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        GlommioHost.fill_random(bytes)
    }
    fn watch_commit(&self, _: &Partition, _: &Batch, taken: Duration) {
        let took = self.monotonic().saturating_sub(taken).as_nanos() as u64;
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = commits.record(took);
    }
}

type CoreHandle = ExecutorJoinHandle<Result<(), EngineError>>;

/// A running engine.
pub(crate) struct InProcess {
    cores: Vec<CoreHandle>,
    addresses: Vec<SocketAddr>,
    commits: Commits,
    stopper: Stopper,
    metrics: Arc<EngineMetrics>,
    _reserve: Option<Reserve>,
    // Ends before the directory is let go.
    _snapshots: SnapshotWorker,
    _directory: DataDirectory,
}

impl InProcess {
    /// One core on each of `cpus`, on a new data directory. Returns when all of them serve. The
    /// threads beside the cores keep to these CPUs, too: for snapshots, and for memory to come.
    pub(crate) fn start<S: Sockets>(
        data: &Path,
        syncing: Syncing,
        cpus: &[usize],
        addresses: Vec<SocketAddr>,
        sockets: &S,
    ) -> anyhow::Result<Self> {
        // For the reserve, which would take a while to have the system find so much.
        machine::touch(reserve::allowed(RESERVE_BYTES_MAX) as usize);
        let sockets = sockets.clone();
        thread::scope(|scope| {
            let starting = scope.spawn(move || {
                // Threads inherit the seat of the one that starts them.
                machine::sit_on_each(cpus);
                Self::launch(data, syncing, cpus, addresses, &sockets)
            });
            starting.join().expect("a start does not panic")
        })
    }

    fn launch<S: Sockets>(
        data: &Path,
        syncing: Syncing,
        cpus: &[usize],
        addresses: Vec<SocketAddr>,
        sockets: &S,
    ) -> anyhow::Result<Self> {
        let partitions = PartitionCount::new(limits::PARTITIONS_DEFAULT).context("in range")?;
        let directory = DataDirectory::create_or_open(data, partitions)?;
        let map = partition_map(directory.id(), partitions, addresses.clone());
        let snapshots = SnapshotWorker::start();
        start_shelf_writer();
        let log = LogConfig { snapshots: Some(snapshots.handle()), ..LogConfig::default() };
        let config = Arc::new(CoreConfig { key: key(), log, high_water_bytes: HIGH_WATER_BYTES });
        let metrics = Arc::new(EngineMetrics::new(cpus.len(), usize::from(partitions.get())));
        let write_mode = GlommioDisk::probe(directory.path());
        let stopper = Stopper::default();
        let commits: Commits =
            Arc::new(Mutex::new(Histogram::new(3).expect("three digits are allowed")));
        let (ready, readiness) = mpsc::channel();
        let mut cores = Vec::new();
        for (number, cpu) in cpus.iter().enumerate() {
            let map = PartitionMap { self_core: number as u16, ..map.clone() };
            let (config, metrics) = (Arc::clone(&config), Arc::clone(&metrics));
            let (stopper, commits) = (stopper.clone(), Arc::clone(&commits));
            let (root, sockets, ready) =
                (directory.path().to_owned(), sockets.clone(), ready.clone());
            let core = LocalExecutorBuilder::new(Placement::Fixed(*cpu))
                .name(&format!("core-{number}"))
                .spawn(move || async move {
                    let host = BenchHost::<S> { commits, sockets: PhantomData };
                    let parts = CoreParts { host, map: map.clone(), config, metrics, stopper };
                    let disk =
                        |id| BenchDisk { disk: GlommioDisk::open(&root, id, write_mode), syncing };
                    let recovered = parts.recover(disk).await?;
                    let listener = sockets.listen(&map);
                    let _ = ready.send(listener.as_ref().map(drop).map_err(ToString::to_string));
                    drop(ready);
                    match listener {
                        Ok(listener) => recovered.run(listener).await,
                        Err(_) => Ok(()),
                    }
                })
                .map_err(|error| anyhow!("a core could not be started: {error}"))?;
            cores.push(core);
        }
        drop(ready);
        let engine = Self {
            cores,
            addresses,
            commits,
            stopper,
            _reserve: Reserve::start(RESERVE_BYTES_MAX, Arc::clone(&metrics)),
            metrics,
            _snapshots: snapshots,
            _directory: directory,
        };
        for _ in cpus {
            match readiness.recv() {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Err(anyhow!("a core cannot listen: {why}")),
                Err(_) => {
                    engine.stop()?;
                    return Err(anyhow!("a core ended before it served"));
                }
            }
        }
        Ok(engine)
    }

    /// Where its first core listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Waits until it holds all the memory for orders to come that it wants to: whatever is measured
    /// after that does not depend on what ran before and left memory to the system. In vain where
    /// nothing is on sale, or the machine has too little left.
    pub(crate) fn wait_for_reserve(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let wanted = self.metrics.reserve_wanted_bytes.load(Relaxed);
            let held = self.metrics.reserve_bytes.load(Relaxed);
            if wanted > 0 && held >= wanted {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("the engine has {held} of {wanted} bytes for orders to come, and no more");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Forgets the commits so far.
    pub(crate) fn forget_commits(&self) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    /// How long commits took, in nanoseconds.
    pub(crate) fn commits(&self) -> Histogram<u64> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drains it and waits for its end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.stopper.stop();
        for core in self.cores.drain(..) {
            let ended = core.join().map_err(|error| anyhow!("a core ended: {error}"))?;
            ended.context("a core failed")?;
        }
        match self.stopper.take_failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // Whoever wants to know how it ended has asked `stop`.
        let _ = self.end();
    }
}
