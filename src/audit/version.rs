//! How log or store has a thing, for the two sides of a divergence.

use crate::event_lines::rfc3339;
use doorbuster_persistence::{OrderRow, ProductRow};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::{Sequence, Timestamp};
use serde_json::{Value, json};

/// One side of a divergence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// An order.
    Order(Box<OrderRow>),
    /// A product.
    Product(Box<ProductRow>),
    /// An event: a checkpoint, or the end of a log.
    Event(Sequence),
    /// A change that could not be written, in words.
    Letter(String),
}

impl From<OrderRow> for Version {
    fn from(row: OrderRow) -> Self {
        Self::Order(Box::new(row))
    }
}
impl From<ProductRow> for Version {
    fn from(row: ProductRow) -> Self {
        Self::Product(Box::new(row))
    }
}

impl Version {
    /// For eyes, on one line.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Order(row) => order_text(row),
            Self::Product(row) => product_text(row),
            Self::Event(sequence) => format!("event {sequence}"),
            Self::Letter(text) => text.clone(),
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Order(row) => order_json(row),
            Self::Product(row) => product_json(row),
            Self::Event(sequence) => json!(sequence.get()),
            Self::Letter(text) => json!(text),
        }
    }
}

fn order_text(row: &OrderRow) -> String {
    let items: Vec<_> = row
        .items
        .iter()
        .map(|item| format!("{} × {} at {}", item.quantity.get(), item.product, item.unit_price))
        .collect();
    let items = if items.is_empty() { "no items".to_owned() } else { items.join(" + ") };
    format!(
        "{}, {items} = {} {}, buyer {}, created {}, changed {}, expires {}, version {}",
        row.status.as_str(),
        row.total_amount,
        row.currency.as_str(),
        row.buyer,
        rfc3339(row.created_at),
        rfc3339(row.updated_at),
        row.expires_at.some().map_or("never".to_owned(), rfc3339),
        row.version,
    )
}

fn product_text(row: &ProductRow) -> String {
    format!(
        "{}, {} units at {} {}, opens {}, closes {}, limit {}, holds {} s, waitlist {}, created {}, \
         changed {}, version {}",
        state_word(row.state),
        row.stock,
        row.price,
        row.currency.as_str(),
        row.opens_at.some().map_or("at once".to_owned(), rfc3339),
        row.closes_at.some().map_or("never".to_owned(), rfc3339),
        row.limit_per_buyer,
        row.hold_seconds,
        row.waitlist_capacity,
        rfc3339(row.created_at),
        rfc3339(row.updated_at),
        row.version,
    )
}

fn order_json(row: &OrderRow) -> Value {
    let items: Vec<_> = row
        .items
        .iter()
        .map(|item| {
            json!({
                "product": item.product.to_string(),
                "quantity": item.quantity.get(),
                "unitPrice": item.unit_price,
            })
        })
        .collect();
    json!({
        "status": row.status.as_str(),
        "buyer": row.buyer.to_string(),
        "totalAmount": row.total_amount,
        "currency": row.currency.as_str(),
        "items": items,
        "createdAt": rfc3339(row.created_at),
        "updatedAt": rfc3339(row.updated_at),
        "expiresAt": optional(row.expires_at),
        "version": row.version.get(),
    })
}

fn product_json(row: &ProductRow) -> Value {
    json!({
        "state": state_word(row.state),
        "stock": row.stock,
        "price": row.price,
        "currency": row.currency.as_str(),
        "opensAt": optional(row.opens_at),
        "closesAt": optional(row.closes_at),
        "limitPerBuyer": row.limit_per_buyer,
        "holdSeconds": row.hold_seconds,
        "waitlistCapacity": row.waitlist_capacity,
        "createdAt": rfc3339(row.created_at),
        "updatedAt": rfc3339(row.updated_at),
        "version": row.version.get(),
    })
}

fn optional(at: Timestamp) -> Value {
    at.some().map_or(Value::Null, |at| Value::String(rfc3339(at)))
}

fn state_word(state: SaleState) -> &'static str {
    match state {
        SaleState::Open => "open",
        SaleState::Paused => "paused",
    }
}
