//! What the store must hold after some events, in plain maps and without cleverness.
//!
//! It goes from events to rows directly, so that it checks the projector's mapping as well.

use crate::conformance::{dead_letters, scan_orders, scan_products};
use crate::rows::{OrderItem, OrderRow, ProductRow};
use crate::store::{PAGE_ROWS_MAX, Store};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::{Event, Fact, Matched, Terms};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{OrderId, ProductId, Sequence, Timestamp};
use std::collections::BTreeMap;

/// When and by which event a row changes.
#[derive(Clone, Copy)]
struct When {
    at: Timestamp,
    version: Sequence,
}

/// Orders and products as plain maps.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// All orders by id.
    pub orders: BTreeMap<OrderId, OrderRow>,
    /// All defined products by id.
    pub products: BTreeMap<ProductId, ProductRow>,
}

/// The row of a product that an event at `at` defines, over the one that was there before.
pub fn defined(
    product: ProductId,
    terms: &Terms,
    old: Option<&ProductRow>,
    at: Timestamp,
    version: Sequence,
) -> ProductRow {
    ProductRow {
        product,
        name: None,
        description: None,
        price: terms.price,
        currency: terms.currency,
        stock: terms.stock,
        state: old.map_or(SaleState::Open, |old| old.state),
        opens_at: terms.opens_at,
        closes_at: terms.closes_at,
        limit_per_buyer: terms.limit_per_buyer,
        hold_seconds: terms.hold_seconds,
        waitlist_capacity: terms.waitlist_capacity,
        created_at: old.map_or(at, |old| old.created_at),
        updated_at: at,
        version,
    }
}

impl Model {
    /// Takes the next event of some partition in. Panics when it names what is not there.
    pub fn apply(&mut self, sequence: Sequence, event: &Event) {
        let at = When { at: event.at, version: sequence };
        match &event.fact {
            Fact::Placed(placed) => {
                let item = OrderItem {
                    product: placed.product,
                    quantity: placed.quantity,
                    unit_price: placed.unit_price,
                };
                self.insert(OrderRow {
                    order: placed.order,
                    buyer: placed.buyer,
                    total_amount: placed.unit_price * u64::from(placed.quantity.get()),
                    currency: placed.currency,
                    status: OrderStatus::Pending,
                    created_at: at.at,
                    updated_at: at.at,
                    expires_at: placed.expires_at,
                    version: at.version,
                    items: vec![item],
                });
            }
            Fact::Queued(queued) => {
                let item = OrderItem {
                    product: queued.product,
                    quantity: queued.quantity,
                    unit_price: queued.unit_price,
                };
                self.insert(OrderRow {
                    order: queued.order,
                    buyer: queued.buyer,
                    total_amount: queued.unit_price * u64::from(queued.quantity.get()),
                    currency: queued.currency,
                    status: OrderStatus::Queued,
                    created_at: at.at,
                    updated_at: at.at,
                    expires_at: Timestamp::NONE,
                    version: at.version,
                    items: vec![item],
                });
            }
            Fact::Paid { order, .. } => self.set_status(*order, OrderStatus::Paid, at),
            Fact::Cancelled(released) => {
                self.set_status(released.order, OrderStatus::Cancelled, at);
                self.matched(&released.matched, at);
            }
            Fact::Expired(released) => {
                self.set_status(released.order, OrderStatus::Expired, at);
                self.matched(&released.matched, at);
            }
            Fact::Defined { product, terms, matched } => {
                let old = self.products.get(product);
                let row = defined(*product, terms, old, at.at, at.version);
                self.products.insert(*product, row);
                self.matched(matched, at);
            }
            Fact::Restocked { product, units, matched } => {
                let row = self.product(*product, at);
                row.stock += units;
                self.matched(matched, at);
            }
            Fact::Withdrawn { product, units } => {
                let row = self.product(*product, at);
                row.stock -= units;
            }
            Fact::StateSet { product, state } => {
                let row = self.product(*product, at);
                row.state = *state;
            }
            Fact::Acknowledged { .. } => {}
        }
    }

    fn insert(&mut self, row: OrderRow) {
        let replaced = self.orders.insert(row.order, row);
        assert_eq!(replaced, None, "an order is made once");
    }

    fn set_status(&mut self, order: OrderId, status: OrderStatus, at: When) {
        let row = self.orders.get_mut(&order).expect("the order exists");
        row.status = status;
        row.updated_at = at.at;
        row.version = at.version;
    }

    fn product(&mut self, product: ProductId, at: When) -> &mut ProductRow {
        let row = self.products.get_mut(&product).expect("the product exists");
        row.updated_at = at.at;
        row.version = at.version;
        row
    }

    fn matched(&mut self, matched: &Matched, at: When) {
        for order in &matched.orders {
            self.set_status(*order, OrderStatus::Pending, at);
            let row = self.orders.get_mut(order).expect("the order exists");
            row.expires_at = matched.expires_at;
        }
    }

    /// Panics unless the store holds exactly these orders and products, and no dead letter.
    pub async fn assert_matches(&self, store: &dyn Store) {
        let letters = dead_letters(store, None, PAGE_ROWS_MAX).await.expect("the store answers");
        assert_eq!(letters, [], "nothing of this is poison");
        let mut orders = self.orders.values();
        let mut after = None;
        loop {
            let rows = scan_orders(store, None, after, 100).await.expect("the store answers");
            let Some(last) = rows.last() else { break };
            after = Some(last.order);
            for row in &rows {
                assert_eq!(Some(row), orders.next(), "orders differ");
            }
        }
        assert_eq!(orders.next(), None, "orders are missing in the store");
        let rows = scan_products(store, None, PAGE_ROWS_MAX).await.expect("the store answers");
        assert!(rows.iter().eq(self.products.values()), "products differ: {rows:?}");
    }
}
