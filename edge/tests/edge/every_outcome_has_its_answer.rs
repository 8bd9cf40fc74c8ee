//! The outcome table of the contract, row by row.

use super::fake_engine::Reaction;
use super::shop::{AT, Shop, order, order_view, product};
use doorbuster_protocol::command::{Ask, Command};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{IdempotencyKey, Outcome, Quantity};
use serde_json::{Value, json};

const FLASH: &str = "/orders/flash-sale/shoe";

#[test]
fn a_hold_is_created() {
    let shop = Shop::answering(Outcome::Placed(order_view(OrderStatus::Pending)));
    let body = r#"{"productId": "shoe", "quantity": 2}"#;
    let answer = shop.ask_with(
        "POST",
        FLASH,
        "ann",
        &[("idempotency-key", "k"), ("x-request-id", "r-1")],
        Some(body),
    );
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("location"), Some(format!("/orders/{}", order(1)).as_str()));
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    assert_eq!(answer.header("idempotency-replayed"), None);
    assert_eq!(
        answer.json(),
        json!({
            "orderId": order(1).to_string(), "status": "pending",
            "productId": product("shoe").to_string(), "quantity": 2, "unitPrice": 1999,
            "totalAmount": 3998, "currency": "USD", "createdAt": "2030-03-17T17:46:40Z",
            "expiresAt": "2030-03-17T17:56:40Z",
        })
    );
    let [asked] = shop.engine.asked()[..] else { panic!("one question") };
    let Ask::Command(Command::Place(place)) = asked.ask else { panic!("{asked:?}") };
    assert_eq!(place.product, product("shoe"));
    assert_eq!(place.buyer, super::shop::buyer("ann"));
    assert_eq!(place.quantity, Quantity::new(2).unwrap());
    assert_eq!(place.key, IdempotencyKey::new(place.buyer, place.product, b"k"));
    assert!(!place.waitlist);
    assert!(!asked.deadline.is_none(), "the deadline travels with the request");
}

#[test]
fn a_replay_is_answered_as_the_first_time() {
    let view = order_view(OrderStatus::Pending);
    let shop = Shop::answering(Outcome::Placed(view));
    let ask = || {
        let key = [("idempotency-key", "k")];
        shop.ask_with("POST", FLASH, "ann", &key, Some(r#"{"quantity": 2}"#))
    };
    let first = ask();
    shop.engine.script(move |_| Reaction::Answer(Outcome::Replayed(view)));
    let again = ask();
    assert_eq!(again.status, 201);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    let queued = order_view(OrderStatus::Queued);
    shop.engine.script(move |_| Reaction::Answer(Outcome::Replayed(queued)));
    assert_eq!(ask().status, 202);
}

#[test]
fn a_place_on_the_waitlist_is_accepted() {
    let shop = Shop::answering(Outcome::Queued(order_view(OrderStatus::Queued)));
    let answer = shop.ask("POST", FLASH, "ann", Some(r#"{"quantity": 2, "waitlist": true}"#));
    assert_eq!(answer.status, 202);
    let document = answer.json();
    assert_eq!(document["status"], "queued");
    assert_eq!(document["position"], 7);
    assert_eq!(document["productId"], product("shoe").to_string());
    assert_eq!(document["quantity"], 2);
}

#[test]
fn an_order_of_items_acts_as_the_flash_sale_route() {
    let shop = Shop::answering(Outcome::Placed(order_view(OrderStatus::Pending)));
    let line = r#"{"productId": "shoe", "quantity": 1}"#;
    let answer =
        shop.ask("POST", "/orders", "ann", Some(&format!(r#"{{"items": [{line}, {line}]}}"#)));
    assert_eq!(answer.status, 201);
    let [asked] = shop.engine.asked()[..] else { panic!("one question") };
    let Ask::Command(Command::Place(place)) = asked.ask else { panic!("{asked:?}") };
    assert_eq!((place.product, place.quantity.get()), (product("shoe"), 2));
    let other = r#"{"productId": "hat", "quantity": 1}"#;
    let answer =
        shop.ask("POST", "/orders", "ann", Some(&format!(r#"{{"items": [{line}, {other}]}}"#)));
    assert_eq!((answer.status, answer.code()), (422, "unsupported".to_owned()));
    assert_eq!(shop.engine.asked().len(), 1, "it did not reach the engine");
}

#[test]
fn refusals_have_their_status_code_and_headers() {
    let shop = Shop::answering(Outcome::SoldOut);
    let check = |outcome: Outcome, status: u16, code: &str, retries: bool, opens_at: Value| {
        shop.engine.script(move |_| Reaction::Answer(outcome));
        let answer = shop.ask("POST", FLASH, "ann", Some(r#"{"quantity": 1}"#));
        assert_eq!(answer.status, status, "{outcome:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let document = answer.json();
        for name in ["type", "title", "detail", "requestId"] {
            assert!(document[name].is_string(), "{outcome:?}: {name}");
        }
        assert_eq!(document["requestId"], answer.header("x-request-id").unwrap());
        assert_eq!(document["status"], status);
        assert_eq!(document["code"], code);
        assert_eq!(answer.header("retry-after").is_some(), retries, "{outcome:?}");
        assert_eq!(document["opensAt"], opens_at, "{outcome:?}");
    };
    let at = json!("2030-03-17T17:46:40Z");
    check(Outcome::SoldOut, 409, "sold-out", false, Value::Null);
    check(Outcome::LimitExceeded { limit: 1 }, 409, "purchase-limit", false, Value::Null);
    check(Outcome::NotOpen { opens_at: AT }, 409, "sale-not-open", true, at.clone());
    check(Outcome::Paused { opens_at: AT }, 409, "sale-paused", true, at);
    check(Outcome::Ended { closes_at: AT }, 410, "sale-ended", false, Value::Null);
    check(Outcome::ProductNotFound, 404, "product-not-found", false, Value::Null);
    check(Outcome::KeyMismatch, 422, "idempotency-mismatch", false, Value::Null);
    check(Outcome::Full, 503, "overloaded", true, Value::Null);
    check(Outcome::Overloaded, 503, "overloaded", true, Value::Null);
    check(Outcome::Unavailable, 503, "unavailable", true, Value::Null);
    check(Outcome::DeadlinePassed, 503, "timeout", true, Value::Null);
    let view = order_view(OrderStatus::Pending);
    check(Outcome::Order(view), 500, "internal", false, Value::Null);
}

#[test]
fn attempts_are_counted_by_status_and_type() {
    let shop = Shop::answering(Outcome::Placed(order_view(OrderStatus::Pending)));
    shop.ask("POST", FLASH, "ann", Some(r#"{"quantity": 1}"#));
    shop.engine.script(|_| Reaction::Answer(Outcome::SoldOut));
    shop.ask("POST", FLASH, "ann", Some(r#"{"quantity": 1}"#));
    let items = r#"{"items": [{"productId": "shoe", "quantity": 1}]}"#;
    shop.ask("POST", "/orders", "ann", Some(items));
    let seen = shop.edge.metrics().snapshot();
    let orders: Vec<_> = seen.orders.iter().map(|o| (o.status, o.kind, o.count)).collect();
    assert_eq!(
        orders,
        [("pending", "flash-sale", 1), ("sold-out", "flash-sale", 1), ("sold-out", "regular", 1)]
    );
    assert_eq!(seen.order_duration.buckets.iter().sum::<u64>(), 3);
    let created = seen.requests.iter().find(|r| r.code == 201).unwrap();
    assert_eq!((created.route, created.count), ("/orders/flash-sale/{product}", 1));
}
