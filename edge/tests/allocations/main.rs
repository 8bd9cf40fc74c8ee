//! How often an edge allocates for a request: for an order, and for the refusals that most of a sale's
//! requests get.
//!
//! Allocations are counted and not timed, so the figures are the same on every machine, and a change
//! that adds one to every request is seen. All threads are counted: the test itself and the engine that
//! it plays allocate nothing while they are asked.

#[expect(dead_code, reason = "the tests of the edge use the rest")]
#[path = "../edge/fake_engine.rs"]
mod fake_engine;
#[expect(dead_code, reason = "the tests of the edge use the rest")]
#[path = "../edge/http_client.rs"]
mod http_client;
#[path = "../edge/memory_store.rs"]
mod memory_store;
#[expect(dead_code, reason = "the tests of the edge use the rest")]
#[path = "../edge/shop.rs"]
mod shop;

use doorbuster_protocol::Outcome;
use doorbuster_protocol::outcome::OrderStatus;
use fake_engine::{PATIENCE, Reaction};
use http_client::request;
use shop::{Shop, bearer, level, order_view};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests of one count. What grows now and then, by doubling, is less than one in that many.
const REQUESTS: usize = 1_000;
const PATH: &str = "/orders/flash-sale/shoe";
const BODY: Option<&str> = Some(r#"{"quantity":1}"#);

/// Sends requests one after the other on one connection, and allocates nothing.
struct Asker(TcpStream);

impl Asker {
    fn of(shop: &Shop) -> Self {
        let stream = TcpStream::connect(shop.edge.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn ask(&mut self, request: &[u8], status: &[u8]) {
        self.0.write_all(request).unwrap();
        let mut answer = [0; 2_048];
        let mut length = 0;
        while !is_whole(&answer[..length]) {
            let read = self.0.read(&mut answer[length..]).unwrap();
            assert!(read > 0, "the connection ended");
            length += read;
        }
        assert_eq!(&answer[9..12], status);
    }
}

/// Whether an answer is there with all of its body, which is a JSON object and has no other in it.
fn is_whole(answer: &[u8]) -> bool {
    answer.windows(4).any(|four| four == b"\r\n\r\n") && answer.ends_with(b"}")
}

/// Allocations for each of these requests, after the connection has had some.
fn count(shop: &Shop, warm_up: &[String], requests: &[String], status: &str) -> f64 {
    let mut asker = Asker::of(shop);
    for request in warm_up {
        asker.ask(request.as_bytes(), status.as_bytes());
    }
    let region = Region::new(ALLOCATOR);
    for request in requests {
        asker.ask(request.as_bytes(), status.as_bytes());
    }
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / requests.len() as f64
}

/// As many orders as are counted, by the first so many of a thousand buyers in turn.
fn orders(buyers: usize, has_keys: bool) -> Vec<String> {
    let bearers: Vec<String> = (0..buyers).map(|number| bearer(&format!("b{number}"))).collect();
    let order = |number: usize| {
        let key = format!("key-{number}");
        let mut headers = vec![("authorization", bearers[number % buyers].as_str())];
        if has_keys {
            headers.push(("idempotency-key", &key));
        }
        request("POST", PATH, &headers, BODY)
    };
    (0..REQUESTS).map(order).collect()
}

#[track_caller]
fn check(what: &str, counted: f64, most: f64) {
    println!("{what}: {counted:.2} allocations each");
    assert!(
        counted < most + 0.5,
        "{what}: {counted:.2} allocations each, where {most} were enough"
    );
}

/// One test, as what others allocate meanwhile would be counted with it.
#[test]
fn an_answer_costs_so_many_allocations() {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::open(move |_| Reaction::Answer(placed));

    let (known, new) = (orders(10, true), orders(REQUESTS, true));
    let counted = count(&shop, &known[..100], &known, "201");
    check("an order of a buyer who is known", counted, 9.0);
    // The first ten are known already, and of no weight.
    let counted = count(&shop, &known[..100], &new, "201");
    check("an order with a token that was not seen before", counted, 10.0);

    shop.engine.script(|_| Reaction::Answer(Outcome::SoldOut));
    let counted = count(&shop, &known[..100], &known, "409");
    check("a refusal by the engine", counted, 8.0);

    shop.engine.push(level("shoe", 0, false));
    shop.wait(|shop| {
        assert_eq!(shop.ask("POST", PATH, "ann", BODY).status, 409);
        shop.rejected("sold-out") > 0
    });
    let keyless = orders(10, false);
    let counted = count(&shop, &keyless[..100], &keyless, "409");
    check("a refusal that needs no engine", counted, 7.0);
}
