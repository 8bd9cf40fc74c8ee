//! A buyer who asks too often is told when to come back; nobody else notices.

use super::fake_engine::Reaction;
use super::http_client::{Answer, Client, request};
use super::shop::{Shop, bearer, order_view, product_view};
use doorbuster_edge::RateLimit;
use doorbuster_protocol::Outcome;
use doorbuster_protocol::outcome::OrderStatus;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

const FLASH: &str = "/orders/flash-sale/shoe";
const BURST: u32 = 5;

fn limit() -> Option<RateLimit> {
    Some(RateLimit::new(1, BURST).unwrap())
}

fn shop(threads: usize) -> Shop {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    Shop::with(
        move |_| Reaction::Answer(placed),
        |config| {
            config.rate_limit = limit();
            config.threads = threads;
        },
    )
}

fn order(user: &str, body: &str) -> String {
    request("POST", FLASH, &[("authorization", &bearer(user))], Some(body))
}

/// Forged orders that a forger sends before it reads an answer.
const FORGED_AT_ONCE: usize = 50;

#[test]
fn who_shares_an_address_with_a_forger_is_served() {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::with(
        move |_| Reaction::Answer(placed),
        |config| config.bad_token_rate_limit = limit(),
    );
    let known = bearer("known");
    let ask = |client: &mut Client, bearer: &str| {
        let headers = [("authorization", bearer)];
        client.exchange(request("POST", FLASH, &headers, Some(r#"{"quantity": 1}"#)))
    };
    let mut kept = shop.client();
    assert_eq!(ask(&mut kept, &known).status, 201);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let forged = bearer("forger") + "AAAA";
            let headers = [("authorization", forged.as_str())];
            let order = request("POST", FLASH, &headers, Some(r#"{"quantity": 1}"#));
            let mut client = shop.client();
            while !is_over.load(Relaxed) {
                client.send(order.repeat(FORGED_AT_ONCE));
                for _ in 0..FORGED_AT_ONCE {
                    let answer = client.answer();
                    assert!(matches!(answer.status, 401 | 429), "{answer:?}");
                }
            }
        });
        // Also when a buyer is not served the forger has to stop.
        let served = std::panic::catch_unwind(AssertUnwindSafe(|| {
            shop.wait(|shop| shop.rejected("bad-tokens") > 0);
            for number in 0..200 {
                let answer = ask(&mut shop.client(), &bearer(&format!("new-{number}")));
                assert_eq!(answer.status, 201, "new buyer {number}: {answer:?}");
                assert_eq!(ask(&mut kept, &known).status, 201, "who was known before");
            }
        }));
        is_over.store(true, Relaxed);
        served.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(shop.engine.asked().len(), 401, "no forged order came through");
}

/// Asks until it is too often, and gives that answer. What was taken before is the burst, and more
/// only if so much time went by that it had to be.
fn exhaust(mut ask: impl FnMut() -> Answer, taken_status: u16) -> Answer {
    let started = Instant::now();
    for taken in 0.. {
        let answer = ask();
        let earned = started.elapsed().as_secs() as u32;
        if answer.status == 429 {
            assert!(taken >= BURST, "refused after {taken}");
            return answer;
        }
        assert_eq!(answer.status, taken_status);
        assert!(taken < BURST + earned, "took {taken}");
    }
    unreachable!("it ends with a refusal")
}

fn check_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (429, "rate-limited".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("ratelimit-limit"), Some("5"));
    assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
    assert_eq!(answer.header("ratelimit-reset"), Some("1"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("5 at once and 1 per second"), "{detail}");
}

#[test]
fn one_more_than_the_burst_is_refused_and_others_are_not() {
    let shop = shop(1);
    let mut client = shop.client();
    let refused = exhaust(|| client.exchange(order("ann", r#"{"quantity": 1}"#)), 201);
    check_refused(&refused);
    assert_eq!(shop.rejected("rate-limited"), 1);
    let orders = shop.edge.metrics().snapshot().orders;
    assert!(orders.iter().any(|series| series.status == "rate-limited" && series.count == 1));
    // Another buyer, and another client on the same connection.
    assert_eq!(client.exchange(order("bob", r#"{"quantity": 1}"#)).status, 201);
    assert_eq!(shop.get("/products").status, 200);
    assert_eq!(shop.rejected("rate-limited"), 1);
}

#[test]
fn administrators_are_exempt() {
    let shop = shop(1);
    let mut client = shop.client();
    for _ in 0..3 * BURST {
        assert_eq!(client.exchange(order("admin", r#"{"quantity": 1}"#)).status, 201);
    }
    assert_eq!(shop.rejected("rate-limited"), 0);
}

#[test]
fn the_limit_counts_before_the_body_and_on_every_route_of_a_buyer() {
    let shop = shop(1);
    let mut client = shop.client();
    check_refused(&exhaust(|| client.exchange(order("ann", "{")), 400));
    assert!(shop.engine.asked().is_empty());
    let ask = |client: &mut Client| {
        client.exchange(request(
            "GET",
            "/orders/user/bob",
            &[("authorization", &bearer("eve"))],
            None,
        ))
    };
    check_refused(&exhaust(|| ask(&mut client), 403));
    // A token that is not taken counts for nobody.
    let answer = client.exchange(request("POST", FLASH, &[("authorization", "Bearer x")], None));
    assert_eq!(answer.status, 401);
}

#[test]
fn all_threads_share_one_limit() {
    let shop = shop(2);
    // Each on a connection of its own: the kernel spreads them over the threads.
    let refused = exhaust(|| shop.client().exchange(order("ann", r#"{"quantity": 1}"#)), 201);
    check_refused(&refused);
}

#[test]
fn clients_without_a_token_are_limited_by_address_when_configured() {
    let shop = Shop::with(
        |_| Reaction::Answer(Outcome::Product(product_view())),
        |config| config.anonymous_rate_limit = limit(),
    );
    check_refused(&exhaust(|| shop.get("/products/shoe"), 200));
    for _ in 0..3 * BURST {
        assert_eq!(shop.get("/health").status, 200);
        assert_eq!(shop.get("/ready").status, 200);
        let answer = shop.ask("PUT", "/orders/x/pay", "ann", None);
        assert_eq!(answer.status, 403, "buyers have no limit here");
    }
}
