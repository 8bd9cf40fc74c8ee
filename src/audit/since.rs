//! What the log says after the events that an audit read, for repairs beside a projector that goes
//! on: the rows of an order are computed for where the checkpoint stands, and that may be later.

use super::account::{Account, Edition};
use super::entry::Entry;
use super::ledger::Books;
use super::order_event::{self, OrderEvent};
use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::log::LogError;
use doorbuster_engine::log::inspect::{Inspector, LogTail, LoggedEvent};
use doorbuster_engine::storage::StdDisk;
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::{OrderId, ProductId, Sequence};
use std::collections::HashMap;

/// What happened in one partition since.
pub(super) struct Since {
    tail: LogTail<StdDisk>,
    /// The last event that the audit read.
    read: Sequence,
    /// The last event that was followed.
    last: Sequence,
    first: Sequence,
    /// What happened to orders that the audit knows.
    orders: HashMap<OrderId, Vec<OrderEvent>>,
    accounts: HashMap<ProductId, Account>,
    editions: HashMap<ProductId, Vec<Edition>>,
}

impl Since {
    /// Follows the log of a partition from where its books end.
    pub(super) fn new(directory: &DataDirectory, books: &Books) -> Self {
        Self {
            tail: Inspector::new(directory, books.partition).tail(books.last.next()),
            read: books.last,
            last: books.last,
            first: books.first,
            orders: HashMap::new(),
            accounts: books.accounts.clone(),
            editions: HashMap::new(),
        }
    }

    /// Reads on until event `until`; `false` when the log does not tell of it, or not of all before.
    pub(super) fn follow(&mut self, until: Sequence) -> Result<bool, LogError> {
        while self.last < until {
            let events = self.tail.poll()?;
            if events.first().is_none_or(|event| event.sequence != self.last.next()) {
                return Ok(false);
            }
            events.iter().for_each(|event| self.enter(event));
        }
        Ok(true)
    }

    fn enter(&mut self, logged: &LoggedEvent) {
        let LoggedEvent { sequence, event, .. } = logged;
        self.last = *sequence;
        let (orders, read) = (&mut self.orders, self.read);
        order_event::each_of(
            *sequence,
            event,
            |_| 0,
            |happened| {
                // What was made since is not among what is wrong.
                if happened.order.sequence_bits() <= read.get() && happened.birth.is_none() {
                    orders.entry(happened.order).or_default().push(happened);
                }
            },
        );
        let (Fact::Defined { product, .. }
        | Fact::Restocked { product, .. }
        | Fact::Withdrawn { product, .. }
        | Fact::StateSet { product, .. }) = &event.fact
        else {
            return;
        };
        if let Some(account) = self.accounts.get_mut(product) {
            account.change_terms(*sequence, event);
            let edition = account.edition(*product, self.first);
            self.editions.entry(*product).or_default().push(edition);
        }
    }

    /// Adds what happened since to an order's history.
    pub(super) fn add_to_entry(&self, entry: &mut Entry) {
        for event in self.orders.get(&entry.order).into_iter().flatten() {
            entry.enter(event);
        }
    }

    /// Adds what a product was since.
    pub(super) fn add_to_editions(&self, editions: &mut Vec<Edition>) {
        if let Some(since) = editions.first().and_then(|first| self.editions.get(&first.product)) {
            editions.extend(since);
        }
    }
}
