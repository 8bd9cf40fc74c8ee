//! From what is wrong to the rows of one transaction, computed for where the checkpoint stands.

use super::entry::{Entry, is_after_the_sale};
use super::mends::{Mend, Wrong};
use super::product_comparison::edition_at;
use super::since::Since;
use super::version::Version;
use doorbuster_persistence::{DeadLetter, OrderRow, Repair};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};

/// One thing that was set right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The shard.
    pub(crate) shard: String,
    /// The partition under whose checkpoint it was done.
    pub(crate) partition: PartitionId,
    /// What it is: an order, a product, a checkpoint, a dead letter.
    pub(crate) kind: &'static str,
    /// The order, when it is one.
    pub(crate) order: Option<OrderId>,
    /// The product, when it is one.
    pub(crate) product: Option<ProductId>,
    /// How it stood; `None` when it was not there.
    pub(crate) old: Option<Version>,
    /// How it stands; `None` when it is not there any more.
    pub(crate) new: Option<Version>,
}

impl Done {
    fn of(shard: &str, mend: &Mend, old: Option<Version>, new: Option<Version>) -> Self {
        let (order, product) = (mend.what.order(), mend.what.product());
        let kind = if order.is_some() { "order" } else { "product" };
        let (shard, partition) = (shard.to_owned(), mend.partition);
        Self { shard, partition, kind, order, product, old, new }
    }

    /// A checkpoint that was set back.
    pub(super) fn checkpoint(
        shard: &str,
        partition: PartitionId,
        from: Sequence,
        to: Sequence,
    ) -> Self {
        let (old, new) = (Some(Version::Event(from)), Some(Version::Event(to)));
        let (shard, kind) = (shard.to_owned(), "checkpoint");
        Self { shard, partition, kind, order: None, product: None, old, new }
    }

    /// A dead letter that was settled.
    pub(super) fn dead_letter(shard: &str, letter: &DeadLetter) -> Self {
        let text = format!("event {}: {}: {}", letter.sequence, letter.reason, letter.change);
        Self {
            shard: shard.to_owned(),
            partition: letter.partition,
            kind: "dead letter",
            order: None,
            product: None,
            old: Some(Version::Letter(text)),
            new: None,
        }
    }
}

/// Why something is left alone.
const TOO_OLD: &str = "the log does not reach back to what it was";

/// One transaction, and what it comes to.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) repair: Repair,
    pub(super) done: Vec<Done>,
    /// What cannot be done, by its place, and why.
    pub(super) left: Vec<(usize, &'static str)>,
}

impl Plan {
    /// A transaction that changes nothing.
    pub(super) fn nothing(partition: PartitionId, at: Sequence) -> Repair {
        Repair {
            partition,
            at,
            checkpoint: None,
            orders: Vec::new(),
            without_orders: Vec::new(),
            products: Vec::new(),
            without_products: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// Sets `mends` of one partition right as of event `at`, up to which `since` was followed.
    pub(super) fn of(
        partition: PartitionId,
        at: Sequence,
        shard: &str,
        mends: &[Mend],
        since: &Since,
    ) -> Self {
        let repair = Self::nothing(partition, at);
        let mut plan = Self { repair, done: Vec::new(), left: Vec::new() };
        for (index, mend) in mends.iter().enumerate() {
            plan.add(index, mend, shard, since);
        }
        plan
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    fn add(&mut self, index: usize, mend: &Mend, shard: &str, since: &Since) {
        let at = self.repair.at;
        let (old, new) = match &mend.what {
            Wrong::Order(entry, stored) => {
                if !entry.is_known_at(at) {
                    self.left.push((index, TOO_OLD));
                    return;
                }
                let mut entry = entry.clone();
                since.add_to_entry(&mut entry);
                let row = order_row(&entry, at, stored.as_deref());
                match &row {
                    Some(row) => self.repair.orders.push(row.clone()),
                    None => self.repair.without_orders.push(entry.order),
                }
                (stored.as_deref().cloned().map(Version::from), row.map(Version::from))
            }
            Wrong::NoOrder(stored) => {
                self.repair.without_orders.push(stored.order);
                (Some(stored.as_ref().clone().into()), None)
            }
            Wrong::Product(editions, stored) => {
                if editions.first().is_some_and(|first| !first.tells_of(at)) {
                    self.left.push((index, TOO_OLD));
                    return;
                }
                let mut editions = editions.clone();
                since.add_to_editions(&mut editions);
                let row = edition_at(&editions, at).map(|edition| edition.row(stored.as_deref()));
                match (&row, editions.first()) {
                    (Some(row), _) => self.repair.products.push(row.clone()),
                    (None, Some(first)) => self.repair.without_products.push(first.product),
                    (None, None) => return,
                }
                (stored.as_deref().cloned().map(Version::from), row.map(Version::from))
            }
            Wrong::NoProduct(stored) => {
                self.repair.without_products.push(stored.product);
                (Some(stored.as_ref().clone().into()), None)
            }
        };
        self.done.push(Done::of(shard, mend, old, new));
    }
}

/// The row of an order as of event `at`. What the shop did after the sale stays.
fn order_row(entry: &Entry, at: Sequence, stored: Option<&OrderRow>) -> Option<OrderRow> {
    let mut row = entry.row_at(at)?;
    if row.status == OrderStatus::Paid
        && let Some(stored) = stored.filter(|stored| is_after_the_sale(stored.status))
    {
        row.status = stored.status;
        row.updated_at = stored.updated_at;
    }
    Some(row)
}
