//! From events to changes of rows. A pure function, and the only place that knows both.
//!
//! A shard takes changes of the orders in its buckets and of every product; the rest is left out
//! before a row is built. Lines are numbered as if nothing were left out, so that a change has one
//! name on every shard.
//!
//! | event | changes |
//! |---|---|
//! | placed, queued | a new order, pending or queued |
//! | paid | the order is paid |
//! | cancelled, expired | the order is; then those matched from the waitlist are pending |
//! | defined | all terms of the product; then the matched |
//! | restocked, withdrawn | the product's stock; then the matched |
//! | state set | the product's state |
//! | acknowledged | none |
//!
//! An event that cannot be read (a newer engine made it) becomes a change that the store turns into
//! a dead letter: its length stands in front of it, so the events after it are not lost with it. It
//! may concern any order, so every shard buries it.

use crate::buckets::BucketSet;
use crate::rows::{OrderItem, OrderRow};
use crate::store::{Change, RowChange};
use bytes::Bytes;
use doorbuster_protocol::event::{Event, Fact, Matched, Released};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::record::{Malformed, Reader};
use doorbuster_protocol::{
    BuyerId, Currency, OrderId, PartitionId, ProductId, Quantity, Sequence, Timestamp, limits,
};

/// Bytes of the length in front of each event.
const PREFIX_BYTES: usize = 4;

/// Walks the events of a feed's batch one by one.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) partition: PartitionId,
    buckets: BucketSet,
    next: Sequence,
    left: u32,
    /// The time of the last event that could be read; stands in for that of one that cannot.
    at: Timestamp,
    body: Bytes,
    /// Bytes of the body that were read.
    read: usize,
}

impl Decoder {
    /// `count` events in `body`, the first of which is `first`, for a shard that owns `buckets`.
    pub(super) const fn new(
        partition: PartitionId,
        buckets: BucketSet,
        first: Sequence,
        count: u32,
        body: Bytes,
    ) -> Self {
        Self { partition, buckets, next: first, left: count, at: Timestamp::NONE, body, read: 0 }
    }

    /// Appends the changes of the next event and returns its sequence and time; `None` after the
    /// last. An error means that the batch's framing is broken and nothing after it can be read.
    pub(super) fn next(
        &mut self,
        changes: &mut Vec<Change>,
    ) -> Result<Option<(Sequence, Timestamp)>, Malformed> {
        if self.left == 0 {
            let is_over = self.read == self.body.len();
            return if is_over { Ok(None) } else { Err(Malformed::Oversized) };
        }
        let rest = &self.body[self.read..];
        let length = Reader::new(rest).u32()? as usize + PREFIX_BYTES;
        if length > limits::EVENT_BYTES_MAX {
            return Err(Malformed::Oversized);
        }
        let record = rest.get(..length).ok_or(Malformed::Truncated)?;
        let sequence = self.next;
        match Event::decode(&mut Reader::new(record)) {
            Ok(event) => {
                self.at = event.at;
                changes_of(self.partition, sequence, event, &self.buckets, changes);
            }
            Err(error) => changes.push(Change {
                partition: self.partition,
                sequence,
                line: 0,
                at: self.at,
                row: RowChange::Unreadable {
                    reason: error.to_string(),
                    bytes: record[PREFIX_BYTES..].to_vec(),
                },
            }),
        }
        self.read += length;
        self.left -= 1;
        self.next = sequence.next();
        Ok(Some((sequence, self.at)))
    }
}

/// Appends what `event` changes in the rows of a shard that owns `buckets`, in the order in which it
/// happened.
pub(crate) fn changes_of(
    partition: PartitionId,
    sequence: Sequence,
    event: Event,
    buckets: &BucketSet,
    changes: &mut Vec<Change>,
) {
    let at = event.at;
    let mut sink = Sink { partition, sequence, at, line: 0, buckets, changes };
    match event.fact {
        Fact::Placed(placed) => sink.created(
            &NewOrder {
                order: placed.order,
                buyer: placed.buyer,
                product: placed.product,
                quantity: placed.quantity,
                unit_price: placed.unit_price,
                currency: placed.currency,
            },
            OrderStatus::Pending,
            placed.expires_at,
        ),
        Fact::Queued(queued) => sink.created(
            &NewOrder {
                order: queued.order,
                buyer: queued.buyer,
                product: queued.product,
                quantity: queued.quantity,
                unit_price: queued.unit_price,
                currency: queued.currency,
            },
            OrderStatus::Queued,
            Timestamp::NONE,
        ),
        Fact::Paid { order, .. } => sink.moved(order, OrderStatus::Paid, Timestamp::NONE),
        Fact::Cancelled(released) => sink.released(&released, OrderStatus::Cancelled),
        Fact::Expired(released) => sink.released(&released, OrderStatus::Expired),
        Fact::Defined { product, terms, matched } => {
            sink.push(RowChange::ProductDefined { product, terms });
            sink.matched(&matched);
        }
        Fact::Restocked { product, units, matched } => {
            sink.push(RowChange::StockMoved { product, units: i64::from(units) });
            sink.matched(&matched);
        }
        Fact::Withdrawn { product, units } => {
            sink.push(RowChange::StockMoved { product, units: -i64::from(units) });
        }
        Fact::StateSet { product, state } => sink.push(RowChange::StateSet { product, state }),
        Fact::Acknowledged { .. } => {}
    }
}

struct NewOrder {
    order: OrderId,
    buyer: BuyerId,
    product: ProductId,
    quantity: Quantity,
    unit_price: u64,
    currency: Currency,
}

/// Numbers the changes of one event, and leaves out those of other shards.
struct Sink<'a> {
    partition: PartitionId,
    sequence: Sequence,
    at: Timestamp,
    line: u32,
    buckets: &'a BucketSet,
    changes: &'a mut Vec<Change>,
}

impl Sink<'_> {
    fn push(&mut self, row: RowChange) {
        let Self { partition, sequence, at, line, .. } = *self;
        self.changes.push(Change { partition, sequence, line, at, row });
        self.line += 1;
    }

    fn created(&mut self, new: &NewOrder, status: OrderStatus, expires_at: Timestamp) {
        if !self.buckets.holds(new.order) {
            self.line += 1;
            return;
        }
        let NewOrder { order, buyer, product, quantity, unit_price, currency } = *new;
        self.push(RowChange::OrderCreated(OrderRow {
            order,
            buyer,
            // A total that does not fit is one that the store refuses.
            total_amount: unit_price.saturating_mul(u64::from(quantity.get())),
            currency,
            status,
            created_at: self.at,
            updated_at: self.at,
            expires_at,
            version: self.sequence,
            items: vec![OrderItem { product, quantity, unit_price }],
        }));
    }

    fn moved(&mut self, order: OrderId, status: OrderStatus, expires_at: Timestamp) {
        match self.buckets.holds(order) {
            true => self.push(RowChange::OrderMoved { order, status, expires_at }),
            false => self.line += 1,
        }
    }

    fn released(&mut self, released: &Released, status: OrderStatus) {
        self.moved(released.order, status, Timestamp::NONE);
        self.matched(&released.matched);
    }

    fn matched(&mut self, matched: &Matched) {
        // Tens of thousands, now and then: no more room is taken than they need.
        let held = matched.orders.iter().filter(|order| self.buckets.holds(**order)).count();
        self.changes.reserve_exact(held);
        for &order in &matched.orders {
            self.moved(order, OrderStatus::Pending, matched.expires_at);
        }
    }
}
