//! How far the log is while a shard is away: its pipeline reads nothing then, and would not notice
//! that the lag grows.
//!
//! About once a second, and only while some shard waits, all partitions are asked over connections
//! of their own: whoever subscribes from beyond the end is told the newest durable event at once and
//! nothing more. The connections are closed after that; the engine ends their feeds when it sees it.

use crate::projector::connect::{Unconnected, connect};
use crate::projector::{ProjectorConfig, ProjectorMetrics};
use doorbuster_client::{ClientError, FeedClient, FeedItem};
use doorbuster_protocol::{PartitionId, Sequence, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// How often it looks.
const PAUSE: Duration = Duration::from_secs(1);
/// An engine that does not tell in this time is asked again later.
const PATIENCE: Duration = Duration::from_secs(5);
/// No log gets so far.
const BEYOND: Sequence = Sequence::new(1 << 62);

/// Keeps the lag of shards that wait right, for as long as it is polled.
pub(super) async fn watch(config: Arc<ProjectorConfig>, metrics: Arc<ProjectorMetrics>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let waiting: Vec<_> =
            metrics.all().into_iter().filter(|shard| shard.is_waiting()).collect();
        if waiting.is_empty() {
            continue;
        }
        match tokio::time::timeout(PATIENCE, look(&config)).await {
            Ok(Ok(ends)) => {
                for shard in waiting {
                    shard.follows(ends.len());
                    for (partition, durable, at) in &ends {
                        shard.told(*partition, *durable, *at);
                    }
                }
            }
            // The pipelines say so, too.
            Ok(Err(error)) => tracing::debug!(?error, "the log's end is not known now"),
            Err(_) => tracing::debug!("the engine does not tell how far its log is"),
        }
    }
}

/// The newest durable event of every partition, and when the engine looked.
async fn look(
    config: &ProjectorConfig,
) -> Result<Vec<(PartitionId, Sequence, Timestamp)>, Unconnected> {
    let mut ends = Vec::new();
    for client in connect(config).await? {
        ends.extend(ends_of(client, config.consumer).await.map_err(Unconnected::Lost)?);
    }
    Ok(ends)
}

/// Those of the partitions of one core.
async fn ends_of(
    mut client: FeedClient,
    consumer: u8,
) -> Result<Vec<(PartitionId, Sequence, Timestamp)>, ClientError> {
    let core = Some(client.map().self_core);
    let all = client.map().partitions.all();
    let owned: Vec<_> = all.filter(|id| client.map().owner_of(*id) == core).collect();
    for partition in &owned {
        client.subscribe(*partition, consumer, BEYOND);
    }
    let mut ends = Vec::new();
    while ends.len() < owned.len() {
        if let FeedItem::Batch { partition, durable, durable_at, .. } = client.next().await? {
            ends.push((partition, durable, durable_at));
        }
    }
    Ok(ends)
}
