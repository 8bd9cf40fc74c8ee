//! Events of a log as lines: text for eyes, JSON for programs.

use doorbuster_engine::log::inspect::LoggedEvent;
use doorbuster_protocol::event::{Fact, Matched, Terms};
use doorbuster_protocol::{IdempotencyKey, PartitionId, Timestamp};
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
                "waitlist": placed.waitlist,
                "key": key(placed.key),
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
                "key": key(queued.key),
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
                "servedUntil": optional(released.matched.expires_at),
            }),
        ),
        Fact::Defined { product, terms, matched } => {
            let mut fields = json!({
                "product": product.to_string(),
                "served": served(matched),
                "servedUntil": optional(matched.expires_at),
            });
            fields.as_object_mut().expect("it is an object").extend(describe_terms(terms));
            ("defined", fields)
        }
        Fact::Restocked { product, units, matched } => (
            "restocked",
            json!({
                "product": product.to_string(),
                "units": units,
                "served": served(matched),
                "servedUntil": optional(matched.expires_at),
            }),
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

/// The hash that stands for a key: 32 hex digits, or nothing when no key was sent.
fn key(key: IdempotencyKey) -> Value {
    if key.is_none() {
        return Value::Null;
    }
    Value::String(format!("{:032x}", u128::from_be_bytes(*key.as_bytes())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_history::event as told;
    use doorbuster_history::ids::{
        BuyerId as Buyer, KeyId, OrderId as Order, ProductId as Product,
    };
    use doorbuster_history::terms;
    use doorbuster_protocol::command::SaleState;
    use doorbuster_protocol::event::{Event, Placed, Queued, Released};
    use doorbuster_protocol::{BuyerId, Currency, OrderId, ProductId, Quantity, Sequence};

    const AT_US: u64 = 1_700_000_000_000_001;

    /// The line of a fact, as whoever judges histories reads it.
    fn check(fact: Fact, want: told::Fact) {
        let event = Event { at: Timestamp::from_micros(AT_US), fact };
        let (sequence, file) = (Sequence::new(7), std::path::PathBuf::new());
        let logged = LoggedEvent { sequence, event, file, offset: 0 };
        let partition = PartitionId::new(3).expect("in range");
        let line = json(partition, &logged).to_string();
        let read = doorbuster_history::log_lines::read(line.as_bytes());
        let read = read.unwrap_or_else(|error| panic!("{error}: {line}"));
        let position = doorbuster_history::ids::Position { partition: 3, sequence: 7 };
        assert_eq!(read, [told::Event { position, at_us: AT_US, fact: want }], "{line}");
        assert!(text(partition, &logged).contains(read[0].fact.word()));
    }

    #[test]
    fn lines_say_all_that_there_is() {
        let order = OrderId::from_bytes(0xA1u128.to_be_bytes());
        let product = ProductId::from_bytes(0xB2u128.to_be_bytes());
        let buyer = BuyerId::from_bytes(0xC3u128.to_be_bytes());
        let key = IdempotencyKey::from_bytes(0xD4u128.to_be_bytes());
        let (a_product, quantity) = (Product::new(0xB2), Quantity::new(2).expect("in range"));
        let until = |micros| Timestamp::from_micros(AT_US + micros);
        let placed = Placed {
            order,
            product,
            buyer,
            key,
            quantity,
            unit_price: 5,
            currency: Currency::USD,
            expires_at: until(9),
            waitlist: true,
        };
        let ordered = told::Ordered {
            order: Order::new(0xA1),
            product: a_product,
            buyer: Buyer::new(0xC3),
            key: Some(KeyId::new(0xD4)),
            quantity: 2,
            unit_price: 5,
            currency: terms::Currency::USD,
            waitlist: true,
            standing: told::Standing::Held { expires_us: AT_US + 9 },
        };
        check(Fact::Placed(placed), told::Fact::Ordered(ordered));
        let queued = Queued {
            order,
            product,
            buyer,
            key: IdempotencyKey::NONE,
            quantity,
            unit_price: 5,
            currency: Currency::USD,
            position: 4,
        };
        let standing = told::Standing::Waiting { position: 4 };
        let waits = told::Ordered { key: None, standing, ..ordered };
        check(Fact::Queued(queued), told::Fact::Ordered(waits));

        let matched = Matched { orders: vec![order], expires_at: until(3) };
        let served = told::Served { orders: vec![Order::new(0xA1)], expires_us: AT_US + 3 };
        let release =
            |matched: &Matched| Released { order, product, quantity, matched: matched.clone() };
        let released = |served: &told::Served| told::Released {
            order: Order::new(0xA1),
            product: a_product,
            quantity: 2,
            served: served.clone(),
        };
        check(Fact::Cancelled(release(&matched)), told::Fact::Cancelled(released(&served)));
        let (nobody, none) = (Matched::default(), told::Served::default());
        check(Fact::Expired(release(&nobody)), told::Fact::Expired(released(&none)));
        check(
            Fact::Paid { order, product, quantity },
            told::Fact::Paid { order: Order::new(0xA1), product: a_product, quantity: 2 },
        );
        check(
            Fact::Restocked { product, units: 6, matched: matched.clone() },
            told::Fact::Restocked { product: a_product, units: 6, served: served.clone() },
        );
        check(
            Fact::Withdrawn { product, units: 6 },
            told::Fact::Withdrawn { product: a_product, units: 6 },
        );
        check(
            Fact::StateSet { product, state: SaleState::Paused },
            told::Fact::StateSet { product: a_product, state: terms::SaleState::Paused },
        );
        check(
            Fact::Acknowledged { consumer: 1, through: Sequence::new(6) },
            told::Fact::Acknowledged { consumer: 1, through: 6 },
        );
        let of_product = Terms {
            price: 1,
            currency: Currency::USD,
            stock: 2,
            opens_at: Timestamp::NONE,
            closes_at: until(8),
            limit_per_buyer: 3,
            hold_seconds: 4,
            waitlist_capacity: 5,
        };
        let terms = terms::Terms {
            price: 1,
            currency: terms::Currency::USD,
            stock: 2,
            opens_us: 0,
            closes_us: AT_US + 8,
            limit_per_buyer: 3,
            hold_seconds: 4,
            waitlist_capacity: 5,
        };
        check(
            Fact::Defined { product, terms: of_product, matched },
            told::Fact::Defined { product: a_product, terms, served },
        );
    }
}
