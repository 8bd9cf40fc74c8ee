//! Administrators' bodies that are taken, and the field that is named when one is not.

use super::*;

fn shoe() -> ProductId {
    ProductId::parse("shoe").unwrap()
}

fn refused_field(problem: &Problem) -> (String, String) {
    let document: serde_json::Value = serde_json::from_slice(&problem.document("r")).unwrap();
    assert_eq!(document["code"], "invalid-request");
    let member = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    (member("field"), member("detail"))
}

#[test]
fn a_whole_definition_is_taken() {
    let body = parse_definition(
        br#"{"name": "Shoe \u00e9", "description": "", "price": 1999, "currency": "EUR",
            "stock": 10, "opensAt": "2030-06-01T10:00:00Z", "closesAt": null, "limitPerUser": 2,
            "holdSeconds": 60, "waitlistCapacity": 5}"#,
        shoe(),
    )
    .unwrap();
    assert_eq!(body.name.as_deref(), Some("Shoe é"));
    assert_eq!(body.description.as_deref(), Some(""));
    let expected = Define {
        product: shoe(),
        price: Some(1999),
        currency: Currency::parse("EUR"),
        stock: Some(10),
        opens_at: parse_rfc3339("2030-06-01T10:00:00Z"),
        closes_at: Some(Timestamp::NONE),
        limit_per_buyer: Some(2),
        hold_seconds: Some(60),
        waitlist_capacity: Some(5),
    };
    assert_eq!(body.terms, expected);
}

#[test]
fn a_definition_may_say_little() {
    let body = parse_definition(b"{}", shoe()).unwrap();
    assert_eq!(body.terms, Define::new(shoe()));
    let body = parse_definition(br#"{"limitPerUser": null, "opensAt": null}"#, shoe()).unwrap();
    assert_eq!(body.terms.limit_per_buyer, Some(0));
    assert_eq!(body.terms.opens_at, Some(Timestamp::NONE));
}

#[test]
fn a_definition_that_is_refused_names_the_field() {
    let check = |body: &str, field: &str| {
        let problem = parse_definition(body.as_bytes(), shoe()).unwrap_err();
        assert_eq!(refused_field(&problem).0, field, "{body}");
    };
    for body in ["", "[]", "null", "{", r#"{"price": }"#, r#"{"a": 1} x"#] {
        check(body, "body");
    }
    check(r#"{"name": ""}"#, "name");
    check(r#"{"name": null}"#, "name");
    check(r#"{"name": 5}"#, "name");
    check(r#"{"name": "a\u0000b"}"#, "name");
    check(&format!(r#"{{"name": "{}"}}"#, "x".repeat(201)), "name");
    check(&format!(r#"{{"description": "{}"}}"#, "x".repeat(8_193)), "description");
    check(r#"{"price": -1}"#, "price");
    check(r#"{"price": 19.99}"#, "price");
    check(r#"{"price": "1999"}"#, "price");
    check(r#"{"price": 1000000000001}"#, "price");
    check(r#"{"currency": "usd"}"#, "currency");
    check(r#"{"currency": "USDT"}"#, "currency");
    check(r#"{"currency": 840}"#, "currency");
    check(r#"{"stock": -1}"#, "stock");
    check(r#"{"stock": 1000000001}"#, "stock");
    check(r#"{"opensAt": "tomorrow"}"#, "opensAt");
    check(r#"{"closesAt": 1893456000}"#, "closesAt");
    check(r#"{"limitPerUser": 1.5}"#, "limitPerUser");
    check(r#"{"holdSeconds": 0}"#, "holdSeconds");
    check(r#"{"holdSeconds": 604801}"#, "holdSeconds");
    check(r#"{"waitlistCapacity": 65537}"#, "waitlistCapacity");
    check(r#"{"waitlistCapacity": null}"#, "waitlistCapacity");
    check(r#"{"price": 1, "price": 2}"#, "price");
}

#[test]
fn unknown_fields_are_answered_with_what_was_meant() {
    let check = |field: &str, meant: &str| {
        let body = format!(r#"{{"{field}": 1}}"#);
        let problem = parse_definition(body.as_bytes(), shoe()).unwrap_err();
        let (named, detail) = refused_field(&problem);
        assert_eq!(named, field);
        let says = format!("Did you mean `{meant}`?");
        assert_eq!(detail.ends_with(&says), !meant.is_empty(), "{field}: {detail}");
    };
    check("prize", "price");
    check("Stock", "stock");
    check("opens_at", "opensAt");
    check("limitPerBuyer", "limitPerUser");
    check("waitlist_capacity", "waitlistCapacity");
    check("colour", "");
}

#[test]
fn inventory_is_added_or_withdrawn() {
    assert_eq!(parse_inventory(br#"{"add": 500}"#), Ok(InventoryBody::Add(500)));
    assert_eq!(parse_inventory(br#"{"withdraw": 20}"#), Ok(InventoryBody::Withdraw(20)));
    let check = |body: &str, field: &str| {
        let problem = parse_inventory(body.as_bytes()).unwrap_err();
        assert_eq!(refused_field(&problem).0, field, "{body}");
    };
    check("{}", "body");
    check(r#"{"add": 1, "withdraw": 1}"#, "body");
    check(r#"{"add": 0}"#, "add");
    check(r#"{"withdraw": -3}"#, "withdraw");
    check(r#"{"add": 1000000001}"#, "add");
    check(r#"{"ad": 1}"#, "ad");
}

#[test]
fn a_state_is_paused_or_open() {
    assert_eq!(parse_state(br#"{"state": "paused"}"#), Ok(SaleState::Paused));
    assert_eq!(parse_state(br#"{"state": "open"}"#), Ok(SaleState::Open));
    for body in ["{}", r#"{"state": "Paused"}"#, r#"{"state": 1}"#, r#"{"state": null}"#] {
        assert_eq!(refused_field(&parse_state(body.as_bytes()).unwrap_err()).0, "state", "{body}");
    }
    let problem = parse_state(br#"{"status": "open"}"#).unwrap_err();
    assert_eq!(refused_field(&problem).0, "status");
}
