//! The store as one process sees it: it learns who owns which buckets at its start, and anew when it
//! asks.

use super::Shared;
use super::database::{Database, Transaction, page_rows};
use super::session::Session;
use super::shard::SimShard;
use crate::process::Life;
use doorbuster_persistence::store::{Page, StoreFuture};
use doorbuster_persistence::{
    BucketSet, CatalogEntry, Freshness, OrderCursor, OrderRow, ProductCursor, ProductRow, Shard,
    Store,
};
use doorbuster_protocol::routing::bucket_of;
use doorbuster_protocol::{BuyerId, OrderId, ProductId};
use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The store in the hands of a process.
pub struct StoreView {
    shared: Arc<Shared>,
    life: Life,
    /// What it knows: the shards, and what each owns.
    known: Mutex<Vec<BucketSet>>,
}

impl StoreView {
    pub(super) fn new(shared: Arc<Shared>, life: Life) -> Self {
        let known = Mutex::new(owned(&shared));
        Self { shared, life, known }
    }

    fn known(&self) -> MutexGuard<'_, Vec<BucketSet>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, index: usize) -> Session {
        Session {
            shared: Arc::clone(&self.shared),
            index,
            name: format!("shard-{index}").into(),
            life: self.life.clone(),
        }
    }

    /// The session with the shard that owns a bucket, as far as is known.
    fn owner_of(&self, bucket: u16) -> Session {
        let owner = self.known().iter().position(|buckets| buckets.contains(bucket));
        self.session(owner.expect("every bucket has an owner"))
    }

    fn look<T: Send + 'static>(
        &self,
        session: Session,
        look: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            let index = session.index;
            session.ask(move |cluster| Ok(look(&cluster.members[index].database))).await
        })
    }
}

fn owned(shared: &Shared) -> Vec<BucketSet> {
    shared.cluster().members.iter().map(|member| member.database.buckets).collect()
}

impl Store for StoreView {
    fn shards(&self) -> Vec<Arc<dyn Shard>> {
        let shard = |(index, buckets): (usize, &BucketSet)| {
            Arc::new(SimShard { session: self.session(index), buckets: *buckets }) as Arc<dyn Shard>
        };
        self.known().iter().enumerate().map(shard).collect()
    }

    fn refresh(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            let asked = self.session(0);
            let now = asked.ask(|_| Ok(())).await.map(|()| owned(&self.shared))?;
            *self.known() = now;
            Ok(())
        })
    }

    fn order(&self, order: OrderId, _: Freshness) -> StoreFuture<'_, Option<OrderRow>> {
        let owner = self.owner_of(order.bucket());
        self.look(owner, move |database| database.orders.get(&order).cloned())
    }

    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        _: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>> {
        self.look(self.owner_of(bucket_of(buyer)), move |database| {
            let place = |row: &OrderRow| (row.created_at, row.order);
            let is_asked = |row: &&OrderRow| {
                row.buyer == buyer
                    && after.is_none_or(|after| place(row) < (after.created_at, after.order))
            };
            let mut rows: Vec<_> = database.orders.values().filter(is_asked).cloned().collect();
            rows.sort_by_key(|row| Reverse(place(row)));
            page(rows, limit, |row| OrderCursor { created_at: row.created_at, order: row.order })
        })
    }

    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>> {
        self.look(self.owner_of(0), move |database| database.product(product))
    }

    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>> {
        self.look(self.owner_of(0), move |database| {
            let place = |row: &ProductRow| (row.created_at, row.product);
            let is_asked = |row: &&ProductRow| {
                after.is_none_or(|after| place(row) < (after.created_at, after.product))
            };
            let rows = database.products.values().filter(is_asked);
            let mut rows: Vec<_> = rows.map(|row| database.with_names(row)).collect();
            rows.sort_by_key(|row| Reverse(place(row)));
            page(rows, limit, |row| ProductCursor {
                created_at: row.created_at,
                product: row.product,
            })
        })
    }

    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let shards = self.known().len();
            for index in 0..shards {
                let what = Transaction::Catalog(entry.clone());
                let change =
                    move |cluster: &mut super::Cluster| cluster.commit(index, what).map(drop);
                self.session(index).change(change).await?;
            }
            Ok(())
        })
    }

    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>> {
        self.look(self.owner_of(0), move |database| database.catalog.get(&product).cloned())
    }
}

/// The first rows, and where the next page begins when there are more.
fn page<Row, Cursor>(
    mut rows: Vec<Row>,
    limit: u32,
    cursor: impl FnOnce(&Row) -> Cursor,
) -> Page<Row, Cursor> {
    let has_more = rows.len() > page_rows(limit);
    rows.truncate(page_rows(limit));
    let next = if has_more { rows.last().map(cursor) } else { None };
    Page { rows, next }
}
