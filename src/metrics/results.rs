//! What becomes of results: the projector shard by shard, and how the edge's queries go.

use super::{SecondsHistogram, counter, counters, gauge, gauges};
use doorbuster_persistence::postgres::{ReadHealth, TargetHealth};
use doorbuster_persistence::projector::{BATCH_DURATION_BOUNDS_US, ProjectorMetrics};
use doorbuster_protocol::Timestamp;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use std::fmt::Error;
use std::time::SystemTime;

/// The projector.
pub(super) fn encode_projector(
    projector: &ProjectorMetrics,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let lag = projector
        .lag_events()
        .map(|(partition, events)| ([("partition", partition.to_string())], events));
    let help = "Durable events that a shard of the store does not have, by partition";
    gauges(encoder, "projector_lag_events", help, lag)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_micros(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let help = "Age of the oldest event that a shard of the store does not have";
    gauge(encoder, "projector_lag_seconds", help, projector.lag(now).as_secs_f64())?;
    let connected = f64::from(u8::from(projector.is_connected()));
    let help = "1 while the feeds of all cores are read for every shard";
    gauge(encoder, "projector_connected", help, connected)?;
    let shards = projector.shards(now);
    let label = |name: &str| [("shard", name.to_owned())];
    let each = || shards.iter().map(|shard| (label(&shard.name), shard));
    let help = "Events written to the store";
    counters(encoder, "projector_events", help, each().map(|(it, shard)| (it, shard.events)))?;
    let help = "Rows written to the store";
    counters(encoder, "projector_rows", help, each().map(|(it, shard)| (it, shard.rows)))?;
    let help = "Changes that could not be written and stand in the dead letters";
    let letters = each().map(|(it, shard)| (it, shard.dead_letters));
    counters(encoder, "projector_dead_letters", help, letters)?;
    let help = "Batches tried again because the shard was busy, full or away";
    counters(encoder, "store_retries", help, each().map(|(it, shard)| (it, shard.retries)))?;
    let help = "1 while the shard takes batches";
    let up = each().map(|(it, shard)| (it, u64::from(shard.is_up)));
    gauges(encoder, "store_shard_up", help, up)?;
    let help = "Age of the oldest event that the shard does not have, in milliseconds";
    let lags = each().map(|(it, shard)| (it, shard.lag.as_millis() as u64));
    gauges(encoder, "store_shard_lag_milliseconds", help, lags)?;
    let help = "How long a shard took for a batch, retries included";
    let histogram = MetricType::Histogram;
    let name = "store_batch_duration_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, histogram)?;
    for shard in &shards {
        let durations = SecondsHistogram {
            bounds: BATCH_DURATION_BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).collect(),
            counts: shard.batch_buckets.to_vec(),
            sum: shard.batch_duration.as_secs_f64(),
        };
        durations.write(&mut family.encode_family(&[("shard", shard.name.as_str())])?)?;
    }
    counter(
        encoder,
        "projector_connections",
        "Times that all feeds were connected",
        projector.connections(),
    )
}

/// Queries to Postgres, for each shard and for its primary and replica apart.
pub(super) fn encode_reads(
    shards: &[(String, ReadHealth)],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let targets: Vec<_> = shards
        .iter()
        .flat_map(|(name, health)| {
            let replica = health.replica.as_ref().map(|it| (name, "replica", it.target));
            [Some((name, "primary", health.primary)), replica].into_iter().flatten()
        })
        .collect();
    let each = |of: fn(&TargetHealth) -> u64| {
        targets.iter().map(move |(name, target, health)| {
            ([("shard", (*name).clone()), ("target", (*target).to_owned())], of(health))
        })
    };
    let help = "Queries that the store answered";
    counters(encoder, "store_answers", help, each(|it| it.answers))?;
    let help = "Queries that the store did not answer, or not in time";
    counters(encoder, "store_failures", help, each(|it| it.failures))?;
    let help = "Queries under way";
    gauges(encoder, "store_queries", help, each(|it| it.in_use))?;
    let help = "Connections for queries";
    gauges(encoder, "store_connections", help, each(|it| it.connections))?;
    let help = "1 while a server is left alone because it failed";
    gauges(encoder, "store_breaker_open", help, each(|it| u64::from(it.is_open)))?;
    let replicas = || shards.iter().filter_map(|(name, health)| Some((name, health.replica?)));
    let label = |name: &String| [("shard", name.clone())];
    let help = "1 while the replica is fresh enough to be asked";
    let fresh = replicas().map(|(name, it)| (label(name), u64::from(it.is_fresh)));
    gauges(encoder, "store_replica_fresh", help, fresh)?;
    let help = "How far behind its primary a replica may be, in milliseconds";
    let lags = replicas().filter_map(|(name, it)| Some((label(name), it.lag?.as_millis() as u64)));
    gauges(encoder, "store_replica_lag_milliseconds", help, lags)
}
