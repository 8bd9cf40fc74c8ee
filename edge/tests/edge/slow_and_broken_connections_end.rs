//! Clients that dawdle, break off, pipeline, or come in crowds.

use super::fake_engine::Reaction;
use super::http_client::{Client, request};
use super::shop::{Shop, bearer, order_view};
use doorbuster_edge::{AddressLimit, EdgeConfig};
use doorbuster_protocol::Outcome;
use doorbuster_protocol::outcome::OrderStatus;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const FLASH: &str = "/orders/flash-sale/shoe";
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);
const RATE: Option<NonZeroU32> = NonZeroU32::new(1_024);

fn shop(configure: impl FnOnce(&mut EdgeConfig)) -> Shop {
    let placed = Outcome::Placed(order_view(OrderStatus::Pending));
    Shop::with(move |_| Reaction::Answer(placed), configure)
}

#[test]
fn slow_headers_are_cut_off() {
    let shop = shop(|config| (config.header_timeout, config.idle_timeout) = (SHORT, LONG));
    let mut client = shop.client();
    client.send("GET /health HTTP/1.1\r\nhost:");
    assert!(client.is_closed());
    assert_eq!(shop.rejected("slow-headers"), 1);
    // So are those of a second request on a connection that was good.
    let mut client = shop.client();
    assert_eq!(client.exchange(request("GET", "/health", &[], None)).status, 200);
    client.send("GET");
    assert!(client.is_closed());
    assert_eq!(shop.rejected("slow-headers"), 2);
}

#[test]
fn resting_connections_are_closed_in_their_own_time() {
    let shop = shop(|config| (config.header_timeout, config.idle_timeout) = (LONG, SHORT));
    let mut unused = shop.client();
    assert!(unused.is_closed());
    let mut used = shop.client();
    assert_eq!(used.exchange(request("GET", "/health", &[], None)).status, 200);
    assert!(used.is_closed());
    assert_eq!(shop.rejected("slow-headers"), 0);
}

#[test]
fn slow_bodies_are_answered_and_cut_off() {
    let shop = shop(|config| config.body_timeout = SHORT);
    let bearer = bearer("ann");
    let mut client = shop.client();
    client.send(format!(
        "POST {FLASH} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n\
         content-length: 15\r\n\r\n{{\"quan"
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.code()), (408, "request-timeout".to_owned()));
    assert!(client.is_closed());
    assert_eq!(shop.rejected("slow-body"), 1);
    assert!(shop.engine.asked().is_empty());
}

#[test]
fn time_that_a_body_takes_is_not_taken_from_the_engine() {
    let shop = shop(|config| {
        (config.body_timeout, config.order_timeout) = (LONG, SHORT * 25);
        config.body_rate_min = None;
    });
    let bearer = bearer("ann");
    let mut client = shop.client();
    client.send(format!(
        "POST {FLASH} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n\
         expect: 100-continue\r\ncontent-length: 15\r\n\r\n"
    ));
    let asked_for = client.interim();
    assert!(asked_for.starts_with("HTTP/1.1 100"), "{asked_for}");
    let began = Instant::now();
    while began.elapsed() < SHORT * 26 {
        std::thread::yield_now();
    }
    client.send(r#"{"quantity": 1}"#);
    assert_eq!(client.answer().status, 201);
}

#[test]
fn who_says_that_nothing_more_will_come_is_still_answered() {
    let shop = shop(|_| {});
    let bearer = bearer("ann");
    let order = request("POST", FLASH, &[("authorization", &bearer)], Some(r#"{"quantity": 1}"#));
    let mut client = shop.client();
    client.send(order.repeat(3));
    client.finish();
    let statuses: Vec<u16> = (0..3).map(|_| client.answer().status).collect();
    assert_eq!(statuses, [201, 201, 201]);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_leaves_disturbs_nobody() {
    let shop = shop(|_| {});
    let bearer = bearer("ann");
    for cut in 1..200 {
        let text =
            request("POST", FLASH, &[("authorization", &bearer)], Some(r#"{"quantity": 1}"#));
        let mut client = shop.client();
        client.send(&text[..cut.min(text.len() - 1)]);
    }
    assert_eq!(shop.get("/health").status, 200);
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
    assert!(shop.engine.asked().is_empty(), "no part of an order is an order");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let shop = shop(|_| {});
    let bearer = bearer("ann");
    let order = request("POST", FLASH, &[("authorization", &bearer)], Some(r#"{"quantity": 1}"#));
    let health = request("GET", "/health", &[], None);
    let nowhere = request("GET", "/nowhere", &[], None);
    let mut client = shop.client();
    client.send([order.as_str(), &health, &nowhere, &order, &health].concat());
    let statuses: Vec<u16> = (0..5).map(|_| client.answer().status).collect();
    assert_eq!(statuses, [201, 200, 404, 201, 200]);
    // An answer does not wait for the rest of the next request.
    client.send([health.as_str(), &nowhere[..9]].concat());
    assert_eq!(client.answer().status, 200);
    client.send(&nowhere[9..]);
    assert_eq!(client.answer().status, 404);
    // One byte at a time comes to the same.
    for byte in [order.as_str(), &nowhere].concat().bytes() {
        client.send([byte]);
    }
    assert_eq!((client.answer().status, client.answer().status), (201, 404));
}

#[test]
fn bodies_that_trickle_are_cut_off_before_their_time_is_up() {
    let shop = shop(|config| (config.body_timeout, config.body_rate_min) = (LONG, RATE));
    let bearer = bearer("ann");
    let mut client = shop.client();
    client.send(format!(
        "POST {FLASH} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n\
         content-length: 15\r\n\r\n{{"
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.code()), (408, "request-timeout".to_owned()));
    assert!(client.is_closed());
    // A body that nobody asked for is held to it as well.
    let mut client = shop.client();
    client.send("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 15\r\n\r\n{");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    assert!(client.is_closed());
    assert_eq!(shop.rejected("slow-body"), 2);
    assert!(shop.engine.asked().is_empty());
}

#[test]
fn answers_that_nobody_takes_are_not_kept() {
    // The time for heads does not go on while nobody reads them.
    for header_timeout in [LONG, SHORT * 25] {
        let shop = shop(|config| {
            (config.write_timeout, config.idle_timeout) = (SHORT * 50, LONG);
            config.header_timeout = header_timeout;
        });
        let mut client = with_small_window(&shop);
        client.try_send(request("GET", "/nowhere", &[], None).repeat(5_000));
        shop.wait(|shop| shop.rejected("slow-reader") == 1);
        shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
        assert_eq!(shop.rejected("slow-headers"), 0);
        let taken = String::from_utf8(client.rest()).unwrap();
        let answers = taken.matches("HTTP/1.1 404").count();
        assert!(answers < 5_000, "{answers} answers");
    }
}

#[test]
fn answers_that_are_taken_in_the_end_are_all_given() {
    let shop = shop(|config| {
        (config.write_timeout, config.header_timeout) = (LONG, SHORT * 25);
    });
    let mut client = with_small_window(&shop);
    let mut sender = client.twin();
    let asks = request("GET", "/nowhere", &[], None).repeat(5_000);
    let sending = std::thread::spawn(move || sender.send(asks));
    // For longer than a head may take nothing is read.
    std::thread::sleep(SHORT * 40);
    for _ in 0..5_000 {
        assert_eq!(client.answer().status, 404);
    }
    sending.join().unwrap();
}

/// A client whose side takes in little before it is read.
fn with_small_window(shop: &Shop) -> Client {
    let address = shop.edge.address();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    Client::on(socket.into())
}

#[test]
fn connections_past_the_bound_are_turned_away_while_all_are_busy() {
    let shop = Shop::with(|_| Reaction::Silence, |config| config.connections_per_thread_max = 2);
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
    let bearer = bearer("ann");
    let order = request("POST", FLASH, &[("authorization", &bearer)], Some(r#"{"quantity": 1}"#));
    let mut seated: Vec<Client> = (0..2).map(|_| shop.client()).collect();
    for client in &mut seated {
        client.send(&order);
    }
    shop.engine.wait_asked(2);
    let mut third = shop.client();
    let answer = third.next(true).expect("an answer without a question");
    assert_eq!((answer.status, answer.code()), (503, "overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(third.is_closed());
    assert_eq!((shop.rejected("connections"), shop.rejected("let-go")), (1, 0));
    for client in &mut seated {
        assert_eq!(client.answer().status, 503);
    }
    drop(seated.pop());
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 1);
    assert_eq!(shop.get("/health").status, 200);
}

#[test]
fn who_rests_longest_makes_room() {
    let shop = shop(|config| {
        (config.connections_per_thread_max, config.idle_timeout) = (3, LONG);
        config.time_to_ask = Duration::ZERO;
    });
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
    let health = request("GET", "/health", &[], None);
    let mut first = shop.client();
    assert_eq!(first.exchange(&health).status, 200);
    let mut second = shop.client();
    assert_eq!(second.exchange(&health).status, 200);
    assert_eq!(first.exchange(&health).status, 200);
    let mut dawdling = shop.client();
    dawdling.send("GET /health HTTP/1.1\r\nhost:");
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 3);
    // The dawdler was never served, and the second rests longer than the first.
    assert_eq!(shop.client().exchange(&health).status, 200);
    assert!(dawdling.is_closed());
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 2);
    let mut third = shop.client();
    assert_eq!(third.exchange(&health).status, 200);
    let mut fourth = shop.client();
    assert_eq!(fourth.exchange(&health).status, 200);
    assert!(second.is_closed());
    assert_eq!(shop.rejected("let-go"), 2);
    for client in [&mut first, &mut third, &mut fourth] {
        assert_eq!(client.exchange(&health).status, 200);
    }
}

#[test]
fn everybody_of_a_crowd_that_asks_at_once_is_answered() {
    let shop = shop(|config| config.connections_per_thread_max = 8);
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
    let health = request("GET", "/health", &[], None);
    let mut resting: Vec<Client> = (0..8).map(|_| shop.client()).collect();
    for client in &mut resting {
        assert_eq!(client.exchange(&health).status, 200);
    }
    let mut crowd: Vec<Client> = Vec::new();
    for _ in 0..300 {
        let mut client = shop.client();
        client.send(&health);
        crowd.push(client);
    }
    for client in &mut crowd {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(shop.rejected("let-go"), 300);
}

#[test]
fn a_body_that_is_waited_for_makes_room_as_well() {
    let shop = shop(|config| {
        (config.connections_per_thread_max, config.body_timeout) = (2, LONG);
        config.body_rate_min = None;
    });
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
    let bearer = bearer("ann");
    let head = format!(
        "POST {FLASH} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n\
         expect: 100-continue\r\ncontent-length: 15\r\n\r\n"
    );
    let mut seated: Vec<Client> = (0..2).map(|_| shop.client()).collect();
    for client in &mut seated {
        client.send(&head);
        let asked_for = client.interim();
        assert!(asked_for.starts_with("HTTP/1.1 100"), "{asked_for}");
    }
    assert_eq!(shop.get("/health").status, 200);
    assert!(seated[0].is_closed());
    assert_eq!((shop.rejected("connections"), shop.rejected("let-go")), (0, 1));
    seated[1].send(r#"{"quantity": 1}"#);
    assert_eq!(seated[1].answer().status, 201);
}

#[test]
fn an_address_has_its_share_of_connections() {
    let shop = shop(|config| {
        config.threads = 2;
        config.connections_per_address = AddressLimit::Each(3);
    });
    shop.wait(|shop| shop.edge.metrics().snapshot().connections == 0);
    let health = request("GET", "/health", &[], None);
    let mut seated: Vec<Client> = (0..3).map(|_| shop.client()).collect();
    for client in &mut seated {
        assert_eq!(client.exchange(&health).status, 200);
    }
    // Whoever asks at once and whoever only listens are told alike.
    for text in [health.as_str(), ""] {
        let mut more = shop.client();
        more.try_send(text);
        let answer = more.next(true).expect("an answer");
        assert_eq!((answer.status, answer.code()), (429, "rate-limited".to_owned()));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(more.is_closed());
    }
    assert_eq!(shop.rejected("address-connections"), 2);
    // Another address has its own.
    let address = shop.edge.address();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&address.into()).unwrap();
    assert_eq!(Client::on(socket.into()).exchange(&health).status, 200);
    drop(seated.pop());
    shop.wait(|shop| shop.get("/health").status == 200);
}

#[test]
fn a_connection_that_gave_its_buffers_back_is_as_good_as_new() {
    // It rests at the end of every answer.
    let shop = shop(|config| config.buffers_kept = Duration::ZERO);
    let bearer = bearer("ann");
    let order = request("POST", FLASH, &[("authorization", &bearer)], Some(r#"{"quantity": 1}"#));
    let mut client = shop.client();
    for _ in 0..20 {
        assert_eq!(client.exchange(&order).status, 201);
    }
    client.send([order.as_str(), &order[..30]].concat());
    assert_eq!(client.answer().status, 201);
    client.send(&order[30..]);
    assert_eq!(client.answer().status, 201);
    assert_eq!(shop.engine.asked().len(), 22);
}

#[test]
fn old_and_closing_clients_are_served_and_let_go() {
    let shop = shop(|_| {});
    for text in [
        "GET /health HTTP/1.0\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ] {
        let mut client = shop.client();
        assert_eq!(client.exchange(text).status, 200);
        assert!(client.is_closed());
    }
}
