//! More new orders than the engine answers: some wait and are refused, all else goes on.

use super::fake_engine::Reaction;
use super::http_client::{Client, request};
use super::shop::{Shop, bearer, order, order_view, product_view};
use doorbuster_edge::EdgeConfig;
use doorbuster_protocol::command::{Ask, Command, Read};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Outcome, Request};
use std::time::Duration;

/// Orders that have a turn with [`tight`]: as few as there ever are.
const TURNS: usize = 16;

/// Just enough in flight for those, and two that are kept for what is no new order.
fn tight(config: &mut EdgeConfig) {
    config.in_flight_per_core_max = TURNS + 2;
    config.order_wait_max = Some(Duration::from_millis(200));
    config.order_timeout = Duration::from_secs(3);
}

fn place() -> String {
    let body = Some(r#"{"quantity":2}"#);
    request("POST", "/orders/flash-sale/shoe", &[("authorization", &bearer("ann"))], body)
}

fn is_place(request: &Request) -> bool {
    matches!(request.ask, Ask::Command(Command::Place(_)))
}

/// Answers everything but new orders.
fn answer_others(request: &Request) -> Reaction {
    let view = |status| order_view(status);
    Reaction::Answer(match request.ask {
        Ask::Command(Command::Place(_)) => return Reaction::Silence,
        Ask::Command(Command::Confirm { .. }) => Outcome::Paid(view(OrderStatus::Paid)),
        Ask::Command(Command::Cancel { .. }) => Outcome::Cancelled(view(OrderStatus::Cancelled)),
        Ask::Read(Read::Order { .. }) => Outcome::Order(view(OrderStatus::Pending)),
        Ask::Read(Read::Product { .. }) => Outcome::Product(product_view()),
        Ask::Command(_) => Outcome::Product(product_view()),
    })
}

fn send_orders(shop: &Shop, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| shop.client()).collect();
    for client in &mut clients {
        client.send(place());
    }
    clients
}

#[test]
fn payments_cancels_and_looks_go_on_while_new_orders_wait_and_are_refused() {
    let shop = Shop::with(answer_others, tight);
    let mut begun = send_orders(&shop, TURNS);
    shop.engine.wait_asked(TURNS);
    let mut waiting = send_orders(&shop, 20);
    let order = order(1);
    let check = |method: &str, path: &str, user: &str, expected: u16| {
        let answer = shop.ask(method, path, user, None);
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
    };
    check("PUT", &format!("/orders/{order}/pay"), "admin", 200);
    check("PUT", &format!("/orders/{order}/cancel"), "ann", 200);
    check("GET", &format!("/orders/{order}"), "ann", 200);
    check("GET", "/products/shoe", "ann", 200);
    check("GET", "/health", "ann", 200);
    for client in &mut waiting {
        let answer = client.answer();
        assert_eq!((answer.status, answer.code()), (503, "overloaded".to_owned()));
        let seconds = answer.header("retry-after").expect("when to come back");
        assert!(["1", "2", "3"].contains(&seconds), "{seconds}");
    }
    assert_eq!((shop.rejected("shed"), shop.rejected("overloaded")), (20, 0));
    let asked = shop.engine.asked();
    assert_eq!(asked.iter().filter(|request| is_place(request)).count(), TURNS);
    // A refused connection is as good as before.
    waiting[0].send(request("GET", "/health", &[], None));
    assert_eq!(waiting[0].answer().status, 200);
    for client in &mut begun {
        assert_eq!(client.answer().code(), "timeout");
    }
}

#[test]
fn a_body_that_dawdles_keeps_no_turn() {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    let shop = Shop::with(move |_| Reaction::Answer(placed), tight);
    let whole = place();
    let (first, rest) = whole.split_at(whole.len() - 5);
    let mut slow: Vec<Client> = (0..2 * TURNS).map(|_| shop.client()).collect();
    for client in &mut slow {
        client.send(first);
    }
    for _ in 0..2 * TURNS {
        assert_eq!(
            shop.ask("POST", "/orders/flash-sale/shoe", "ann", Some("{\"quantity\":2}")).status,
            201
        );
    }
    for client in &mut slow {
        client.send(rest);
        assert_eq!(client.answer().status, 201);
    }
    assert_eq!(shop.rejected("shed"), 0);
}

#[test]
fn without_turns_only_the_bound_in_flight_holds_orders_back() {
    let shop = Shop::with(answer_others, |config| {
        tight(config);
        config.order_wait_max = None;
    });
    let _begun = send_orders(&shop, TURNS);
    shop.engine.wait_asked(TURNS);
    let answer = send_orders(&shop, 1)[0].answer();
    assert_eq!((answer.status, answer.code()), (503, "overloaded".to_owned()));
    assert_eq!(shop.rejected("overloaded"), 1);
    let pay = shop.ask("PUT", &format!("/orders/{}/pay", order(1)), "admin", None);
    assert_eq!(pay.status, 200, "what is kept from new orders is there for this: {pay:?}");
}
