//! Products: made, changed, read, listed.

use super::fake_engine::Reaction;
use super::shop::{AT, Shop, level, product, product_view};
use doorbuster_persistence::ProductRow;
use doorbuster_protocol::command::{Ask, Command, Define, Read, SaleState};
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{Currency, Outcome, Sequence, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;

fn row(name: &str, created: u32) -> ProductRow {
    ProductRow {
        product: product(name),
        name: Some(name.to_uppercase()),
        description: None,
        price: 1_999,
        currency: Currency::USD,
        stock: 100,
        state: SaleState::Open,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::NONE,
        limit_per_buyer: 2,
        hold_seconds: 600,
        waitlist_capacity: 20,
        created_at: AT.plus_seconds(created),
        updated_at: AT.plus_seconds(created),
        version: Sequence::new(1),
    }
}

/// An engine that knows no product until it is defined.
fn new_product(request: &doorbuster_protocol::Request) -> Reaction {
    Reaction::Answer(match request.ask {
        Ask::Read(Read::Product { .. }) => Outcome::ProductNotFound,
        _ => Outcome::Product(product_view()),
    })
}

#[test]
fn a_product_is_made_and_then_changed() {
    let shop = Shop::open(new_product);
    let body = r#"{"price": 1999, "stock": 100, "description": "Fast", "closesAt": null}"#;
    let made = shop.ask("PUT", "/products/shoe", "admin", Some(body));
    assert_eq!(made.status, 201);
    let document = made.json();
    assert_eq!(document["name"], "shoe", "a product that was made by name is called by it");
    assert_eq!(document["description"], "Fast");
    assert_eq!(document["available"], 40);
    assert_eq!(document["state"], "open");
    // The projector has not brought the product yet; what it is called is known all the same.
    shop.engine.script(|_| Reaction::Answer(Outcome::Product(product_view())));
    assert_eq!(shop.get("/products/shoe").json()["name"], "shoe");
    let asked = shop.engine.asked();
    let Ask::Command(Command::Define(terms)) = asked[1].ask else { panic!("{asked:?}") };
    let expected = Define {
        price: Some(1999),
        stock: Some(100),
        closes_at: Some(Timestamp::NONE),
        ..Define::new(product("shoe"))
    };
    assert_eq!(terms, expected);

    shop.store.products.lock().unwrap().push(ProductRow { name: None, ..row("shoe", 0) });
    shop.engine.script(|_| Reaction::Answer(Outcome::Product(product_view())));
    let changed = shop.ask("PUT", "/products/shoe", "admin", Some(r#"{"name": "Shoe"}"#));
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["name"], "Shoe");
    assert_eq!(changed.json()["description"], "Fast", "what is not named stays");
    let read = shop.get("/products/shoe");
    assert_eq!(read.json(), changed.json());
}

#[test]
fn words_that_could_not_be_stored_are_said_to_be_missing_and_come_with_a_retry() {
    let shop = Shop::open(new_product);
    let body = r#"{"price": 1999, "stock": 100}"#;
    shop.store.is_broken.store(true, SeqCst);
    let answer = shop.ask("PUT", "/products/shoe", "admin", Some(body));
    assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("The product's terms are set"), "{detail}");
    // By now the engine knows the product; it is called by its name nevertheless.
    shop.store.is_broken.store(false, SeqCst);
    shop.engine.script(|_| Reaction::Answer(Outcome::Product(product_view())));
    let again = shop.ask("PUT", "/products/shoe", "admin", Some(body));
    assert_eq!((again.status, again.json()["name"].clone()), (200, json!("shoe")));
    assert_eq!(shop.get("/products/shoe").json()["name"], "shoe");
}

#[test]
fn a_definition_that_does_not_fit_is_refused() {
    let shop = Shop::open(new_product);
    let check = |outcome: Outcome, body: &str, status: u16, code: &str, field: Value| {
        shop.engine.script(move |_| Reaction::Answer(outcome));
        let answer = shop.ask("PUT", "/products/shoe", "admin", Some(body));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{outcome:?}");
        assert_eq!(answer.json()["field"], field, "{outcome:?}");
    };
    let invalid = "invalid-request";
    check(Outcome::DefinitionIncomplete, "{}", 400, invalid, json!("price"));
    check(Outcome::DefinitionIncomplete, r#"{"price": 1}"#, 400, invalid, json!("stock"));
    check(Outcome::WindowReversed, "{}", 400, invalid, json!("closesAt"));
    check(Outcome::CurrencyFixed, "{}", 409, "currency-fixed", Value::Null);
    check(Outcome::StockCommitted { committed: 9 }, "{}", 409, "stock-committed", Value::Null);
    check(Outcome::Full, "{}", 503, "overloaded", Value::Null);
    let asked = shop.engine.asked().len();
    check(Outcome::Full, r#"{"prise": 1}"#, 400, invalid, json!("prise"));
    check(Outcome::Full, r#"{"price": -1}"#, 400, invalid, json!("price"));
    assert_eq!(shop.engine.asked().len(), asked, "these do not reach the engine");
}

#[test]
fn inventory_and_state_answer_the_product() {
    let shop = Shop::answering(Outcome::Product(product_view()));
    let check = |path: &str, body: &str, command: Command| {
        let answer = shop.ask("PUT", path, "admin", Some(body));
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.json()["sold"], 50);
        assert_eq!(shop.engine.asked().last().unwrap().ask, Ask::Command(command));
    };
    let product = product("shoe");
    let inventory = "/products/shoe/inventory";
    check(inventory, r#"{"add": 500}"#, Command::Restock { product, units: 500 });
    check(inventory, r#"{"withdraw": 20}"#, Command::Withdraw { product, units: 20 });
    let state = SaleState::Paused;
    check("/products/shoe/state", r#"{"state": "paused"}"#, Command::SetState { product, state });
    shop.engine.script(|_| Reaction::Answer(Outcome::StockCommitted { committed: 60 }));
    let answer = shop.ask("PUT", inventory, "admin", Some(r#"{"withdraw": 90}"#));
    assert_eq!((answer.status, answer.code()), (409, "stock-committed".to_owned()));
    assert_eq!(answer.json()["committed"], 60);
    shop.engine.script(|_| Reaction::Answer(Outcome::StockTooLarge));
    let answer = shop.ask("PUT", inventory, "admin", Some(r#"{"add": 900000000}"#));
    assert_eq!((answer.status, answer.json()["field"].clone()), (400, json!("add")));
}

#[test]
fn a_product_is_read_without_the_store_too() {
    let shop = Shop::answering(Outcome::Product(product_view()));
    shop.store.is_broken.store(true, SeqCst);
    let answer = shop.get("/products/shoe");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["name"], Value::Null);
    assert_eq!(answer.json()["available"], 40);
    assert_eq!(shop.get("/products").status, 503);
    shop.engine.script(|_| Reaction::Answer(Outcome::ProductNotFound));
    let answer = shop.get("/products/hat");
    assert_eq!((answer.status, answer.code()), (404, "product-not-found".to_owned()));
    assert_eq!(shop.get("/products/a%20b").status, 400);
}

#[test]
fn lists_show_live_units_pushed_or_asked_for() {
    let shop = Shop::open(|request| {
        let Ask::Read(Read::Product { product }) = request.ask else { panic!("{request:?}") };
        Reaction::Answer(Outcome::Product(ProductView { product, available: 17, ..product_view() }))
    });
    for (index, name) in ["shoe", "hat", "bag"].into_iter().enumerate() {
        shop.store.products.lock().unwrap().push(row(name, index as u32));
    }
    shop.engine.push(level("hat", 3, true));
    let available = |page: &Value| -> Vec<(String, Value)> {
        let products = page["products"].as_array().unwrap().iter();
        products.map(|p| (p["name"].as_str().unwrap().to_owned(), p["available"].clone())).collect()
    };
    let expected = [("BAG", json!(17)), ("HAT", json!(3)), ("SHOE", json!(17))]
        .map(|(n, a)| (n.to_owned(), a));
    shop.wait(|shop| available(&shop.get("/products").json()) == expected);
    let first = shop.get("/products?limit=2").json();
    assert_eq!(available(&first), expected[..2]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = shop.get(&format!("/products?limit=2&cursor={cursor}")).json();
    assert_eq!(available(&second), expected[2..]);
    assert_eq!(second["nextCursor"], Value::Null);
    assert_eq!(shop.get("/products?cursor=xyz").json()["field"], "cursor");
}

#[test]
fn sales_that_are_over_are_not_listed() {
    let shop = Shop::answering(Outcome::Product(product_view()));
    let past = Timestamp::from_micros(1_000_000);
    for number in 0..250 {
        let mut row = row(&format!("p{number}"), number);
        if number % 10 != 0 {
            row.closes_at = past;
        } else if number == 240 {
            row.opens_at = Timestamp::from_micros(250_000_000_000_000_000);
        }
        shop.store.products.lock().unwrap().push(row);
    }
    let mut names = Vec::new();
    let mut path = "/products/flash-sale?limit=4".to_owned();
    loop {
        let page = shop.get(&path).json();
        assert!(page["serverTime"].is_string());
        for sale in page["products"].as_array().unwrap() {
            names.push(sale["name"].as_str().unwrap().to_owned());
            let is_upcoming = sale["name"] == "P240";
            assert_eq!(sale["phase"], if is_upcoming { "upcoming" } else { "open" });
            assert_eq!(sale["startsIn"] != 0, is_upcoming);
            assert_eq!(sale["endsIn"], Value::Null);
            assert_eq!(sale["available"], 40);
        }
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/products/flash-sale?limit=4&cursor={cursor}");
    }
    let expected: Vec<String> = (0..25).rev().map(|tenth| format!("P{}", tenth * 10)).collect();
    assert_eq!(names, expected);
}
