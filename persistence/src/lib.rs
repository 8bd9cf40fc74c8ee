//! The store of results, and the projector that fills it exactly once.
//!
//! The engine answers for an order while it holds it; the store answers for everything else: lists,
//! orders that are over, names and descriptions. Nothing here decides anything. Rows are what the
//! feed said, and a checkpoint per partition, moved in the transaction that writes the rows, makes
//! that exact whatever dies in between.
//!
//! | module | what it owns |
//! |---|---|
//! | [`rows`] | orders, products, checkpoints, dead letters, as typed rows |
//! | [`buckets`] | which buyers a shard holds |
//! | [`cursor`] | where a page ended, as opaque text |
//! | [`store`] | the `Store` and `Shard` traits, batches of changes, and the rule that makes them exactly-once |
//! | [`error`] | what can go wrong with a store, and what to do then |
//! | [`sqlite`] | the embedded store |
//! | [`postgres`] | the sharded store |
//! | [`projector`] | the consumer that turns the feed into rows |
//! | [`conformance`] | tests that every store must pass |

pub mod buckets;
pub mod conformance;
pub mod cursor;
pub mod error;
pub mod postgres;
pub mod projector;
pub mod rows;
pub mod sqlite;
pub mod store;

/// Niceness of threads that write results, where they share cores with a sale: results may reach the
/// store later, orders may not wait for them.
pub const BACKGROUND_NICENESS: i32 = 10;

pub use buckets::BucketSet;
pub use cursor::{OrderCursor, ProductCursor};
pub use error::StoreError;
pub use postgres::{PostgresOptions, PostgresStore, ShardOptions, ShardUrl};
pub use projector::{ProjectorConfig, ProjectorError, ProjectorMetrics};
pub use rows::{CatalogEntry, Checkpoint, DeadLetter, OrderItem, OrderRow, ProductRow};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{
    Advance, Batch, Change, Freshness, Page, Repair, RowChange, Shard, Store, StoreIdentity,
    Written,
};
