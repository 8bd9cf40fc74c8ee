//! What a server told, in the words of a history: nothing is added, and nothing is left out.

use crate::answer::{Answer, Failure};
use doorbuster_history::answer::{Answer as Told, OrderSeen, ProductSeen, Refusal};
use doorbuster_history::ids::{BuyerId, KeyId, OrderId, ProductId};
use doorbuster_history::rfc3339;
use doorbuster_history::terms::{Currency, SaleState, Status, Terms};
use doorbuster_protocol::command::SaleState as EngineState;
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{self as protocol, IdempotencyKey};
use serde::Deserialize;
use std::borrow::Cow;

/// A product, as histories name it.
pub fn product(id: protocol::ProductId) -> ProductId {
    ProductId::new(u128::from_be_bytes(*id.as_bytes()))
}

/// A buyer, as histories name them.
pub fn buyer(id: protocol::BuyerId) -> BuyerId {
    BuyerId::new(u128::from_be_bytes(*id.as_bytes()))
}

pub(crate) fn order(id: protocol::OrderId) -> OrderId {
    OrderId::new(u128::from_be_bytes(*id.as_bytes()))
}

/// A key, as histories name it; `None` for no key.
pub fn key(key: IdempotencyKey) -> Option<KeyId> {
    (!key.is_none()).then(|| KeyId::new(u128::from_be_bytes(*key.as_bytes())))
}

/// `None` for what happens after the sale, of which a history knows nothing.
fn status(status: OrderStatus) -> Option<Status> {
    match status {
        OrderStatus::Queued => Some(Status::Queued),
        OrderStatus::Pending => Some(Status::Pending),
        OrderStatus::Paid => Some(Status::Paid),
        OrderStatus::Cancelled => Some(Status::Cancelled),
        OrderStatus::Expired => Some(Status::Expired),
        OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Refunded => None,
    }
}

fn currency(currency: protocol::Currency) -> Option<Currency> {
    Currency::parse(currency.as_str())
}

/// An order as the engine itself tells it.
pub(crate) fn order_of_view(view: &OrderView) -> Option<OrderSeen> {
    Some(OrderSeen {
        order: order(view.order),
        status: status(view.status)?,
        product: Some(product(view.product)),
        buyer: Some(buyer(view.buyer)),
        quantity: Some(view.quantity.get()),
        unit_price: Some(view.unit_price),
        created_us: Some(view.created_at.micros()),
        updated_us: Some(view.updated_at.micros()),
        expires_us: Some(view.expires_at.micros()),
        position: Some(view.position),
    })
}

/// A product as the engine itself tells it.
pub(crate) fn product_of_view(view: &ProductView) -> Option<ProductSeen> {
    Some(ProductSeen {
        product: product(view.product),
        terms: Terms {
            price: view.price,
            currency: currency(view.currency)?,
            stock: view.stock,
            opens_us: view.opens_at.micros(),
            closes_us: view.closes_at.micros(),
            limit_per_buyer: view.limit_per_buyer,
            hold_seconds: view.hold_seconds,
            waitlist_capacity: view.waitlist_capacity,
        },
        state: match view.state {
            EngineState::Open => SaleState::Open,
            EngineState::Paused => SaleState::Paused,
        },
        available: view.available,
        held: view.held,
        sold: view.sold,
        waiting: view.waitlist_length,
    })
}

/// The document of an order over HTTP: which fields it has depends on what was asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderBody<'a> {
    order_id: OrderId,
    status: Status,
    product_id: Option<ProductId>,
    user_id: Option<BuyerId>,
    quantity: Option<u32>,
    unit_price: Option<u64>,
    #[serde(borrow)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    updated_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expires_at: Option<Cow<'a, str>>,
    position: Option<u32>,
}

/// An order as an edge tells it; `None` for what is no such document.
pub fn order_of_body(body: &[u8]) -> Option<OrderSeen> {
    let body: OrderBody<'_> = serde_json::from_slice(body).ok()?;
    let time = |text: Option<Cow<'_, str>>| match text {
        None => Some(None),
        Some(text) => rfc3339::parse(&text).map(Some),
    };
    Some(OrderSeen {
        order: body.order_id,
        status: body.status,
        product: body.product_id,
        buyer: body.user_id,
        quantity: body.quantity,
        unit_price: body.unit_price,
        created_us: time(body.created_at)?,
        updated_us: time(body.updated_at)?,
        // An order that waits has no deadline, and the document may not say so.
        expires_us: time(body.expires_at)?,
        position: body.position,
    })
}

/// The document of a product over HTTP.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProductBody<'a> {
    product_id: ProductId,
    price: u64,
    currency: Currency,
    state: SaleState,
    #[serde(borrow)]
    opens_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    closes_at: Option<Cow<'a, str>>,
    limit_per_user: Option<u32>,
    hold_seconds: u32,
    waitlist_capacity: u32,
    stock: u32,
    available: u32,
    held: u32,
    sold: u32,
    waitlist_length: u32,
}

/// A product as an edge tells it; `None` for what is no such document.
pub(crate) fn product_of_body(body: &[u8]) -> Option<ProductSeen> {
    let body: ProductBody<'_> = serde_json::from_slice(body).ok()?;
    let time = |text: Option<Cow<'_, str>>| match text {
        None => Some(0),
        Some(text) => rfc3339::parse(&text),
    };
    Some(ProductSeen {
        product: body.product_id,
        terms: Terms {
            price: body.price,
            currency: body.currency,
            stock: body.stock,
            opens_us: time(body.opens_at)?,
            closes_us: time(body.closes_at)?,
            limit_per_buyer: body.limit_per_user.unwrap_or(0),
            hold_seconds: body.hold_seconds,
            waitlist_capacity: body.waitlist_capacity,
        },
        state: body.state,
        available: body.available,
        held: body.held,
        sold: body.sold,
        waiting: body.waitlist_length,
    })
}

/// An answer about an order; `seen` is what was told of it.
pub(crate) fn answer(answer: &Answer, seen: Option<OrderSeen>) -> Told {
    match answer {
        Answer::Order { replayed, .. } => match seen {
            Some(seen) => Told::Order { seen: Box::new(seen), replayed: *replayed },
            None => Told::Unknown,
        },
        Answer::Refused(code) => Told::Refused(refusal(code)),
        Answer::Failed(failure) => failed(failure),
    }
}

/// An answer that is none, or says that nothing was done.
pub(crate) fn failed(failure: &Failure) -> Told {
    match failure.nothing_was_done {
        true => Told::NotDone(failure.code.clone().into_owned()),
        false => Told::Unknown,
    }
}

fn refusal(code: &str) -> Refusal {
    match code {
        "sold-out" => Refusal::SoldOut,
        "purchase-limit" => Refusal::PurchaseLimit,
        "sale-not-open" => Refusal::SaleNotOpen,
        "sale-paused" => Refusal::SalePaused,
        "sale-ended" => Refusal::SaleEnded,
        "product-not-found" => Refusal::ProductNotFound,
        "order-not-found" => Refusal::OrderNotFound,
        "order-final" => Refusal::OrderFinal(None),
        "order-queued" => Refusal::OrderQueued,
        "idempotency-mismatch" => Refusal::IdempotencyMismatch,
        other => Refusal::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_as_far_as_they_go() {
        let id = "018bcfe5-6800-8003-8000-0000000000ab";
        let body = format!(
            r#"{{"orderId":"{id}","status":"queued","position":3,"productId":"{id}","quantity":2,
            "unitPrice":5,"totalAmount":10,"currency":"USD","createdAt":"2024-02-29T23:59:59.999Z"}}"#
        );
        let seen = order_of_body(body.as_bytes()).expect("an order");
        assert_eq!((seen.status, seen.position, seen.quantity), (Status::Queued, Some(3), Some(2)));
        assert_eq!(seen.created_us, Some(1_709_251_199_999_000));
        assert_eq!((seen.expires_us, seen.updated_us, seen.buyer), (None, None, None));
        let status = format!(r#"{{"orderId":"{id}","status":"paid","expiresAt":null}}"#);
        assert!(order_of_body(status.as_bytes()).is_some());
        let later = format!(r#"{{"orderId":"{id}","status":"shipped"}}"#);
        assert_eq!(order_of_body(later.as_bytes()), None);

        let body = format!(
            r#"{{"productId":"{id}","name":"x","description":null,"price":5,"currency":"USD",
            "state":"paused","opensAt":"2024-02-29T23:59:59.999Z","closesAt":null,
            "limitPerUser":null,"holdSeconds":9,"waitlistCapacity":8,"stock":7,"available":4,
            "held":2,"sold":1,"waitlistLength":0}}"#
        );
        let seen = product_of_body(body.as_bytes()).expect("a product");
        assert_eq!(seen.terms.opens_us, 1_709_251_199_999_000);
        assert_eq!((seen.terms.closes_us, seen.terms.limit_per_buyer), (0, 0));
        assert_eq!((seen.state, seen.available, seen.held), (SaleState::Paused, 4, 2));
    }

    #[test]
    fn what_may_have_been_done_is_unknown() {
        let lost = Answer::Failed(Failure::DISCONNECTED);
        assert_eq!(answer(&lost, None), Told::Unknown);
        let busy = Answer::Failed(Failure::not_done("overloaded"));
        assert_eq!(answer(&busy, None), Told::NotDone("overloaded".to_owned()));
        let refused = |code: &'static str| answer(&Answer::Refused(code.into()), None);
        assert_eq!(refused("sold-out"), Told::Refused(Refusal::SoldOut));
        assert_eq!(refused("teapot"), Told::Refused(Refusal::Other("teapot".to_owned())));
    }
}
