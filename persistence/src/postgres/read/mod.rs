//! Reading one shard: from whom, and how long to wait.
//!
//! The primary answers whatever must be complete: a buyer's look at what is the buyer's own. The
//! replica answers the rest while it is proven to be fresh enough, and what it does not know or
//! cannot answer is asked of the primary. A primary that is away is never replaced by a replica for
//! an answer that must be complete: an error is honest, an old list is not.
//!
//! | module | what it owns |
//! |---|---|
//! | [`queries`] | the SQL |
//! | [`connection`] | how a question is put: one round trip, bounded in time, in a transaction |
//! | [`target`] | one server: its pool and its breaker |
//! | [`breaker`] | when a server that fails is left alone |
//! | [`replica`] | whether the replica may answer |
//! | [`lag`] | how far behind it is |
//! | [`health`] | all that as numbers |

mod breaker;
mod connection;
mod health;
mod lag;
pub mod queries;
mod replica;
mod target;

pub use health::{Fitness, ReadHealth, ReplicaHealth, TargetHealth};

use crate::cursor::{OrderCursor, ProductCursor};
use crate::error::StoreError;
use crate::postgres::options::{PostgresOptions, ShardOptions};
use crate::postgres::row;
use crate::postgres::types::{Time, Uuid};
use crate::rows::{CatalogEntry, OrderRow, ProductRow};
use crate::store::{Freshness, PAGE_ROWS_MAX, Page};
use connection::{Answer, Question};
use doorbuster_protocol::routing::bucket_of;
use doorbuster_protocol::{BuyerId, OrderId, ProductId};
use queries::Query;
use replica::Replica;
use std::sync::Arc;
use target::{Role, Target};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Everything that reads one shard. Any of its futures may be dropped at any time.
pub(super) struct Reads {
    shard: Arc<str>,
    primary: Target,
    replica: Option<Replica>,
}

impl Reads {
    /// Connects when it is asked. It must be made and used on the runtime on which reads run: a task
    /// that looks at the replica runs there until this is dropped.
    pub(super) fn new(shard: &str, options: &ShardOptions, all: &PostgresOptions) -> Self {
        let shard: Arc<str> = shard.into();
        let url = options.reads.as_ref().unwrap_or(&options.url);
        let replica = options.replica.as_ref();
        Self {
            primary: Target::new(&shard, Role::Primary, url, all),
            replica: replica.map(|replica| Replica::new(&shard, url, replica, all)),
            shard,
        }
    }

    /// One order. [`StoreError::Moved`] when its bucket is another shard's.
    pub(super) async fn order(
        &self,
        order: OrderId,
        freshness: Freshness,
    ) -> Result<Option<OrderRow>, StoreError> {
        let id = Uuid(*order.as_bytes());
        let values: [&(dyn ToSql + Sync); 1] = [&id];
        let asking = Asking::of_bucket(&queries::ORDER, &values, order.bucket());
        // What may change yet has perhaps changed already.
        let settles =
            |found: &Option<OrderRow>| found.as_ref().is_some_and(|order| order.status.is_final());
        self.read(asking, freshness, |rows| one(rows, row::order), settles).await
    }

    /// A page of a buyer's orders. [`StoreError::Moved`] when the buyer's bucket is another shard's.
    pub(super) async fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        freshness: Freshness,
    ) -> Result<Page<OrderRow, OrderCursor>, StoreError> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let (id, rows) = (Uuid(*buyer.as_bytes()), i64::from(limit) + 1);
        let decode = |found: &[Row]| {
            let cursor =
                |row: &OrderRow| OrderCursor { created_at: row.created_at, order: row.order };
            page(found, limit, row::order, cursor)
        };
        let bucket = bucket_of(buyer);
        match after {
            None => {
                let values: [&(dyn ToSql + Sync); 2] = [&id, &rows];
                let asking = Asking::of_bucket(&queries::ORDERS_FIRST, &values, bucket);
                self.read(asking, freshness, decode, |_| true).await
            }
            // Also a page of long ago needs the primary when it must be complete: an order is
            // written after it was made, by any length of time, and no position in the log of a
            // replica tells that none of an age is still to come.
            Some(OrderCursor { created_at, order }) => {
                let (at, last) = (Time::nearest(created_at), Uuid(*order.as_bytes()));
                let values: [&(dyn ToSql + Sync); 4] = [&id, &rows, &at, &last];
                let asking = Asking::of_bucket(&queries::ORDERS_AFTER, &values, bucket);
                self.read(asking, freshness, decode, |_| true).await
            }
        }
    }

    /// One defined product.
    pub(super) async fn product(
        &self,
        product: ProductId,
    ) -> Result<Option<ProductRow>, StoreError> {
        let id = Uuid(*product.as_bytes());
        let values: [&(dyn ToSql + Sync); 1] = [&id];
        let asking = Asking::of_any(&queries::PRODUCT, &values);
        self.read(asking, Freshness::Recent, |rows| one(rows, row::product), Option::is_some).await
    }

    /// A page of the defined products.
    pub(super) async fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> Result<Page<ProductRow, ProductCursor>, StoreError> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let rows = i64::from(limit) + 1;
        let decode = |found: &[Row]| {
            let cursor = |row: &ProductRow| ProductCursor {
                created_at: row.created_at,
                product: row.product,
            };
            page(found, limit, row::product, cursor)
        };
        match after {
            None => {
                let values: [&(dyn ToSql + Sync); 1] = [&rows];
                let asking = Asking::of_any(&queries::PRODUCTS_FIRST, &values);
                self.read(asking, Freshness::Recent, decode, |_| true).await
            }
            Some(ProductCursor { created_at, product }) => {
                let (at, last) = (Time::nearest(created_at), Uuid(*product.as_bytes()));
                let values: [&(dyn ToSql + Sync); 3] = [&rows, &at, &last];
                let asking = Asking::of_any(&queries::PRODUCTS_AFTER, &values);
                self.read(asking, Freshness::Recent, decode, |_| true).await
            }
        }
    }

    /// What people call a product.
    pub(super) async fn catalog(
        &self,
        product: ProductId,
    ) -> Result<Option<CatalogEntry>, StoreError> {
        let id = Uuid(*product.as_bytes());
        let values: [&(dyn ToSql + Sync); 1] = [&id];
        let asking = Asking::of_any(&queries::CATALOG, &values);
        let entry = |row: &Row| {
            let (name, description) = (row::get(row, 0)?, row::get(row, 1)?);
            Ok(CatalogEntry { product, name, description })
        };
        self.read(asking, Freshness::Recent, |rows| one(rows, entry), Option::is_some).await
    }

    /// Whether questions are worth putting: somebody answered the last ones.
    pub(super) fn is_answering(&self) -> bool {
        !self.primary.is_open() || self.replica.as_ref().is_some_and(Replica::is_fresh)
    }

    /// How it goes, for metrics; cheap, from any thread.
    pub(super) fn health(&self) -> ReadHealth {
        ReadHealth {
            primary: self.primary.health(),
            replica: self.replica.as_ref().map(Replica::health),
        }
    }

    /// Asks the replica where that may do, and the primary when it does not: because the replica is
    /// not fresh or not there, or its answer does not settle the question.
    async fn read<T>(
        &self,
        asking: Asking<'_>,
        freshness: Freshness,
        decode: impl Fn(&[Row]) -> Result<T, StoreError>,
        settles: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        let replica = self.replica.as_ref().filter(|replica| replica.is_fresh());
        if let Some(replica) = replica.filter(|_| freshness == Freshness::Recent)
            && let Ok(answer) = replica.target.ask(asking.question).await
            && replica.proves(&answer.witness)
            && self.is_owner(&asking, &answer).is_ok()
            && let Ok(found) = decode(&answer.rows)
            && settles(&found)
        {
            return Ok(found);
        }
        let answer = self.primary.ask(asking.question).await?;
        self.is_shard(&answer)?;
        self.is_owner(&asking, &answer)?;
        decode(&answer.rows)
    }

    /// Whether the answer came from this shard, and not from another one behind its URL.
    fn is_shard(&self, answer: &Answer) -> Result<(), StoreError> {
        match &answer.witness.name {
            Some(name) if **name != *self.shard => Err(StoreError::Misconfigured {
                what: format!("the URL to read shard {} leads to shard {name}", self.shard),
                next: "Correct the URL; when a pooler stands there, its databases".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether it came from who owned the bucket when the rows were read: one that went elsewhere
    /// leaves no rows behind, or old ones.
    fn is_owner(&self, asking: &Asking<'_>, answer: &Answer) -> Result<(), StoreError> {
        match (asking.bucket, answer.owned) {
            (Some(bucket), Some(owned)) if !owned.contains(bucket) => {
                Err(StoreError::Moved { shard: self.shard.to_string(), owned: owned.into() })
            }
            _ => Ok(()),
        }
    }
}

/// A question, and the bucket whose owner must answer it.
struct Asking<'a> {
    question: Question<'a>,
    bucket: Option<u16>,
}

impl<'a> Asking<'a> {
    fn of_bucket(query: &'static Query, values: &'a [&'a (dyn ToSql + Sync)], bucket: u16) -> Self {
        Self { question: Question { query, values, of_owner: true }, bucket: Some(bucket) }
    }

    /// One that every shard can answer.
    fn of_any(query: &'static Query, values: &'a [&'a (dyn ToSql + Sync)]) -> Self {
        Self { question: Question { query, values, of_owner: false }, bucket: None }
    }
}

fn one<T>(
    found: &[Row],
    decode: impl FnOnce(&Row) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    found.first().map(decode).transpose()
}

/// A page of what was found: the row beyond the limit only says that there is a next page.
fn page<T, Cursor>(
    found: &[Row],
    limit: u32,
    decode: impl Fn(&Row) -> Result<T, StoreError>,
    cursor: impl FnOnce(&T) -> Cursor,
) -> Result<Page<T, Cursor>, StoreError> {
    let shown = &found[..found.len().min(limit as usize)];
    let rows = shown.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let is_more = found.len() > shown.len();
    let next = rows.last().filter(|_| is_more).map(cursor);
    Ok(Page { rows, next })
}

#[cfg(test)]
#[path = "dropped_test.rs"]
mod tests;
