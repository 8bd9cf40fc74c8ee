//! A store whose shards are busy or full now and then, before or after they have done what they were
//! asked, or away for as long as they are told to be.

use doorbuster_persistence::store::{Page, StoreFuture};
use doorbuster_persistence::{
    Batch, BucketSet, CatalogEntry, Checkpoint, DeadLetter, Freshness, OrderCursor, OrderRow,
    ProductCursor, ProductRow, Repair, Shard, Store, StoreError, StoreIdentity, Written,
};
use doorbuster_protocol::{BuyerId, OrderId, PartitionId, ProductId, Sequence};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

pub(crate) struct FlakyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
}

struct Faults {
    /// None: nothing fails by chance.
    random: Option<Mutex<fastrand::Rng>>,
    /// Names of the shards that are away.
    away: Mutex<BTreeSet<String>>,
    /// Names of the shards that no waiting mends.
    broken: Mutex<BTreeSet<String>>,
}

struct FlakyShard {
    inner: Arc<dyn Shard>,
    faults: Arc<Faults>,
}

impl FlakyStore {
    /// Shards that fail by chance.
    pub(crate) fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        let random = Some(Mutex::new(fastrand::Rng::with_seed(seed)));
        Self {
            inner,
            faults: Arc::new(Faults { random, away: Mutex::default(), broken: Mutex::default() }),
        }
    }

    /// Shards that fail when they are told to.
    pub(crate) fn steady(inner: Arc<dyn Store>) -> Self {
        let faults = Faults { random: None, away: Mutex::default(), broken: Mutex::default() };
        Self { inner, faults: Arc::new(faults) }
    }

    pub(crate) fn send_away(&self, shard: &str) {
        self.faults.away.lock().expect("no panic").insert(shard.into());
    }

    pub(crate) fn bring_back(&self, shard: &str) {
        self.faults.away.lock().expect("no panic").remove(shard);
    }

    pub(crate) fn break_down(&self, shard: &str) {
        self.faults.broken.lock().expect("no panic").insert(shard.into());
    }

    pub(crate) fn mend(&self, shard: &str) {
        self.faults.broken.lock().expect("no panic").remove(shard);
    }
}

impl FlakyShard {
    fn fails(&self) -> bool {
        let random = self.faults.random.as_ref();
        random.is_some_and(|random| random.lock().expect("no panic").u32(..12) == 0)
    }

    fn is_there(&self) -> Result<(), StoreError> {
        if self.faults.broken.lock().expect("no panic").contains(self.inner.name()) {
            return Err(StoreError::Failed { why: "the test says so".into() });
        }
        match self.faults.away.lock().expect("no panic").contains(self.inner.name()) {
            true => {
                let shard = self.inner.name().to_owned();
                Err(StoreError::Away { shard, why: "the test says so".into() })
            }
            false => Ok(()),
        }
    }
}

impl Shard for FlakyShard {
    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        assert!(batch.changes.len() <= 200, "a batch of {} rows", batch.changes.len());
        Box::pin(async move {
            self.is_there()?;
            if self.fails() {
                return Err(StoreError::Full { why: "the test says so".into() });
            }
            let written = self.inner.write(batch).await?;
            if self.fails() {
                return Err(StoreError::Busy { why: "the answer is lost".into() });
            }
            Ok(written)
        })
    }

    fn claim(&self, identity: StoreIdentity) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.is_there()?;
            if self.fails() {
                return Err(StoreError::Busy { why: "the test says so".into() });
            }
            self.inner.claim(identity).await
        })
    }
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn buckets(&self) -> BucketSet {
        self.inner.buckets()
    }
    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        self.inner.identity()
    }
    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        Box::pin(async move {
            self.is_there()?;
            self.inner.checkpoints().await
        })
    }
    fn scan_orders(
        &self,
        partition: Option<PartitionId>,
        after: Option<OrderId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        self.inner.scan_orders(partition, after, limit)
    }
    fn scan_products(
        &self,
        after: Option<ProductId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>> {
        self.inner.scan_products(after, limit)
    }
    fn dead_letters(
        &self,
        after: Option<(PartitionId, Sequence, u32)>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.inner.dead_letters(after, limit)
    }
    fn repair(&self, repair: Arc<Repair>) -> StoreFuture<'_, ()> {
        self.inner.repair(repair)
    }
}

impl Store for FlakyStore {
    fn shards(&self) -> Vec<Arc<dyn Shard>> {
        let flaky = |inner| {
            Arc::new(FlakyShard { inner, faults: Arc::clone(&self.faults) }) as Arc<dyn Shard>
        };
        self.inner.shards().into_iter().map(flaky).collect()
    }
    fn refresh(&self) -> StoreFuture<'_, ()> {
        self.inner.refresh()
    }
    fn order(&self, order: OrderId, freshness: Freshness) -> StoreFuture<'_, Option<OrderRow>> {
        self.inner.order(order, freshness)
    }
    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        freshness: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>> {
        self.inner.orders_of(buyer, after, limit, freshness)
    }
    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>> {
        self.inner.product(product)
    }
    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>> {
        self.inner.products(after, limit)
    }
    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()> {
        self.inner.put_catalog(entry)
    }
    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>> {
        self.inner.catalog(product)
    }
}
