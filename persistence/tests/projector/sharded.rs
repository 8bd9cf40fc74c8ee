//! A store of several shards, each an SQLite file of its own, whose buckets can be moved while it is
//! written. Like a real one it learns of a move only when it is asked to.

use doorbuster_persistence::conformance::claim;
use doorbuster_persistence::store::{Page, StoreFuture};
use doorbuster_persistence::{
    Batch, BucketSet, CatalogEntry, Checkpoint, DeadLetter, Freshness, OrderCursor, OrderRow,
    ProductCursor, ProductRow, Repair, Shard, SqliteStore, Store, StoreError, StoreIdentity,
    Written,
};
use doorbuster_protocol::{BuyerId, OrderId, PartitionId, ProductId, Sequence};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(crate) struct ShardedStore {
    directory: PathBuf,
    /// What the store knows of; a refresh takes over what there is.
    known: Mutex<Vec<Arc<FileShard>>>,
    all: Mutex<Vec<Arc<FileShard>>>,
}

struct FileShard {
    name: String,
    store: SqliteStore,
    file: Arc<dyn Shard>,
    known: Mutex<BucketSet>,
    /// What stands in the database: no batch is written while it changes.
    owned: tokio::sync::Mutex<BucketSet>,
}

impl ShardedStore {
    pub(crate) fn new(directory: &Path, shards: usize) -> Self {
        let store =
            Self { directory: directory.into(), known: Mutex::default(), all: Mutex::default() };
        for index in 0..shards {
            store.add(BucketSet::share(index, shards));
        }
        store.take_over();
        store
    }

    fn add(&self, owned: BucketSet) -> Arc<FileShard> {
        let mut all = self.all.lock().expect("no panic");
        let name = format!("shard-{}", all.len());
        let store =
            SqliteStore::open(self.directory.join(format!("{name}.db"))).expect("the store opens");
        let file = store.shards().remove(0);
        let shard = FileShard {
            name,
            store,
            file,
            known: Mutex::new(owned),
            owned: tokio::sync::Mutex::new(owned),
        };
        all.push(Arc::new(shard));
        Arc::clone(all.last().expect("it was pushed"))
    }

    fn take_over(&self) {
        let all = self.all.lock().expect("no panic").clone();
        *self.known.lock().expect("no panic") = all;
    }

    /// Moves half of each shard's buckets to a shard that joins.
    pub(crate) async fn halve_into_a_new_shard(&self, identity: StoreIdentity) {
        let from = self.all.lock().expect("no panic").clone();
        let joined = self.add(BucketSet::NONE);
        claim(&joined.store, identity).await.expect("it is fresh");
        let mut owned = joined.owned.lock().await;
        let mut is_first = true;
        for shard in from {
            let mut theirs = shard.owned.lock().await;
            let moved: BucketSet = theirs.iter().filter(|bucket| bucket % 2 == 0).collect();
            hand_over(&*shard.file, &*joined.file, moved, is_first).await;
            *theirs = theirs.difference(&moved);
            *owned = owned.union(&moved);
            is_first = false;
        }
    }
}

/// Copies the orders of some buckets and takes them away where they were. The new owner goes on from
/// the older of the two checkpoints: what it has from later on is newer than what it reads again.
async fn hand_over(from: &dyn Shard, to: &dyn Shard, moved: BucketSet, is_empty: bool) {
    let rows = from.scan_orders(None, None, 10_000).await.expect("the shard answers");
    let products = from.scan_products(None, 10_000).await.expect("the shard answers");
    let theirs = from.checkpoints().await.expect("the shard answers");
    let ours = to.checkpoints().await.expect("the shard answers");
    for (theirs, ours) in theirs.into_iter().zip(ours) {
        let partition = theirs.partition;
        let is_moved =
            |row: &&OrderRow| row.order.partition() == partition && moved.holds(row.order);
        let orders: Vec<_> = rows.iter().filter(is_moved).cloned().collect();
        let copied = Repair {
            partition,
            at: ours.sequence,
            checkpoint: Some(match is_empty {
                true => theirs.sequence,
                false => theirs.sequence.min(ours.sequence),
            }),
            orders: orders.clone(),
            without_orders: Vec::new(),
            // What a shard that was fuller than the first says of a product may be older.
            products: if is_empty { products.clone() } else { Vec::new() },
            without_products: Vec::new(),
            settled: Vec::new(),
        };
        to.repair(Arc::new(copied)).await.expect("nobody writes");
        let dropped = Repair {
            partition,
            at: theirs.sequence,
            checkpoint: None,
            orders: Vec::new(),
            without_orders: orders.iter().map(|row| row.order).collect(),
            products: Vec::new(),
            without_products: Vec::new(),
            settled: Vec::new(),
        };
        from.repair(Arc::new(dropped)).await.expect("nobody writes");
    }
}

impl Shard for FileShard {
    fn name(&self) -> &str {
        &self.name
    }
    fn buckets(&self) -> BucketSet {
        *self.known.lock().expect("no panic")
    }
    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        Box::pin(async move {
            let owned = self.owned.lock().await;
            if *owned != batch.buckets {
                let shard = self.name.clone();
                return Err(StoreError::Moved { shard, owned: Box::new(*owned) });
            }
            let is_its = |row: &OrderId| owned.holds(*row);
            for change in &batch.changes {
                use doorbuster_persistence::RowChange;
                match &change.row {
                    RowChange::OrderCreated(row) => assert!(is_its(&row.order)),
                    RowChange::OrderMoved { order, .. } => assert!(is_its(order)),
                    _ => {}
                }
            }
            let whole = Batch { buckets: BucketSet::ALL, ..(*batch).clone() };
            self.file.write(Arc::new(whole)).await
        })
    }
    fn claim(&self, identity: StoreIdentity) -> StoreFuture<'_, ()> {
        self.file.claim(identity)
    }
    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        self.file.identity()
    }
    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        self.file.checkpoints()
    }
    fn scan_orders(
        &self,
        partition: Option<PartitionId>,
        after: Option<OrderId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        self.file.scan_orders(partition, after, limit)
    }
    fn scan_products(
        &self,
        after: Option<ProductId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>> {
        self.file.scan_products(after, limit)
    }
    fn dead_letters(
        &self,
        after: Option<(PartitionId, Sequence, u32)>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.file.dead_letters(after, limit)
    }
    fn repair(&self, repair: Arc<Repair>) -> StoreFuture<'_, ()> {
        self.file.repair(repair)
    }
}

impl ShardedStore {
    /// The shard that is asked for an order, or for what all have.
    fn of(&self, bucket: u16) -> Arc<FileShard> {
        let known = self.known.lock().expect("no panic");
        let owner = known.iter().find(|shard| shard.buckets().contains(bucket));
        Arc::clone(owner.expect("every bucket has an owner"))
    }
}

impl Store for ShardedStore {
    fn shards(&self) -> Vec<Arc<dyn Shard>> {
        let known = self.known.lock().expect("no panic");
        known.iter().map(|shard| Arc::clone(shard) as Arc<dyn Shard>).collect()
    }
    fn refresh(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.take_over();
            let all = self.all.lock().expect("no panic").clone();
            for shard in all {
                let owned = *shard.owned.lock().await;
                *shard.known.lock().expect("no panic") = owned;
            }
            Ok(())
        })
    }
    fn order(&self, order: OrderId, freshness: Freshness) -> StoreFuture<'_, Option<OrderRow>> {
        let shard = self.of(order.bucket());
        Box::pin(async move { shard.store.order(order, freshness).await })
    }
    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        freshness: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>> {
        let shard = self.of(doorbuster_protocol::routing::bucket_of(buyer));
        Box::pin(async move { shard.store.orders_of(buyer, after, limit, freshness).await })
    }
    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>> {
        let shard = self.of(0);
        Box::pin(async move { shard.store.product(product).await })
    }
    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>> {
        let shard = self.of(0);
        Box::pin(async move { shard.store.products(after, limit).await })
    }
    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()> {
        let shards = self.known.lock().expect("no panic").clone();
        Box::pin(async move {
            for shard in shards {
                shard.store.put_catalog(entry.clone()).await?;
            }
            Ok(())
        })
    }
    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>> {
        let shard = self.of(0);
        Box::pin(async move { shard.store.catalog(product).await })
    }
}
