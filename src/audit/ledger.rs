//! One partition's books, kept a second time.
//!
//! The ledger knows nothing of the engine's rules code and shares no structure with it: plain maps,
//! fed with the events of the log. Each event must be one that could happen in the books as they
//! stand, and the books must balance after it. What does not fit is a divergence; the ledger then
//! goes on as the event says, so that one mistake does not hide the next.

use super::account::{Account, Entry};
use super::findings::{Check, Divergence, Findings};
use doorbuster_engine::state_machine::State;
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::{Event, Fact, Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{
    BuyerId, Currency, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity, Sequence,
    Timestamp, limits,
};
use std::collections::HashMap;

/// One partition's books.
#[derive(Debug)]
pub(crate) struct Ledger {
    partition: PartitionId,
    first: Sequence,
    last: Sequence,
    last_at: Timestamp,
    last_change: Sequence,
    pub(crate) accounts: HashMap<ProductId, Account>,
    pub(crate) orders: HashMap<OrderId, Entry>,
    keys: HashMap<IdempotencyKey, OrderId>,
    units: HashMap<(ProductId, BuyerId), i64>,
    pub(crate) findings: Findings,
}

impl Ledger {
    /// Empty books, as before the first event.
    pub(crate) fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            first: Sequence::ZERO.next(),
            last: Sequence::ZERO,
            last_at: Timestamp::NONE,
            last_change: Sequence::ZERO,
            accounts: HashMap::new(),
            orders: HashMap::new(),
            keys: HashMap::new(),
            units: HashMap::new(),
            findings: Findings::default(),
        }
    }

    /// Books that open with the balances of a snapshot, for a log whose beginning was trimmed.
    /// What happened before it is not looked at again.
    pub(crate) fn opened_with(state: &State) -> Self {
        let mut ledger = Self::new(state.partition());
        let opened = state.sequence();
        ledger.first = opened.next();
        ledger.last = opened;
        ledger.last_at = state.last_at();
        for view in state.products() {
            ledger.accounts.insert(view.product, Account::opened_with(&view));
        }
        for (product, buyer, units) in state.units_of_buyers() {
            ledger.units.insert((product, buyer), i64::from(units));
        }
        let mut orders: Vec<_> = state.orders().collect();
        // A waiting order's position is its place in the queue now.
        orders.sort_by_key(|view| view.position);
        for view in &orders {
            ledger.orders.insert(view.order, Entry::opened_with(view, opened));
            if view.status == OrderStatus::Queued
                && let Some(account) = ledger.accounts.get_mut(&view.product)
            {
                account.queue.push_back(view.order);
                account.queued += 1;
            }
        }
        ledger
    }

    /// The first event that these books saw.
    pub(crate) fn first(&self) -> Sequence {
        self.first
    }
    /// The last event that these books saw.
    pub(crate) fn last(&self) -> Sequence {
        self.last
    }

    /// The last event that changes anything outside the engine: not an acknowledgement.
    pub(crate) fn last_change(&self) -> Sequence {
        self.last_change
    }
    /// Orders that ended by being paid.
    pub(crate) fn paid_orders(&self) -> u64 {
        self.orders.values().filter(|entry| entry.status() == OrderStatus::Paid).count() as u64
    }

    /// Enters one event.
    pub(crate) fn enter(&mut self, sequence: Sequence, event: &Event) {
        if sequence != self.last.next() {
            self.diverges(Check::History, sequence, format!("it follows event {}", self.last));
        }
        if event.at < self.last_at {
            self.diverges(Check::History, sequence, "its time is before that of the last".into());
        }
        self.last = sequence;
        self.last_at = event.at;
        self.findings.looked(Check::History, 1);
        let product = match &event.fact {
            Fact::Placed(placed) => self.placed(sequence, event.at, placed),
            Fact::Queued(queued) => self.queued(sequence, event.at, queued),
            Fact::Paid { order, product, quantity } => {
                self.paid(sequence, event.at, *order, *product, *quantity)
            }
            Fact::Cancelled(released) => {
                self.released(sequence, event.at, released, OrderStatus::Cancelled)
            }
            Fact::Expired(released) => {
                self.released(sequence, event.at, released, OrderStatus::Expired)
            }
            Fact::Defined { product, terms, matched } => {
                self.defined(sequence, *product, terms);
                self.matched(sequence, *product, matched);
                *product
            }
            Fact::Restocked { product, units, matched } => {
                self.stock_moved(sequence, *product, i64::from(*units));
                self.matched(sequence, *product, matched);
                *product
            }
            Fact::Withdrawn { product, units } => {
                self.stock_moved(sequence, *product, -i64::from(*units));
                *product
            }
            Fact::StateSet { product, state } => {
                match self.accounts.get_mut(product) {
                    Some(account) => account.state = *state,
                    None => self.unknown_product(sequence, *product),
                }
                *product
            }
            Fact::Acknowledged { through, .. } => {
                if *through >= sequence {
                    let text = format!("it acknowledges event {through}, which comes later");
                    self.diverges(Check::History, sequence, text);
                }
                return;
            }
        };
        self.last_change = sequence;
        self.balance(sequence, product);
    }

    fn placed(&mut self, sequence: Sequence, at: Timestamp, placed: &Placed) -> ProductId {
        let units = i64::from(placed.quantity.get());
        self.check_sale(sequence, at, placed.product, placed.unit_price, placed.currency);
        if let Some(head) = self.head(placed.product) {
            let text = format!("order {} overtook {head}, which was waiting", placed.order);
            self.diverges(Check::Waitlist, sequence, text);
        }
        self.findings.looked(Check::Waitlist, 1);
        if placed.expires_at <= at {
            self.diverges(Check::Holds, sequence, "the hold has no duration".into());
        }
        self.open(
            sequence,
            placed.order,
            Entry {
                product: placed.product,
                buyer: placed.buyer,
                key: placed.key,
                quantity: placed.quantity,
                unit_price: placed.unit_price,
                currency: placed.currency,
                created_at: at,
                expires_at: placed.expires_at,
                created: sequence,
                held: sequence,
                ended: (Sequence::ZERO, OrderStatus::Pending, Timestamp::NONE),
            },
        );
        if let Some(account) = self.accounts.get_mut(&placed.product) {
            account.available -= units;
            account.held += units;
        }
        placed.product
    }

    fn queued(&mut self, sequence: Sequence, at: Timestamp, queued: &Queued) -> ProductId {
        self.check_sale(sequence, at, queued.product, queued.unit_price, queued.currency);
        self.open(
            sequence,
            queued.order,
            Entry {
                product: queued.product,
                buyer: queued.buyer,
                key: queued.key,
                quantity: queued.quantity,
                unit_price: queued.unit_price,
                currency: queued.currency,
                created_at: at,
                expires_at: Timestamp::NONE,
                created: sequence,
                held: Sequence::ZERO,
                ended: (Sequence::ZERO, OrderStatus::Queued, Timestamp::NONE),
            },
        );
        if let Some(account) = self.accounts.get_mut(&queued.product) {
            account.queue.push_back(queued.order);
            account.queued += 1;
            let (place, capacity) = (account.queued, account.terms.waitlist_capacity);
            if place != queued.position {
                let text = format!("place {} was told, it is {place}", queued.position);
                self.diverges(Check::Waitlist, sequence, text);
            }
            if place > capacity {
                let text = format!("{place} orders wait, the waitlist has {capacity} places");
                self.diverges(Check::Waitlist, sequence, text);
            }
        }
        self.findings.looked(Check::Waitlist, 1);
        queued.product
    }

    fn paid(
        &mut self,
        sequence: Sequence,
        at: Timestamp,
        order: OrderId,
        product: ProductId,
        quantity: Quantity,
    ) -> ProductId {
        let Some(entry) = self.known(sequence, order, product, quantity) else { return product };
        if entry.status() != OrderStatus::Pending {
            let text = format!("order {order} was paid while it was {}", entry.status().as_str());
            self.diverges(Check::History, sequence, text);
        }
        if at >= entry.expires_at {
            self.diverges(Check::Holds, sequence, format!("order {order} was paid too late"));
        }
        self.findings.looked(Check::Holds, 1);
        self.end(order, sequence, OrderStatus::Paid, at);
        if let Some(account) = self.accounts.get_mut(&product) {
            account.held -= i64::from(quantity.get());
            account.sold += i64::from(quantity.get());
        }
        product
    }

    fn released(
        &mut self,
        sequence: Sequence,
        at: Timestamp,
        released: &Released,
        status: OrderStatus,
    ) -> ProductId {
        let Released { order, product, quantity, matched } = released;
        let (order, product) = (*order, *product);
        if let Some(entry) = self.known(sequence, order, product, *quantity) {
            let before = entry.status();
            let may_end = match status {
                OrderStatus::Expired => before == OrderStatus::Pending,
                _ => !before.is_final(),
            };
            if !may_end {
                let text = format!("order {order} was {} before", before.as_str());
                self.diverges(Check::History, sequence, text);
            }
            if status == OrderStatus::Expired && at < entry.expires_at {
                self.diverges(Check::Holds, sequence, format!("order {order} expired too early"));
            }
            self.findings.looked(Check::Holds, 1);
            self.end(order, sequence, status, at);
            let units = i64::from(quantity.get());
            if let Some(account) = self.accounts.get_mut(&product) {
                match before {
                    OrderStatus::Queued => account.queued = account.queued.saturating_sub(1),
                    _ => {
                        account.held -= units;
                        account.available += units;
                    }
                }
            }
            *self.units.entry((product, entry.buyer)).or_default() -= units;
        }
        self.matched(sequence, product, matched);
        product
    }

    /// The orders that an event served must be the heads of the queue, one after the other, and the
    /// event must not stop while the next one fits.
    fn matched(&mut self, sequence: Sequence, product: ProductId, matched: &Matched) {
        for order in &matched.orders {
            let head = self.head(product);
            if head != Some(*order) {
                let text = match head {
                    Some(head) => format!("order {order} was served before {head}"),
                    None => format!("order {order} was served, but nobody waits"),
                };
                self.diverges(Check::Waitlist, sequence, text);
            }
            if let Some(entry) = self.orders.get_mut(order) {
                entry.held = sequence;
                entry.expires_at = matched.expires_at;
                let units = i64::from(entry.quantity.get());
                if let Some(account) = self.accounts.get_mut(&product) {
                    account.available -= units;
                    account.held += units;
                    account.queued = account.queued.saturating_sub(1);
                    account.served_from_waitlist += 1;
                }
            }
        }
        self.findings.looked(Check::Waitlist, matched.orders.len() as u64);
    }

    fn defined(&mut self, sequence: Sequence, product: ProductId, terms: &Terms) {
        let Some(account) = self.accounts.get_mut(&product) else {
            self.accounts.insert(product, Account::new(*terms));
            return;
        };
        let had = account.terms;
        account.available += i64::from(terms.stock) - i64::from(had.stock);
        account.terms = *terms;
        if had.currency != terms.currency {
            self.diverges(Check::History, sequence, "the currency of a product changed".into());
        }
    }

    fn stock_moved(&mut self, sequence: Sequence, product: ProductId, units: i64) {
        let Some(account) = self.accounts.get_mut(&product) else {
            return self.unknown_product(sequence, product);
        };
        account.available += units;
        let stock = i64::from(account.terms.stock) + units;
        match u32::try_from(stock) {
            Ok(stock) if stock <= limits::STOCK_MAX => account.terms.stock = stock,
            _ => self.diverges(Check::Balance, sequence, format!("the stock became {stock}")),
        }
    }

    /// What must hold for a product after every event that touches it.
    fn balance(&mut self, sequence: Sequence, product: ProductId) {
        let Some(account) = self.accounts.get(&product) else { return };
        let Account { available, held, sold, queued, .. } = *account;
        let stock = i64::from(account.terms.stock);
        self.findings.looked(Check::Oversold, 1);
        self.findings.looked(Check::Balance, 1);
        if sold > stock || sold + held > stock {
            let text = format!("{sold} sold and {held} held of {stock}");
            self.diverges(Check::Oversold, sequence, text);
        }
        if held + sold + available != stock || held < 0 || sold < 0 || available < 0 {
            let text = format!("{held} held + {sold} sold + {available} available of {stock}");
            self.diverges(Check::Balance, sequence, text);
        }
        if queued == 0 {
            return;
        }
        let wanted = self
            .head(product)
            .and_then(|head| self.orders.get(&head))
            .map(|entry| i64::from(entry.quantity.get()));
        if wanted.is_some_and(|wanted| wanted <= available) {
            let text = format!("{available} units are free and the head of the waitlist waits");
            self.diverges(Check::Waitlist, sequence, text);
        }
    }

    /// What must hold for a product when somebody orders it.
    fn check_sale(
        &mut self,
        sequence: Sequence,
        at: Timestamp,
        product: ProductId,
        unit_price: u64,
        currency: Currency,
    ) {
        let Some(account) = self.accounts.get(&product) else {
            return self.unknown_product(sequence, product);
        };
        let Account { terms, state, .. } = account;
        let wrong = if (unit_price, currency) != (terms.price, terms.currency) {
            Some("the price is not the product's")
        } else if *state == SaleState::Paused {
            Some("the sale is paused")
        } else if at < terms.opens_at {
            Some("the sale is not open yet")
        } else if terms.closes_at.some().is_some_and(|closes_at| at >= closes_at) {
            Some("the sale is over")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.diverges(Check::History, sequence, wrong.to_owned());
        }
    }

    fn open(&mut self, sequence: Sequence, order: OrderId, entry: Entry) {
        let names_itself = order.is_sound()
            && order.partition() == self.partition
            && order.sequence_bits() == sequence.get() & ((1 << 40) - 1);
        if !names_itself {
            self.diverges(Check::History, sequence, format!("{order} is not this event's order"));
        }
        self.check_key(sequence, order, &entry);
        let units = self.units.entry((entry.product, entry.buyer)).or_default();
        *units += i64::from(entry.quantity.get());
        let has = *units;
        let limit = self.accounts.get(&entry.product).map_or(0, |it| it.terms.limit_per_buyer);
        if limit > 0 && has > i64::from(limit) {
            let text = format!("buyer {} has {has} units, the limit is {limit}", entry.buyer);
            self.diverges(Check::BuyerLimit, sequence, text);
        }
        self.findings.looked(Check::BuyerLimit, 1);
        if self.orders.insert(order, entry).is_some() {
            self.diverges(Check::History, sequence, format!("order {order} was made twice"));
        }
    }

    /// A key may come again once it has been forgotten, a day after its order came to its end.
    fn check_key(&mut self, sequence: Sequence, order: OrderId, entry: &Entry) {
        if entry.key.is_none() {
            return;
        }
        self.findings.looked(Check::OneOrderPerKey, 1);
        let Some(earlier) = self.keys.insert(entry.key, order) else { return };
        let forgotten = self.orders.get(&earlier).is_some_and(|earlier| {
            let (ended, _, ended_at) = earlier.ended;
            let age = entry.created_at.micros_since(ended_at);
            ended != Sequence::ZERO && age >= limits::KEY_RETENTION_US
        });
        if !forgotten {
            let text = format!("one key made the orders {earlier} and {order}");
            self.diverges(Check::OneOrderPerKey, sequence, text);
        }
    }

    fn end(&mut self, order: OrderId, sequence: Sequence, status: OrderStatus, at: Timestamp) {
        if let Some(entry) = self.orders.get_mut(&order) {
            entry.ended = (sequence, status, at);
        }
    }

    fn known(
        &mut self,
        sequence: Sequence,
        order: OrderId,
        product: ProductId,
        quantity: Quantity,
    ) -> Option<Entry> {
        let entry = self.orders.get(&order).copied();
        match entry {
            None => self.diverges(Check::History, sequence, format!("order {order} is unknown")),
            Some(entry) if entry.product != product || entry.quantity != quantity => {
                let text = format!("order {order} has another product or quantity");
                self.diverges(Check::History, sequence, text);
            }
            Some(_) => {}
        }
        entry
    }

    /// The first order that still waits. Orders that left the queue otherwise are dropped here.
    fn head(&mut self, product: ProductId) -> Option<OrderId> {
        let queue = &mut self.accounts.get_mut(&product)?.queue;
        while let Some(order) = queue.front() {
            if self.orders.get(order).is_some_and(|it| it.status() == OrderStatus::Queued) {
                return Some(*order);
            }
            queue.pop_front();
        }
        None
    }

    fn unknown_product(&mut self, sequence: Sequence, product: ProductId) {
        self.diverges(Check::History, sequence, format!("product {product} was never defined"));
    }

    pub(crate) fn diverges(&mut self, check: Check, sequence: Sequence, text: String) {
        let partition = self.partition;
        self.findings.add(Divergence { check, partition, sequence: Some(sequence), text });
    }
}

#[cfg(test)]
#[path = "ledger_test.rs"]
mod tests;
