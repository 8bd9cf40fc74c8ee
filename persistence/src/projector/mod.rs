//! The projector: reads the feed of every partition and writes it into a store, exactly once.
//!
//! ```text
//! core 0 ──feed──▶ decode ─┐                    ┌─▶ rows + checkpoints, one transaction
//! core 1 ──feed──▶ decode ─┴─▶ gather, ≤ 50 ms ─┘         │ committed
//!    ▲                                                    │
//!    └───────────────────── acknowledge ◀─────────────────┘
//! ```
//!
//! - Each connection goes on right after the checkpoints in the store, and each batch is written
//!   only if the checkpoints are still where it begins. Whatever dies in between, nothing is lost
//!   or twice.
//! - The engine is told of events only after their commit: it trims its log on the strength of it.
//! - When a connection is lost all are made anew, with a new partition map: an engine that restarts
//!   may have other cores. What was received until then is still written.
//! - A store that is busy or full is tried again, for as long as it takes; the log waits.

mod backoff;
mod decode;
mod error;
mod feed;
mod gather;
mod metrics;

pub use error::ProjectorError;
pub use metrics::{BATCH_DURATION_BOUNDS_US, ProjectorMetrics};

pub(crate) use decode::changes_of;

use crate::error::StoreError;
use crate::rows::Checkpoint;
use crate::store::{Shard, Store, StoreIdentity};
use backoff::{Backoff, stopped};
use doorbuster_client::FeedClient;
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::{PartitionId, Sequence};
use feed::{Feed, FeedEnd};
use gather::{Acknowledgement, Gatherer, Halt};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// What a projector needs to know.
#[derive(Clone, Debug)]
pub struct ProjectorConfig {
    /// Addresses of the engine's cores; any one that answers tells of the others.
    pub engine: Vec<SocketAddr>,
    /// The key that engine and projector share.
    pub key: PreSharedKey,
    /// Which consumer of the feed this is; the store is 0.
    pub consumer: u8,
    /// Rows of one transaction, at least 1. Only an event that alone changes more exceeds it.
    pub batch_rows_max: usize,
    /// How long the first event of a batch waits for more.
    pub batch_delay: Duration,
}

impl ProjectorConfig {
    /// The store's projector with its usual batches: 10 000 rows or 50 ms.
    pub fn new(engine: Vec<SocketAddr>, key: PreSharedKey) -> Self {
        Self {
            engine,
            key,
            consumer: 0,
            batch_rows_max: 10_000,
            batch_delay: Duration::from_millis(50),
        }
    }
}

/// Chunks that wait for the store. A tenth of a batch each: a whole batch can wait while one is
/// being written.
const CHUNKS_WAITING_MAX: usize = 16;
/// Times that the feed of a partition may break off at the same event before that is fatal.
const UNSOUND_MAX: u32 = 3;
/// The first and the longest pause between connections.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Projects until `shutdown` says `true` (or its sender is gone), which is `Ok`, or until something
/// happens that neither waiting nor a new connection can mend. Runs on any runtime of tokio's.
pub async fn run(
    config: ProjectorConfig,
    store: Arc<dyn Store>,
    metrics: Arc<ProjectorMetrics>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ProjectorError> {
    assert!(config.batch_rows_max >= 1, "a batch has room for a row");
    let store = store.shards().remove(0);
    let projector = Projector { config, store, metrics };
    let (first, longest) = RECONNECT_PAUSES;
    let mut backoff = Backoff::new(first, longest);
    let mut unsound = Unsound::default();
    loop {
        let (began, events) = (Instant::now(), projector.metrics.events());
        let end = match projector.connect(&mut shutdown).await {
            Ok(session) => {
                let end = session.run(&projector, &shutdown).await;
                projector.metrics.disconnected();
                if matches!(end, SessionEnd::Feed(_)) {
                    tracing::info!(
                        "the projector has lost the engine, and goes on when it is back"
                    );
                }
                end
            }
            Err(end) => end,
        };
        // An engine that closes every connection at once is not dialled in a tight loop.
        if projector.metrics.events() > events || began.elapsed() > longest {
            backoff.reset();
        }
        match end {
            SessionEnd::Shutdown => return Ok(()),
            SessionEnd::Fatal(error) => return Err(error),
            SessionEnd::Feed(end) => unsound.judge(end)?,
        }
        if backoff.wait(&mut shutdown).await.is_err() {
            return Ok(());
        }
    }
}

struct Projector {
    config: ProjectorConfig,
    store: Arc<dyn Shard>,
    metrics: Arc<ProjectorMetrics>,
}

/// Why a session, or the attempt at one, ended.
enum SessionEnd {
    Shutdown,
    Fatal(ProjectorError),
    Feed(FeedEnd),
}

impl From<StoreError> for SessionEnd {
    fn from(error: StoreError) -> Self {
        Self::Fatal(error.into())
    }
}

/// Connections to all cores, and where they go on.
struct Session {
    clients: Vec<FeedClient>,
    map: PartitionMap,
    checkpoints: Vec<Checkpoint>,
}

impl Projector {
    /// Connects to every core and learns where the store stands.
    async fn connect(&self, shutdown: &mut watch::Receiver<bool>) -> Result<Session, SessionEnd> {
        let connecting = async {
            let clients = self.clients().await?;
            let map = clients[0].map().clone();
            let identity = StoreIdentity { directory: map.directory, partitions: map.partitions };
            let mut backoff = Backoff::new(RECONNECT_PAUSES.0, RECONNECT_PAUSES.1);
            let mut stop = shutdown.clone();
            let checkpoints = loop {
                let claimed = match self.store.claim(identity).await {
                    Ok(()) => self.store.checkpoints().await,
                    Err(error) => Err(error),
                };
                match claimed {
                    Ok(checkpoints) => break checkpoints,
                    Err(error) if error.is_retryable() => {
                        tracing::warn!(%error, "the projector waits for the store");
                        backoff.wait(&mut stop).await.map_err(|_| SessionEnd::Shutdown)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            assert!(
                checkpoints.iter().map(|stored| stored.partition).eq(map.partitions.all()),
                "a claimed store has one checkpoint for each partition"
            );
            Ok(Session { clients, map, checkpoints })
        };
        let mut stop = shutdown.clone();
        tokio::select! {
            session = connecting => session,
            () = stopped(&mut stop) => Err(SessionEnd::Shutdown),
        }
    }

    /// A connection to every core: to the first address that answers, and from its map to the rest.
    async fn clients(&self) -> Result<Vec<FeedClient>, SessionEnd> {
        let lost = |error| SessionEnd::Feed(FeedEnd::Lost(error));
        let mut last = SessionEnd::Fatal(ProjectorError::NoAddress);
        for address in &self.config.engine {
            let first = match FeedClient::connect(*address, &self.config.key).await {
                Ok(client) => client,
                Err(error) => {
                    last = lost(error);
                    continue;
                }
            };
            let map = first.map().clone();
            let mut clients = vec![first];
            for (core, address) in map.cores.iter().enumerate() {
                if core == usize::from(map.self_core) {
                    continue;
                }
                let client = FeedClient::connect(*address, &self.config.key).await.map_err(lost)?;
                let other = client.map();
                if (other.directory, &other.owners) != (map.directory, &map.owners) {
                    // One core is of an engine that has just been replaced.
                    return Err(SessionEnd::Feed(FeedEnd::Unwanted));
                }
                clients.push(client);
            }
            return Ok(clients);
        }
        Err(last)
    }
}

impl Session {
    /// Projects until one connection ends. What was received until then is written.
    async fn run(self, projector: &Projector, shutdown: &watch::Receiver<bool>) -> SessionEnd {
        let Projector { config, store, metrics } = projector;
        metrics.connected(&self.checkpoints);
        tracing::info!(cores = self.clients.len(), "the projector follows the engine");
        let (chunks, queue) = mpsc::channel(CHUNKS_WAITING_MAX);
        let mut acknowledge = Vec::new();
        let mut feeds = JoinSet::new();
        let mut core_index = vec![usize::MAX; self.map.cores.len()];
        for (index, client) in self.clients.into_iter().enumerate() {
            let (sender, acknowledgements) = mpsc::unbounded_channel::<Acknowledgement>();
            acknowledge.push(sender);
            let core = client.map().self_core;
            core_index[usize::from(core)] = index;
            let of_core =
                |checkpoint: &&Checkpoint| self.map.owner_of(checkpoint.partition) == Some(core);
            let owned: Vec<_> = self.checkpoints.iter().filter(of_core).copied().collect();
            let metrics = Arc::clone(metrics);
            let passed_on = self.checkpoints.iter().map(|stored| stored.sequence).collect();
            let (consumer, chunks) = (config.consumer, chunks.clone());
            let chunk_rows = config.batch_rows_max.div_ceil(10);
            feeds.spawn(async move {
                let feed = Feed {
                    client,
                    consumer,
                    passed_on,
                    chunk_rows,
                    chunks,
                    acknowledgements,
                    metrics: &metrics,
                };
                feed.run(&owned).await
            });
        }
        drop(chunks);
        let mut gatherer = Gatherer {
            store: &**store,
            metrics,
            rows_max: config.batch_rows_max,
            delay: config.batch_delay,
            shutdown: shutdown.clone(),
        };
        let map = &self.map;
        let mut gathering = std::pin::pin!(gatherer.run(queue, |acknowledgement| {
            let owner = map.owner_of(acknowledgement.partition).expect("the partition is mapped");
            // A feed that has ended does not listen; the next connection says it again.
            let _ = acknowledge[core_index[usize::from(owner)]].send(acknowledgement);
        }));
        let mut stop = shutdown.clone();
        let ended = |ended: Option<Result<FeedEnd, JoinError>>| match ended {
            Some(Ok(end)) => SessionEnd::Feed(end),
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => unreachable!("there is a core"),
        };
        let end = tokio::select! {
            halted = &mut gathering => return match halted {
                // Nobody sends any more, so all feeds have ended.
                Ok(()) => ended(feeds.join_next().await),
                Err(halt) => halt.into(),
            },
            first = feeds.join_next() => ended(first),
            () = stopped(&mut stop) => SessionEnd::Shutdown,
        };
        // The feeds drop their ends of the queue: gathering writes what is in it and returns.
        feeds.shutdown().await;
        match gathering.await {
            Ok(()) => end,
            Err(halt) => halt.into(),
        }
    }
}

impl From<Halt> for SessionEnd {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Store(error) => error.into(),
            Halt::Shutdown => Self::Shutdown,
        }
    }
}

/// For each partition whose feed was unsound: the event it broke off at, and how often in a row.
#[derive(Default)]
struct Unsound(BTreeMap<PartitionId, (Sequence, u32)>);

impl Unsound {
    fn judge(&mut self, end: FeedEnd) -> Result<(), ProjectorError> {
        match end {
            FeedEnd::Fatal(error) => Err(error),
            FeedEnd::Lost(error) if error::is_final(&error) => Err(ProjectorError::Refused(error)),
            FeedEnd::Lost(error) => {
                tracing::debug!(%error, "the projector is not connected to the engine");
                Ok(())
            }
            FeedEnd::Unwanted => Ok(()),
            FeedEnd::Unsound { partition, expected, why } => {
                tracing::warn!(%partition, %expected, why, "the feed is unsound: reading it again");
                let (at, times) = self.0.entry(partition).or_insert((expected, 0));
                *times = if *at == expected { *times + 1 } else { 1 };
                *at = expected;
                if *times < UNSOUND_MAX {
                    return Ok(());
                }
                Err(ProjectorError::Unsound { partition, sequence: expected, why })
            }
        }
    }
}
