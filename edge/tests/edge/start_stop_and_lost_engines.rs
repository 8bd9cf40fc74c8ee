//! An edge without an engine, one that loses it, one that is too slow, one that stops.

use super::fake_engine::{self, FakeEngine, Reaction};
use super::http_client::{Client, request};
use super::memory_store::MemoryStore;
use super::shop::{Shop, bearer, config, order_view, secret};
use doorbuster_edge::{Admin, AdminPages, Edge, EdgeConfig, EdgeError};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Outcome, Timestamp};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const FLASH: &str = "/orders/flash-sale/shoe";
const ONE: Option<&str> = Some(r#"{"quantity": 1}"#);

fn order() -> String {
    request("POST", FLASH, &[("authorization", &bearer("ann"))], ONE)
}

#[test]
fn without_an_engine_it_lives_but_is_not_ready() {
    // A port that nobody listens on.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = "127.0.0.1:0".parse().unwrap();
    let config = EdgeConfig::new(http, vec![gone], fake_engine::key(), secret());
    let edge = Edge::start(config, Arc::new(MemoryStore::default())).unwrap();
    let mut client = Client::new(edge.address());
    assert_eq!(client.exchange(request("GET", "/health", &[], None)).status, 200);
    let mut check = |text: String| {
        let answer = client.exchange(text);
        assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    };
    check(request("GET", "/ready", &[], None));
    check(order());
    check(request("GET", "/products/shoe", &[], None));
    assert!(!edge.is_ready());
    edge.join().unwrap();
}

#[test]
fn a_lost_connection_leaves_the_end_open_and_says_what_to_do() {
    let shop = Shop::open(|_| Reaction::HangUp);
    let answer = shop.client().exchange(order());
    assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("Retry with the same Idempotency-Key"), "{detail}");
    // It comes back by itself.
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    shop.engine.script(move |_| Reaction::Answer(placed));
    shop.wait(|shop| shop.client().exchange(order()).status == 201);
}

#[test]
fn a_lost_engine_makes_it_unready() {
    let shop = Shop::answering(Outcome::Unavailable);
    shop.engine.close();
    shop.wait(|shop| shop.get("/ready").status == 503);
    assert_eq!(shop.get("/health").status, 200);
    assert_eq!(shop.client().exchange(order()).code(), "unavailable");
    shop.wait(|shop| !shop.edge.is_ready());
}

#[test]
fn an_answer_that_does_not_come_is_a_timeout() {
    let shop = Shop::with(
        |_| Reaction::Silence,
        |config| config.order_timeout = Duration::from_millis(20),
    );
    let mut client = shop.client();
    for _ in 0..3 {
        let answer = client.exchange(order());
        assert_eq!((answer.status, answer.code()), (503, "timeout".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let asked = shop.engine.asked();
    assert!(asked.iter().all(|request| request.deadline > Timestamp::NONE));
}

#[test]
fn more_than_the_bound_in_flight_is_overloaded_at_once() {
    let shop = Shop::with(|_| Reaction::Silence, |config| config.in_flight_per_core_max = 2);
    let mut waiting: Vec<Client> = (0..2).map(|_| shop.client()).collect();
    for client in &mut waiting {
        client.send(order());
    }
    shop.engine.wait_asked(2);
    let answer = shop.client().exchange(order());
    assert_eq!((answer.status, answer.code()), (503, "overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(shop.rejected("overloaded"), 1);
    assert_eq!(shop.engine.asked().len(), 2);
}

#[test]
fn requests_that_come_together_leave_together() {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::with(move |_| Reaction::Answer(placed), |config| config.threads = 2);
    let mut clients: Vec<Client> = (0..64).map(|_| shop.client()).collect();
    for client in &mut clients {
        client.send(order());
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 201);
    }
    assert_eq!(shop.engine.asked().len(), 64);
}

#[test]
fn a_stop_answers_what_is_in_flight_and_closes_the_rest() {
    let shop = Shop::open(|_| Reaction::Silence);
    let address = shop.edge.address();
    let mut unused = shop.client();
    let mut resting = shop.client();
    assert_eq!(resting.exchange(request("GET", "/health", &[], None)).status, 200);
    let mut waiting = shop.client();
    waiting.send(order());
    shop.engine.wait_asked(1);
    shop.edge.stop();
    assert!(unused.is_closed());
    assert!(resting.is_closed());
    assert!(!shop.edge.is_ready());
    // The engine is silent, so the request in flight is answered by its deadline.
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.code()), (503, "timeout".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(waiting.is_closed());
    shop.edge.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let shop = Shop::with(
        |_| Reaction::Silence,
        |config| {
            config.drain_timeout = Duration::from_millis(20);
            config.order_timeout = Duration::from_secs(600);
        },
    );
    let mut waiting = shop.client();
    waiting.send(order());
    shop.engine.wait_asked(1);
    shop.edge.join().unwrap();
    assert!(waiting.is_closed());
}

#[test]
fn an_address_in_use_is_found_out_even_by_a_twin() {
    let engine = FakeEngine::start(|_| Reaction::Silence);
    let first = Edge::start(config(&engine), Arc::new(MemoryStore::default())).unwrap();
    let mut same = config(&engine);
    same.http = first.address();
    let error = Edge::start(same, Arc::new(MemoryStore::default())).unwrap_err();
    assert!(error.is_address_in_use(), "{error}");
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    first.join().unwrap();
    let mut none = config(&engine);
    none.engine.clear();
    let error = Edge::start(none, Arc::new(MemoryStore::default())).unwrap_err();
    assert!(matches!(error, EdgeError::NoEngine));
}

#[test]
fn administrators_have_an_address_of_their_own() {
    let is_ready = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_ready);
    let pages = AdminPages {
        metrics: Arc::new(|| "# EOF\n".to_owned()),
        ready: Arc::new(move || seen.load(SeqCst)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = Admin::start(listener, pages).unwrap();
    let mut client = Client::new(admin.address());
    let mut get = |path: &str| client.exchange(request("GET", path, &[], None));
    let metrics = get("/metrics");
    assert_eq!((metrics.status, metrics.body.as_slice()), (200, &b"# EOF\n"[..]));
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert_eq!(get("/health").status, 200);
    assert_eq!(get("/ready").code(), "unavailable");
    is_ready.store(true, SeqCst);
    assert_eq!(get("/ready").status, 200);
    assert_eq!(get("/orders").status, 404);
    let refused = client.exchange(request("POST", "/metrics", &[], None));
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    admin.join().unwrap();
}
