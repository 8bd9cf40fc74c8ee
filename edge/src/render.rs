//! Orders and products as JSON documents.

use crate::json::Object;
use doorbuster_persistence::{OrderRow, ProductRow};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::session::StockLevel;
use doorbuster_protocol::{ProductId, Timestamp};

/// Room for the document of an order.
const ORDER_BYTES: usize = 448;
/// Room for the document of a product without its words.
const PRODUCT_BYTES: usize = 512;

/// The answer to a new order: a hold, or a place on the waitlist.
pub(crate) fn placed(view: &OrderView) -> Vec<u8> {
    let mut object = Object::new(ORDER_BYTES);
    object.word("orderId", view.order).word("status", view.status.as_str());
    if view.status == OrderStatus::Queued {
        object.number("position", view.position);
    }
    object
        .word("productId", view.product)
        .number("quantity", view.quantity.get())
        .number("unitPrice", view.unit_price)
        .number("totalAmount", view.total())
        .word("currency", view.currency)
        .time("createdAt", view.created_at);
    if view.status != OrderStatus::Queued {
        object.time("expiresAt", view.expires_at);
    }
    object.finish()
}

/// A whole order, as the engine knows it.
pub(crate) fn order(view: &OrderView) -> Vec<u8> {
    let mut object = Object::new(ORDER_BYTES);
    object.word("orderId", view.order).word("status", view.status.as_str());
    if view.status == OrderStatus::Queued {
        object.number("position", view.position);
    }
    object
        .word("productId", view.product)
        .word("userId", view.buyer)
        .number("quantity", view.quantity.get())
        .number("unitPrice", view.unit_price)
        .number("totalAmount", view.total())
        .word("currency", view.currency)
        .time("createdAt", view.created_at)
        .time("updatedAt", view.updated_at)
        .time("expiresAt", view.expires_at);
    object.finish()
}

/// Where an order stands, as the engine knows it.
pub(crate) fn status(view: &OrderView) -> Vec<u8> {
    let mut object = Object::new(ORDER_BYTES / 2);
    object.word("orderId", view.order).word("status", view.status.as_str());
    if view.status == OrderStatus::Queued {
        object.number("position", view.position);
    }
    object.time("updatedAt", view.updated_at).time("expiresAt", view.expires_at);
    object.finish()
}

/// A whole order, as the store knows it.
pub(crate) fn stored_order(row: &OrderRow) -> Vec<u8> {
    let mut object = Object::new(ORDER_BYTES);
    write_stored_order(&mut object, row);
    object.finish()
}

/// Where an order stands, as the store knows it.
pub(crate) fn stored_status(row: &OrderRow) -> Vec<u8> {
    let mut object = Object::new(ORDER_BYTES / 2);
    object
        .word("orderId", row.order)
        .word("status", row.status.as_str())
        .time("updatedAt", row.updated_at)
        .time("expiresAt", row.expires_at);
    object.finish()
}

/// A page of orders.
pub(crate) fn orders(rows: &[OrderRow], next: Option<String>) -> Vec<u8> {
    let mut object = Object::new(64 + rows.len() * ORDER_BYTES);
    object.objects("orders", rows, write_stored_order);
    write_next(&mut object, next);
    object.finish()
}

fn write_stored_order(object: &mut Object, row: &OrderRow) {
    object.word("orderId", row.order).word("status", row.status.as_str());
    // Orders have one line for now; with more, the first stands for the order and all are listed.
    if let Some(first) = row.items.first() {
        object.word("productId", first.product);
    }
    object.word("userId", row.buyer);
    if let Some(first) = row.items.first() {
        object.number("quantity", first.quantity.get()).number("unitPrice", first.unit_price);
    }
    object
        .number("totalAmount", row.total_amount)
        .word("currency", row.currency)
        .time("createdAt", row.created_at)
        .time("updatedAt", row.updated_at)
        .time("expiresAt", row.expires_at);
    if row.items.len() > 1 {
        object.objects("items", &row.items, |line, item| {
            line.word("productId", item.product)
                .number("quantity", item.quantity.get())
                .number("unitPrice", item.unit_price);
        });
    }
}

fn write_next(object: &mut Object, next: Option<String>) {
    match next {
        Some(next) => _ = object.text("nextCursor", &next),
        None => _ = object.null("nextCursor"),
    }
}

/// What people call a product.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
}

/// Where a product's units are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) stock: u32,
    pub(crate) available: u32,
    pub(crate) held: u32,
    pub(crate) sold: u32,
    pub(crate) waitlist_length: u32,
}

impl Live {
    /// Of a level that the engine pushed; the waitlist's capacity is the catalog's.
    pub(crate) fn of_level(level: &StockLevel, waitlist_capacity: u32) -> Self {
        let StockLevel { stock, available, held, sold, waitlist_free, .. } = *level;
        let waitlist_length = waitlist_capacity.saturating_sub(waitlist_free);
        Self { stock, available, held, sold, waitlist_length }
    }

    /// Of a product that was read.
    pub(crate) fn of_view(view: &ProductView) -> Self {
        let ProductView { stock, available, held, sold, waitlist_length, .. } = *view;
        Self { stock, available, held, sold, waitlist_length }
    }
}

/// The terms of a product, whoever told them.
struct Terms {
    product: ProductId,
    price: u64,
    currency: doorbuster_protocol::Currency,
    state: SaleState,
    opens_at: Timestamp,
    closes_at: Timestamp,
    limit_per_buyer: u32,
    hold_seconds: u32,
    waitlist_capacity: u32,
}

impl Terms {
    fn of_row(row: &ProductRow) -> Self {
        Self {
            product: row.product,
            price: row.price,
            currency: row.currency,
            state: row.state,
            opens_at: row.opens_at,
            closes_at: row.closes_at,
            limit_per_buyer: row.limit_per_buyer,
            hold_seconds: row.hold_seconds,
            waitlist_capacity: row.waitlist_capacity,
        }
    }

    fn of_view(view: &ProductView) -> Self {
        Self {
            product: view.product,
            price: view.price,
            currency: view.currency,
            state: view.state,
            opens_at: view.opens_at,
            closes_at: view.closes_at,
            limit_per_buyer: view.limit_per_buyer,
            hold_seconds: view.hold_seconds,
            waitlist_capacity: view.waitlist_capacity,
        }
    }
}

/// A product as the engine knows it, with the catalog's words.
pub(crate) fn product(view: &ProductView, words: Words<'_>) -> Vec<u8> {
    let mut object = Object::new(PRODUCT_BYTES);
    write_product(&mut object, &Terms::of_view(view), words, Some(&Live::of_view(view)));
    object.finish()
}

/// A page of products.
pub(crate) fn products(rows: &[(ProductRow, Option<Live>)], next: Option<String>) -> Vec<u8> {
    let mut object = Object::new(64 + rows.len() * PRODUCT_BYTES);
    object.objects("products", rows, |object, (row, live)| {
        write_product(object, &Terms::of_row(row), words_of(row), live.as_ref());
    });
    write_next(&mut object, next);
    object.finish()
}

/// A page of sales that run or will, with a countdown by the server's clock.
pub(crate) fn flash_sales(
    rows: &[(ProductRow, Option<Live>)],
    now: Timestamp,
    next: Option<String>,
) -> Vec<u8> {
    let mut object = Object::new(64 + rows.len() * (PRODUCT_BYTES + 128));
    object.time("serverTime", now);
    object.objects("products", rows, |object, (row, live)| {
        write_product(object, &Terms::of_row(row), words_of(row), live.as_ref());
        object.word("phase", phase(row, now));
        write_countdown(object, "startsIn", Some(row.opens_at.micros_since(now)));
        let ends_in = row.closes_at.some().map(|closes_at| closes_at.micros_since(now));
        write_countdown(object, "endsIn", ends_in);
    });
    write_next(&mut object, next);
    object.finish()
}

/// Whole seconds, rounded up, so that a countdown at zero is over; `null` for never.
fn write_countdown(object: &mut Object, name: &str, micros: Option<u64>) {
    match micros {
        Some(micros) => _ = object.number(name, micros.div_ceil(1_000_000)),
        None => _ = object.null(name),
    }
}

fn phase(row: &ProductRow, now: Timestamp) -> &'static str {
    if row.state == SaleState::Paused {
        "paused"
    } else if row.opens_at > now {
        "upcoming"
    } else {
        "open"
    }
}

fn words_of(row: &ProductRow) -> Words<'_> {
    Words { name: row.name.as_deref(), description: row.description.as_deref() }
}

/// The word of a sale's state.
fn state_word(state: SaleState) -> &'static str {
    match state {
        SaleState::Open => "open",
        SaleState::Paused => "paused",
    }
}

fn write_product(object: &mut Object, terms: &Terms, words: Words<'_>, live: Option<&Live>) {
    object.word("productId", terms.product);
    for (name, text) in [("name", words.name), ("description", words.description)] {
        match text {
            Some(text) => _ = object.text(name, text),
            None => _ = object.null(name),
        }
    }
    object
        .number("price", terms.price)
        .word("currency", terms.currency)
        .word("state", state_word(terms.state))
        .time("opensAt", terms.opens_at)
        .time("closesAt", terms.closes_at);
    // A limit of nothing would read as "none allowed".
    match terms.limit_per_buyer {
        0 => _ = object.null("limitPerUser"),
        limit => _ = object.number("limitPerUser", limit),
    }
    object
        .number("holdSeconds", terms.hold_seconds)
        .number("waitlistCapacity", terms.waitlist_capacity);
    if let Some(live) = live {
        object
            .number("stock", live.stock)
            .number("available", live.available)
            .number("held", live.held)
            .number("sold", live.sold)
            .number("waitlistLength", live.waitlist_length);
    } else {
        for name in ["stock", "available", "held", "sold", "waitlistLength"] {
            object.null(name);
        }
    }
}

#[cfg(test)]
#[path = "render_test.rs"]
mod tests;
