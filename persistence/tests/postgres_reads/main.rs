//! What the edge asks of Postgres shards is answered by an index, as the embedded store answers it,
//! never with a buyer's own order missing; by a replica only while it is fresh; within its time,
//! whatever is down, slow or locked; and through PgBouncer just so.

mod explained;
mod outages;
mod replicas;
mod same_answers;
mod waiting;

use doorbuster_persistence::conformance;
use doorbuster_persistence::postgres::{
    BreakerOptions, PostgresOptions, PostgresStore, ReadHealth, ShardOptions,
};
use doorbuster_persistence::{Advance, Batch, BucketSet, Change, RowChange, Store, StoreIdentity};
use doorbuster_persistence::{Freshness, OrderItem, OrderRow};
use doorbuster_postgres_harness::Database;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::routing::{PartitionCount, bucket_of};
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp,
};
use std::time::{Duration, Instant};

const IDENTITY: StoreIdentity =
    StoreIdentity { directory: 7, partitions: PartitionCount::new(4).unwrap() };

/// How long anything may take before a test says that it hangs. Nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which way a store is read; it is always written directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Pooled,
}

impl Way {
    const ALL: [Self; 2] = [Self::Direct, Self::Pooled];
}

/// A seed by chance, or the one that is to be run again.
fn seed() -> u64 {
    let seed = std::env::var("DOORBUSTER_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a seed is a number"));
    println!(
        "replay: DOORBUSTER_SEED={seed} cargo nextest run -p doorbuster-persistence --test \
         postgres_reads"
    );
    seed
}

/// Waits until a condition holds, and says what it waited for when it never does.
macro_rules! until {
    ($what:expr, $condition:expr) => {{
        let begun = std::time::Instant::now();
        while !$condition {
            assert!(begun.elapsed() < $crate::PATIENCE, "waited in vain until {}", $what);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }};
}
use until;

fn options(databases: &[Database], way: Way) -> PostgresOptions {
    let url = |text: String| text.parse().expect("the harness gives URLs");
    let shard = |database: &Database| ShardOptions {
        reads: (way == Way::Pooled).then(|| url(database.pooled_url())),
        ..ShardOptions::new(url(database.url()))
    };
    PostgresOptions::new(databases.iter().map(shard).collect())
}

/// With a replica of each shard, which may be so far behind.
fn with_replicas(databases: &[Database], lag_max: Duration) -> PostgresOptions {
    let mut options = options(databases, Way::Direct);
    for (shard, database) in options.shards.iter_mut().zip(databases) {
        shard.replica = Some(database.replica_url().parse().expect("the harness gives URLs"));
    }
    options.replica_lag_max = lag_max;
    options
}

/// With a breaker that a test can watch, and little patience.
fn impatient(mut options: PostgresOptions) -> PostgresOptions {
    options.breaker = BreakerOptions { failures: 3, pause: Duration::from_millis(200) };
    options.statement_timeout = Duration::from_millis(500);
    options.connect_timeout = Duration::from_millis(500);
    options
}

async fn claimed(options: &PostgresOptions) -> PostgresStore {
    let store = PostgresStore::open(options.clone()).expect("the store opens");
    conformance::claim(&store, IDENTITY).await.expect("it is fresh");
    store
}

/// How reading from the shard at `index` goes.
fn health(store: &PostgresStore, index: usize) -> ReadHealth {
    store.read_health()[index].1
}

/// Whether the replica of shard 0 is read.
fn is_fresh(store: &PostgresStore) -> bool {
    health(store, 0).replica.expect("there is a replica").is_fresh
}

/// Questions that the replica of shard 0 has answered.
fn replica_answers(store: &PostgresStore) -> u64 {
    health(store, 0).replica.expect("there is a replica").target.answers
}

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

fn product() -> ProductId {
    ProductId::from_bytes([5; 16])
}

/// Some buyer whose bucket is in `buckets`.
fn buyer_in(buckets: BucketSet) -> BuyerId {
    let mut buyers = (0_u32..).map(|number| {
        let mut bytes = [9; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        BuyerId::from_bytes(bytes)
    });
    buyers.find(|buyer| buckets.contains(bucket_of(*buyer))).expect("some bucket is in it")
}

/// The feed of one partition, as a projector would write it.
struct Feed<'a> {
    store: &'a PostgresStore,
    sequence: Sequence,
}

impl<'a> Feed<'a> {
    fn new(store: &'a PostgresStore) -> Self {
        Self { store, sequence: Sequence::ZERO }
    }

    /// Writes what the next event makes of a row.
    async fn write(&mut self, row: impl FnOnce(Sequence, Timestamp) -> RowChange) {
        let (partition, after) = (partition(), self.sequence);
        self.sequence = after.next();
        let at = Timestamp::from_micros(1_700_000_000_000_000 + self.sequence.get());
        let row = row(self.sequence, at);
        let change = Change { partition, sequence: self.sequence, line: 0, at, row };
        let advance = Advance { partition, epoch: Epoch::FIRST, after, through: self.sequence };
        let batch =
            Batch { buckets: BucketSet::ALL, advances: vec![advance], changes: vec![change] };
        let written = conformance::write(self.store, &batch).await.expect("the batch is next");
        assert_eq!(written.dead_letters, 0);
    }

    /// A new order, to be paid yet.
    async fn order(&mut self, buyer: BuyerId) -> OrderId {
        let mut made = None;
        self.write(|sequence, at| {
            let order = OrderId::new(at, partition(), buyer, sequence);
            made = Some(order);
            let quantity = Quantity::new(2).expect("in range");
            RowChange::OrderCreated(OrderRow {
                order,
                buyer,
                total_amount: 1_000,
                currency: Currency::USD,
                status: OrderStatus::Pending,
                created_at: at,
                updated_at: at,
                expires_at: at.plus_seconds(600),
                version: sequence,
                items: vec![OrderItem { product: product(), quantity, unit_price: 500 }],
            })
        })
        .await;
        made.expect("it was made")
    }

    async fn status(&mut self, order: OrderId, status: OrderStatus) {
        let expires_at = Timestamp::NONE;
        self.write(|_, _| RowChange::OrderMoved { order, status, expires_at }).await;
    }
}

/// The ids of a buyer's orders, newest first.
async fn orders_of(
    store: &PostgresStore,
    buyer: BuyerId,
    freshness: Freshness,
) -> Result<Vec<OrderId>, doorbuster_persistence::StoreError> {
    let page = store.orders_of(buyer, None, 100, freshness).await?;
    Ok(page.rows.iter().map(|row| row.order).collect())
}

/// The same where an answer is expected.
async fn listed(store: &PostgresStore, buyer: BuyerId, freshness: Freshness) -> Vec<OrderId> {
    orders_of(store, buyer, freshness).await.expect("the store answers")
}

/// Nobody is within a transaction and idle, at any time from now on: everything that was asked is
/// over first.
async fn assert_no_transaction_is_left(database: &Database) {
    let name = database.name();
    let of_ours = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' \
         AND application_name IN ('doorbuster', 'postgres_reads') AND state"
    );
    let begun = Instant::now();
    until!("nothing is asked any more", {
        assert!(begun.elapsed() < PATIENCE);
        database.number(&format!("{of_ours} = 'active'")) == 0
    });
    let idle = database.number(&format!("{of_ours} LIKE 'idle in transaction%'"));
    assert_eq!(idle, 0, "a transaction was left open in {name}");
}
