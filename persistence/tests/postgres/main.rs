//! The sharded store keeps every promise of a store, on one shard and on four, on direct connections
//! and through PgBouncer; and some of its own: bad rows are found among thousands, connections may
//! break anywhere, and a database that is not the shard that is meant is refused.

mod breaks;
mod identities;
mod poison;
mod refusals;
mod tls;

use doorbuster_persistence::conformance;
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore, ShardOptions};
use doorbuster_persistence::{Advance, Batch, OrderItem, OrderRow};
use doorbuster_persistence::{BucketSet, Change, RowChange, Store, StoreIdentity};
use doorbuster_postgres_harness::{Clusters, Database};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp,
};
use std::sync::Arc;

const IDENTITY: StoreIdentity =
    StoreIdentity { directory: 7, partitions: PartitionCount::new(2).unwrap() };

/// Which way a store is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    /// Everything, migrations and batches included.
    Pooled,
}

/// A seed by chance, or the one that is to be run again.
fn seed() -> u64 {
    let seed = std::env::var("DOORBUSTER_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a seed is a number"));
    println!(
        "replay: DOORBUSTER_SEED={seed} cargo nextest run -p doorbuster-persistence --test postgres"
    );
    seed
}

fn shard(url: &str) -> ShardOptions {
    ShardOptions::new(url.parse().expect("the harness gives URLs"))
}

/// A store over these databases, in their order.
fn options(databases: &[Database], way: Way) -> PostgresOptions {
    let url = |database: &Database| match way {
        Way::Direct => database.url(),
        Way::Pooled => database.pooled_url(),
    };
    PostgresOptions::new(databases.iter().map(|database| shard(&url(database))).collect())
}

fn open(options: &PostgresOptions) -> PostgresStore {
    PostgresStore::open(options.clone()).expect("the store opens")
}

/// A store over fresh databases, claimed for [`IDENTITY`].
async fn claimed(databases: &[Database]) -> PostgresStore {
    let store = open(&options(databases, Way::Direct));
    conformance::claim(&store, IDENTITY).await.expect("it is fresh");
    store
}

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

/// The order that event `sequence` of partition 0 makes, each of a buyer of its own.
fn order(sequence: u64) -> OrderRow {
    let at = Timestamp::from_micros(1_700_000_000_000_000 + sequence);
    let mut buyer = [1; 16];
    buyer[..8].copy_from_slice(&sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let buyer = BuyerId::from_bytes(buyer);
    let quantity = Quantity::new(2).expect("in range");
    let item = OrderItem { product: ProductId::from_bytes([5; 16]), quantity, unit_price: 500 };
    OrderRow {
        order: OrderId::new(at, partition(), buyer, Sequence::new(sequence)),
        buyer,
        total_amount: 1_000,
        currency: Currency::USD,
        status: OrderStatus::Pending,
        created_at: at,
        updated_at: at,
        expires_at: at.plus_seconds(600),
        version: Sequence::new(sequence),
        items: vec![item],
    }
}

/// A batch of partition 0 whose rows are one event each.
fn batch(after: u64, rows: Vec<RowChange>) -> Arc<Batch> {
    let through = after + rows.len() as u64;
    let changes = (after + 1..)
        .zip(rows)
        .map(|(sequence, row)| Change {
            partition: partition(),
            sequence: Sequence::new(sequence),
            line: 0,
            at: Timestamp::from_micros(1_700_000_000_000_000 + sequence),
            row,
        })
        .collect();
    let advance = Advance {
        partition: partition(),
        epoch: Epoch::FIRST,
        after: Sequence::new(after),
        through: Sequence::new(through),
    };
    Arc::new(Batch { buckets: BucketSet::ALL, advances: vec![advance], changes })
}

/// A batch of `count` new orders.
fn orders(after: u64, count: u64) -> Arc<Batch> {
    batch(after, (after + 1..=after + count).map(|n| RowChange::OrderCreated(order(n))).collect())
}

async fn conforms(shards: usize, way: Way) {
    // Kept until the suite is through: a store may still be closing its connections.
    let mut kept = Vec::new();
    let fresh = || {
        let databases = Clusters::shared().databases(shards);
        let options = options(&databases, way);
        kept.push(databases);
        let open: conformance::Open = Box::new(move || {
            let options = options.clone();
            Box::pin(async move { Ok(Arc::new(PostgresStore::open(options)?) as Arc<dyn Store>) })
        });
        open
    };
    conformance::run(fresh, seed()).await;
}

#[tokio::test]
async fn one_shard_conforms() {
    conforms(1, Way::Direct).await;
}

#[tokio::test]
async fn four_shards_conform() {
    conforms(4, Way::Direct).await;
}

#[tokio::test]
async fn one_shard_conforms_through_a_pooler() {
    conforms(1, Way::Pooled).await;
}

#[tokio::test]
async fn four_shards_conform_through_poolers() {
    conforms(4, Way::Pooled).await;
}
