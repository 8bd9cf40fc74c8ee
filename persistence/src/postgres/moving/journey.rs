//! A whole move: which shard the buckets go to, which they come from, and who has to know.

use super::{MoveStep, Party, between, introduce, newest_version};
use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::core::Core;
use crate::postgres::identity::{self, Standing};
use crate::postgres::options::ShardOptions;
use crate::postgres::shard::{Inner, PostgresShard};
use crate::postgres::{claim, connect, schema};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// What a move has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The shards that had some of the buckets; none when all were there already.
    pub from: Vec<String>,
    /// The shard that has them all.
    pub to: String,
}

/// Moves `buckets` to the shard `to`, which may be new.
pub(in crate::postgres) async fn travel(
    store: Arc<Core>,
    buckets: BucketSet,
    to: ShardOptions,
    told: Sender<MoveStep>,
) -> Result<Moved, StoreError> {
    let key = store.options.key.ok_or_else(|| {
        refused(
            "the URL of the new shard cannot be sealed for the running roles",
            "Name the data directory with --data, or give DOORBUSTER_ENGINE_KEY",
        )
    })?;
    let limit = store.options.connect_timeout;
    let claimed = store.places().shards.iter().find_map(|shard| shard.inner().standing()?.identity);
    let identity = claimed.ok_or_else(|| {
        refused(
            "no shard of the store is in use, so that there is nothing to move",
            "Start `doorbuster serve` with these shards first, or deal the buckets out with \
         --store-buckets",
        )
    })?;
    let target = target(&store, to).await?;
    claim::claim(target.inner(), identity).await?;
    let to = party(target.inner());
    let others: Vec<Party> = store
        .places()
        .shards
        .iter()
        .map(|shard| party(shard.inner()))
        .filter(|shard| shard.name != to.name)
        .collect();
    for other in &others {
        introduce(other, &to, &key, limit).await?;
    }
    let mut all = others.clone();
    all.push(to.clone());
    let mut from = Vec::new();
    for source in others {
        let version = newest_version(&all, limit).await? + 1;
        let tell = |step| {
            // Nobody may listen any more; the move goes on.
            let _ = told.send(step);
        };
        if between(&source, &to, &buckets, version, limit, &tell).await? {
            from.push(source.name);
        }
    }
    Ok(Moved { from, to: to.name })
}

/// The shard that is meant: one that is known by its name or its URL, or a new one.
async fn target(store: &Arc<Core>, to: ShardOptions) -> Result<PostgresShard, StoreError> {
    let shards = store.places().shards.clone();
    let is_it = |shard: &&PostgresShard| {
        let known = shard.inner();
        to.name.as_ref() == Some(&known.name) || to.url == known.options.url
    };
    if let Some(known) = shards.iter().find(is_it) {
        return Ok(known.clone());
    }
    let limit = store.options.connect_timeout;
    let asked_name = to.name.clone().unwrap_or_else(|| "--to".to_owned());
    let client = connect::connect(&asked_name, &to.url, limit).await?;
    let write_limit = store.options.write_timeout;
    schema::prepare(&asked_name, &to.url, &client, store.options.migrate, write_limit).await?;
    let standing = identity::standing(&asked_name, &client).await?;
    let name = match (&to.name, &standing.name) {
        (Some(name), _) => name.clone(),
        // A move to it broke off, or its URL is spelt otherwise elsewhere.
        (None, Some(stored)) => stored.clone(),
        (None, None) => (0..)
            .map(|number| format!("shard-{number}"))
            .find(|name| shards.iter().all(|shard| shard.inner().name != *name))
            .expect("there are more numbers than shards"),
    };
    if let Some(known) = shards.iter().find(|shard| has_id(shard, &standing)) {
        return Ok(known.clone());
    }
    store.join(name, to, standing)
}

fn has_id(shard: &PostgresShard, standing: &Standing) -> bool {
    shard.inner().standing().is_some_and(|known| known.id == standing.id)
}

fn party(shard: &Inner) -> Party {
    Party { name: shard.name.clone(), url: shard.options.url.clone() }
}

fn refused(what: &str, next: &str) -> StoreError {
    StoreError::Misconfigured { what: what.to_owned(), next: next.to_owned() }
}
