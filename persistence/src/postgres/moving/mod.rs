//! Buckets of buyers from shard to shard, while sales run: copy, catch up, switch, verify, drop.
//!
//! | module | what it owns |
//! |---|---|
//! | [`journey`] | a whole move, from several shards to one |
//! | [`seal`] | URLs of peers at rest, so that running roles find a shard that joined |
//! | [`capture`] | which rows change while they are copied |
//! | [`copy`] | rows from shard to shard |
//! | [`switch`] | the moment in which the buckets change hands |
//! | [`verify`] | whether the new shard has everything, and dropping what the old one has left |
//!
//! Every step can be broken off at any point and the move run again: it finds out how far it came.
//! Nobody is refused meanwhile: edges ask the old shard until it says that it no longer owns the
//! buckets, and a projector's batch waits for the switch and is then made anew for both shards.

mod capture;
mod copy;
mod journey;
pub(super) mod seal;
mod switch;
mod verify;

pub use journey::Moved;
pub(super) use journey::travel;

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect::{connect, failure};
use crate::postgres::url::ShardUrl;
use doorbuster_protocol::OrderId;
use std::fmt::Write;
use std::time::Duration;
use switch::{Ends, Place};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// Changes that are left when the switch begins: few, as batches wait while they are carried over.
const CHANGES_BEFORE_SWITCH_MAX: u64 = 500;
/// How often triggers and locks are tried for, when somebody holds the tables for long.
const TRIES: u32 = 5;

/// A shard in a move.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub(super) name: String,
    pub(super) url: ShardUrl,
}

/// What a move has come to, as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveStep {
    /// Rows were copied from a shard.
    Copied {
        /// The shard.
        from: String,
        /// Its buckets that move.
        buckets: BucketSet,
        /// Orders.
        orders: u64,
    },
    /// What changed meanwhile was carried over.
    CaughtUp {
        /// The shard.
        from: String,
        /// Rows.
        changes: u64,
    },
    /// The new shard has the buckets.
    Switched {
        /// The shard that had them.
        from: String,
        /// How long batches of results waited. Sales and queries did not.
        held_up: Duration,
    },
    /// Every row that the old shard has is in the new one.
    Verified {
        /// The old shard.
        from: String,
        /// Orders compared.
        orders: u64,
    },
    /// The old shard's rows are gone.
    Dropped {
        /// The shard.
        from: String,
        /// Orders.
        orders: u64,
    },
}

/// A connection of a move to one shard.
pub(super) struct Endpoint {
    name: String,
    client: Client,
}

impl Endpoint {
    async fn open(party: &Party, limit: Duration) -> Result<Self, StoreError> {
        let client = connect(&party.name, &party.url, limit).await?;
        let endpoint = Self { name: party.name.clone(), client };
        // A move may take as long as it takes; a direct connection is its own session.
        endpoint.execute("SET statement_timeout = 0").await?;
        Ok(endpoint)
    }

    fn failure(&self, error: &tokio_postgres::Error) -> StoreError {
        failure(&self.name, error)
    }

    fn unfit(&self, what: &str) -> StoreError {
        StoreError::Misconfigured {
            what: format!("buckets cannot be moved from or to shard {}: {what}", self.name),
            next: "Mend it and move the same buckets again; nothing is lost".into(),
        }
    }

    async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).await.map_err(|error| self.failure(&error))
    }

    async fn query(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        self.client.query_typed(sql, values).await.map_err(|error| self.failure(&error))
    }
}

/// Moves what `source` has of `buckets` to `target`. `version` is past the map version of every
/// shard. Both are of one cluster and of this program's schema, and the target has the products.
/// Whether there was anything to do.
pub(super) async fn between(
    source: &Party,
    target: &Party,
    buckets: &BucketSet,
    version: i64,
    limit: Duration,
    told: &(dyn Fn(MoveStep) + Sync),
) -> Result<bool, StoreError> {
    let from = Endpoint::open(source, limit).await?;
    let to = Endpoint::open(target, limit).await?;
    let (has, gets) = (switch::place(&from).await?, switch::place(&to).await?);
    let owned = buckets.intersection(&has.buckets);
    let doubly_owned = owned.intersection(&gets.buckets);
    let outgoing = owned.difference(&doubly_owned);
    let left_over = has.in_transit.intersection(buckets).intersection(&gets.buckets);
    if owned.is_empty() && left_over.is_empty() {
        return Ok(false);
    }
    if !outgoing.is_empty() {
        let incoming = Place { in_transit: gets.in_transit.union(&outgoing), ..gets };
        switch::set_place(&to, &incoming).await?;
        hand_over(source, target, (&from, &to), &outgoing, version, limit, told).await?;
    }
    if !doubly_owned.is_empty() {
        switch::finish(&from, &doubly_owned, version).await?;
        switch::caught_up(&from, &to).await?;
    }
    retry(|| capture::stop(&from)).await?;
    // What is left over of this move, and of one that broke off after its switch.
    let left = switch::place(&from).await?.in_transit.intersection(buckets);
    let left = left.intersection(&switch::place(&to).await?.buckets);
    if left.is_empty() {
        return Ok(true);
    }
    match verify::compare(&from, &to, &left).await? {
        Ok(orders) => told(MoveStep::Verified { from: source.name.clone(), orders }),
        Err(differ) => return Err(from.unfit(&listed(&differ, &target.name))),
    }
    let orders = verify::drop_rows(&from, &left).await?;
    let now = switch::place(&from).await?;
    let cleared = Place { in_transit: now.in_transit.difference(&left), ..now };
    switch::set_place(&from, &cleared).await?;
    told(MoveStep::Dropped { from: source.name.clone(), orders });
    Ok(true)
}

/// Copies, catches up, switches.
async fn hand_over(
    source: &Party,
    target: &Party,
    (from, to): (&Endpoint, &Endpoint),
    buckets: &BucketSet,
    version: i64,
    limit: Duration,
    told: &(dyn Fn(MoveStep) + Sync),
) -> Result<(), StoreError> {
    retry(|| capture::start(from, buckets)).await?;
    let orders = copy::everything(from, to, buckets).await?;
    told(MoveStep::Copied { from: source.name.clone(), buckets: *buckets, orders });
    let mut caught_up = 0;
    loop {
        let changes = copy::changes(from, to, buckets).await?;
        caught_up += changes;
        if changes <= CHANGES_BEFORE_SWITCH_MAX {
            break;
        }
    }
    told(MoveStep::CaughtUp { from: source.name.clone(), changes: caught_up });
    let mut tries = 0;
    let held_up = loop {
        let source_lock = Endpoint::open(source, limit).await?;
        let target_lock = Endpoint::open(target, limit).await?;
        let ends =
            Ends { source: from, source_lock: &source_lock, target: to, target_lock: &target_lock };
        tries += 1;
        match switch::switch(&ends, buckets, version).await {
            Ok(held_up) => break held_up,
            // Dropping the connections takes back what they had begun, and lets go of the locks.
            Err(error) if error.is_retryable() && tries < TRIES => {
                tracing::warn!(%error, "the switch is tried again");
            }
            Err(error) => return Err(error),
        }
    };
    told(MoveStep::Switched { from: source.name.clone(), held_up });
    Ok(())
}

/// Notes on `shard` how its peer is reached.
pub(super) async fn introduce(
    shard: &Party,
    peer: &Party,
    key: &[u8; 32],
    limit: Duration,
) -> Result<(), StoreError> {
    let endpoint = Endpoint::open(shard, limit).await?;
    let sealed = seal::seal(key, peer.url.expose());
    let sql = "INSERT INTO peers (name, sealed_url) VALUES ($1, $2)
               ON CONFLICT (name) DO UPDATE SET sealed_url = excluded.sealed_url, added_at = now()";
    endpoint.query(sql, &[(&peer.name, Type::TEXT), (&sealed, Type::BYTEA)]).await.map(drop)
}

/// The highest version of the map that one of these shards has.
pub(super) async fn newest_version(shards: &[Party], limit: Duration) -> Result<i64, StoreError> {
    let mut newest = 0;
    for shard in shards {
        let endpoint = Endpoint::open(shard, limit).await?;
        newest = newest.max(switch::place(&endpoint).await?.map_version);
    }
    Ok(newest)
}

/// Tries what waits for a lock a few times.
async fn retry<F: Future<Output = Result<(), StoreError>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match attempt().await {
            Err(StoreError::Busy { why }) if tries < TRIES => {
                tracing::warn!(why, "a lock is waited for again");
                tries += 1;
            }
            done => return done,
        }
    }
}

fn listed(orders: &[OrderId], target: &str) -> String {
    let mut text = format!("after the switch {} orders are not in {target} as they", orders.len());
    text.push_str(" are in the old shard, which keeps its rows. The first of them:");
    for order in orders.iter().take(10) {
        let _ = write!(text, " {order}");
    }
    text
}

/// Ids as an array in SQL: `COPY` takes no parameters.
fn ids_literal(ids: &[[u8; 16]]) -> String {
    let mut text = String::with_capacity(ids.len() * 33 + 16);
    text.push_str("'{");
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let _ = write!(text, "{:032x}", u128::from_be_bytes(*id));
    }
    text.push_str("}'::uuid[]");
    text
}
