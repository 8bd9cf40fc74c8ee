//! The seam between what happened and where it is kept.
//!
//! A [`Store`] is one or more [`Shard`]s: databases, each with the orders of some buckets of buyers,
//! and with all products. A shard takes [`Batch`]es: changes of some partitions, and for each of
//! those partitions the range of events that the batch covers. It writes both in one transaction
//! whose precondition is that the stored checkpoint is exactly the event before the range. So a
//! batch is written once or refused, whatever dies in between, and writing it again is refused as
//! [`StoreError::OutOfStep`].
//!
//! Each shard has checkpoints of its own, so that one that is slow or away holds up no other. Each
//! row carries the event that changed it last, its version: a change from that event or an earlier
//! one is in the row already and is skipped, which lets rows move between shards and be repaired
//! while the checkpoints of the two differ.

use crate::buckets::BucketSet;
use crate::cursor::{OrderCursor, ProductCursor};
use crate::error::StoreError;
use crate::rows::{CatalogEntry, Checkpoint, DeadLetter, OrderRow, ProductRow};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{BuyerId, Epoch, OrderId, PartitionId, ProductId, Sequence, Timestamp};
use std::pin::Pin;
use std::sync::Arc;

/// The answer of a store, some time later, on any runtime.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The most rows that one page or one step of a scan holds; higher limits are lowered to it.
pub const PAGE_ROWS_MAX: u32 = 10_000;

/// Where results live, as those see it who ask. Cheap to share; every call may come from any
/// thread.
pub trait Store: Send + Sync {
    /// Its shards, in the order of the configuration. Which buckets each owns may change; see
    /// [`Store::refresh`].
    fn shards(&self) -> Vec<Arc<dyn Shard>>;

    /// Learns anew which shard owns which buckets, after [`StoreError::Moved`]. Shards that joined
    /// meanwhile are in [`Store::shards`] then.
    fn refresh(&self) -> StoreFuture<'_, ()>;

    /// One order.
    fn order(&self, order: OrderId, freshness: Freshness) -> StoreFuture<'_, Option<OrderRow>>;

    /// The orders of a buyer, newest first, after the cursor.
    fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderCursor>,
        limit: u32,
        freshness: Freshness,
    ) -> StoreFuture<'_, Page<OrderRow, OrderCursor>>;

    /// One product; `None` until the projector has seen its definition.
    fn product(&self, product: ProductId) -> StoreFuture<'_, Option<ProductRow>>;

    /// All defined products, newest first, after the cursor.
    fn products(
        &self,
        after: Option<ProductCursor>,
        limit: u32,
    ) -> StoreFuture<'_, Page<ProductRow, ProductCursor>>;

    /// Sets what people call a product. It may come before or after the projector's row: the two
    /// write different columns.
    fn put_catalog(&self, entry: CatalogEntry) -> StoreFuture<'_, ()>;

    /// What people call a product, also one that the projector has not brought yet; `None` when
    /// nobody has said.
    fn catalog(&self, product: ProductId) -> StoreFuture<'_, Option<CatalogEntry>>;
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything that was ever committed: a buyer looks at what is the buyer's own.
    Latest,
    /// A replica may answer, as far behind as the configuration lets it be.
    Recent,
}

/// One database of a store: who fills it, and who compares it with the log.
pub trait Shard: Send + Sync {
    /// Its name, which also labels its metrics.
    fn name(&self) -> &str;

    /// The buckets whose orders it owns, as far as is known.
    fn buckets(&self) -> BucketSet;

    /// Buckets whose rows may stand here though another shard owns them, as far as is known: they
    /// are being moved, and no divergence.
    fn in_transit(&self) -> BucketSet {
        BucketSet::NONE
    }

    /// Binds an empty shard to a data directory and makes a checkpoint of zero for each of its
    /// partitions. On a bound one it only checks that it is that directory's.
    fn claim(&self, identity: StoreIdentity) -> StoreFuture<'_, ()>;

    /// Whose results these are; `None` before the first claim.
    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>>;

    /// The checkpoints of all partitions, in order of partition.
    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>>;

    /// Writes a batch, all of it or nothing. A change that cannot be written becomes a dead letter
    /// in the same transaction, and the rest goes on; one that is not newer than its row is skipped.
    /// [`StoreError::Moved`] when the shard no longer owns the batch's buckets, or owns more.
    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written>;

    /// For audits: up to `limit` orders after `after` in order of id, of one partition or of all.
    /// An empty answer is the end. Orders of buckets that the shard does not own are among them.
    fn scan_orders(
        &self,
        partition: Option<PartitionId>,
        after: Option<OrderId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>>;

    /// For audits: up to `limit` products after `after` in order of id. An empty answer is the end.
    fn scan_products(
        &self,
        after: Option<ProductId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>>;

    /// For audits: up to `limit` dead letters after (partition, sequence, line) in that order. An
    /// empty answer is the end.
    fn dead_letters(
        &self,
        after: Option<(PartitionId, Sequence, u32)>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// For audits: sets rows as the log has them, in one transaction, provided that the partition's
    /// checkpoint still is `repair.at`; else [`StoreError::OutOfStep`] and nothing is changed.
    fn repair(&self, repair: Arc<Repair>) -> StoreFuture<'_, ()>;
}

/// Rows of one partition, set right as of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The partition.
    pub partition: PartitionId,
    /// The checkpoint for which the rows were computed.
    pub at: Sequence,
    /// What the checkpoint becomes when it is wrong itself.
    pub checkpoint: Option<Sequence>,
    /// Orders that are to stand exactly so, items included; made when missing.
    pub orders: Vec<OrderRow>,
    /// Orders that are not to be there.
    pub without_orders: Vec<OrderId>,
    /// Products that are to stand exactly so, but for their name and description.
    pub products: Vec<ProductRow>,
    /// Products that are not to be there.
    pub without_products: Vec<ProductId>,
    /// Dead letters that these rows settle: event and line.
    pub settled: Vec<(Sequence, u32)>,
}

/// The data directory that a store belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Its random id.
    pub directory: u64,
    /// Its partitions.
    pub partitions: PartitionCount,
}

/// Rows in some order, and where the next page begins; `None` when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<Row, Cursor> {
    /// The rows.
    pub rows: Vec<Row>,
    /// Pass it to get the rows after these.
    pub next: Option<Cursor>,
}

/// Changes and the ranges of events that they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The buckets whose changes it holds: all that the shard owns.
    pub buckets: BucketSet,
    /// The ranges, at most one for a partition. A range may have no changes at all.
    pub advances: Vec<Advance>,
    /// The changes; those of one partition are in the order of their events.
    pub changes: Vec<Change>,
}

impl Batch {
    /// No changes yet, for a shard that owns `buckets`.
    pub const fn new(buckets: BucketSet) -> Self {
        Self { buckets, advances: Vec::new(), changes: Vec::new() }
    }
}

/// A range of events of one partition: those after `after`, up to and with `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch in which the events were sent, never less than the stored one.
    pub epoch: Epoch,
    /// The last event before the range: what the stored checkpoint must be.
    pub after: Sequence,
    /// The last event of the range: what it becomes.
    pub through: Sequence,
}

/// What a batch did. Changes that were skipped, because their row was as new already, count as
/// neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Changes written.
    pub rows: u64,
    /// Changes that became dead letters.
    pub dead_letters: u64,
}

/// One row that one event makes or changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The partition of the event.
    pub partition: PartitionId,
    /// The event.
    pub sequence: Sequence,
    /// Which of the event's changes, from 0.
    pub line: u32,
    /// When the event was decided.
    pub at: Timestamp,
    /// What becomes of the row.
    pub row: RowChange,
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// A new order, whose version is the event. One that was made by another event is a dead letter.
    OrderCreated(OrderRow),
    /// An order took another status. One that is unknown, or not in a status that leads there, is a
    /// dead letter.
    OrderMoved {
        /// The order.
        order: OrderId,
        /// Its status from now on.
        status: OrderStatus,
        /// When its hold runs out; none keeps what is there.
        expires_at: Timestamp,
    },
    /// A product was made or all its terms were set. Its state stays, and is open at first.
    ProductDefined {
        /// The product.
        product: ProductId,
        /// Its terms from now on.
        terms: Terms,
    },
    /// Units were added to or taken from a product's stock.
    StockMoved {
        /// The product.
        product: ProductId,
        /// Units added; negative when taken.
        units: i64,
    },
    /// A sale was paused or opened.
    StateSet {
        /// The product.
        product: ProductId,
        /// Its state from now on.
        state: SaleState,
    },
    /// An event that this program could not read. It becomes a dead letter.
    Unreadable {
        /// Why.
        reason: String,
        /// Its bytes, without the length in front.
        bytes: Vec<u8>,
    },
}

/// The statuses that may come before `status`: queued → pending → paid, and from there what happens
/// after the sale; none for the status that only an order's making gives.
pub const fn statuses_before(status: OrderStatus) -> &'static [OrderStatus] {
    match status {
        OrderStatus::Queued => &[],
        OrderStatus::Pending => &[OrderStatus::Queued],
        OrderStatus::Paid | OrderStatus::Expired => &[OrderStatus::Pending],
        OrderStatus::Cancelled => &[OrderStatus::Queued, OrderStatus::Pending],
        OrderStatus::Shipped => &[OrderStatus::Paid],
        OrderStatus::Completed => &[OrderStatus::Shipped],
        OrderStatus::Refunded => &[OrderStatus::Paid, OrderStatus::Shipped, OrderStatus::Completed],
    }
}
