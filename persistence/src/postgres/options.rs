//! How a Postgres store is opened: its shards, and how patient to be with each.

use crate::buckets::BucketSet;
use crate::postgres::url::ShardUrl;
use std::fmt;
use std::time::Duration;

/// One shard of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    /// Its name; `None` names it by its position, `shard-0` and so on.
    pub name: Option<String>,
    /// Where it is written and migrated, and read when nothing else is given.
    pub url: ShardUrl,
    /// Where it is read, when that is another way: a PgBouncer, mostly.
    pub reads: Option<ShardUrl>,
    /// A streaming replica of it.
    pub replica: Option<ShardUrl>,
}

impl ShardOptions {
    /// A shard without a name, a pooler or a replica.
    pub const fn new(url: ShardUrl) -> Self {
        Self { name: None, url, reads: None, replica: None }
    }
}

/// What becomes of an open when a shard cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAway {
    /// It fails, with [`StoreError::Away`](crate::StoreError::Away).
    Refuse,
    /// It fails when no shard at all can be reached, and goes on otherwise.
    RefuseAll,
    /// It goes on: the shard is taken to be what the configuration says until it answers.
    Tolerate,
}

/// When a shard that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row after which it is not asked, at least 1.
    pub failures: u32,
    /// How long it is left alone before one question tries it again.
    pub pause: Duration,
}

/// How a store is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Its shards, 1 to 1024.
    pub shards: Vec<ShardOptions>,
    /// The buckets of each shard when it is first claimed; `None` deals them out evenly. Afterwards
    /// each shard's own table says what it owns.
    pub buckets: Option<Vec<BucketSet>>,
    /// Whether tables are made and brought up to date.
    pub migrate: bool,
    /// Seals the URLs of peers, by which shards that buckets were moved to are found.
    pub key: Option<[u8; 32]>,
    /// What becomes of the open when a shard cannot be reached.
    pub away: WhenAway,
    /// Connections for reading from each shard's primary, at least 1.
    pub pool_size: usize,
    /// Connections for reading from each shard's replica, at least 1.
    pub replica_pool_size: usize,
    /// How long a read may take.
    pub statement_timeout: Duration,
    /// How long a batch, a step of a scan or a repair may take, lock waits included.
    pub write_timeout: Duration,
    /// How long to wait for a connection, for each host of a URL.
    pub connect_timeout: Duration,
    /// How far behind a replica may be to answer.
    pub replica_lag_max: Duration,
    /// When a shard that fails is left alone.
    pub breaker: BreakerOptions,
}

impl PostgresOptions {
    /// These shards, with everything else as it is by default.
    pub const fn new(shards: Vec<ShardOptions>) -> Self {
        Self {
            shards,
            buckets: None,
            migrate: true,
            key: None,
            away: WhenAway::Refuse,
            pool_size: 8,
            replica_pool_size: 8,
            statement_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            replica_lag_max: Duration::from_secs(5),
            breaker: BreakerOptions { failures: 5, pause: Duration::from_secs(1) },
        }
    }

    /// The name of the shard at `index`.
    pub(super) fn name_of(&self, index: usize) -> String {
        self.shards[index].name.clone().unwrap_or_else(|| format!("shard-{index}"))
    }

    /// What the shard at `index` is to own at its first claim, if nobody owns it already.
    pub(super) fn share_of(&self, index: usize) -> BucketSet {
        match &self.buckets {
            // Shards that joined by moving buckets stand past the end of the configuration.
            Some(buckets) => buckets.get(index).copied().unwrap_or(BucketSet::NONE),
            None => BucketSet::share(index, self.shards.len()),
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is left out.
        f.debug_struct("PostgresOptions")
            .field("shards", &self.shards)
            .field("buckets", &self.buckets)
            .field("migrate", &self.migrate)
            .field("away", &self.away)
            .finish_non_exhaustive()
    }
}
