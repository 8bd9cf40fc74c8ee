//! The switch: for a moment neither shard takes a batch, then the buckets are the target's.
//!
//! Whoever writes a batch moves checkpoints first, so that a lock on that table holds up writers and
//! nobody else. A target that owned nothing before takes over the source's products and checkpoints:
//! it is as far as the source then, which no running projector may have known it to be. One that has
//! buckets of its own has its checkpoints set back to the source's where they are ahead: events that
//! it sees again find rows of their version or a newer one, and change nothing.
//!
//! Two databases cannot commit at once. The target does first: if the source's commit fails, both
//! own the buckets for a while, the target with the higher version of the map, and both are kept
//! right; moving the same buckets again finishes it.

use super::{Endpoint, copy};
use crate::buckets::BucketSet;
use crate::error::StoreError;
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;

/// Rounds of changes carried over while the lock is held. The projector makes none; whoever else
/// writes to these rows may make some.
const ROUNDS_MAX: u32 = 50;

/// How long, and how often, a target that is behind is looked at.
const CATCH_UP_LOOKS_MAX: u32 = 600;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(100);

/// What a shard says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) buckets: BucketSet,
    pub(super) in_transit: BucketSet,
    pub(super) map_version: i64,
}

/// Reads it.
pub(super) async fn place(shard: &Endpoint) -> Result<Place, StoreError> {
    let rows = shard.query("SELECT buckets, in_transit, map_version FROM shard", &[]).await?;
    let row = rows.first().ok_or_else(|| shard.unfit("its table `shard` is empty"))?;
    let set = |column: usize| {
        row.get::<_, &str>(column).parse().map_err(|_| shard.unfit("its buckets are unreadable"))
    };
    Ok(Place { buckets: set(0)?, in_transit: set(1)?, map_version: row.get(2) })
}

/// Sets it, in the shard's open transaction or in one of its own.
pub(super) async fn set_place(shard: &Endpoint, place: &Place) -> Result<(), StoreError> {
    let (buckets, in_transit) = (place.buckets.to_string(), place.in_transit.to_string());
    let sql = "UPDATE shard SET buckets = $1, in_transit = $2, map_version = $3";
    shard
        .query(
            sql,
            &[(&buckets, Type::TEXT), (&in_transit, Type::TEXT), (&place.map_version, Type::INT8)],
        )
        .await
        .map(drop)
}

/// Begins a transaction in which no batch is written.
async fn hold_up(shard: &Endpoint) -> Result<(), StoreError> {
    shard
        .execute(
            "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = 0;
             LOCK TABLE checkpoints IN EXCLUSIVE MODE",
        )
        .await
}

/// Two connections to each shard: one that copies, one that locks.
pub(super) struct Ends<'a> {
    pub(super) source: &'a Endpoint,
    pub(super) source_lock: &'a Endpoint,
    pub(super) target: &'a Endpoint,
    pub(super) target_lock: &'a Endpoint,
}

/// Hands `buckets` over under map version `version`; for how long batches were held up.
pub(super) async fn switch(
    ends: &Ends<'_>,
    buckets: &BucketSet,
    version: i64,
) -> Result<Duration, StoreError> {
    let Ends { source, source_lock, target, target_lock } = ends;
    hold_up(target_lock).await?;
    let began = Instant::now();
    hold_up(source_lock).await?;
    let mut round = 0;
    while copy::changes(source, target, buckets).await? > 0 {
        round += 1;
        if round == ROUNDS_MAX {
            return Err(source.unfit(
                "rows of the moving buckets change faster than they can be carried over: somebody \
                 else than the projector writes them",
            ));
        }
    }
    let now = place(target_lock).await?;
    if now.buckets.is_empty() {
        copy::products(source_lock, target_lock).await?;
    }
    align(source_lock, target_lock, now.buckets.is_empty()).await?;
    let taken = Place {
        buckets: now.buckets.union(buckets),
        in_transit: now.in_transit.difference(buckets),
        map_version: version,
    };
    set_place(target_lock, &taken).await?;
    target_lock.execute("COMMIT").await?;
    let_go_of(source_lock, buckets, version).await?;
    source_lock.execute("COMMIT").await?;
    Ok(began.elapsed())
}

/// The source's part alone, for a switch that was interrupted after the target's.
pub(super) async fn finish(
    source: &Endpoint,
    buckets: &BucketSet,
    version: i64,
) -> Result<(), StoreError> {
    hold_up(source).await?;
    let_go_of(source, buckets, version).await?;
    source.execute("COMMIT").await
}

/// Waits until the target has every event that the source has: after an interrupted switch it may be
/// behind, and only then can rows be compared.
pub(super) async fn caught_up(source: &Endpoint, target: &Endpoint) -> Result<(), StoreError> {
    let sql = "SELECT sequence FROM checkpoints ORDER BY partition";
    let reached = source.query(sql, &[]).await?;
    for _ in 0..CATCH_UP_LOOKS_MAX {
        let now = target.query(sql, &[]).await?;
        let is_there = reached.iter().zip(&now).all(|(from, to)| {
            let (from, to): (i64, i64) = (from.get(0), to.get(0));
            to >= from
        });
        if is_there {
            return Ok(());
        }
        tokio::time::sleep(CATCH_UP_PAUSE).await;
    }
    Err(target
        .unfit("it has not caught up with the other since the switch: is a projector running?"))
}

async fn let_go_of(source: &Endpoint, buckets: &BucketSet, version: i64) -> Result<(), StoreError> {
    let now = place(source).await?;
    let left = Place {
        buckets: now.buckets.difference(buckets),
        in_transit: now.in_transit.union(buckets),
        map_version: version,
    };
    set_place(source, &left).await
}

/// Sets the target's checkpoints to the source's: all of them, or those that are ahead.
async fn align(source: &Endpoint, target: &Endpoint, all: bool) -> Result<(), StoreError> {
    let rows = source.query("SELECT partition, epoch, sequence FROM checkpoints", &[]).await?;
    let partitions: Vec<i16> = rows.iter().map(|row| row.get(0)).collect();
    let epochs: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
    let sequences: Vec<i64> = rows.iter().map(|row| row.get(2)).collect();
    let sql = "UPDATE checkpoints SET sequence = s.sequence, epoch = s.epoch
               FROM unnest($1, $2, $3) AS s (partition, epoch, sequence)
               WHERE checkpoints.partition = s.partition
                 AND ($4 OR checkpoints.sequence > s.sequence)";
    target
        .query(
            sql,
            &[
                (&partitions, Type::INT2_ARRAY),
                (&epochs, Type::INT8_ARRAY),
                (&sequences, Type::INT8_ARRAY),
                (&all, Type::BOOL),
            ],
        )
        .await
        .map(drop)
}
