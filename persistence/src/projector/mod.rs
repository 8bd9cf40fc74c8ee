//! The projector: reads the feed of every partition and writes it into every shard of a store,
//! exactly once.
//!
//! ```text
//!            ┌ pipeline of shard 0: feeds of all cores ─▶ decode ─▶ gather ─▶ rows + checkpoints ┐
//! engine ────┼ pipeline of shard 1: feeds of all cores ─▶ decode ─▶ gather ─▶ rows + checkpoints ┤
//!    ▲       └ …                                                              one transaction    │
//!    └────────────── acknowledger: the least of all shards' checkpoints ◀── committed ───────────┘
//! ```
//!
//! - Each pipeline goes on right after its shard's checkpoints, and each batch is written only if
//!   they are still where it begins. Whatever dies in between, nothing is lost or twice.
//! - The engine is told of events only after every shard has committed them: it trims its log on the
//!   strength of it.
//! - When a connection is lost all of the pipeline's are made anew, with a new partition map: an
//!   engine that restarts may have other cores. What was received until then is still written.
//! - A shard that is busy, full or away is tried again, for as long as it takes; the log waits. One
//!   that came back older than it was is followed from where it stands: it refuses the next batch,
//!   and is asked every few seconds in case that there is none.
//!
//! Every shard has a subscription of its own, instead of one reading that is dealt out: a shard that
//! is away then neither holds the others up nor needs memory for what they read meanwhile. The price
//! is that every event is sent and decoded once for each shard; what is not a shard's is left out
//! before a row is made of it.
//!
//! # Memory
//!
//! A shard's rows are in few hands, whatever the backlog, with `B` = `batch_rows_max`: one batch
//! being written and one gathering (`B` each), a queue (`B`), a chunk of a tenth of `B` that did not
//! fit, and one in the hands of each core's feed. A change takes 208 bytes and a new order's line 32,
//! so that 10 000 rows are 2.4 MB: with two cores less than 9 MB a shard, and another 2 to 3 MB of
//! frames.
//!
//! An event is never torn apart, and one that serves a waitlist changes up to 65 536 orders: then
//! each of those hands holds one such event instead, of which a shard keeps the orders of its
//! buckets. With two cores that is 6 × 13.6 MB of rows over all shards together, however they are
//! spread, and at most 24 MB of frames for each shard: 180 MB with four.
//!
//! | module | what it owns |
//! |---|---|
//! | `pipeline` | one shard: connect, claim, follow, begin again |
//! | `connect` | connections to every core |
//! | `feed` | one core's events for one shard, in order, cut into chunks |
//! | `decode` | from events to changes of rows |
//! | `gather` | from chunks to batches, while the batch before is written |
//! | `rush` | when a batch is due, and what changes in a rush |
//! | `writing` | one batch into the shard, whatever becomes of its answers |
//! | `acknowledger` | what all shards have, told to the engine |
//! | `horizon` | how far the log is while a shard is away |
//! | `patience` | when trouble that comes back counts as lasting |
//! | [`ProjectorMetrics`] | what is counted, by shard and in all |

mod acknowledger;
mod backoff;
mod connect;
mod decode;
mod error;
mod feed;
mod gather;
mod horizon;
mod metrics;
mod patience;
mod pipeline;
mod rush;
#[cfg(test)]
mod scripted;
mod writing;

pub use error::ProjectorError;
pub use metrics::{
    BATCH_DURATION_BOUNDS_US, BatchBuckets, ProjectorMetrics, ShardMetricsView, WallClock,
};

pub(crate) use decode::changes_of;

use crate::store::{Change, Store};
use backoff::stopped;
use doorbuster_client::{Network, TcpNetwork};
use doorbuster_protocol::handshake::PreSharedKey;
use pipeline::{Pipeline, PipelineEnd};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

// The arithmetic of memory above stands on it.
const _: () = assert!(size_of::<Change>() <= 208);

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
    /// How long the first event of a batch waits for more; about ten times as long in a rush.
    pub batch_delay: Duration,
    /// How often a shard is asked where it stands: it may have fallen back to an older state with
    /// nothing left to write that would show it.
    pub look_every: Duration,
    /// How the engine's cores are reached.
    pub network: Arc<dyn Network>,
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
            look_every: Duration::from_secs(5),
            network: TcpNetwork::shared(),
        }
    }
}

/// Why the pipelines of a set of shards ended.
enum Ended {
    Stopped,
    OtherMap,
}

/// Projects until `shutdown` says `true` (or its sender is gone), which is `Ok`, or until something
/// happens to a shard that neither waiting nor a new connection can mend; then the other shards get
/// what is in hand first. Runs on any runtime of tokio's.
pub async fn run(
    config: ProjectorConfig,
    store: Arc<dyn Store>,
    metrics: Arc<ProjectorMetrics>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ProjectorError> {
    assert!(config.batch_rows_max >= 1, "a batch has room for a row");
    let config = Arc::new(config);
    loop {
        match run_shards(&config, &store, &metrics, &mut shutdown).await? {
            Ended::Stopped => return Ok(()),
            Ended::OtherMap => tracing::info!("the store's map has changed: beginning anew"),
        }
    }
}

/// Runs a pipeline for each shard that the store has now, until one of them ends.
async fn run_shards(
    config: &Arc<ProjectorConfig>,
    store: &Arc<dyn Store>,
    metrics: &Arc<ProjectorMetrics>,
    shutdown: &mut watch::Receiver<bool>,
) -> Result<Ended, ProjectorError> {
    let shards = store.shards();
    assert!(!shards.is_empty(), "a store has a shard");
    let names: Arc<[String]> = shards.iter().map(|shard| shard.name().to_owned()).collect();
    let counters = metrics.follow(names.iter().map(String::as_str));
    // One for each pipeline: those who wait for one channel are woken in no order.
    let stops: Vec<_> = shards.iter().map(|_| watch::Sender::new(false)).collect();
    let (reports, reported) = mpsc::unbounded_channel();
    // Dropped, and ended with it, when the pipelines have.
    let mut beside = JoinSet::new();
    beside.spawn(acknowledger::acknowledge(Arc::clone(config), shards.len(), reported));
    beside.spawn(horizon::watch(Arc::clone(config), Arc::clone(metrics)));
    let mut pipelines = JoinSet::new();
    let start = Instant::now();
    for (index, (shard, metrics)) in shards.into_iter().zip(counters).enumerate() {
        let pipeline = Pipeline {
            config: Arc::clone(config),
            store: Arc::clone(store),
            shard,
            names: Arc::clone(&names),
            index,
            start,
            reports: reports.clone(),
            metrics,
            stop: stops[index].subscribe(),
        };
        pipelines.spawn(pipeline.run());
    }
    let mut ended = Ok(Ended::Stopped);
    let mut is_stopping = false;
    loop {
        let end = tokio::select! {
            biased;
            () = stopped(shutdown), if !is_stopping => {
                is_stopping = true;
                stop_all(&stops);
                continue;
            }
            end = pipelines.join_next() => end,
        };
        match end {
            None => return ended,
            Some(Ok(PipelineEnd::Stopped)) => {}
            Some(Ok(PipelineEnd::OtherMap)) => {
                if !is_stopping {
                    ended = Ok(Ended::OtherMap);
                }
            }
            Some(Ok(PipelineEnd::Fatal(error))) => match ended {
                // The first one counts.
                Err(_) => tracing::error!(%error, "another shard cannot go on either"),
                Ok(_) => ended = Err(error),
            },
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        }
        is_stopping = true;
        stop_all(&stops);
    }
}

fn stop_all(stops: &[watch::Sender<bool>]) {
    for stop in stops {
        stop.send_replace(true);
    }
}
