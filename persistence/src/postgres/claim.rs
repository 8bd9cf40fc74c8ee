//! The first claim of a shard, and the checks of every later one.
//!
//! At its first claim a shard gets its name, the data directory whose results it holds, its share of
//! the buckets that no other shard owns, and a checkpoint of zero for each partition. When the
//! others own every bucket already it joins as a spare: its checkpoints and products are copied from
//! another shard in one snapshot, so that it needs no events that the log has dropped.
//!
//! A first claim asks every other shard what it owns, so that all of them must answer; later ones
//! need only the shard itself. Several processes may claim at once: the row of the shard is locked.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect::failure;
use crate::postgres::core::{self, Core};
use crate::postgres::identity::{self, Standing};
use crate::postgres::session::{slow, timeouts};
use crate::postgres::shard::{Inner, PostgresShard};
use crate::postgres::{catalog, scan};
use crate::rows::Checkpoint;
use crate::store::StoreIdentity;
use doorbuster_protocol::{Epoch, Sequence};
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// Columns of `products` that are written, not generated.
pub(super) const PRODUCT_COLUMNS: &str =
    "id, name, description, catalog_at, price, currency, inventory,
    is_flash_sale, flash_sale_start, flash_sale_end, category_id, state, limit_per_user,
    hold_seconds, waitlist_capacity, created_at, updated_at, version";

/// What a shard is made at its first claim.
struct Place {
    buckets: BucketSet,
    checkpoints: Vec<Checkpoint>,
    /// Whose snapshot the checkpoints are of; its products are copied, too.
    donor: Option<Client>,
}

/// Claims a shard, or checks that it is claimed for this data directory.
pub(super) async fn claim(shard: &Arc<Inner>, identity: StoreIdentity) -> Result<(), StoreError> {
    shard.verify().await?;
    let store = shard.store.upgrade().ok_or(StoreError::Closed)?;
    let standing = core::ask(shard).await?;
    let standing = match standing.is_claimed() {
        true => standing,
        false => {
            let claimed =
                tokio::time::timeout(shard.patience.write, first(shard, &store, identity));
            claimed.await.unwrap_or_else(|_| Err(slow(&shard.name, shard.patience.write)))?
        }
    };
    if let Some(stored) = standing.identity.filter(|stored| *stored != identity) {
        let (stored, given) = (identity::words(stored), identity::words(identity));
        return Err(StoreError::Foreign { stored, given });
    }
    store.admit(shard, standing)?;
    store.settle().await?;
    catalog::bring(shard, &store).await;
    Ok(())
}

async fn first(
    shard: &Inner,
    store: &Core,
    identity: StoreIdentity,
) -> Result<Standing, StoreError> {
    let failed = |error| failure(&shard.name, &error);
    let client = {
        let mut side = shard.side.lock().await;
        side.take().await?
    };
    let sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", timeouts(shard.patience.write));
    client.batch_execute(&sql).await.map_err(failed)?;
    let sql = format!("SELECT {} FROM shard FOR UPDATE", identity::COLUMNS);
    let rows = client.query_typed(&sql, &[]).await.map_err(failed)?;
    let standing = Standing::of(rows.first().ok_or_else(|| identity::empty(&shard.name))?)?;
    // Another process may have claimed it just now.
    let standing = match standing.is_claimed() {
        true => standing,
        false => {
            let place = place_of(shard, store, identity, &standing).await?;
            settle(shard, &client, identity, place).await?
        }
    };
    client.batch_execute("COMMIT").await.map_err(failed)?;
    shard.side.lock().await.put_back(client);
    Ok(standing)
}

/// What becomes of a shard, in view of all others.
async fn place_of(
    shard: &Inner,
    store: &Core,
    identity: StoreIdentity,
    standing: &Standing,
) -> Result<Place, StoreError> {
    let shards = store.places().shards.clone();
    let is_it = |other: &PostgresShard| std::ptr::eq(Arc::as_ptr(other.inner()), shard);
    let mut standings = Vec::new();
    for other in &shards {
        let said = if is_it(other) { standing.clone() } else { core::ask(other.inner()).await? };
        if let Some(stored) = said.identity.filter(|stored| *stored != identity) {
            let (stored, given) = (identity::words(stored), identity::words(identity));
            return Err(StoreError::Foreign { stored, given });
        }
        standings.push(Some(said));
    }
    let deal = core::deal(&shards, &standings)?;
    let index = shards.iter().position(is_it).ok_or(StoreError::Closed)?;
    let buckets = deal.buckets[index];
    let others = standings.iter().flatten().filter(|said| said.is_claimed());
    let owned = others.fold(BucketSet::NONE, |owned, said| owned.union(&said.buckets));
    let zeros = || {
        let zero =
            |partition| Checkpoint { partition, epoch: Epoch::FIRST, sequence: Sequence::ZERO };
        identity.partitions.all().map(zero).collect()
    };
    if owned != BucketSet::ALL {
        return Ok(Place { buckets, checkpoints: zeros(), donor: None });
    }
    let donor = shards
        .iter()
        .zip(&standings)
        .find(|(_, said)| said.as_ref().is_some_and(Standing::is_claimed))
        .map(|(donor, _)| donor.inner());
    let Some(donor) = donor else {
        return Ok(Place { buckets, checkpoints: zeros(), donor: None });
    };
    let (client, checkpoints) = snapshot(donor).await?;
    Ok(Place { buckets, checkpoints, donor: Some(client) })
}

/// Begins a snapshot of a shard, of which the checkpoints are.
async fn snapshot(donor: &Inner) -> Result<(Client, Vec<Checkpoint>), StoreError> {
    let failed = |error| failure(&donor.name, &error);
    let (client, _) = donor.look().await?;
    let sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
        timeouts(donor.patience.write)
    );
    client.batch_execute(&sql).await.map_err(failed)?;
    let sql = "SELECT partition, epoch, sequence FROM checkpoints ORDER BY partition";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    let checkpoints = rows.iter().map(scan::checkpoint).collect::<Result<_, _>>()?;
    Ok((client, checkpoints))
}

/// Writes all of it, in the open transaction.
async fn settle(
    shard: &Inner,
    client: &Client,
    identity: StoreIdentity,
    place: Place,
) -> Result<Standing, StoreError> {
    let failed = |error| failure(&shard.name, &error);
    if let Some(donor) = &place.donor {
        copy_products(donor, client).await.map_err(failed)?;
    }
    let column =
        |of: fn(&Checkpoint) -> i64| -> Vec<i64> { place.checkpoints.iter().map(of).collect() };
    let partitions = column(|checkpoint| i64::from(checkpoint.partition.get()));
    let epochs = column(|checkpoint| i64::from(checkpoint.epoch.get()));
    let sequences = column(|checkpoint| checkpoint.sequence.get() as i64);
    let sql = "INSERT INTO checkpoints (partition, epoch, sequence)
               SELECT p::int2, e, s FROM unnest($1, $2, $3) AS c (p, e, s)";
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] = [
        (&partitions, Type::INT8_ARRAY),
        (&epochs, Type::INT8_ARRAY),
        (&sequences, Type::INT8_ARRAY),
    ];
    client.execute_typed(sql, &values).await.map_err(failed)?;
    let sql = format!(
        "UPDATE shard SET name = $1, cluster = $2, partitions = $3, buckets = $4
         RETURNING {}",
        identity::COLUMNS
    );
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&shard.name, Type::TEXT),
        (&format!("{:016x}", identity.directory), Type::TEXT),
        (&i32::from(identity.partitions.get()), Type::INT4),
        (&place.buckets.to_string(), Type::TEXT),
    ];
    let rows = client.query_typed(&sql, &values).await.map_err(failed)?;
    Standing::of(rows.first().ok_or_else(|| identity::empty(&shard.name))?)
}

async fn copy_products(from: &Client, to: &Client) -> Result<(), tokio_postgres::Error> {
    let out = format!("COPY products ({PRODUCT_COLUMNS}) TO STDOUT (FORMAT binary)");
    let into = format!("COPY products ({PRODUCT_COLUMNS}) FROM STDIN (FORMAT binary)");
    // An unclaimed shard has no definitions, but it may have taken names for the catalog.
    to.batch_execute(
        "CREATE TEMPORARY TABLE named_before ON COMMIT DROP AS
             SELECT id, name, description, catalog_at FROM products WHERE catalog_at IS NOT NULL;
         DELETE FROM products",
    )
    .await?;
    let mut rows = pin!(from.copy_out(&out).await?);
    let mut sink = pin!(to.copy_in(&into).await?);
    while let Some(chunk) = rows.next().await {
        sink.send(chunk?).await?;
    }
    sink.finish().await?;
    to.batch_execute(&format!(
        "INSERT INTO products AS p (id, name, description, catalog_at)
         SELECT id, name, description, catalog_at FROM pg_temp.named_before {}",
        catalog::MERGE
    ))
    .await
}
