//! What became of one order according to the log, and what its row must say as of any event.

use super::order_event::{OrderEvent, What};
use doorbuster_persistence::{OrderItem, OrderRow};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::record::{Malformed, Reader, Write};
use doorbuster_protocol::{BuyerId, Currency, OrderId, ProductId, Quantity, Sequence, Timestamp};

/// An order's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) order: OrderId,
    pub(super) buyer: BuyerId,
    pub(super) product: ProductId,
    pub(super) quantity: Quantity,
    pub(super) unit_price: u64,
    pub(super) currency: Currency,
    pub(super) created_at: Timestamp,
    /// The event that made it; for one that is older than the log, the sequence in its id.
    pub(super) created: Sequence,
    /// The event from which on the stages tell everything: zero but for orders that are older than
    /// the log and changed since.
    pub(super) known_since: Sequence,
    /// How it began: pending or queued, or as a snapshot had it.
    pub(super) first: Stage,
    /// When it left the waitlist.
    pub(super) served: Option<Stage>,
    /// How it ended.
    pub(super) ended: Option<Stage>,
}

/// What the row of an order says from one event on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// The event.
    pub(super) since: Sequence,
    /// The row's version: the event, but for an order that is older than the log.
    pub(super) version: Sequence,
    /// Whether the version is the event and not only one before which nothing changed.
    pub(super) has_version: bool,
    pub(super) status: OrderStatus,
    pub(super) updated_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Stage {
    /// From event `since` on, which was decided at `at`.
    pub(super) fn new(
        since: Sequence,
        at: Timestamp,
        status: OrderStatus,
        expires_at: Timestamp,
    ) -> Self {
        let (version, has_version) = (since, true);
        Self { since, version, has_version, status, updated_at: at, expires_at }
    }
}

/// Where a shard stood in one partition before and after its rows were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) before: Sequence,
    pub(super) after: Sequence,
}

/// What the sale gives for granted and the shop may have done since.
pub(super) fn is_after_the_sale(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Refunded)
}

impl Entry {
    /// Its stages in the order of their events.
    pub(super) fn stages(&self) -> impl Iterator<Item = Stage> {
        [Some(self.first), self.served, self.ended].into_iter().flatten()
    }
    /// The last one.
    pub(super) fn last_stage(&self) -> Stage {
        self.ended.or(self.served).unwrap_or(self.first)
    }
    /// Its status at the end of the log.
    pub(super) fn status(&self) -> OrderStatus {
        self.last_stage().status
    }
    /// The stage after event `at`; `None` before its creation.
    pub(super) fn stage_at(&self, at: Sequence) -> Option<Stage> {
        self.stages().take_while(|stage| stage.since <= at).last()
    }
    /// Whether the log tells what the order was after event `at`.
    pub(super) fn is_known_at(&self, at: Sequence) -> bool {
        at >= self.known_since
    }

    /// Takes a change for what it says.
    pub(super) fn enter(&mut self, event: &OrderEvent) {
        let expires_at = self.last_stage().expires_at;
        let ended = |status| Some(Stage::new(event.sequence, event.at, status, expires_at));
        match event.what {
            What::Served => {
                let (sequence, at, status) = (event.sequence, event.at, OrderStatus::Pending);
                self.served = Some(Stage::new(sequence, at, status, event.expires_at));
            }
            What::Paid => self.ended = ended(OrderStatus::Paid),
            What::Cancelled => self.ended = ended(OrderStatus::Cancelled),
            What::Expired => self.ended = ended(OrderStatus::Expired),
            What::Opened | What::Placed | What::Queued => {}
        }
    }

    /// Its row in a stage.
    pub(super) fn row_in(&self, stage: Stage) -> OrderRow {
        OrderRow {
            order: self.order,
            buyer: self.buyer,
            total_amount: self.unit_price.saturating_mul(u64::from(self.quantity.get())),
            currency: self.currency,
            status: stage.status,
            created_at: self.created_at,
            updated_at: stage.updated_at,
            expires_at: stage.expires_at,
            version: stage.version,
            items: vec![OrderItem {
                product: self.product,
                quantity: self.quantity,
                unit_price: self.unit_price,
            }],
        }
    }

    /// Its row after event `at`; `None` before its creation.
    pub(super) fn row_at(&self, at: Sequence) -> Option<OrderRow> {
        self.stage_at(at).map(|stage| self.row_in(stage))
    }

    /// The columns of `row` that are not as the log had them at any event of the window. A row may
    /// be ahead of its shard's checkpoint: rows that moved from another shard are.
    pub(super) fn differences(&self, row: &OrderRow, window: Window) -> Vec<&'static str> {
        let expected = self.row_in(self.stage_at(window.after).unwrap_or(self.first));
        let mut found = Vec::new();
        let mut compare = |is_same: bool, column: &'static str| {
            if !is_same {
                found.push(column);
            }
        };
        compare(row.buyer == expected.buyer, "buyer");
        compare(row.items == expected.items, "items");
        compare(row.total_amount == expected.total_amount, "total");
        compare(row.currency == expected.currency, "currency");
        compare(row.created_at == expected.created_at, "time of creation");
        if self.is_known_at(window.before) && !self.has_been(row, window) {
            let stage = self.stage_at(window.after).unwrap_or(self.first);
            let columns = stage_differences(stage, row);
            // What else could it be that is there before its time?
            found.extend(if columns.is_empty() { vec!["version"] } else { columns });
        }
        found
    }

    /// Whether some event of the window, or the row's own version, left the order as the row has it.
    fn has_been(&self, row: &OrderRow, window: Window) -> bool {
        let mut stages = self.stages().peekable();
        while let Some(stage) = stages.next() {
            let until = stages.peek().map(|next| next.since);
            let is_in_window =
                stage.since <= window.after && until.is_none_or(|until| until > window.before);
            let is_ahead = stage.since > window.after && row.version == stage.version;
            if (is_in_window || is_ahead) && stage_differences(stage, row).is_empty() {
                return true;
            }
        }
        false
    }

    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.order.as_bytes());
        out.put(self.buyer.as_bytes());
        out.put(self.product.as_bytes());
        out.put_u32(self.quantity.get());
        out.put_u64(self.unit_price);
        out.put_currency(self.currency);
        out.put_timestamp(self.created_at);
        out.put_u64(self.created.get());
        out.put_u64(self.known_since.get());
        out.put_u8(u8::from(self.served.is_some()) | u8::from(self.ended.is_some()) << 1);
        for stage in self.stages() {
            out.put_u64(stage.since.get());
            out.put_u64(stage.version.get());
            out.put_u8(u8::from(stage.has_version));
            out.put_u8(stage.status.code());
            out.put_timestamp(stage.updated_at);
            out.put_timestamp(stage.expires_at);
        }
    }

    /// Reads what [`Entry::encode`] wrote.
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (order, buyer, product) = (from.order()?, from.buyer()?, from.product()?);
        let (quantity, unit_price) = (from.quantity()?, from.u64()?);
        let (currency, created_at) = (from.currency()?, from.timestamp()?);
        let (created, known_since) = (from.sequence()?, from.sequence()?);
        let stages = from.u8()?;
        let mut stage = || -> Result<Stage, Malformed> {
            Ok(Stage {
                since: from.sequence()?,
                version: from.sequence()?,
                has_version: from.u8()? != 0,
                status: OrderStatus::from_code(from.u8()?)
                    .ok_or(Malformed::OutOfRange("status"))?,
                updated_at: from.timestamp()?,
                expires_at: from.timestamp()?,
            })
        };
        let first = stage()?;
        let served = if stages & 1 != 0 { Some(stage()?) } else { None };
        let ended = if stages & 2 != 0 { Some(stage()?) } else { None };
        Ok(Self {
            order,
            buyer,
            product,
            quantity,
            unit_price,
            currency,
            created_at,
            created,
            known_since,
            first,
            served,
            ended,
        })
    }
}

/// The columns in which `row` is not as `stage` has it. What comes after `paid` is the shop's.
fn stage_differences(stage: Stage, row: &OrderRow) -> Vec<&'static str> {
    let is_shops = stage.status == OrderStatus::Paid && is_after_the_sale(row.status);
    let mut found = Vec::new();
    if row.status != stage.status && !is_shops {
        found.push("status");
    }
    if row.updated_at != stage.updated_at && !is_shops {
        found.push("time of change");
    }
    if row.expires_at != stage.expires_at {
        found.push("time of expiry");
    }
    // A row that was written before rows had versions has none.
    if row.version != stage.version && stage.has_version && row.version != Sequence::ZERO {
        found.push("version");
    }
    found
}

#[cfg(test)]
#[path = "entry_test.rs"]
mod tests;
