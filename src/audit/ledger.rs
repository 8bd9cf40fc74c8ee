//! One partition's books, kept a second time, event by event.
//!
//! The ledger knows nothing of the engine's rules code and shares no structure with it. Each event
//! must be one that could happen in the books as they stand, and the books must balance after it.
//! What does not fit is a divergence; the ledger then goes on as the event says, so that one mistake
//! does not hide the next.
//!
//! It remembers products and who waits, but no other order: what an event did to an order goes into
//! the [`Spills`], and whether it could be done is judged when the events of each order lie side by
//! side, in [`super::orders`].

use super::account::{Account, Edition};
use super::findings::{Check, Divergence, Findings};
use super::letters::Letters;
use super::order_event::{self, OrderEvent};
use super::spills::{Marks, Spills};
use doorbuster_engine::log::inspect::EventReader;
use doorbuster_engine::state_machine::snapshot::SnapshotVisitor;
use doorbuster_protocol::event::{Event, Fact, Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, Currency, OrderId, PartitionId, ProductId, Sequence, Timestamp, limits,
};
use std::collections::HashMap;

/// One partition's books in the making.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    spills: &'a mut Spills,
    marks: Marks,
    letters: &'a mut Letters,
    /// Units wanted by each order that waits.
    waiting: HashMap<OrderId, u32>,
    last_at: Timestamp,
    has_opened: bool,
    books: Books,
}

/// What the books say of a partition after the last event.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) partition: PartitionId,
    /// The first event that was seen.
    pub(super) first: Sequence,
    /// The event after which the books were opened, with the balances of a snapshot; zero when they
    /// begin with the first event of all. What came before it is not judged again.
    pub(super) opened: Sequence,
    /// The last event.
    pub(super) last: Sequence,
    /// The last event that changes anything outside the engine: not an acknowledgement.
    pub(super) last_change: Sequence,
    pub(super) accounts: HashMap<ProductId, Account>,
    pub(super) findings: Findings,
}

impl Books {
    fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            first: Sequence::ZERO.next(),
            opened: Sequence::ZERO,
            last: Sequence::ZERO,
            last_change: Sequence::ZERO,
            accounts: HashMap::new(),
            findings: Findings::default(),
        }
    }
}

#[cfg(test)]
impl Books {
    /// Books of a log of events `first` to `last`, in which nothing happened.
    pub(super) fn of_span(partition: PartitionId, first: Sequence, last: Sequence) -> Self {
        let opened = Sequence::new(first.get() - 1);
        Self { first, opened, last, ..Self::new(partition) }
    }
}

impl EventReader for Ledger<'_> {
    fn begin(&mut self, first: Sequence, base: Sequence) {
        self.spills.rewind(self.marks);
        self.waiting.clear();
        self.books = Books::new(self.books.partition);
        self.books.first = first;
        self.books.opened = base;
        self.books.last = Sequence::new(first.get() - 1);
        self.last_at = Timestamp::NONE;
        self.has_opened = false;
    }

    fn event(&mut self, sequence: Sequence, event: &Event) {
        self.enter(sequence, event);
    }
}

/// The balances that the books are opened with.
impl SnapshotVisitor for Ledger<'_> {
    fn product(&mut self, product: &ProductView) {
        self.books.accounts.insert(product.product, Account::opened_with(product));
    }

    fn order(&mut self, order: &OrderView) {
        self.spills.order(&OrderEvent::opened(order, self.books.opened));
        if order.status != OrderStatus::Queued {
            return;
        }
        // They come in the order of their waitlist.
        if let Some(account) = self.books.accounts.get_mut(&order.product) {
            account.queue.push_back(order.order);
            account.queued += 1;
        }
        self.waiting.insert(order.order, order.quantity.get());
    }

    fn units(&mut self, product: ProductId, buyer: BuyerId, units: u32) {
        self.spills.units_of(product, buyer, self.books.opened, i64::from(units), 0);
    }
}

impl<'a> Ledger<'a> {
    /// Empty books, as before the first event.
    pub(super) fn new(
        partition: PartitionId,
        spills: &'a mut Spills,
        letters: &'a mut Letters,
    ) -> Self {
        Self {
            marks: spills.mark(),
            spills,
            letters,
            waiting: HashMap::new(),
            last_at: Timestamp::NONE,
            has_opened: false,
            books: Books::new(partition),
        }
    }

    /// The books after the last event.
    pub(super) fn close(mut self) -> Books {
        self.open_products();
        self.books
    }

    /// What products were when the books were opened is what their rows say from then on.
    fn open_products(&mut self) {
        if self.has_opened {
            return;
        }
        self.has_opened = true;
        for (product, account) in &self.books.accounts {
            self.spills.product(&account.edition(*product, self.books.first));
        }
    }

    /// Enters one event.
    fn enter(&mut self, sequence: Sequence, event: &Event) {
        if sequence != self.books.last.next() {
            let text = format!("it follows event {}", self.books.last);
            self.diverges(Check::History, sequence, text);
        }
        if event.at < self.last_at {
            self.diverges(Check::History, sequence, "its time is before that of the last".into());
        }
        self.books.last = sequence;
        self.last_at = event.at;
        self.letters.touched_by(self.books.partition, sequence, event);
        let Self { spills, books, .. } = &mut *self;
        let limit_of = |product| {
            books.accounts.get(&product).map_or(0, |account| account.terms.limit_per_buyer)
        };
        order_event::each_of(sequence, event, limit_of, |happened| spills.order(&happened));
        if sequence <= self.books.opened {
            self.note_change_before_opening(sequence, event);
            return;
        }
        self.open_products();
        self.books.findings.looked(Check::History, 1);
        if let Some(product) = self.book(sequence, event) {
            self.books.last_change = sequence;
            self.balance(sequence, product);
        }
    }

    /// An event that the snapshot has in it already: only when a row changed is news.
    fn note_change_before_opening(&mut self, sequence: Sequence, event: &Event) {
        let product = match &event.fact {
            Fact::Defined { product, .. }
            | Fact::Restocked { product, .. }
            | Fact::Withdrawn { product, .. }
            | Fact::StateSet { product, .. } => product,
            Fact::Acknowledged { .. } => return,
            Fact::Placed(_)
            | Fact::Queued(_)
            | Fact::Paid { .. }
            | Fact::Cancelled(_)
            | Fact::Expired(_) => {
                self.books.last_change = sequence;
                return;
            }
        };
        self.books.last_change = sequence;
        if let Some(account) = self.books.accounts.get_mut(product) {
            account.changed = (sequence, event.at);
        }
    }

    /// Enters what the event did to its product; `None` when it did nothing to any.
    fn book(&mut self, sequence: Sequence, event: &Event) -> Option<ProductId> {
        let at = event.at;
        let product = match &event.fact {
            Fact::Placed(placed) => {
                self.placed(sequence, at, placed);
                placed.product
            }
            Fact::Queued(queued) => {
                self.queued(sequence, at, queued);
                queued.product
            }
            Fact::Paid { product, quantity, .. } => {
                if let Some(account) = self.books.accounts.get_mut(product) {
                    account.held -= i64::from(quantity.get());
                    account.sold += i64::from(quantity.get());
                }
                *product
            }
            Fact::Cancelled(released) | Fact::Expired(released) => {
                self.released(released);
                self.matched(sequence, released.product, &released.matched);
                released.product
            }
            Fact::Defined { product, terms, matched } => {
                self.defined(sequence, at, *product, terms);
                self.matched(sequence, *product, matched);
                *product
            }
            Fact::Restocked { product, units, matched } => {
                self.stock_moved(sequence, at, *product, i64::from(*units));
                self.matched(sequence, *product, matched);
                *product
            }
            Fact::Withdrawn { product, units } => {
                self.stock_moved(sequence, at, *product, -i64::from(*units));
                *product
            }
            Fact::StateSet { product, state } => {
                match self.books.accounts.get_mut(product) {
                    Some(account) => account.state = *state,
                    None => self.unknown_product(sequence, *product),
                }
                self.changed(sequence, at, *product);
                *product
            }
            Fact::Acknowledged { through, .. } => {
                if *through >= sequence {
                    let text = format!("it acknowledges event {through}, which comes later");
                    self.diverges(Check::History, sequence, text);
                }
                return None;
            }
        };
        Some(product)
    }

    fn placed(&mut self, sequence: Sequence, at: Timestamp, placed: &Placed) {
        let units = i64::from(placed.quantity.get());
        self.check_sale(sequence, at, placed.product, placed.unit_price, placed.currency);
        self.check_name(sequence, placed.order);
        if let Some((head, _)) = self.head(placed.product) {
            let text = format!("order {} overtook {head}, which was waiting", placed.order);
            self.diverges_at(Check::Waitlist, sequence, placed.order, text);
        }
        self.books.findings.looked(Check::Waitlist, 1);
        if placed.expires_at <= at {
            self.diverges(Check::Holds, sequence, "the hold has no duration".into());
        }
        if let Some(account) = self.books.accounts.get_mut(&placed.product) {
            account.available -= units;
            account.held += units;
        }
    }

    fn queued(&mut self, sequence: Sequence, at: Timestamp, queued: &Queued) {
        self.check_sale(sequence, at, queued.product, queued.unit_price, queued.currency);
        self.check_name(sequence, queued.order);
        self.books.findings.looked(Check::Waitlist, 1);
        self.waiting.insert(queued.order, queued.quantity.get());
        let Some(account) = self.books.accounts.get_mut(&queued.product) else { return };
        account.queue.push_back(queued.order);
        account.queued += 1;
        let (place, capacity) = (account.queued, account.terms.waitlist_capacity);
        if place != queued.position {
            let text = format!("place {} was told, it is {place}", queued.position);
            self.diverges_at(Check::Waitlist, sequence, queued.order, text);
        }
        if place > capacity {
            let text = format!("{place} orders wait, the waitlist has {capacity} places");
            self.diverges_at(Check::Waitlist, sequence, queued.order, text);
        }
        self.forget_who_left(queued.product);
    }

    fn released(&mut self, released: &Released) {
        let units = i64::from(released.quantity.get());
        let was_waiting = self.waiting.remove(&released.order).is_some();
        if let Some(account) = self.books.accounts.get_mut(&released.product) {
            if was_waiting {
                account.queued = account.queued.saturating_sub(1);
            } else {
                account.held -= units;
                account.available += units;
            }
        }
    }

    /// The orders that an event served must be the heads of the queue, one after the other, and the
    /// event must not stop while the next one fits.
    fn matched(&mut self, sequence: Sequence, product: ProductId, matched: &Matched) {
        for order in &matched.orders {
            let head = self.head(product).map(|(head, _)| head);
            if head != Some(*order) {
                let text = match head {
                    Some(head) => format!("order {order} was served before {head}"),
                    None => format!("order {order} was served, but nobody waits"),
                };
                self.diverges_at(Check::Waitlist, sequence, *order, text);
            }
            let Some(units) = self.waiting.remove(order) else { continue };
            if let Some(account) = self.books.accounts.get_mut(&product) {
                account.available -= i64::from(units);
                account.held += i64::from(units);
                account.queued = account.queued.saturating_sub(1);
                account.served_from_waitlist += 1;
            }
        }
        self.books.findings.looked(Check::Waitlist, matched.orders.len() as u64);
    }

    fn defined(&mut self, sequence: Sequence, at: Timestamp, product: ProductId, terms: &Terms) {
        match self.books.accounts.get_mut(&product) {
            None => {
                self.books.accounts.insert(product, Account::new(*terms, sequence, at));
            }
            Some(account) => {
                let had = account.terms;
                account.available += i64::from(terms.stock) - i64::from(had.stock);
                account.terms = *terms;
                account.was_limited |= terms.limit_per_buyer > 0;
                if had.currency != terms.currency {
                    let text = "the currency of a product changed".to_owned();
                    self.diverges(Check::History, sequence, text);
                }
            }
        }
        self.changed(sequence, at, product);
    }

    fn stock_moved(&mut self, sequence: Sequence, at: Timestamp, product: ProductId, units: i64) {
        let Some(account) = self.books.accounts.get_mut(&product) else {
            return self.unknown_product(sequence, product);
        };
        account.available += units;
        let stock = i64::from(account.terms.stock) + units;
        match u32::try_from(stock) {
            Ok(stock) if stock <= limits::STOCK_MAX => account.terms.stock = stock,
            _ => self.diverges(Check::Balance, sequence, format!("the stock became {stock}")),
        }
        self.changed(sequence, at, product);
    }

    /// The row of the product says something else from here on.
    fn changed(&mut self, sequence: Sequence, at: Timestamp, product: ProductId) {
        if let Some(account) = self.books.accounts.get_mut(&product) {
            account.changed = (sequence, at);
            let edition: Edition = account.edition(product, self.books.first);
            self.spills.product(&edition);
        }
    }

    /// What must hold for a product after every event that touches it.
    fn balance(&mut self, sequence: Sequence, product: ProductId) {
        let Some(account) = self.books.accounts.get(&product) else { return };
        let Account { available, held, sold, queued, .. } = *account;
        let stock = i64::from(account.terms.stock);
        self.books.findings.looked(Check::Oversold, 1);
        self.books.findings.looked(Check::Balance, 1);
        if sold > stock || sold + held > stock {
            let text = format!("{sold} sold and {held} held of {stock}");
            self.diverges(Check::Oversold, sequence, text);
        }
        if held + sold + available != stock || held < 0 || sold < 0 || available < 0 {
            let text = format!("{held} held + {sold} sold + {available} available of {stock}");
            self.diverges(Check::Balance, sequence, text);
        }
        if queued > 0
            && let Some((_, wanted)) = self.head(product)
            && i64::from(wanted) <= available
        {
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
        let Some(account) = self.books.accounts.get(&product) else {
            return self.unknown_product(sequence, product);
        };
        if let Some(wrong) = account.why_not_on_sale(at, unit_price, currency) {
            self.diverges(Check::History, sequence, wrong.to_owned());
        }
    }

    fn check_name(&mut self, sequence: Sequence, order: OrderId) {
        let names_itself = order.is_sound()
            && order.partition() == self.books.partition
            && order.sequence_bits() == sequence.get() & ((1 << 40) - 1);
        if !names_itself {
            let text = format!("{order} is not this event's order");
            self.diverges_at(Check::History, sequence, order, text);
        }
    }

    /// The first order that still waits, and its units. Those that left otherwise go here.
    fn head(&mut self, product: ProductId) -> Option<(OrderId, u32)> {
        let queue = &mut self.books.accounts.get_mut(&product)?.queue;
        while let Some(order) = queue.front() {
            if let Some(units) = self.waiting.get(order) {
                return Some((*order, *units));
            }
            queue.pop_front();
        }
        None
    }

    /// Keeps a queue whose head never moves from growing by those behind it who give up.
    fn forget_who_left(&mut self, product: ProductId) {
        let Some(account) = self.books.accounts.get_mut(&product) else { return };
        if account.queue.len() > 64 + 2 * account.queued as usize {
            account.queue.retain(|order| self.waiting.contains_key(order));
        }
    }

    fn unknown_product(&mut self, sequence: Sequence, product: ProductId) {
        self.diverges(Check::History, sequence, format!("product {product} was never defined"));
    }

    fn diverges_at(&mut self, check: Check, sequence: Sequence, order: OrderId, text: String) {
        let divergence = Divergence::in_log(check, self.books.partition, sequence, text);
        self.books.findings.add(Divergence { order: Some(order), ..divergence });
    }

    fn diverges(&mut self, check: Check, sequence: Sequence, text: String) {
        self.books.findings.add(Divergence::in_log(check, self.books.partition, sequence, text));
    }
}

#[cfg(test)]
#[path = "ledger_test.rs"]
mod tests;
