//! The documents, field by field.

use super::*;
use doorbuster_persistence::OrderItem;
use doorbuster_protocol::{BuyerId, Currency, OrderId, Quantity, Sequence};
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

fn view(status: OrderStatus, position: u32) -> OrderView {
    OrderView {
        order: OrderId::from_bytes([1; 16]),
        product: ProductId::from_bytes([2; 16]),
        buyer: BuyerId::from_bytes([3; 16]),
        quantity: Quantity::new(3).unwrap(),
        status,
        currency: Currency::USD,
        unit_price: 1_999,
        created_at: AT,
        updated_at: AT.plus_seconds(1),
        expires_at: if position > 0 { Timestamp::NONE } else { AT.plus_seconds(600) },
        position,
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn id(byte: u8) -> String {
    OrderId::from_bytes([byte; 16]).to_string()
}

#[test]
fn a_hold_is_answered_as_the_contract_says() {
    assert_eq!(
        parsed(&placed(&view(OrderStatus::Pending, 0))),
        json!({
            "orderId": id(1), "status": "pending", "productId": id(2), "quantity": 3,
            "unitPrice": 1999, "totalAmount": 5997, "currency": "USD",
            "createdAt": "2030-03-17T17:46:40Z", "expiresAt": "2030-03-17T17:56:40Z",
        })
    );
}

#[test]
fn a_place_on_the_waitlist_has_a_position() {
    assert_eq!(
        parsed(&placed(&view(OrderStatus::Queued, 7))),
        json!({
            "orderId": id(1), "status": "queued", "position": 7, "productId": id(2), "quantity": 3,
            "unitPrice": 1999, "totalAmount": 5997, "currency": "USD",
            "createdAt": "2030-03-17T17:46:40Z",
        })
    );
}

#[test]
fn an_order_is_the_same_from_engine_and_store() {
    let view = view(OrderStatus::Paid, 0);
    let row = OrderRow {
        order: view.order,
        buyer: view.buyer,
        total_amount: view.total(),
        currency: view.currency,
        status: view.status,
        created_at: view.created_at,
        updated_at: view.updated_at,
        expires_at: view.expires_at,
        version: Sequence::new(1),
        items: vec![OrderItem {
            product: view.product,
            quantity: view.quantity,
            unit_price: view.unit_price,
        }],
    };
    assert_eq!(order(&view), stored_order(&row));
    assert_eq!(status(&view), stored_status(&row));
    let document = parsed(&order(&view));
    assert_eq!(document["userId"], id(3));
    assert_eq!(document["updatedAt"], "2030-03-17T17:46:41Z");
    let page = parsed(&orders(std::slice::from_ref(&row), Some("abc".to_owned())));
    assert_eq!(page, json!({"orders": [document], "nextCursor": "abc"}));
    assert_eq!(parsed(&orders(&[], None)), json!({"orders": [], "nextCursor": null}));
}

#[test]
fn a_product_tells_limits_units_and_words() {
    let view = ProductView {
        product: ProductId::from_bytes([2; 16]),
        price: 1_999,
        currency: Currency::USD,
        state: SaleState::Paused,
        opens_at: AT,
        closes_at: Timestamp::NONE,
        stock: 10,
        available: 5,
        held: 3,
        sold: 2,
        limit_per_buyer: 0,
        hold_seconds: 600,
        waitlist_capacity: 20,
        waitlist_length: 4,
    };
    let words = Words { name: Some("A \"shoe\""), description: None };
    assert_eq!(
        parsed(&product(&view, words)),
        json!({
            "productId": id(2), "name": "A \"shoe\"", "description": null, "price": 1999,
            "currency": "USD", "state": "paused", "opensAt": "2030-03-17T17:46:40Z",
            "closesAt": null, "limitPerUser": null, "holdSeconds": 600, "waitlistCapacity": 20,
            "stock": 10, "available": 5, "held": 3, "sold": 2, "waitlistLength": 4,
        })
    );
}

#[test]
fn sales_count_down_by_the_servers_clock() {
    let row = |state, opens_at, closes_at| ProductRow {
        product: ProductId::from_bytes([2; 16]),
        name: None,
        description: None,
        price: 1,
        currency: Currency::USD,
        stock: 10,
        state,
        opens_at,
        closes_at,
        limit_per_buyer: 1,
        hold_seconds: 60,
        waitlist_capacity: 0,
        created_at: AT,
        updated_at: AT,
        version: Sequence::new(1),
    };
    let check = |row: ProductRow, phase: &str, starts_in: Value, ends_in: Value| {
        let page = parsed(&flash_sales(&[(row, None)], AT, None));
        assert_eq!(page["serverTime"], "2030-03-17T17:46:40Z");
        let sale = &page["products"][0];
        assert_eq!(sale["phase"], phase);
        assert_eq!(sale["startsIn"], starts_in);
        assert_eq!(sale["endsIn"], ends_in);
        assert_eq!(sale["available"], Value::Null, "nobody could tell");
    };
    let none = Timestamp::NONE;
    check(row(SaleState::Open, none, none), "open", json!(0), Value::Null);
    check(row(SaleState::Open, AT, AT.plus_micros(1)), "open", json!(0), json!(1));
    check(row(SaleState::Open, AT.plus_micros(1), none), "upcoming", json!(1), Value::Null);
    let later = AT.plus_seconds(60);
    check(row(SaleState::Open, later, later.plus_seconds(1)), "upcoming", json!(60), json!(61));
    check(row(SaleState::Paused, none, none), "paused", json!(0), Value::Null);
}
