//! Events of a log as lines: text for eyes, JSON for programs.

use doorbuster_engine::log::inspect::LoggedEvent;
use doorbuster_protocol::event::{Fact, Matched, Terms};
use doorbuster_protocol::{PartitionId, Timestamp};
use serde_json::{Map, Value, json};

/// One line of JSON, without the end of the line.
pub(crate) fn json(partition: PartitionId, logged: &LoggedEvent) -> Value {
    let (kind, fields) = describe(&logged.event.fact);
    let mut line = json!({
        "partition": partition.get(),
        "sequence": logged.sequence.get(),
        "at": rfc3339(logged.event.at),
        "event": kind,
    });
    line.as_object_mut().expect("it is an object").extend(fields);
    line
}

/// One line of text, without the end of the line.
pub(crate) fn text(partition: PartitionId, logged: &LoggedEvent) -> String {
    let (kind, fields) = describe(&logged.event.fact);
    let mut line = format!(
        "{:>4} {:>10}  {}  {kind:<12}",
        partition.get(),
        logged.sequence.get(),
        rfc3339(logged.event.at)
    );
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::String(text) => line.push_str(&format!(" {name}={text}")),
            other => line.push_str(&format!(" {name}={other}")),
        }
    }
    line
}

/// A time as RFC 3339, in UTC.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let mut text = Vec::new();
    doorbuster_edge::time::write_rfc3339(at, &mut text);
    String::from_utf8(text).expect("a time is ASCII")
}

fn optional(at: Timestamp) -> Value {
    at.some().map_or(Value::Null, |at| Value::String(rfc3339(at)))
}

fn describe(fact: &Fact) -> (&'static str, Map<String, Value>) {
    let (kind, fields) = match fact {
        Fact::Placed(placed) => (
            "placed",
            json!({
                "order": placed.order.to_string(),
                "product": placed.product.to_string(),
                "buyer": placed.buyer.to_string(),
                "quantity": placed.quantity.get(),
                "unitPrice": placed.unit_price,
                "currency": placed.currency.as_str(),
                "expiresAt": rfc3339(placed.expires_at),
                "hasKey": !placed.key.is_none(),
            }),
        ),
        Fact::Queued(queued) => (
            "queued",
            json!({
                "order": queued.order.to_string(),
                "product": queued.product.to_string(),
                "buyer": queued.buyer.to_string(),
                "quantity": queued.quantity.get(),
                "unitPrice": queued.unit_price,
                "currency": queued.currency.as_str(),
                "position": queued.position,
                "hasKey": !queued.key.is_none(),
            }),
        ),
        Fact::Paid { order, product, quantity } => (
            "paid",
            json!({
                "order": order.to_string(),
                "product": product.to_string(),
                "quantity": quantity.get(),
            }),
        ),
        Fact::Cancelled(released) | Fact::Expired(released) => (
            if matches!(fact, Fact::Expired(_)) { "expired" } else { "cancelled" },
            json!({
                "order": released.order.to_string(),
                "product": released.product.to_string(),
                "quantity": released.quantity.get(),
                "served": served(&released.matched),
            }),
        ),
        Fact::Defined { product, terms, matched } => {
            let mut fields = json!({ "product": product.to_string(), "served": served(matched) });
            fields.as_object_mut().expect("it is an object").extend(describe_terms(terms));
            ("defined", fields)
        }
        Fact::Restocked { product, units, matched } => (
            "restocked",
            json!({ "product": product.to_string(), "units": units, "served": served(matched) }),
        ),
        Fact::Withdrawn { product, units } => {
            ("withdrawn", json!({ "product": product.to_string(), "units": units }))
        }
        Fact::StateSet { product, state } => (
            "state-set",
            json!({
                "product": product.to_string(),
                "state": format!("{state:?}").to_lowercase(),
            }),
        ),
        Fact::Acknowledged { consumer, through } => {
            ("acknowledged", json!({ "consumer": consumer, "through": through.get() }))
        }
    };
    match fields {
        Value::Object(fields) => (kind, fields),
        other => unreachable!("fields are an object, not {other}"),
    }
}

fn describe_terms(terms: &Terms) -> Map<String, Value> {
    let fields = json!({
        "price": terms.price,
        "currency": terms.currency.as_str(),
        "stock": terms.stock,
        "opensAt": optional(terms.opens_at),
        "closesAt": optional(terms.closes_at),
        "limitPerUser": terms.limit_per_buyer,
        "holdSeconds": terms.hold_seconds,
        "waitlistCapacity": terms.waitlist_capacity,
    });
    match fields {
        Value::Object(fields) => fields,
        other => unreachable!("terms are an object, not {other}"),
    }
}

fn served(matched: &Matched) -> Value {
    if matched.orders.is_empty() {
        return Value::Null;
    }
    matched.orders.iter().map(ToString::to_string).collect()
}
