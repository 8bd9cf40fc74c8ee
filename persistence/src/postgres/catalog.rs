//! What people call products, on every shard: the edge writes it, all shards keep it.
//!
//! An entry is kept when one shard took it. One that was away gets it from the others at its next
//! claim; of two entries for one product the one that was put later stands.

use crate::error::StoreError;
use crate::postgres::connect::failure;
use crate::postgres::core::Core;
use crate::postgres::shard::{Inner, PostgresShard};
use crate::postgres::types::{Time, Uuid};
use crate::rows::CatalogEntry;
use doorbuster_protocol::Timestamp;
use futures_util::future::join_all;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_postgres::types::{ToSql, Type};

/// Entries carried over in one step.
const STEP_ROWS: i64 = 5_000;

/// What an entry gives stands unless something newer does; what neither gives stays.
pub(super) const MERGE: &str = "ON CONFLICT (id) DO UPDATE SET
    name = CASE WHEN p.catalog_at > excluded.catalog_at
        THEN coalesce(p.name, excluded.name) ELSE coalesce(excluded.name, p.name) END,
    description = CASE WHEN p.catalog_at > excluded.catalog_at
        THEN coalesce(p.description, excluded.description)
        ELSE coalesce(excluded.description, p.description) END,
    catalog_at = greatest(p.catalog_at, excluded.catalog_at)";

/// Puts an entry on every shard; an error when none took it.
pub(super) async fn put(shards: &[PostgresShard], entry: &CatalogEntry) -> Result<(), StoreError> {
    let clean = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
    let (name, description) = (clean(&entry.name), clean(&entry.description));
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Time::nearest(Timestamp::from_micros(elapsed.as_micros() as u64));
    let id = Uuid(*entry.product.as_bytes());
    let sql = format!(
        "INSERT INTO products AS p (id, name, description, catalog_at) VALUES ($1, $2, $3, $4)
         {MERGE}"
    );
    let sql = sql.as_str();
    let puts = shards.iter().map(|shard| {
        let values: [(&(dyn ToSql + Sync), Type); 4] = [
            (&id, Type::UUID),
            (&name, Type::TEXT),
            (&description, Type::TEXT),
            (&at, Type::TIMESTAMPTZ),
        ];
        async move {
            let shard = shard.inner();
            shard.verify().await?;
            shard.side.lock().await.ask(shard.patience.write, sql, &values).await.map(drop)
        }
    });
    let mut refusal = None;
    let mut taken = false;
    for (shard, put) in shards.iter().zip(join_all(puts).await) {
        match put {
            Ok(()) => taken = true,
            Err(error) => {
                let shard = &shard.inner().name;
                tracing::debug!(%shard, %error, "a shard did not take a catalog entry");
                refusal.get_or_insert(error);
            }
        }
    }
    match refusal {
        Some(error) if !taken => Err(error),
        _ => Ok(()),
    }
}

/// Brings over what other shards were told while this one was away. One that does not answer is
/// passed over: it is asked again at the next claim.
pub(super) async fn bring(shard: &Inner, store: &Core) {
    for other in &store.places().shards {
        let other = other.inner();
        let is_it = std::ptr::eq(std::sync::Arc::as_ptr(other), shard);
        // One that was never seen would be waited for.
        if is_it || other.standing().is_none() {
            continue;
        }
        if let Err(error) = bring_from(other, shard).await {
            tracing::debug!(from = %other.name, to = %shard.name, %error, "no catalog was brought");
        }
    }
}

async fn bring_from(from: &Inner, to: &Inner) -> Result<(), StoreError> {
    let mut after = Uuid([0; 16]);
    loop {
        let sql = "SELECT id, name, description, catalog_at FROM products
                   WHERE id > $1 AND catalog_at IS NOT NULL ORDER BY id LIMIT $2";
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&after, Type::UUID), (&STEP_ROWS, Type::INT8)];
        let rows = from.side.lock().await.ask(from.patience.write, sql, &values).await?;
        let (mut ids, mut names, mut descriptions, mut times) = (vec![], vec![], vec![], vec![]);
        for row in &rows {
            let read = |error| failure(&from.name, &error);
            ids.push(row.try_get::<_, Uuid>(0).map_err(read)?);
            names.push(row.try_get::<_, Option<&str>>(1).map_err(read)?);
            descriptions.push(row.try_get::<_, Option<&str>>(2).map_err(read)?);
            times.push(row.try_get::<_, Time>(3).map_err(read)?);
        }
        let Some(last) = ids.last().copied() else { return Ok(()) };
        let sql = format!(
            "INSERT INTO products AS p (id, name, description, catalog_at)
             SELECT * FROM unnest($1, $2, $3, $4) {MERGE}
             WHERE p.catalog_at IS DISTINCT FROM excluded.catalog_at"
        );
        let values: [(&(dyn ToSql + Sync), Type); 4] = [
            (&ids, Type::UUID_ARRAY),
            (&names, Type::TEXT_ARRAY),
            (&descriptions, Type::TEXT_ARRAY),
            (&times, Type::TIMESTAMPTZ_ARRAY),
        ];
        to.side.lock().await.ask(to.patience.write, &sql, &values).await?;
        if rows.len() < STEP_ROWS as usize {
            return Ok(());
        }
        after = last;
    }
}
