//! The books of one product, and its terms as its row must say them.

use super::order_event::{take, take_time, take_u64};
use doorbuster_persistence::ProductRow;
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::{Event, Fact, Terms};
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{Currency, OrderId, ProductId, Sequence, Timestamp};
use std::collections::VecDeque;

/// The books of one product.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its terms now; `terms.stock` follows restocks and withdrawals.
    pub(crate) terms: Terms,
    /// Whether the sale runs.
    pub(crate) state: SaleState,
    /// Units free. Signed, so that an oversale shows as a number and not as a panic.
    pub(crate) available: i64,
    /// Units held.
    pub(crate) held: i64,
    /// Units sold.
    pub(crate) sold: i64,
    /// Orders that wait, first come first. Those that left otherwise than by being served are
    /// skipped, see [`super::ledger`].
    pub(super) queue: VecDeque<OrderId>,
    /// How many of them still wait.
    pub(crate) queued: u32,
    /// Waiting orders that became holds.
    pub(crate) served_from_waitlist: u64,
    /// Whether a buyer's units were ever limited.
    pub(super) was_limited: bool,
    /// When it was first defined; none when that was before the log.
    pub(super) created_at: Timestamp,
    /// The event that changed its terms, stock or state last, and when; zero and none when that was
    /// before the log.
    pub(super) changed: (Sequence, Timestamp),
}

impl Account {
    /// A new product: all of its stock is available.
    pub(super) fn new(terms: Terms, sequence: Sequence, at: Timestamp) -> Self {
        Self {
            terms,
            state: SaleState::Open,
            available: i64::from(terms.stock),
            held: 0,
            sold: 0,
            queue: VecDeque::new(),
            queued: 0,
            served_from_waitlist: 0,
            was_limited: terms.limit_per_buyer > 0,
            created_at: at,
            changed: (sequence, at),
        }
    }

    /// A product as a snapshot has it.
    pub(super) fn opened_with(view: &ProductView) -> Self {
        let terms = Terms {
            price: view.price,
            currency: view.currency,
            stock: view.stock,
            opens_at: view.opens_at,
            closes_at: view.closes_at,
            limit_per_buyer: view.limit_per_buyer,
            hold_seconds: view.hold_seconds,
            waitlist_capacity: view.waitlist_capacity,
        };
        Self {
            state: view.state,
            available: i64::from(view.available),
            held: i64::from(view.held),
            sold: i64::from(view.sold),
            ..Self::new(terms, Sequence::ZERO, Timestamp::NONE)
        }
    }

    /// Takes a change of terms, stock or state for what it says. Balances are the ledger's.
    pub(super) fn change_terms(&mut self, sequence: Sequence, event: &Event) {
        match &event.fact {
            Fact::Defined { terms, .. } => self.terms = *terms,
            Fact::Restocked { units, .. } => {
                self.terms.stock = self.terms.stock.saturating_add(*units);
            }
            Fact::Withdrawn { units, .. } => {
                self.terms.stock = self.terms.stock.saturating_sub(*units);
            }
            Fact::StateSet { state, .. } => self.state = *state,
            Fact::Placed(_)
            | Fact::Queued(_)
            | Fact::Paid { .. }
            | Fact::Cancelled(_)
            | Fact::Expired(_)
            | Fact::Acknowledged { .. } => return,
        }
        self.changed = (sequence, event.at);
    }

    /// What speaks against selling at `at` for so much; `None` when nothing does.
    pub(super) fn why_not_on_sale(
        &self,
        at: Timestamp,
        unit_price: u64,
        currency: Currency,
    ) -> Option<&'static str> {
        let Self { terms, state, .. } = self;
        if (unit_price, currency) != (terms.price, terms.currency) {
            Some("the price is not the product's")
        } else if *state == SaleState::Paused {
            Some("the sale is paused")
        } else if at < terms.opens_at {
            Some("the sale is not open yet")
        } else if terms.closes_at.some().is_some_and(|closes_at| at >= closes_at) {
            Some("the sale is over")
        } else {
            None
        }
    }

    /// What its row says from now on.
    pub(super) fn edition(&self, product: ProductId, first: Sequence) -> Edition {
        let (since, updated_at) = self.changed;
        let has_version = since != Sequence::ZERO;
        Edition {
            product,
            since,
            has_version,
            version: if has_version { since } else { Sequence::new(first.get() - 1) },
            terms: self.terms,
            state: self.state,
            created_at: self.created_at,
            updated_at,
        }
    }
}

/// What the row of a product says from one event on. Sorts by product and then by event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edition {
    pub(super) product: ProductId,
    /// The event; zero when nothing changed since before the log.
    pub(super) since: Sequence,
    /// The row's version: the event, but for what is older than the log.
    pub(super) version: Sequence,
    /// Whether the version is the event and not only one before which nothing changed.
    pub(super) has_version: bool,
    pub(super) terms: Terms,
    pub(super) state: SaleState,
    /// None when that was before the log.
    pub(super) created_at: Timestamp,
    /// None when that was before the log.
    pub(super) updated_at: Timestamp,
}

impl Edition {
    /// Bytes of a record.
    pub(super) const BYTES: usize = 16 + 8 + 8 + 1 + 8 + 3 + 4 + 8 + 8 + 4 + 4 + 4 + 1 + 8 + 8;

    /// Whether the log tells what the product was after event `at`, when this is the first edition
    /// that it tells of. That of a product which is older than the log may have had others before.
    pub(super) fn tells_of(&self, at: Sequence) -> bool {
        !self.created_at.is_none() || at >= self.since
    }

    /// The row, in place of `stored`, which knows what is older than the log.
    pub(super) fn row(&self, stored: Option<&ProductRow>) -> ProductRow {
        let or = |known: Timestamp, stored: Option<Timestamp>| {
            known.some().or(stored).unwrap_or(Timestamp::from_micros(1))
        };
        let terms = &self.terms;
        ProductRow {
            product: self.product,
            name: stored.and_then(|row| row.name.clone()),
            description: stored.and_then(|row| row.description.clone()),
            price: terms.price,
            currency: terms.currency,
            stock: terms.stock,
            state: self.state,
            opens_at: terms.opens_at,
            closes_at: terms.closes_at,
            limit_per_buyer: terms.limit_per_buyer,
            hold_seconds: terms.hold_seconds,
            waitlist_capacity: terms.waitlist_capacity,
            created_at: or(self.created_at, stored.map(|row| row.created_at)),
            updated_at: or(self.updated_at, stored.map(|row| row.updated_at)),
            version: self.version,
        }
    }

    /// The columns in which `row` is not so. Name and description are the catalog's.
    pub(super) fn differences(&self, row: &ProductRow) -> Vec<&'static str> {
        let expected = self.row(Some(row));
        let mut found = Vec::new();
        let mut compare = |is_same: bool, column: &'static str| {
            if !is_same {
                found.push(column);
            }
        };
        compare(row.price == expected.price, "price");
        compare(row.currency == expected.currency, "currency");
        compare(row.stock == expected.stock, "stock");
        compare(row.state == expected.state, "state");
        compare(row.opens_at == expected.opens_at, "opening time");
        compare(row.closes_at == expected.closes_at, "closing time");
        compare(row.limit_per_buyer == expected.limit_per_buyer, "limit per buyer");
        compare(row.hold_seconds == expected.hold_seconds, "time of holds");
        compare(row.waitlist_capacity == expected.waitlist_capacity, "waitlist");
        compare(row.created_at == expected.created_at, "time of creation");
        compare(row.updated_at == expected.updated_at, "time of change");
        let has_version = self.has_version && row.version != Sequence::ZERO;
        compare(!has_version || row.version == self.version, "version");
        found
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        let terms = &self.terms;
        bytes.extend(self.product.as_bytes());
        bytes.extend(self.since.get().to_be_bytes());
        bytes.extend(self.version.get().to_be_bytes());
        bytes.push(u8::from(self.has_version));
        bytes.extend(terms.price.to_be_bytes());
        bytes.extend(terms.currency.bytes());
        bytes.extend(terms.stock.to_be_bytes());
        bytes.extend(terms.opens_at.micros().to_be_bytes());
        bytes.extend(terms.closes_at.micros().to_be_bytes());
        bytes.extend(terms.limit_per_buyer.to_be_bytes());
        bytes.extend(terms.hold_seconds.to_be_bytes());
        bytes.extend(terms.waitlist_capacity.to_be_bytes());
        bytes.push(self.state.code());
        bytes.extend(self.created_at.micros().to_be_bytes());
        bytes.extend(self.updated_at.micros().to_be_bytes());
        bytes.try_into().expect("the layout is fixed")
    }

    /// Reads what [`Edition::encode`] wrote.
    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let rest = &mut &bytes[..];
        Self {
            product: ProductId::from_bytes(take(rest)),
            since: Sequence::new(take_u64(rest)),
            version: Sequence::new(take_u64(rest)),
            has_version: take::<1>(rest) != [0],
            terms: Terms {
                price: take_u64(rest),
                currency: Currency::new(take(rest)).expect("a record is read as it was written"),
                stock: u32::from_be_bytes(take(rest)),
                opens_at: take_time(rest),
                closes_at: take_time(rest),
                limit_per_buyer: u32::from_be_bytes(take(rest)),
                hold_seconds: u32::from_be_bytes(take(rest)),
                waitlist_capacity: u32::from_be_bytes(take(rest)),
            },
            state: SaleState::from_code(take::<1>(rest)[0])
                .expect("a record is read as it was written"),
            created_at: take_time(rest),
            updated_at: take_time(rest),
        }
    }
}
