//! What is wrong with a request is said with the contract's codes, and never reaches the engine.

use super::fake_engine::Reaction;
use super::http_client::request;
use super::shop::{Shop, bearer, order_view};
use doorbuster_protocol::Outcome;
use doorbuster_protocol::outcome::OrderStatus;

const FLASH: &str = "/orders/flash-sale/shoe";

fn shop() -> Shop {
    Shop::answering(Outcome::Placed(order_view(OrderStatus::Pending)))
}

#[test]
fn bodies_are_judged_field_by_field() {
    let shop = shop();
    let check = |path: &str, body: &str, field: &str| {
        let answer = shop.ask("POST", path, "ann", Some(body));
        assert_eq!((answer.status, answer.code()), (400, "invalid-request".to_owned()), "{body}");
        assert_eq!(answer.json()["field"], field, "{body}");
    };
    check(FLASH, "", "body");
    check(FLASH, "{", "body");
    check(FLASH, "[1]", "body");
    check(FLASH, "{}", "quantity");
    check(FLASH, r#"{"quantity": 0}"#, "quantity");
    check(FLASH, r#"{"quantity": 1001}"#, "quantity");
    check(FLASH, r#"{"quantity": "1"}"#, "quantity");
    check(FLASH, r#"{"quantity": 1, "productId": "hat"}"#, "productId");
    check(FLASH, r#"{"quantity": 1, "waitlist": "no"}"#, "waitlist");
    check("/orders/flash-sale/a%20b", r#"{"quantity": 1}"#, "product");
    check("/orders/flash-sale/%zz", r#"{"quantity": 1}"#, "product");
    check("/orders", r#"{"quantity": 1}"#, "items");
    check("/orders", r#"{"items": [{"productId": "a", "quantity": 0}]}"#, "items[0].quantity");
    assert!(shop.engine.asked().is_empty());
}

#[test]
fn keys_are_one_and_short() {
    let shop = shop();
    let ask = |headers: &[(&str, &str)]| {
        shop.ask_with("POST", FLASH, "ann", headers, Some(r#"{"quantity": 1}"#))
    };
    assert_eq!(ask(&[("idempotency-key", &"k".repeat(255))]).status, 201);
    for headers in [
        &[("idempotency-key", "")][..],
        &[("idempotency-key", &"k".repeat(256))],
        &[("idempotency-key", "a"), ("idempotency-key", "b")],
    ] {
        let answer = ask(headers);
        assert_eq!(answer.status, 400, "{headers:?}");
        assert_eq!(answer.json()["field"], "Idempotency-Key");
    }
}

#[test]
fn tokens_are_needed_and_checked() {
    let shop = shop();
    let good = bearer("ann");
    let token = good.strip_prefix("Bearer ").unwrap();
    let unsigned =
        format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", token.split('.').nth(1).unwrap());
    let other_secret = doorbuster_edge::token::TokenSecret::new([4; 32]).unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let foreign = doorbuster_edge::token::mint(&other_secret, "ann", true, hour).unwrap();
    let mut client = shop.client();
    let mut check = |authorization: Option<&str>| {
        let mut headers = Vec::new();
        headers.extend(authorization.map(|value| ("authorization", value)));
        let body = Some(r#"{"quantity": 1}"#);
        let answer = client.exchange(request("POST", FLASH, &headers, body));
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated".to_owned()));
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
    };
    check(None);
    check(Some("Basic YW5uOmFubg=="));
    check(Some("Bearer"));
    check(Some("Bearer x.y.z"));
    check(Some(&unsigned));
    check(Some(&format!("Bearer {foreign}")));
    check(Some(&good[..good.len() - 4]));
    assert!(shop.engine.asked().is_empty());
    // The same connection goes on, its refused bodies taken out of the way.
    let headers = [("authorization", good.as_str())];
    let answer = client.exchange(request("POST", FLASH, &headers, Some(r#"{"quantity": 1}"#)));
    assert_eq!(answer.status, 201);
}

#[test]
fn administration_needs_the_role() {
    let shop = shop();
    for (method, path, body) in [
        ("PUT", "/products/shoe", Some("{}")),
        ("PUT", "/products/shoe/inventory", Some(r#"{"add": 1}"#)),
        ("PUT", "/products/shoe/state", Some(r#"{"state": "open"}"#)),
        ("PUT", "/orders/x/pay", None),
        ("GET", "/orders/user/bob", None),
    ] {
        let answer = shop.ask(method, path, "ann", body);
        assert_eq!((answer.status, answer.code()), (403, "forbidden".to_owned()), "{path}");
        let answer = shop.client().exchange(request(method, path, &[], body));
        assert_eq!(answer.status, 401, "{path}");
    }
    assert!(shop.engine.asked().is_empty());
}

#[test]
fn paths_methods_and_types_are_told_apart() {
    let shop = shop();
    let check = |method: &str, path: &str, status: u16, code: &str, allow: Option<&str>| {
        let answer = shop.ask(method, path, "admin", None);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    };
    check("GET", "/", 404, "not-found", None);
    check("GET", "/orders/a/b/c", 404, "not-found", None);
    check("GET", "/metrics", 404, "not-found", None);
    check("GET", "/orders", 405, "method-not-allowed", Some("POST"));
    check("GET", FLASH, 405, "method-not-allowed", Some("POST"));
    check("DELETE", "/products/shoe", 405, "method-not-allowed", Some("GET, HEAD, PUT"));
    check("POST", "/health", 405, "method-not-allowed", Some("GET, HEAD"));
    check("BREW", "/orders/x/pay", 405, "method-not-allowed", Some("PUT"));
    let typed = |content_type: &str| {
        let headers = [("content-type", content_type)];
        shop.ask_with("POST", FLASH, "ann", &headers, Some(r#"{"quantity": 1}"#))
    };
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        let answer = typed(content_type);
        assert_eq!((answer.status, answer.code()), (415, "unsupported-media-type".to_owned()));
    }
    assert_eq!(typed("application/json; charset=utf-8").status, 201);
}

#[test]
fn large_bodies_are_not_read() {
    let shop = Shop::with(
        |_| Reaction::Answer(Outcome::Placed(order_view(OrderStatus::Pending))),
        |config| config.body_bytes_max = 100,
    );
    let bearer = bearer("ann");
    let head = |length: &str| {
        format!(
            "POST {FLASH} HTTP/1.1\r\nhost: shop\r\nauthorization: {bearer}\r\n{length}\r\n\r\n"
        )
    };
    // The length alone is enough: not one byte of the body is sent.
    let mut client = shop.client();
    let answer = client.exchange(head("content-length: 101"));
    assert_eq!((answer.status, answer.code()), (413, "body-too-large".to_owned()));
    assert!(client.is_closed());
    // A body without a length is counted as it comes.
    let mut client = shop.client();
    client.send(head("transfer-encoding: chunked"));
    client.send(format!("40\r\n{}\r\n", " ".repeat(64)));
    client.try_send(format!("40\r\n{}\r\n", " ".repeat(64)));
    assert_eq!(client.answer().status, 413);
    assert!(client.is_closed());
    // One that fits is taken, in as many chunks as it comes.
    let mut client = shop.client();
    client.send(head("transfer-encoding: chunked"));
    for piece in ["{\"quan", "tity\":", " 1", "}"] {
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().status, 201);
    let mut client = shop.client();
    client.send(head("content-length: 15\r\nexpect: 100-continue"));
    client.send(r#"{"quantity": 1}"#);
    assert_eq!(client.answer().status, 201);
}

#[test]
fn a_head_must_be_well_formed() {
    let shop = shop();
    let check = |text: &str, status: u16| {
        let mut client = shop.client();
        client.try_send(text);
        assert_eq!(client.next(true).map(|answer| answer.status), Some(status), "{text:?}");
        assert!(client.is_closed(), "{text:?}");
    };
    let many: String = (0..80).map(|number| format!("x-{number}: 1\r\n")).collect();
    check("nonsense\r\n\r\n", 400);
    check("GET /health HTTP/9.9\r\nhost: a\r\n\r\n", 505);
    check("GET /health HTTP/1.1\r\nhost: a\r\n folded: 1\r\n\r\n", 400);
    check("GET /health HTTP/1.1\r\nhost : a\r\n\r\n", 400);
    check("GET /health HTTP/1.1\r\n\r\n", 400);
    check("GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400);
    check(&format!("GET /health HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431);
    check(&format!("GET /health HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(40_000)), 431);
    let lengths = "content-length: 2\r\ncontent-length: 3";
    check(&format!("POST {FLASH} HTTP/1.1\r\nhost: a\r\n{lengths}\r\n\r\n{{}}"), 400);
    check(&format!("POST {FLASH} HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"), 400);
    let encoding = "transfer-encoding: gzip";
    check(&format!("POST {FLASH} HTTP/1.1\r\nhost: a\r\n{encoding}\r\n\r\n{{}}"), 400);
    let order = r#"{"quantity": 1}"#;
    let one = bearer("ann");
    for (name, value) in [("Authorization", bearer("bob").as_str()), ("Content-Type", "text/plain")]
    {
        let both = [("authorization", one.as_str()), ("content-type", "application/json")];
        check(&request("POST", FLASH, &[both[0], both[1], (name, value)], Some(order)), 400);
    }
    for codings in ["gzip, chunked", "chunked, chunked", "chunked\r\ntransfer-encoding: chunked"] {
        check(
            &format!(
                "POST {FLASH} HTTP/1.1\r\nhost: a\r\nauthorization: {one}\r\n\
                 transfer-encoding: {codings}\r\n\r\nf\r\n{order}\r\n0\r\n\r\n"
            ),
            400,
        );
    }
    assert!(shop.engine.asked().is_empty());
    assert!(shop.rejected("malformed") > 0);
}

#[test]
fn two_framings_of_one_body_leave_no_second_request() {
    let shop = shop();
    let bearer = bearer("ann");
    let smuggled =
        request("POST", FLASH, &[("authorization", &bearer)], Some(r#"{"quantity": 1}"#));
    let mut client = shop.client();
    client.try_send(format!(
        "POST {FLASH} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\ncontent-length: 6\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    ));
    assert_eq!(client.next(true).map(|answer| answer.status), Some(400));
    assert!(client.is_closed(), "what follows is not taken for a request");
    assert!(shop.engine.asked().is_empty());
}

#[test]
fn heads_are_answered_without_bodies() {
    let shop = shop();
    let mut client = shop.client();
    for path in ["/health", "/ready", "/nowhere"] {
        client.send(request("HEAD", path, &[], None));
        let answer = client.next(false).unwrap();
        assert!(answer.header("content-length").is_some_and(|length| length != "0"), "{path}");
    }
    assert_eq!(client.exchange(request("GET", "/health", &[], None)).status, 200);
}
