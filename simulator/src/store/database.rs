//! What one shard holds, as plain maps, and what a transaction makes of it.
//!
//! No time, no faults, no waiting: the same transactions give the same database, which is how a
//! replica follows. Beside the rows it keeps which changes it has written, whose only use is to
//! notice a change that is written twice.

use doorbuster_persistence::conformance;
use doorbuster_persistence::store::{PAGE_ROWS_MAX, statuses_before};
use doorbuster_persistence::{
    Batch, BucketSet, CatalogEntry, Change, Checkpoint, DeadLetter, OrderRow, ProductRow, Repair,
    RowChange, StoreError, StoreIdentity, Written,
};
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::{Epoch, OrderId, PartitionId, ProductId, Sequence, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What was committed, so that a replica can follow.
#[derive(Clone, Debug)]
pub(super) enum Transaction {
    Batch(Arc<Batch>),
    Repair(Arc<Repair>),
    Catalog(CatalogEntry),
}

/// The place of a change: partition, event, line.
type Place = (PartitionId, Sequence, u32);

/// A row that changes are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Order(OrderId),
    Product(ProductId),
}

/// The tables of a shard.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) buckets: BucketSet,
    pub(super) identity: Option<StoreIdentity>,
    pub(super) checkpoints: BTreeMap<PartitionId, Checkpoint>,
    pub(super) orders: BTreeMap<OrderId, OrderRow>,
    /// Definitions, without what the catalog says.
    pub(super) products: BTreeMap<ProductId, ProductRow>,
    pub(super) catalog: BTreeMap<ProductId, CatalogEntry>,
    pub(super) dead_letters: BTreeMap<Place, DeadLetter>,
    /// One order in this many cannot be written; 0: all can.
    poisoned_one_in: u64,
    written: BTreeMap<Subject, BTreeSet<Place>>,
}

/// Why a change cannot stand.
struct Poison(String);

enum Effect {
    Written,
    Skipped,
}

impl Database {
    /// Empty tables of a shard that owns `buckets`.
    pub(super) const fn new(name: String, buckets: BucketSet, poisoned_one_in: u64) -> Self {
        Self {
            name,
            buckets,
            identity: None,
            checkpoints: BTreeMap::new(),
            orders: BTreeMap::new(),
            products: BTreeMap::new(),
            catalog: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            poisoned_one_in,
            written: BTreeMap::new(),
        }
    }

    /// Binds it to a data directory, or checks that it is.
    pub(super) fn claim(&mut self, identity: StoreIdentity) -> Result<(), StoreError> {
        match self.identity {
            Some(stored) if stored == identity => Ok(()),
            Some(stored) => Err(StoreError::Foreign {
                stored: format!("{:016x}", stored.directory),
                given: format!("{:016x}", identity.directory),
            }),
            None => {
                self.identity = Some(identity);
                self.checkpoints = (identity.partitions.all())
                    .map(|partition| {
                        let sequence = Sequence::ZERO;
                        (partition, Checkpoint { partition, epoch: Epoch::FIRST, sequence })
                    })
                    .collect();
                Ok(())
            }
        }
    }

    /// Does a transaction again that was done elsewhere.
    pub(super) fn follow(&mut self, transaction: &Transaction) {
        let followed = match transaction {
            Transaction::Batch(batch) => self.write(batch).map(drop),
            Transaction::Repair(repair) => self.repair(repair),
            Transaction::Catalog(entry) => {
                self.put_catalog(entry);
                Ok(())
            }
        };
        followed.expect("what was committed can be committed again");
    }

    fn stored(&self, partition: PartitionId) -> Result<Checkpoint, StoreError> {
        let stored = self.checkpoints.get(&partition).copied();
        stored.ok_or(StoreError::NoCheckpoint { partition })
    }

    /// Writes a batch: all of it, or nothing and an error.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        for advance in &batch.advances {
            let partition = advance.partition;
            let stored = self.stored(partition)?;
            if stored.epoch > advance.epoch {
                let (stored, given) = (stored.epoch, advance.epoch);
                return Err(StoreError::Fenced { partition, stored, given });
            }
            if stored.sequence != advance.after {
                let (stored, after) = (stored.sequence, advance.after);
                return Err(StoreError::OutOfStep { partition, stored, after });
            }
        }
        if batch.buckets != self.buckets {
            let owned = Box::new(self.buckets);
            return Err(StoreError::Moved { shard: self.name.clone(), owned });
        }
        for advance in &batch.advances {
            let (partition, epoch) = (advance.partition, advance.epoch);
            let sequence = advance.through;
            self.checkpoints.insert(partition, Checkpoint { partition, epoch, sequence });
        }
        let mut written = Written::default();
        for change in &batch.changes {
            match self.change(change) {
                Ok(Effect::Written) => written.rows += 1,
                Ok(Effect::Skipped) => {}
                Err(Poison(reason)) => {
                    self.bury(change, reason);
                    written.dead_letters += 1;
                }
            }
        }
        Ok(written)
    }

    fn change(&mut self, change: &Change) -> Result<Effect, Poison> {
        in_range(change.at)?;
        let (effect, subject) = match &change.row {
            RowChange::OrderCreated(order) => {
                (self.create(order, change.sequence)?, Subject::Order(order.order))
            }
            RowChange::OrderMoved { order, status, expires_at } => {
                in_range(*expires_at)?;
                let row = self.orders.get_mut(order);
                let row = row.ok_or_else(|| Poison("there is no such order".into()))?;
                let effect = if row.version >= change.sequence {
                    Effect::Skipped
                } else if !statuses_before(*status).contains(&row.status) {
                    let (from, to) = (row.status.as_str(), status.as_str());
                    return Err(Poison(format!("a {from} order cannot become {to}")));
                } else {
                    (row.status, row.updated_at) = (*status, change.at);
                    row.expires_at = expires_at.some().unwrap_or(row.expires_at);
                    row.version = change.sequence;
                    Effect::Written
                };
                (effect, Subject::Order(*order))
            }
            RowChange::ProductDefined { product, terms } => {
                (self.define(*product, terms, change)?, Subject::Product(*product))
            }
            RowChange::StockMoved { product, units } => {
                let moved = |row: &mut ProductRow| {
                    let stock = i64::from(row.stock) + units;
                    row.stock = u32::try_from(stock)
                        .ok()
                        .filter(|stock| *stock <= limits::STOCK_MAX)
                        .ok_or_else(|| Poison(format!("a stock of {stock} is out of range")))?;
                    Ok(())
                };
                (self.change_product(*product, change, moved)?, Subject::Product(*product))
            }
            RowChange::StateSet { product, state } => {
                let set = |row: &mut ProductRow| {
                    row.state = *state;
                    Ok(())
                };
                (self.change_product(*product, change, set)?, Subject::Product(*product))
            }
            RowChange::Unreadable { reason, .. } => return Err(Poison(reason.clone())),
        };
        if matches!(effect, Effect::Written) {
            let place = (change.partition, change.sequence, change.line);
            let is_new = self.written.entry(subject).or_default().insert(place);
            assert!(is_new, "shard {} writes {change:?} twice", self.name);
        }
        Ok(effect)
    }

    fn create(&mut self, order: &OrderRow, event: Sequence) -> Result<Effect, Poison> {
        match self.orders.get(&order.order) {
            Some(stored) if stored.version >= event => return Ok(Effect::Skipped),
            Some(_) => return Err(Poison("another event made this order".into())),
            None => {}
        }
        if self.is_poisoned(order.order) {
            return Err(Poison("the database does not like it".into()));
        }
        [order.created_at, order.updated_at, order.expires_at]
            .into_iter()
            .try_for_each(in_range)?;
        let amounts = order.items.iter().map(|item| item.unit_price).chain([order.total_amount]);
        if amounts.max().is_some_and(|amount| i64::try_from(amount).is_err()) {
            return Err(Poison("an amount is out of range".into()));
        }
        self.orders.insert(order.order, OrderRow { version: event, ..order.clone() });
        Ok(Effect::Written)
    }

    /// Whether the row of this order can never be written, whoever tries.
    pub(super) fn is_poisoned(&self, order: OrderId) -> bool {
        self.poisoned_one_in > 0 && xxh3_64(order.as_bytes()).is_multiple_of(self.poisoned_one_in)
    }

    fn define(
        &mut self,
        product: ProductId,
        terms: &Terms,
        change: &Change,
    ) -> Result<Effect, Poison> {
        [terms.opens_at, terms.closes_at].into_iter().try_for_each(in_range)?;
        if terms.price > limits::PRICE_MAX || terms.stock > limits::STOCK_MAX {
            return Err(Poison("a price or a stock is out of range".into()));
        }
        let old = self.products.get(&product);
        if old.is_some_and(|old| old.version >= change.sequence) {
            return Ok(Effect::Skipped);
        }
        let row = conformance::defined(product, terms, old, change.at, change.sequence);
        self.products.insert(product, row);
        Ok(Effect::Written)
    }

    fn change_product(
        &mut self,
        product: ProductId,
        change: &Change,
        set: impl FnOnce(&mut ProductRow) -> Result<(), Poison>,
    ) -> Result<Effect, Poison> {
        let row = self.products.get_mut(&product);
        let row = row.ok_or_else(|| Poison("there is no such product".into()))?;
        if row.version >= change.sequence {
            return Ok(Effect::Skipped);
        }
        set(row)?;
        (row.updated_at, row.version) = (change.at, change.sequence);
        Ok(Effect::Written)
    }

    fn bury(&mut self, change: &Change, reason: String) {
        let place = (change.partition, change.sequence, change.line);
        self.dead_letters.entry(place).or_insert_with(|| DeadLetter {
            partition: change.partition,
            sequence: change.sequence,
            line: change.line,
            at: change.at,
            reason,
            change: format!("{:?}", change.row),
        });
    }

    /// Sets rows as the log has them: all, or none and an error.
    pub(super) fn repair(&mut self, repair: &Repair) -> Result<(), StoreError> {
        let partition = repair.partition;
        let stored = self.stored(partition)?;
        if stored.sequence != repair.at {
            let (stored, after) = (stored.sequence, repair.at);
            return Err(StoreError::OutOfStep { partition, stored, after });
        }
        for order in repair.without_orders.iter().chain(repair.orders.iter().map(|row| &row.order))
        {
            self.orders.remove(order);
            self.written.remove(&Subject::Order(*order));
        }
        self.orders.extend(repair.orders.iter().map(|row| (row.order, row.clone())));
        let of_products = repair.products.iter().map(|row| &row.product);
        for product in repair.without_products.iter().chain(of_products) {
            self.products.remove(product);
            self.written.remove(&Subject::Product(*product));
        }
        for row in &repair.products {
            let row = ProductRow { name: None, description: None, ..row.clone() };
            self.products.insert(row.product, row);
        }
        for (sequence, line) in &repair.settled {
            self.dead_letters.remove(&(partition, *sequence, *line));
        }
        if let Some(sequence) = repair.checkpoint {
            self.checkpoints.insert(partition, Checkpoint { sequence, ..stored });
        }
        Ok(())
    }

    pub(super) fn put_catalog(&mut self, entry: &CatalogEntry) {
        let new = || CatalogEntry { product: entry.product, name: None, description: None };
        let stored = self.catalog.entry(entry.product).or_insert_with(new);
        stored.name = entry.name.clone().or(stored.name.take());
        stored.description = entry.description.clone().or(stored.description.take());
    }

    pub(super) fn product(&self, product: ProductId) -> Option<ProductRow> {
        self.products.get(&product).map(|row| self.with_names(row))
    }

    pub(super) fn with_names(&self, row: &ProductRow) -> ProductRow {
        let entry = self.catalog.get(&row.product);
        let name = entry.and_then(|entry| entry.name.clone());
        let description = entry.and_then(|entry| entry.description.clone());
        ProductRow { name, description, ..row.clone() }
    }

    /// Gives the rows of `moved` to another, which goes on from the older of the checkpoints; one
    /// that owns nothing takes over everything that is not an order's.
    pub(super) fn hand_over(&mut self, to: &mut Self, moved: BucketSet) {
        if to.buckets.is_empty() {
            (to.identity, to.checkpoints) = (self.identity, self.checkpoints.clone());
            to.products = self.products.clone();
            let of_products =
                self.written.iter().filter(|(subject, _)| matches!(subject, Subject::Product(_)));
            to.written = of_products.map(|(subject, places)| (*subject, places.clone())).collect();
        }
        for (partition, theirs) in &self.checkpoints {
            let ours = to.checkpoints.get_mut(partition).expect("both are claimed");
            ours.sequence = ours.sequence.min(theirs.sequence);
        }
        let (going, staying) = std::mem::take(&mut self.orders)
            .into_iter()
            .partition(|(order, _)| moved.holds(*order));
        self.orders = staying;
        to.orders.extend::<BTreeMap<_, _>>(going);
        let is_moved = |subject: &Subject| match subject {
            Subject::Order(order) => moved.holds(*order),
            Subject::Product(_) => false,
        };
        let (going, staying) = std::mem::take(&mut self.written)
            .into_iter()
            .partition(|(subject, _)| is_moved(subject));
        self.written = staying;
        to.written.extend::<BTreeMap<_, _>>(going);
        self.buckets = self.buckets.difference(&moved);
        to.buckets = to.buckets.union(&moved);
    }
}

fn in_range(at: Timestamp) -> Result<(), Poison> {
    match i64::try_from(at.micros()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Poison("a time is out of range".into())),
    }
}

/// How many rows an answer has.
pub(super) fn page_rows(limit: u32) -> usize {
    limit.clamp(1, PAGE_ROWS_MAX) as usize
}
