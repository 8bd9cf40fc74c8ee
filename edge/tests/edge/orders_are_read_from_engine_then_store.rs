//! Orders after their making: read, paid, cancelled, listed; the engine first, then the store.

use super::fake_engine::{PARTITIONS, Reaction};
use super::shop::{AT, Shop, buyer, order, order_view, partition, product};
use doorbuster_persistence::{OrderItem, OrderRow};
use doorbuster_protocol::command::{Ask, Command, Read};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Currency, OrderId, Outcome, Quantity, Sequence};
use std::sync::atomic::Ordering::SeqCst;

fn row(sequence: u64, status: OrderStatus) -> OrderRow {
    OrderRow {
        order: order(sequence),
        buyer: buyer("ann"),
        total_amount: 3_998,
        currency: Currency::USD,
        status,
        created_at: AT.plus_seconds(sequence as u32),
        updated_at: AT.plus_seconds(sequence as u32),
        expires_at: AT.plus_seconds(600),
        version: Sequence::new(sequence),
        items: vec![OrderItem {
            product: product("shoe"),
            quantity: Quantity::new(2).unwrap(),
            unit_price: 1_999,
        }],
    }
}

#[test]
fn the_engine_is_asked_first_and_told_who_asks() {
    let shop = Shop::answering(Outcome::Order(order_view(OrderStatus::Queued)));
    let answer = shop.ask("GET", &format!("/orders/{}", order(1)), "ann", None);
    assert_eq!(answer.status, 200);
    let document = answer.json();
    assert_eq!(document["userId"], buyer("ann").to_string());
    assert_eq!(document["position"], 7);
    assert_eq!(document["updatedAt"], "2030-03-17T17:46:40Z");
    let status = shop.ask("GET", &format!("/orders/{}/status", order(1)), "admin", None).json();
    assert_eq!(status["status"], "queued");
    assert_eq!(status.get("totalAmount"), None);
    let asked = shop.engine.asked();
    let read = |buyer| Ask::Read(Read::Order { order: order(1), buyer });
    assert_eq!(asked[0].ask, read(Some(buyer("ann"))));
    assert_eq!(asked[1].ask, read(None), "an administrator sees everybody's");
    assert_eq!(asked[0].partition, order(1).partition());
}

#[test]
fn the_store_answers_for_what_the_engine_let_go() {
    let shop = Shop::answering(Outcome::OrderNotFound);
    shop.store.orders.lock().unwrap().push(row(1, OrderStatus::Shipped));
    let path = format!("/orders/{}", order(1));
    let found = shop.ask("GET", &path, "ann", None);
    assert_eq!((found.status, found.json()["status"].as_str()), (200, Some("shipped")));
    assert_eq!(shop.ask("GET", &path, "admin", None).status, 200);
    let check = |method: &str, path: &str, user: &str, status: u16, code: &str| {
        let answer = shop.ask(method, path, user, None);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    };
    check("GET", &path, "bob", 404, "order-not-found");
    check("GET", &format!("/orders/{}/status", order(2)), "ann", 404, "order-not-found");
    check("PUT", &format!("{path}/cancel"), "ann", 409, "order-final");
    check("PUT", &format!("{path}/cancel"), "bob", 404, "order-not-found");
    check("PUT", &format!("{path}/pay"), "admin", 409, "order-final");
    check("PUT", &format!("/orders/{}/pay", order(2)), "admin", 404, "order-not-found");
    shop.store.is_broken.store(true, SeqCst);
    check("GET", &path, "ann", 503, "unavailable");
}

#[test]
fn ids_that_are_none_are_told_from_orders_that_are_not_there() {
    let shop = Shop::answering(Outcome::OrderNotFound);
    let elsewhere = OrderId::new(AT, partition(PARTITIONS), buyer("ann"), Sequence::new(1));
    let check = |id: &str, status: u16, code: &str| {
        let answer = shop.ask("GET", &format!("/orders/{id}"), "ann", None);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{id}");
    };
    check("hello", 400, "invalid-request");
    check("6ba7b810-9dad-41d1-80b4-00c04fd430c8", 404, "order-not-found");
    let mut corrupt = order(1).to_string();
    corrupt.replace_range(35.., if corrupt.ends_with('0') { "1" } else { "0" });
    check(&corrupt, 404, "order-not-found");
    check(&elsewhere.to_string(), 404, "order-not-found");
    assert!(shop.engine.asked().is_empty(), "none of these reaches the engine");
    check(&order(1).to_string().to_uppercase(), 404, "order-not-found");
    assert_eq!(shop.engine.asked().len(), 1);
}

#[test]
fn orders_are_paid_and_cancelled() {
    let shop = Shop::open(|request| {
        Reaction::Answer(match request.ask {
            Ask::Command(Command::Confirm { .. }) => Outcome::Paid(order_view(OrderStatus::Paid)),
            Ask::Command(Command::Cancel { .. }) => {
                Outcome::Cancelled(order_view(OrderStatus::Cancelled))
            }
            _ => Outcome::Unavailable,
        })
    });
    let path = |action: &str| format!("/orders/{}/{action}", order(1));
    let paid = shop.ask("PUT", &path("pay"), "admin", None);
    assert_eq!((paid.status, paid.json()["status"].as_str()), (200, Some("paid")));
    let cancelled = shop.ask("PUT", &path("cancel"), "ann", Some("{}"));
    assert_eq!((cancelled.status, cancelled.json()["status"].as_str()), (200, Some("cancelled")));
    shop.ask("PUT", &path("cancel"), "admin", None);
    let asked = shop.engine.asked();
    let cancel = |buyer| Ask::Command(Command::Cancel { order: order(1), buyer });
    assert_eq!(asked[1].ask, cancel(Some(buyer("ann"))));
    assert_eq!(asked[2].ask, cancel(None));
    for (outcome, status, code) in [
        (Outcome::OrderFinal(OrderStatus::Expired), 409, "order-final"),
        (Outcome::NotPayable, 409, "order-queued"),
    ] {
        shop.engine.script(move |_| Reaction::Answer(outcome));
        let answer = shop.ask("PUT", &path("pay"), "admin", None);
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
}

#[test]
fn a_buyers_orders_are_listed_newest_first() {
    let shop = Shop::answering(Outcome::Unavailable);
    for sequence in 1..=5 {
        shop.store.orders.lock().unwrap().push(row(sequence, OrderStatus::Paid));
    }
    let mut seen = Vec::new();
    let mut path = "/orders/user/ann?limit=2".to_owned();
    loop {
        let page = shop.ask("GET", &path, "ann", None).json();
        for order in page["orders"].as_array().unwrap() {
            seen.push(order["orderId"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/orders/user/ann?cursor={cursor}&limit=2");
    }
    let expected: Vec<String> = (1..=5).rev().map(|sequence| order(sequence).to_string()).collect();
    assert_eq!(seen, expected);
    let by_id = format!("/orders/user/{}", buyer("ann"));
    assert_eq!(
        shop.ask("GET", &by_id, "admin", None).json()["orders"].as_array().unwrap().len(),
        5
    );
    let check = |query: &str, field: &str| {
        let answer = shop.ask("GET", &format!("/orders/user/ann?{query}"), "ann", None);
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["field"], field, "{query}");
    };
    check("limit=0", "limit");
    check("limit=101", "limit");
    check("limit=ten", "limit");
    check("cursor=abc", "cursor");
    check("cursor=%", "cursor");
    assert!(shop.engine.asked().is_empty(), "lists come from the store");
}
