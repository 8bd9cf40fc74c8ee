//! A store in memory that can be told to fail. Only what an edge asks for is answered.

use doorbuster_persistence::store::StoreFuture;
use doorbuster_persistence::{
    CatalogEntry, Freshness, OrderCursor, OrderRow, Page, ProductCursor, ProductRow, Shard, Store,
    StoreError,
};
use doorbuster_protocol::{BuyerId, OrderId, ProductId};
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) orders: Mutex<Vec<OrderRow>>,
    pub(crate) products: Mutex<Vec<ProductRow>>,
    pub(crate) catalog: Mutex<Vec<CatalogEntry>>,
    pub(crate) is_broken: AtomicBool,
}

impl MemoryStore {
    fn answer<T: Send + 'static>(&self, find: impl FnOnce() -> T) -> StoreFuture<'_, T> {
        let answer = if self.is_broken.load(SeqCst) { Err(StoreError::Closed) } else { Ok(find()) };
        Box::pin(ready(answer))
    }

    fn described(&self, row: &ProductRow) -> ProductRow {
        let mut row = row.clone();
        for entry in self.catalog.lock().unwrap().iter().filter(|e| e.product == row.product) {
            row.name = entry.name.clone().or(row.name);
            row.description = entry.description.clone().or(row.description);
        }
        row
    }
}

/// The rows after a position, and the last row's cursor when there are more.
fn page<R, C>(rows: Vec<R>, from: usize, limit: u32, cursor: impl Fn(&R) -> C) -> Page<R, C> {
    let total = rows.len();
    let rows: Vec<R> = rows.into_iter().skip(from).take(limit as usize).collect();
    let next = (from + rows.len() < total).then(|| cursor(rows.last().expect("a page has rows")));
    Page { rows, next }
}

impl Store for MemoryStore {
    fn shards(&self) -> Vec<Arc<dyn Shard>> {
        Vec::new()
    }
    fn refresh(&self) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }
    fn order(&self, order: OrderId, _: Freshness) -> StoreFuture<'_, Option<OrderRow>> {
        let rows = self.orders.lock().unwrap();
        let found = rows.iter().find(|row| row.order == order).cloned();
        self.answer(|| found)
    }
    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        _: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>> {
        let mut rows = self.orders.lock().unwrap().clone();
        rows.retain(|row| row.buyer == buyer);
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.order)));
        let from = after.map_or(0, |after| {
            rows.iter().position(|row| row.order == after.order).map_or(0, |index| index + 1)
        });
        let cursor = |row: &OrderRow| OrderCursor { created_at: row.created_at, order: row.order };
        self.answer(|| page(rows, from, limit, cursor))
    }
    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>> {
        let rows = self.products.lock().unwrap();
        let found = rows.iter().find(|row| row.product == product).map(|row| self.described(row));
        self.answer(|| found)
    }
    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>> {
        let mut rows: Vec<ProductRow> =
            self.products.lock().unwrap().iter().map(|row| self.described(row)).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.product)));
        let from = after.map_or(0, |after| {
            rows.iter().position(|row| row.product == after.product).map_or(0, |index| index + 1)
        });
        let cursor =
            |row: &ProductRow| ProductCursor { created_at: row.created_at, product: row.product };
        self.answer(|| page(rows, from, limit, cursor))
    }
    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()> {
        self.answer(|| self.catalog.lock().unwrap().push(entry))
    }
    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>> {
        let mut row = CatalogEntry { product, name: None, description: None };
        for entry in self.catalog.lock().unwrap().iter().filter(|e| e.product == product) {
            row.name = entry.name.clone().or(row.name);
            row.description = entry.description.clone().or(row.description);
        }
        for known in self.products.lock().unwrap().iter().filter(|p| p.product == product) {
            row.name = row.name.or_else(|| known.name.clone());
            row.description = row.description.or_else(|| known.description.clone());
        }
        let is_known = row.name.is_some() || row.description.is_some();
        self.answer(|| is_known.then_some(row))
    }
}
