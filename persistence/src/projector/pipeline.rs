//! One shard's pipeline: connects to all cores, asks the shard where it stands, follows the feeds
//! from there, and begins again whenever something breaks off.
//!
//! Nothing here reaches another shard's pipeline. What neither waiting nor a new connection mends
//! ends it, unless it has worked and others go on beside it; so does the news that shards have
//! joined the store or left it.

use crate::projector::acknowledger::Report;
use crate::projector::backoff::{Backoff, Stopped, stopped};
use crate::projector::connect::connect;
use crate::projector::feed::{Feed, FeedEnd, Queue};
use crate::projector::gather::Gatherer;
use crate::projector::metrics::ShardMetrics;
use crate::projector::patience::{Fruitless, Unsound};
use crate::projector::rush::Rush;
use crate::projector::writing::{Halt, Writer};
use crate::projector::{ProjectorConfig, ProjectorError};
use crate::rows::Checkpoint;
use crate::store::{Shard, Store, StoreIdentity};
use doorbuster_client::FeedClient;
use doorbuster_protocol::handshake::PartitionMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Chunks that wait for the gatherer, with and without rows.
const CHUNKS_WAITING_MAX: usize = 16;
/// A chunk is closed when it has this part of a batch's rows.
const CHUNKS_PER_BATCH: usize = 10;
/// The first and the longest pause between connections, and between tries to reach the shard.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// The same after an error that somebody must mend, while other shards go on.
const FAILURE_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The pipeline of one shard.
pub(super) struct Pipeline {
    pub(super) config: Arc<ProjectorConfig>,
    pub(super) store: Arc<dyn Store>,
    pub(super) shard: Arc<dyn Shard>,
    /// The shards that have pipelines, in order; this one's place among them.
    pub(super) names: Arc<[String]>,
    pub(super) index: usize,
    /// When all of them began.
    pub(super) start: Instant,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why a pipeline ended.
pub(super) enum PipelineEnd {
    /// It was told to.
    Stopped,
    /// The store has other shards now, or they have other buckets.
    OtherMap,
    /// It cannot go on.
    Fatal(ProjectorError),
}

/// Why a session, or the attempt at one, ended.
enum SessionEnd {
    Stopped,
    Fatal(ProjectorError),
    Feed(FeedEnd),
    /// The shard stood at these checkpoints when the session began, and is elsewhere now.
    OutOfStep(crate::StoreError, Vec<Checkpoint>),
    Moved(crate::StoreError),
    /// The store has shards that nobody follows yet.
    OtherMap,
}

impl From<Stopped> for SessionEnd {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Connections to all cores, and where they go on.
struct Session {
    clients: Vec<FeedClient>,
    map: PartitionMap,
    checkpoints: Vec<Checkpoint>,
}

impl Pipeline {
    /// Runs until it is told to stop, or until it cannot go on. What it has in hand by then is
    /// written, if the shard takes it.
    pub(super) async fn run(mut self) -> PipelineEnd {
        let (first, longest) = RECONNECT_PAUSES;
        let mut backoff = Backoff::new(first, longest);
        let mut after_failure = Backoff::new(FAILURE_PAUSES.0, FAILURE_PAUSES.1);
        let (mut unsound, mut fruitless) = (Unsound::default(), Fruitless::default());
        loop {
            let (began, events) = (Instant::now(), self.metrics.events());
            let end = match self.connect().await {
                Ok(session) => {
                    let end = self.project(session).await;
                    self.metrics.disconnected();
                    if matches!(end, SessionEnd::Feed(_)) {
                        tracing::info!(shard = self.shard.name(), "the engine is lost: dialling");
                    }
                    end
                }
                Err(end) => end,
            };
            // An engine that closes every connection at once is not dialled in a tight loop.
            if self.metrics.events() > events || began.elapsed() > longest {
                backoff.reset();
                after_failure.reset();
            }
            let judged = match end {
                SessionEnd::Stopped => return PipelineEnd::Stopped,
                SessionEnd::OtherMap => return PipelineEnd::OtherMap,
                SessionEnd::Fatal(error) => Err(error),
                SessionEnd::Feed(end) => unsound.judge(self.shard.name(), end),
                SessionEnd::OutOfStep(error, from) => {
                    fruitless.judge(self.shard.name(), error, from)
                }
                SessionEnd::Moved(error) => {
                    tracing::info!(shard = self.shard.name(), %error, "buckets were moved");
                    match self.learn_anew().await {
                        Ok(true) => {
                            // A map that is older than the shard is not read in a tight loop.
                            return match backoff.wait(&mut self.stop).await {
                                Ok(()) => PipelineEnd::OtherMap,
                                Err(_) => PipelineEnd::Stopped,
                            };
                        }
                        learned => learned.map(|_| ()),
                    }
                }
            };
            if let Err(error) = judged {
                self.metrics.away();
                tracing::error!(shard = self.shard.name(), %error, "the shard cannot go on");
                if !self.is_one_of_several() {
                    return PipelineEnd::Fatal(error);
                }
                (unsound, fruitless) = (Unsound::default(), Fruitless::default());
                if after_failure.wait(&mut self.stop).await.is_err() {
                    return PipelineEnd::Stopped;
                }
                continue;
            }
            if backoff.wait(&mut self.stop).await.is_err() {
                return PipelineEnd::Stopped;
            }
        }
    }

    /// Whether other shards are followed beside this one, which has worked. Then its failure is no
    /// mistake of the configuration, and none of theirs: it is tried again until somebody has mended
    /// it, and holds the log but nothing else.
    fn is_one_of_several(&self) -> bool {
        self.names.len() > 1 && self.metrics.connections() > 0
    }

    /// Learns who owns which buckets; says whether that is known now. Then all pipelines begin anew:
    /// the shard that took the buckets over may have been set back to where this one stood, and what
    /// it had reached before must not count together with what this one reaches from now on. When
    /// the store cannot be asked, the next batch is refused once more, and it is asked again then.
    async fn learn_anew(&self) -> Result<bool, ProjectorError> {
        let mut stop = self.stop.clone();
        let refreshed = tokio::select! {
            biased;
            () = stopped(&mut stop) => return Ok(false),
            refreshed = self.store.refresh() => refreshed,
        };
        match refreshed {
            Ok(()) => Ok(true),
            Err(error) if error.is_retryable() => {
                tracing::warn!(shard = self.shard.name(), %error, "the store's map is not known now");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the store has other shards than those that are followed.
    fn has_other_shards(&self) -> bool {
        let shards = self.store.shards();
        !shards.iter().map(|shard| shard.name()).eq(self.names.iter())
    }

    /// Connects to every core and learns where the shard stands.
    async fn connect(&self) -> Result<Session, SessionEnd> {
        let mut stop = self.stop.clone();
        let connecting = async {
            let clients =
                connect(&self.config).await.map_err(|why| SessionEnd::Feed(why.into()))?;
            let map = clients[0].map().clone();
            let identity = StoreIdentity { directory: map.directory, partitions: map.partitions };
            let checkpoints = self.claim(identity).await?;
            assert!(
                checkpoints.iter().map(|stored| stored.partition).eq(map.partitions.all()),
                "a claimed shard has one checkpoint for each partition"
            );
            Ok(Session { clients, map, checkpoints })
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => Err(SessionEnd::Stopped),
            session = connecting => session,
        }
    }

    /// Claims the shard, however long it is away, and reports where it stands.
    async fn claim(&self, identity: StoreIdentity) -> Result<Vec<Checkpoint>, SessionEnd> {
        let (first, longest) = RECONNECT_PAUSES;
        let mut backoff = Backoff::new(first, longest);
        let mut stop = self.stop.clone();
        let mut is_waiting = false;
        self.metrics.asked();
        let checkpoints = loop {
            let claimed = match self.shard.claim(identity).await {
                Ok(()) => self.shard.checkpoints().await,
                Err(error) => Err(error),
            };
            match claimed {
                Ok(checkpoints) => break checkpoints,
                Err(error) if error.is_retryable() => {
                    if !is_waiting {
                        tracing::warn!(shard = self.shard.name(), %error, "the projector waits");
                    }
                    is_waiting = true;
                    self.metrics.away();
                    backoff.wait(&mut stop).await?;
                }
                Err(error) => return Err(SessionEnd::Fatal(error.into())),
            }
        };
        // One that was away may name others. What it has counts only together with what they have.
        if self.has_other_shards() {
            return Err(SessionEnd::OtherMap);
        }
        self.metrics.claimed(&checkpoints);
        let reached =
            checkpoints.iter().map(|stored| (stored.partition, stored.sequence)).collect();
        // Nobody listens any more when all pipelines are being stopped.
        let _ = self.reports.send(Report { shard: self.index, reached });
        Ok(checkpoints)
    }

    /// Projects until one connection ends. What was received until then is written.
    async fn project(&self, session: Session) -> SessionEnd {
        let Session { clients, map, checkpoints } = session;
        let config = &self.config;
        let buckets = self.shard.buckets();
        self.metrics.connected();
        tracing::info!(shard = self.shard.name(), cores = clients.len(), %buckets, "following");
        let (chunks, waiting) = mpsc::channel(CHUNKS_WAITING_MAX);
        let queue = Queue {
            chunks,
            room: Arc::new(Semaphore::new(config.batch_rows_max)),
            rows_max: config.batch_rows_max,
            chunk_rows: config.batch_rows_max.div_ceil(CHUNKS_PER_BATCH),
        };
        let mut feeds = JoinSet::new();
        for client in clients {
            let core = Some(client.map().self_core);
            let is_its = |stored: &&Checkpoint| map.owner_of(stored.partition) == core;
            let owned: Vec<_> = checkpoints.iter().filter(is_its).copied().collect();
            let feed = Feed {
                client,
                consumer: config.consumer,
                buckets,
                passed_on: checkpoints.iter().map(|stored| stored.sequence).collect(),
                queue: queue.clone(),
                metrics: Arc::clone(&self.metrics),
            };
            feeds.spawn(async move { feed.run(&owned).await });
        }
        drop(queue);
        let writer = Writer {
            shard: Arc::clone(&self.shard),
            index: self.index,
            reports: self.reports.clone(),
            metrics: Arc::clone(&self.metrics),
            stop: self.stop.clone(),
        };
        let place = (self.index, self.names.len());
        let gatherer = Gatherer {
            writer: &writer,
            buckets,
            rows_max: config.batch_rows_max,
            rush: Rush::new(config.batch_delay, self.start, place, &buckets),
            from: checkpoints.clone(),
            look_every: config.look_every,
        };
        let mut gathering = std::pin::pin!(gatherer.run(waiting));
        let mut stop = self.stop.clone();
        let ended = |ended: Option<Result<FeedEnd, JoinError>>| match ended {
            Some(Ok(end)) => SessionEnd::Feed(end),
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => unreachable!("there is a core"),
        };
        let end = tokio::select! {
            biased;
            () = stopped(&mut stop) => SessionEnd::Stopped,
            halted = &mut gathering => return match halted {
                // Nobody sends any more, so all feeds have ended.
                Ok(()) => ended(feeds.join_next().await),
                Err(halt) => SessionEnd::from_halt(halt, checkpoints),
            },
            first = feeds.join_next() => ended(first),
        };
        // The feeds drop their ends of the queue: gathering writes what is in it and returns.
        feeds.shutdown().await;
        match gathering.await {
            Ok(()) => end,
            Err(halt) => SessionEnd::from_halt(halt, checkpoints),
        }
    }
}

impl SessionEnd {
    fn from_halt(halt: Halt, checkpoints: Vec<Checkpoint>) -> Self {
        match halt {
            Halt::Fatal(error) => Self::Fatal(error.into()),
            Halt::OutOfStep(error) => Self::OutOfStep(error, checkpoints),
            Halt::Moved(error) => Self::Moved(error),
            Halt::Stopped => Self::Stopped,
        }
    }
}
