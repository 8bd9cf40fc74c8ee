//! From what happened, sorted by order, to each order's history: one at a time, in order of id.
//!
//! Here it shows whether an order was paid, cancelled or served when it could be. What has to be
//! seen over many orders, the units of a buyer and the orders of a key, goes on into other spills.

use super::entry::{Entry, Stage};
use super::findings::{Check, Divergence, Findings};
use super::ledger::Books;
use super::order_event::{self, Birth, OrderEvent, What};
use super::spill::{Sorted, Sorter};
use super::spills::{Keyed, Units};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{OrderId, ProductId, Quantity, Sequence, Timestamp, limits};
use std::collections::HashSet;
use std::io;

/// All orders of the log.
#[derive(Debug)]
pub(super) struct Orders {
    sorted: Sorted<{ order_event::BYTES }>,
    next: Option<OrderEvent>,
    /// Of each partition: the first event, and the event after which the books were opened.
    reach: Vec<(Sequence, Sequence)>,
    /// Products whose buyers were ever limited.
    limited: HashSet<ProductId>,
    events: Vec<OrderEvent>,
    /// What was found, and what is left behind.
    pub(super) outcome: Outcome,
}

/// What the orders came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) findings: Findings,
    pub(super) units: Sorter<{ Units::BYTES }>,
    pub(super) keys: Sorter<{ Keyed::BYTES }>,
    /// How many orders there are.
    pub(super) orders: u64,
    /// How many of them ended by being paid.
    pub(super) paid: u64,
    /// Orders of each partition.
    pub(super) by_partition: Vec<u64>,
}

impl Orders {
    /// From the events of all partitions, whose books are `books` in the order of the partitions.
    pub(super) fn new(
        mut sorted: Sorted<{ order_event::BYTES }>,
        units: Sorter<{ Units::BYTES }>,
        books: &[Books],
    ) -> io::Result<Self> {
        let accounts = books.iter().flat_map(|books| &books.accounts);
        let limited = accounts.filter(|(_, account)| account.was_limited).map(|(id, _)| *id);
        let next = sorted.next()?.map(|bytes| OrderEvent::decode(&bytes));
        Ok(Self {
            sorted,
            next,
            reach: books.iter().map(|books| (books.first, books.opened)).collect(),
            limited: limited.collect(),
            events: Vec::new(),
            outcome: Outcome {
                findings: Findings::default(),
                units,
                keys: Sorter::new(),
                orders: 0,
                paid: 0,
                by_partition: vec![0; books.len()],
            },
        })
    }

    /// The history of the next order; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        while let Some(first) = self.next.take() {
            let order = first.order;
            self.events.clear();
            self.events.push(first);
            while let Some(bytes) = self.sorted.next()? {
                let event = OrderEvent::decode(&bytes);
                if event.order != order {
                    self.next = Some(event);
                    break;
                }
                self.events.push(event);
            }
            if let Some(entry) = self.history(order) {
                self.outcome.orders += 1;
                self.outcome.paid += u64::from(entry.status() == OrderStatus::Paid);
                if let Some(orders) = self.outcome.by_partition.get_mut(partition_index(order)) {
                    *orders += 1;
                }
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// What became of an order; `None` for one that the log does not tell of.
    fn history(&mut self, order: OrderId) -> Option<Entry> {
        let events = std::mem::take(&mut self.events);
        // An order of another partition stands here only when its event was wrong, which the
        // ledger has said.
        let reach = self.reach.get(partition_index(order)).copied();
        let (first, opened) = reach.unwrap_or((Sequence::ZERO.next(), Sequence::ZERO));
        let is_birth = |event: &&OrderEvent| matches!(event.what, What::Placed | What::Queued);
        let entry = if let Some(birth) = events.iter().find(is_birth) {
            self.grown(&events, birth, opened)
        } else if let Some(found) = events.iter().find(|event| event.what == What::Opened) {
            self.opened(&events, found, first, opened)
        } else {
            let is_older = order.sequence_bits() < first.get();
            for event in events.iter().filter(|event| !is_older || event.sequence > opened) {
                self.diverges(Check::History, event, format!("order {order} is unknown"));
            }
            None
        };
        self.events = events;
        entry
    }

    /// An order that the log has from its making on.
    fn grown(
        &mut self,
        events: &[OrderEvent],
        born: &OrderEvent,
        opened: Sequence,
    ) -> Option<Entry> {
        let (birth, quantity) = (born.birth?, born.quantity()?);
        let status = match born.what {
            What::Queued => OrderStatus::Queued,
            _ => OrderStatus::Pending,
        };
        let mut entry = Entry {
            created: born.sequence,
            known_since: Sequence::ZERO,
            first: Stage::new(born.sequence, born.at, status, born.expires_at),
            ..begun(born, &birth, quantity)
        };
        for event in events {
            match event.what {
                What::Opened => {}
                _ if event == born => {}
                What::Placed | What::Queued => {
                    let text = format!("order {} was made twice", born.order);
                    self.diverges(Check::History, event, text);
                }
                _ => self.change(&mut entry, event, opened),
            }
        }
        if born.sequence > opened {
            self.take_units(&entry, born.sequence, i64::from(quantity.get()), birth.limit);
        }
        if !birth.key.is_none() {
            self.outcome.findings.looked(Check::OneOrderPerKey, 1);
            let ended = entry
                .ended
                .map_or((Sequence::ZERO, Timestamp::NONE), |stage| (stage.since, stage.updated_at));
            let keyed = Keyed {
                key: birth.key,
                sequence: born.sequence,
                order: born.order,
                created_at: entry.created_at,
                ended,
            };
            self.outcome.keys.push(keyed.encode());
        }
        Some(entry)
    }

    /// An order that was made before the log begins: a snapshot says what it was after `opened`.
    fn opened(
        &mut self,
        events: &[OrderEvent],
        found: &OrderEvent,
        first: Sequence,
        opened: Sequence,
    ) -> Option<Entry> {
        let (birth, quantity) = (found.birth?, found.quantity()?);
        let before = |event: &&OrderEvent| event.what != What::Opened && event.sequence <= opened;
        let changed = events.iter().rfind(before).map(|event| event.sequence);
        let known_since = changed.unwrap_or(Sequence::ZERO);
        let mut entry = Entry {
            created: Sequence::new(found.order.sequence_bits()),
            known_since,
            first: Stage {
                since: known_since,
                version: changed.unwrap_or(Sequence::new(first.get() - 1)),
                has_version: changed.is_some(),
                status: birth.status,
                updated_at: found.at,
                expires_at: found.expires_at,
            },
            ..begun(found, &birth, quantity)
        };
        for event in events.iter().filter(|event| event.sequence > opened) {
            self.change(&mut entry, event, opened);
        }
        Some(entry)
    }

    /// Enters a change into an order's history, if it could happen then or not.
    fn change(&mut self, entry: &mut Entry, event: &OrderEvent, opened: Sequence) {
        let order = entry.order;
        let is_its_own = event.product == entry.product
            && (event.what == What::Served || event.units == entry.quantity.get());
        if !is_its_own {
            let text = format!("order {order} has another product or quantity");
            self.diverges(Check::History, event, text);
        }
        let last = entry.last_stage();
        let before = last.status;
        let (status, could_be) = match event.what {
            What::Paid => (OrderStatus::Paid, before == OrderStatus::Pending),
            What::Cancelled => (OrderStatus::Cancelled, !before.is_final()),
            What::Expired => (OrderStatus::Expired, before == OrderStatus::Pending),
            What::Served | What::Opened | What::Placed | What::Queued => {
                (OrderStatus::Pending, before == OrderStatus::Queued)
            }
        };
        if !could_be {
            let (before, after) = (before.as_str(), status.as_str());
            let text = format!("order {order} became {after} while it was {before}");
            self.diverges(Check::History, event, text);
        }
        self.check_hold(&last, event);
        entry.enter(event);
        let gives_back = matches!(event.what, What::Cancelled | What::Expired);
        if gives_back && event.sequence > opened {
            let units = -i64::from(entry.quantity.get());
            self.take_units(entry, event.sequence, units, 0);
        }
    }

    /// A hold is paid before it runs out, and expires after it has.
    fn check_hold(&mut self, last: &Stage, event: &OrderEvent) {
        let order = event.order;
        match event.what {
            What::Paid if event.at >= last.expires_at => {
                self.diverges(Check::Holds, event, format!("order {order} was paid too late"));
            }
            What::Expired if event.at < last.expires_at => {
                self.diverges(Check::Holds, event, format!("order {order} expired too early"));
            }
            What::Served if event.expires_at <= event.at => {
                self.diverges(Check::Holds, event, "the hold has no duration".into());
            }
            _ => {}
        }
        if event.what != What::Served {
            self.outcome.findings.looked(Check::Holds, 1);
        }
    }

    fn take_units(&mut self, entry: &Entry, sequence: Sequence, units: i64, limit: u32) {
        if units > 0 {
            self.outcome.findings.looked(Check::BuyerLimit, 1);
        }
        if self.limited.contains(&entry.product) {
            let (product, buyer) = (entry.product, entry.buyer);
            let units = Units { product, buyer, sequence, units, limit };
            self.outcome.units.push(units.encode());
        }
    }

    fn diverges(&mut self, check: Check, event: &OrderEvent, text: String) {
        let order = event.order;
        let divergence = Divergence::in_log(check, order.partition(), event.sequence, text);
        self.outcome.findings.add(Divergence { order: Some(order), ..divergence });
    }
}

fn partition_index(order: OrderId) -> usize {
    order.partition().index()
}

/// The part of a history that never changes; the stages are the caller's to fill.
fn begun(event: &OrderEvent, birth: &Birth, quantity: Quantity) -> Entry {
    Entry {
        order: event.order,
        buyer: birth.buyer,
        product: event.product,
        quantity,
        unit_price: birth.unit_price,
        currency: birth.currency,
        created_at: birth.created_at,
        created: event.sequence,
        known_since: Sequence::ZERO,
        first: Stage::new(event.sequence, event.at, birth.status, event.expires_at),
        served: None,
        ended: None,
    }
}

/// No buyer ever had more units of a product than the limit that held when units were taken.
pub(super) fn check_limits(
    mut sorted: Sorted<{ Units::BYTES }>,
    findings: &mut Findings,
    partition_of: impl Fn(ProductId) -> doorbuster_protocol::PartitionId,
) -> io::Result<()> {
    let mut whose = None;
    let mut has = 0;
    while let Some(bytes) = sorted.next()? {
        let Units { product, buyer, sequence, units, limit } = Units::decode(&bytes);
        if whose.replace((product, buyer)) != Some((product, buyer)) {
            has = 0;
        }
        has += units;
        if units > 0 && limit > 0 && has > i64::from(limit) {
            let text = format!("buyer {buyer} has {has} units, the limit is {limit}");
            let partition = partition_of(product);
            let divergence = Divergence::in_log(Check::BuyerLimit, partition, sequence, text);
            findings.add(Divergence { product: Some(product), ..divergence });
        }
    }
    Ok(())
}

/// A key may come again once it has been forgotten, a day after its order came to its end.
pub(super) fn check_keys(
    mut sorted: Sorted<{ Keyed::BYTES }>,
    findings: &mut Findings,
) -> io::Result<()> {
    let mut earlier: Option<Keyed> = None;
    while let Some(bytes) = sorted.next()? {
        let keyed = Keyed::decode(&bytes);
        let Some(earlier) = earlier.replace(keyed).filter(|earlier| earlier.key == keyed.key)
        else {
            continue;
        };
        let (ended, ended_at) = earlier.ended;
        let was_over = ended != Sequence::ZERO && ended < keyed.sequence;
        let age = keyed.created_at.micros_since(ended_at);
        if !was_over || age < limits::KEY_RETENTION_US {
            let order = keyed.order;
            let text = format!("one key made the orders {} and {order}", earlier.order);
            let (check, partition) = (Check::OneOrderPerKey, order.partition());
            let divergence = Divergence::in_log(check, partition, keyed.sequence, text);
            findings.add(Divergence { order: Some(order), ..divergence });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "orders_test.rs"]
mod tests;
