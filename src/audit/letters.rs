//! Dead letters of the store, and which rows their events are about.

use doorbuster_protocol::event::{Event, Fact, Matched};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::collections::HashMap;

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Order(OrderId),
    Product(ProductId),
}

/// The events that became dead letters, and what they touched.
#[derive(Debug, Default)]
pub(super) struct Letters {
    events: HashMap<(PartitionId, Sequence), Vec<Subject>>,
}

impl Letters {
    /// Asks what an event touched.
    pub(super) fn ask(&mut self, partition: PartitionId, sequence: Sequence) {
        self.events.entry((partition, sequence)).or_default();
    }

    /// Takes note of an event of the log, if somebody asked.
    pub(super) fn touched_by(&mut self, partition: PartitionId, sequence: Sequence, event: &Event) {
        if self.events.is_empty() {
            return;
        }
        if let Some(subjects) = self.events.get_mut(&(partition, sequence)) {
            *subjects = subjects_of(event);
        }
    }

    /// What an event touched; empty when the log does not have it, or nobody asked.
    pub(super) fn subjects(&self, partition: PartitionId, sequence: Sequence) -> &[Subject] {
        self.events.get(&(partition, sequence)).map_or(&[], Vec::as_slice)
    }
}

/// The rows that an event changes, in the order of its changes.
fn subjects_of(event: &Event) -> Vec<Subject> {
    let with = |first: Subject, matched: &Matched| {
        std::iter::once(first).chain(matched.orders.iter().map(|it| Subject::Order(*it))).collect()
    };
    match &event.fact {
        Fact::Placed(placed) => vec![Subject::Order(placed.order)],
        Fact::Queued(queued) => vec![Subject::Order(queued.order)],
        Fact::Paid { order, .. } => vec![Subject::Order(*order)],
        Fact::Cancelled(it) | Fact::Expired(it) => with(Subject::Order(it.order), &it.matched),
        Fact::Defined { product, matched, .. } | Fact::Restocked { product, matched, .. } => {
            with(Subject::Product(*product), matched)
        }
        Fact::Withdrawn { product, .. } | Fact::StateSet { product, .. } => {
            vec![Subject::Product(*product)]
        }
        Fact::Acknowledged { .. } => Vec::new(),
    }
}
