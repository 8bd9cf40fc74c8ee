//! Order bodies that are taken, and the field that is named when one is not.

use super::*;

fn product(name: &str) -> ProductId {
    ProductId::parse(name).unwrap()
}

fn refusal(result: Result<OrderBody, Problem>) -> (String, String) {
    let document = result.unwrap_err().document("r");
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let member = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    (member("code"), member("field"))
}

#[test]
fn flash_sale_bodies_that_are_taken() {
    let shoe = product("shoe");
    let check = |body: &str, quantity: u32, waitlist: bool| {
        let expected =
            OrderBody { product: shoe, quantity: Quantity::new(quantity).unwrap(), waitlist };
        assert_eq!(parse_flash_sale(body.as_bytes(), shoe), Ok(expected), "{body}");
    };
    check(r#"{"quantity": 1}"#, 1, false);
    check("\r\n\t {\"quantity\":1000}\n", 1_000, false);
    check(r#"{"quantity": 2, "waitlist": true}"#, 2, true);
    check(r#"{"quantity": 2, "waitlist": null, "productId": null}"#, 2, false);
    check(r#"{"productId": "shoe", "quantity": 3}"#, 3, false);
    check(&format!(r#"{{"productId": "{shoe}", "quantity": 3}}"#), 3, false);
    check(r#"{"productId": "\u0073hoe", "quantity": 3}"#, 3, false);
    check(r#"{"quantity": 1, "userId": 7, "nested": {"a": [1, {}]}, "note": "x"}"#, 1, false);
    let deep = format!(r#"{{"quantity": 1, "x": {}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    check(&deep, 1, false);
}

#[test]
fn flash_sale_bodies_that_are_refused_name_the_field() {
    let check = |body: &str, field: &str| {
        let refused = refusal(parse_flash_sale(body.as_bytes(), product("shoe")));
        assert_eq!(refused, ("invalid-request".to_owned(), field.to_owned()), "{body:?}");
    };
    for body in [
        "",
        " ",
        "{",
        "null",
        "1",
        "\"x\"",
        "[]",
        "[1]",
        r#"[1, "shoe", true]"#,
        r#"{"quantity": 1"#,
        r#"{"quantity": 1} x"#,
        r#"{"quantity": 1}{"quantity": 1}"#,
        r#"{"quantity": 01}"#,
        r#"{quantity: 1}"#,
        r#"{"quantity": NaN}"#,
        r#"{"quantity": 1, "quantity": 2}"#,
        "\u{feff}{\"quantity\": 1}",
    ] {
        check(body, "body");
    }
    for body in [
        "{}",
        r#"{"quantity": null}"#,
        r#"{"quantity": 0}"#,
        r#"{"quantity": -1}"#,
        r#"{"quantity": 1001}"#,
        r#"{"quantity": 4294967297}"#,
        r#"{"quantity": 18446744073709551616}"#,
        r#"{"quantity": 1e400}"#,
        r#"{"quantity": 1.0}"#,
        r#"{"quantity": 1.5}"#,
        r#"{"quantity": "1"}"#,
        r#"{"quantity": true}"#,
        r#"{"quantity": [1]}"#,
        r#"{"quantity": {"n": 1}}"#,
    ] {
        let field = if body.contains("e400") { "body" } else { "quantity" };
        check(body, field);
    }
    check(r#"{"quantity": 1, "productId": "other"}"#, "productId");
    check(r#"{"quantity": 1, "productId": "a b"}"#, "productId");
    check(r#"{"quantity": 1, "productId": 5}"#, "productId");
    check(r#"{"quantity": 1, "waitlist": "yes"}"#, "waitlist");
    check(r#"{"quantity": 1, "waitlist": 1}"#, "waitlist");
    assert!(parse_flash_sale(b"{\"quantity\": 1, \"x\": \"\xFF\"}", product("shoe")).is_err());
}

#[test]
fn items_of_one_product_are_summed() {
    let check = |body: &str, quantity: u32| {
        let order = parse_items(body.as_bytes()).unwrap();
        assert_eq!(order.product, product("shoe"), "{body}");
        assert_eq!(order.quantity.get(), quantity, "{body}");
    };
    check(r#"{"items": [{"productId": "shoe", "quantity": 2}]}"#, 2);
    check(
        &format!(
            r#"{{"items": [{{"productId": "shoe", "quantity": 2}},
                {{"quantity": 3, "productId": "{}", "note": 1}}]}}"#,
            product("shoe")
        ),
        5,
    );
    let waiting = br#"{"items": [{"productId": "shoe", "quantity": 2}], "waitlist": true}"#;
    assert!(parse_items(waiting).unwrap().waitlist);
}

#[test]
fn items_that_are_refused_name_the_field() {
    let check = |body: &str, field: &str| {
        let refused = refusal(parse_items(body.as_bytes()));
        assert_eq!(refused, ("invalid-request".to_owned(), field.to_owned()), "{body}");
    };
    check("{}", "items");
    check(r#"{"items": null}"#, "items");
    check(r#"{"items": {}}"#, "items");
    check(r#"{"items": []}"#, "items");
    check(r#"{"items": "shoe"}"#, "items");
    check(r#"{"items": [1]}"#, "items[0]");
    check(r#"{"items": [["shoe", 1]]}"#, "items[0]");
    check(r#"{"items": [{"quantity": 1}]}"#, "items[0].productId");
    check(r#"{"items": [{"productId": null, "quantity": 1}]}"#, "items[0].productId");
    check(r#"{"items": [{"productId": "a b", "quantity": 1}]}"#, "items[0].productId");
    check(
        r#"{"items": [{"productId": "a", "quantity": 1}, {"productId": "a", "quantity": 0}]}"#,
        "items[1].quantity",
    );
    check(r#"{"items": [{"productId": "a"}]}"#, "items[0].quantity");
    check(
        r#"{"items": [{"productId": "a", "quantity": 600}, {"productId": "a", "quantity": 600}]}"#,
        "items",
    );
    check(r#"{"items": [{"productId": "a", "quantity": 1}], "waitlist": 3}"#, "waitlist");
    check(r#"{"items": [{"productId": "a", "quantity": 1}"#, "body");
    let line = r#"{"productId": "a", "quantity": 1}"#;
    check(&format!(r#"{{"items": [{}]}}"#, [line; 101].join(",")), "items");
}

#[test]
fn several_products_are_not_supported_yet() {
    let body =
        br#"{"items": [{"productId": "a", "quantity": 1}, {"productId": "b", "quantity": 1}]}"#;
    assert_eq!(parse_items(body).unwrap_err().code(), Code::Unsupported);
}
