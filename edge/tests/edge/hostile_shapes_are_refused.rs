//! Every hostile shape gets its one answer, whatever stands before it and however it is cut; no
//! order comes of it. The fuzzer of requests starts from these shapes, too
//! (`fuzz-targets/src/http_framing.rs`).

use super::fake_engine::Reaction;
use super::hostile_shapes::{REFUSED, TAKEN, bytes};
use super::http_client::{Answer, Client, request};
use super::shop::{Shop, bearer, order_view};
use doorbuster_edge::EdgeConfig;
use doorbuster_protocol::Outcome;
use doorbuster_protocol::outcome::OrderStatus;
use std::time::Duration;

fn shop() -> Shop {
    Shop::answering(Outcome::Placed(order_view(OrderStatus::Pending)))
}

fn check(name: &str, answer: &Answer, status: u16, field: &str) {
    assert_eq!(answer.status, status, "{name}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
    assert_eq!(answer.header("connection"), Some("close"), "{name}");
    assert!(answer.header("date").is_some() && answer.header("x-request-id").is_some(), "{name}");
    let expected = match status {
        400 => "invalid-request",
        413 => "body-too-large",
        414 => "path-too-long",
        431 => "headers-too-large",
        _ => "http-version",
    };
    let problem = answer.json();
    assert_eq!(problem["code"], expected, "{name}");
    assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{name}");
    assert_eq!(problem["requestId"].as_str(), answer.header("x-request-id"), "{name}");
}

/// Sends what may be cut off in the middle.
fn send(client: &mut Client, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        if !client.try_send(piece) {
            return;
        }
    }
}

#[test]
fn each_is_answered_once_and_the_connection_closed() {
    let shop = shop();
    let bearer = bearer("ann");
    for (name, text, status, field) in REFUSED {
        let bytes = bytes(text, "shoe", &bearer);
        for piece in [usize::MAX, 1_000, 1] {
            if piece == 1 && bytes.len() > 2_000 {
                continue;
            }
            let mut client = shop.client();
            send(&mut client, &bytes, piece.min(bytes.len()));
            let answer = client.next(true).unwrap_or_else(|| panic!("{name}: no answer"));
            check(name, &answer, *status, field);
            assert!(client.is_closed(), "{name}: one answer only");
        }
    }
    assert!(shop.engine.asked().is_empty(), "no order comes of any");
    assert!(shop.rejected("malformed") >= 2 * (REFUSED.len() as u64 - 3));
    assert_eq!(shop.get("/health").status, 200);
}

#[test]
fn what_was_good_before_it_is_answered_first() {
    let shop = shop();
    let bearer = bearer("ann");
    let order = bytes(b"@N@N", "shoe", &bearer);
    let mut orders = 0;
    for (name, text, status, field) in REFUSED {
        let mut client = shop.client();
        send(&mut client, &[order.clone(), bytes(text, "shoe", &bearer)].concat(), usize::MAX);
        for _ in 0..2 {
            assert_eq!(client.next(true).map(|answer| answer.status), Some(201), "{name}");
        }
        orders += 2;
        // A second empty line, seen from behind a request, is the first.
        let answer = client.next(true).unwrap_or_else(|| panic!("{name}: no answer"));
        check(name, &answer, *status, field);
        assert!(client.is_closed(), "{name}");
        assert_eq!(shop.engine.asked().len(), orders, "{name}");
    }
}

#[test]
fn what_is_odd_and_good_is_taken() {
    let shop = shop();
    let bearer = bearer("ann");
    let mut orders = 0;
    for (name, text, count) in TAKEN {
        let bytes = bytes(text, "shoe", &bearer);
        for piece in [usize::MAX, 100, 1] {
            let mut client = shop.client();
            send(&mut client, &bytes, piece.min(bytes.len()));
            client.finish();
            for _ in 0..*count {
                let answer = client.next(true).unwrap_or_else(|| panic!("{name}: no answer"));
                assert_eq!(answer.status, 201, "{name}: {}", String::from_utf8_lossy(&answer.body));
            }
            assert!(client.is_closed(), "{name}");
            orders += count;
            assert_eq!(shop.engine.asked().len(), orders, "{name} in pieces of {piece}");
        }
    }
    assert_eq!(shop.rejected("malformed"), 0);
}

#[test]
fn what_breaks_off_is_not_done() {
    let shop = shop();
    let bearer = bearer("ann");
    let order = bytes(b"@N", "shoe", &bearer);
    let chunked = bytes(TAKEN[2].1, "shoe", &bearer);
    let path = format!("/orders/{}/cancel", order_view(OrderStatus::Pending).order);
    let cancel = request("PUT", &path, &[("authorization", &bearer)], Some("{}")).into_bytes();
    for whole in [order, chunked, cancel] {
        let head = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        for end in head..whole.len() {
            let mut client = shop.client();
            client.send(&whole[..end]);
            client.finish();
            let answer = client.answer();
            assert_eq!(
                (answer.status, answer.code()),
                (400, "invalid-request".to_owned()),
                "{end}"
            );
            assert!(client.is_closed());
        }
    }
    assert!(shop.engine.asked().is_empty());
}

#[test]
fn a_body_in_the_smallest_chunks_is_as_long_as_any_other() {
    // Its time is not what is looked at here.
    let slowly = |config: &mut EdgeConfig| config.body_timeout = Duration::from_secs(600);
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::with(move |_| Reaction::Answer(placed), slowly);
    let most = super::shop::config(&shop.engine).body_bytes_max;
    for (length, status) in [(most, 201), (most + 1, 413)] {
        let order = r#"{"quantity": 1}"#;
        let body = order.to_owned() + &" ".repeat(length - order.len());
        let chunks: String = body.chars().map(|letter| format!("1\r\n{letter}\r\n")).collect();
        let head = bytes(b"@O@Atransfer-encoding: chunked\r\n\r\n", "shoe", &bearer("ann"));
        let whole = [head, chunks.into_bytes(), b"0\r\n\r\n".to_vec()].concat();
        let mut client = shop.client();
        let mut sender = client.twin();
        // It may be refused in the middle.
        let sending = std::thread::spawn(move || sender.try_send(whole));
        assert_eq!(client.answer().status, status, "{length} chunks of one byte");
        sending.join().unwrap();
    }
    assert_eq!(shop.engine.asked().len(), 1);
}
