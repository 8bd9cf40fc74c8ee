//! The sharded store: PostgreSQL databases, each with the results of some buckets of buyers.
//!
//! Orders, their items and their buyers stand on the shard that owns the buyer's bucket; products
//! stand on every shard. A shard that is away takes away its own buyers' lists and nothing else.
//! Everything works on direct connections and through PgBouncer in transaction mode: no state of a
//! session is relied on.
//!
//! | module | what it owns |
//! |---|---|
//! | `options`, `url` | how a store is opened |
//! | `connect`, `session`, `tls` | connections, and what their errors mean |
//! | `schema`, `migrations/` | the tables, and bringing them up to date |
//! | `identity`, `claim` | whether a database is the shard that is meant, and making it one |
//! | `map`, `core` | which shard is asked for which bucket |
//! | `shard` | one shard: its connections and the `Shard` trait |
//! | `write` | batches: checkpoints and rows in one transaction |
//! | `repair`, `scan`, `catalog` | what audits ask and set right, and what products are called |
//! | `read` | what the edge asks: pools, replicas, breakers |
//! | `moving` | buckets from shard to shard while sales run |
//! | `runtimes` | the threads that all of this runs on |

mod catalog;
mod claim;
mod connect;
mod core;
mod identity;
mod map;
mod moving;
mod options;
mod read;
mod repair;
mod row;
mod runtimes;
mod scan;
mod schema;
mod session;
mod shard;
mod tls;
mod types;
mod url;
mod write;

pub use moving::{MoveStep, Moved};
pub use options::{BreakerOptions, PostgresOptions, ShardOptions, WhenAway};
pub use read::{Fitness, ReadHealth, ReplicaHealth, TargetHealth, queries};
pub use schema::MigratedShard;
pub use url::{ShardUrl, UrlError};

use crate::buckets::BucketSet;
use crate::cursor::{OrderCursor, ProductCursor};
use crate::error::StoreError;
use crate::rows::{CatalogEntry, OrderRow, ProductRow};
use crate::store::{Freshness, Page, Shard, Store, StoreFuture};
use core::Core;
use doorbuster_protocol::routing::bucket_of;
use doorbuster_protocol::{BuyerId, OrderId, ProductId};
use runtimes::{Runtimes, run, wait};
use shard::PostgresShard;
use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};

/// How often a question follows buckets that move away under it.
const MOVES_FOLLOWED_MAX: u32 = 3;

/// The sharded store. Dropping it closes its connections and abandons what is under way, which the
/// servers take back.
pub struct PostgresStore {
    core: Arc<Core>,
    runtimes: Runtimes,
}

impl PostgresStore {
    /// Connects to the shards, brings their tables up to date if the options say so, and checks that
    /// they are what the configuration expects. Blocks.
    pub fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        check(&options)?;
        let runtimes = Runtimes::start(options.shards.len())?;
        let core = Core::new(options, runtimes.handles());
        let opened = Arc::clone(&core);
        wait(&runtimes.handles().writes, async move { opened.open().await })?;
        Ok(Self { core, runtimes })
    }

    /// Brings the tables of every shard up to date, one after another. Blocks.
    pub fn migrate(options: &PostgresOptions) -> Result<Vec<MigratedShard>, StoreError> {
        check(options)?;
        let runtimes = Runtimes::start(1)?;
        let options = options.clone();
        wait(&runtimes.handles().writes, async move {
            let mut migrated = Vec::new();
            for (index, shard) in options.shards.iter().enumerate() {
                let (name, limit) = (options.name_of(index), options.connect_timeout);
                let client = connect::connect(&name, &shard.url, limit).await?;
                let from = schema::prepare(&name, &shard.url, &client, true, limit).await?;
                let place = shard.url.place();
                migrated.push(MigratedShard { name, place, from, to: schema::newest() });
            }
            Ok(migrated)
        })
    }

    /// Moves buckets to a shard, which may be new, while others use the store. Tells each step.
    /// Blocks. A move that broke off is finished by the same call. Every URL must lead straight to
    /// its database, not through a pooler.
    pub fn move_buckets(
        options: PostgresOptions,
        buckets: BucketSet,
        to: ShardOptions,
        told: &dyn Fn(MoveStep),
    ) -> Result<Moved, StoreError> {
        let store = Self::open(options)?;
        let core = Arc::clone(&store.core);
        let (teller, steps) = mpsc::channel();
        let work = moving::travel(core, buckets, to, teller);
        let task = run(&store.runtimes.handles().writes, work);
        steps.iter().for_each(told);
        wait(&store.runtimes.handles().reads, task)
    }

    /// The name of each shard and where it is, without secrets.
    pub fn places(&self) -> Vec<String> {
        let places = self.core.places();
        let words = |shard: &PostgresShard| {
            let shard = shard.inner();
            format!("{} at {}", shard.name, shard.place())
        };
        places.shards.iter().map(words).collect()
    }

    /// How reading from each shard goes, by its name.
    pub fn read_health(&self) -> Vec<(String, ReadHealth)> {
        let places = self.core.places();
        let health = |shard: &PostgresShard| (shard.name().to_owned(), shard.reads().health());
        places.shards.iter().map(health).collect()
    }

    /// Asks the shard of a bucket, and follows the bucket when it has moved.
    fn ask_owner<T, F>(
        &self,
        bucket: u16,
        ask: impl Fn(PostgresShard) -> F + Send + Sync + 'static,
    ) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        run(&self.runtimes.handles().reads, async move {
            let mut moves = 0;
            loop {
                match ask(core.owner(bucket).await?).await {
                    Err(StoreError::Moved { .. }) if moves < MOVES_FOLLOWED_MAX => {
                        moves += 1;
                        core.refresh().await?;
                    }
                    answer => return answer,
                }
            }
        })
    }

    /// Asks the first shard that answers.
    fn ask_any<T, F>(
        &self,
        ask: impl Fn(PostgresShard) -> F + Send + Sync + 'static,
    ) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        run(&self.runtimes.handles().reads, async move {
            let mut refusal = None;
            for shard in in_order_of_asking(&core) {
                let answer = match shard.inner().verify().await {
                    Ok(()) => ask(shard).await,
                    Err(error) => Err(error),
                };
                match answer {
                    Err(error) if error.is_retryable() => {
                        refusal.get_or_insert(error);
                    }
                    answer => return answer,
                }
            }
            Err(refusal.unwrap_or(StoreError::Closed))
        })
    }
}

/// Those that are known and answer come first; those that nobody has claimed know no products.
fn in_order_of_asking(core: &Core) -> Vec<PostgresShard> {
    let mut shards = core.places().shards.clone();
    shards.sort_by_key(|shard| {
        let standing = shard.inner().standing();
        let is_claimed = standing.as_ref().is_some_and(identity::Standing::is_claimed);
        (!is_claimed, standing.is_none(), !shard.reads().is_answering())
    });
    shards
}

impl Store for PostgresStore {
    fn shards(&self) -> Vec<Arc<dyn Shard>> {
        let as_shard = |shard: &PostgresShard| Arc::new(shard.clone()) as Arc<dyn Shard>;
        self.core.places().shards.iter().map(as_shard).collect()
    }

    fn refresh(&self) -> StoreFuture<'_, ()> {
        let core = Arc::clone(&self.core);
        run(&self.runtimes.handles().writes, async move { core.refresh().await })
    }

    fn order(&self, order: OrderId, freshness: Freshness) -> StoreFuture<'_, Option<OrderRow>> {
        self.ask_owner(order.bucket(), move |shard| async move {
            shard.reads().order(order, freshness).await
        })
    }

    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        freshness: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>> {
        self.ask_owner(bucket_of(buyer), move |shard| async move {
            shard.reads().orders_of(buyer, after, limit, freshness).await
        })
    }

    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>> {
        self.ask_any(move |shard| async move { shard.reads().product(product).await })
    }

    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>> {
        self.ask_any(move |shard| async move { shard.reads().products(after, limit).await })
    }

    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()> {
        let core = Arc::clone(&self.core);
        run(&self.runtimes.handles().reads, async move {
            catalog::put(&core.places().shards, &entry).await
        })
    }

    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>> {
        self.ask_any(move |shard| async move { shard.reads().catalog(product).await })
    }
}

/// Whether the options can be meant: what only a slip could have made is refused before anything is
/// connected to.
fn check(options: &PostgresOptions) -> Result<(), StoreError> {
    let refused =
        |what: String, next: &str| Err(StoreError::Misconfigured { what, next: next.to_owned() });
    let count = options.shards.len();
    if count == 0 || count > usize::from(doorbuster_protocol::limits::BUYER_BUCKETS) {
        return refused(format!("a store of {count} shards"), "Name 1 to 1024 shards");
    }
    let names: BTreeSet<_> = (0..count).map(|index| options.name_of(index)).collect();
    if names.len() < count {
        return refused("two shards of the store have one name".into(), "Name each differently");
    }
    let Some(buckets) = &options.buckets else { return Ok(()) };
    let mut dealt = BucketSet::NONE;
    for (index, set) in buckets.iter().enumerate() {
        let twice = dealt.intersection(set);
        if !twice.is_empty() {
            let name = if index < count { options.name_of(index) } else { "no shard".into() };
            return refused(
                format!("buckets {twice} are given to {name} and to a shard before it"),
                "Give each bucket to one shard",
            );
        }
        dealt = dealt.union(set);
    }
    let missing = BucketSet::ALL.difference(&dealt);
    if buckets.len() != count || !missing.is_empty() {
        return refused(
            format!("the table of buckets has {} sets, without {missing}", buckets.len()),
            "Give each of the buckets 0-1023 to one shard, and each shard a set or `none`",
        );
    }
    Ok(())
}
