//! The rows of all shards against the events of the log, once everything has come to rest.
//!
//! What should be there is told from the events by plain maps ([`Model`], which knows nothing of the
//! projector), and what should be among the dead letters from the events and the orders that no
//! database takes.

use super::SimStore;
use super::database::Database;
use crate::history_of;
use doorbuster_history::row::Rows;
use doorbuster_persistence::BucketSet;
use doorbuster_persistence::conformance::Model;
use doorbuster_protocol::event::{Event, Fact};
use doorbuster_protocol::{OrderId, PartitionId, Sequence};
use std::collections::{BTreeMap, BTreeSet};

/// Differences that are told; more say nothing more.
const TOLD_MAX: usize = 10;

/// What of the store is not as the events of all partitions say, each partition's in their order.
pub fn compare<'a>(
    store: &SimStore,
    events: impl IntoIterator<Item = (PartitionId, Sequence, &'a Event)>,
) -> Vec<String> {
    let cluster = store.0.cluster();
    let (mut model, mut ends) = (Model::default(), BTreeMap::new());
    let mut letters = BTreeSet::new();
    let first = &cluster.members[0].database;
    for (partition, sequence, event) in events {
        model.apply(sequence, event);
        ends.insert(partition, sequence);
        for (line, order) in orders_by_line(event) {
            if first.is_poisoned(order) {
                letters.insert((partition, sequence, line));
            }
        }
    }
    model.orders.retain(|order, _| !first.is_poisoned(*order));

    let mut differences = Differences(Vec::new());
    let (mut owned, mut buried) = (BucketSet::NONE, BTreeSet::new());
    let mut rows = BTreeMap::new();
    for database in cluster.members.iter().map(|member| &member.database) {
        let name = &database.name;
        let is_shared = !owned.intersection(&database.buckets).is_empty();
        differences.add(is_shared, || format!("{name} owns buckets of another"));
        owned = owned.union(&database.buckets);
        buried.extend(database.dead_letters.keys().copied());
        for (order, row) in &database.orders {
            let is_its = database.buckets.holds(*order);
            differences.add(!is_its, || format!("{name} has order {order} of another shard"));
            let is_twice = rows.insert(*order, row).is_some();
            differences.add(is_twice, || format!("{order} is on two shards"));
        }
        of_one(database, &model, &ends, &mut differences);
    }
    differences.add(owned != BucketSet::ALL, || format!("nobody owns all but {owned}"));
    for order in rows.keys().chain(model.orders.keys()).collect::<BTreeSet<_>>() {
        let (is, should) = (rows.get(order).copied(), model.orders.get(order));
        differences.add(is != should, || format!("an order is {is:?}, should be {should:?}"));
    }
    for place in buried.symmetric_difference(&letters) {
        let is_there = if buried.contains(place) { "there" } else { "not there" };
        differences.add(true, || format!("the dead letter {place:?} is {is_there}"));
    }
    differences.0
}

/// The rows of all shards in the words of a history, with the orders among `events` that no
/// database takes. Copies of a product's row that are alike count once.
pub fn rows<'a>(store: &SimStore, events: impl IntoIterator<Item = &'a Event>) -> Rows {
    let cluster = store.0.cluster();
    let databases = || cluster.members.iter().map(|member| &member.database);
    let first = &cluster.members[0].database;
    let ordered = events.into_iter().filter_map(|event| match &event.fact {
        Fact::Placed(placed) => Some(placed.order),
        Fact::Queued(queued) => Some(queued.order),
        _ => None,
    });
    let orders = databases().flat_map(|database| database.orders.values());
    let mut products: Vec<_> = databases()
        .flat_map(|database| database.products.values().map(history_of::product_row))
        .collect();
    products.sort_by_key(|row| row.product);
    products.dedup();
    Rows {
        orders: orders.map(history_of::order_row).collect(),
        products,
        set_aside: (ordered.filter(|order| first.is_poisoned(*order)))
            .map(history_of::order)
            .collect(),
    }
}

/// What every shard has for itself: checkpoints and products.
fn of_one(
    database: &Database,
    model: &Model,
    ends: &BTreeMap<PartitionId, Sequence>,
    differences: &mut Differences,
) {
    let name = &database.name;
    for (partition, end) in ends {
        let stored = database.checkpoints.get(partition).map(|stored| stored.sequence);
        let is_there = stored == Some(*end);
        differences.add(!is_there, || {
            format!("{name} stands at {stored:?} of partition {partition}, the log at {end}")
        });
    }
    for (product, should) in &model.products {
        let is = database.products.get(product);
        differences.add(is != Some(should), || {
            format!("{name}: a product is {is:?}, should be {should:?}")
        });
    }
    let (is, should) = (database.products.len(), model.products.len());
    differences.add(is != should, || format!("{name} has {is} products of {should}"));
}

/// The orders that an event changes, each with its place among everything that the event changes.
fn orders_by_line(event: &Event) -> Vec<(u32, OrderId)> {
    let matched = match &event.fact {
        Fact::Placed(placed) => return vec![(0, placed.order)],
        Fact::Queued(queued) => return vec![(0, queued.order)],
        Fact::Paid { order, .. } => return vec![(0, *order)],
        Fact::Cancelled(released) | Fact::Expired(released) => {
            let after = (1..).zip(released.matched.orders.iter().copied());
            return std::iter::once((0, released.order)).chain(after).collect();
        }
        Fact::Defined { matched, .. } | Fact::Restocked { matched, .. } => matched,
        Fact::Withdrawn { .. } | Fact::StateSet { .. } | Fact::Acknowledged { .. } => {
            return Vec::new();
        }
    };
    (1..).zip(matched.orders.iter().copied()).collect()
}

struct Differences(Vec<String>);

impl Differences {
    fn add(&mut self, is_one: bool, what: impl FnOnce() -> String) {
        if is_one && self.0.len() < TOLD_MAX {
            self.0.push(what());
        }
    }
}
