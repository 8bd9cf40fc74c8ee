//! Requests that can be read in two ways, against a real engine: none of them reaches it.

use super::hostile_shapes::{REFUSED, TAKEN, bytes};
use super::support::Server;
use super::support::metrics::Metrics;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const PRODUCT: &str = "shapes";

/// The statuses that some bytes are answered with, on a connection of their own.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(server.http).expect("the edge listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    // It may be refused, and closed, in the middle.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let (mut text, mut piece) = (Vec::new(), [0; 4_096]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(text)
        .expect("answers are text")
        .replace("HTTP/1.0 ", "HTTP/1.1 ")
        .split("HTTP/1.1 ")
        .skip(1)
        // The version stands in what some answers say, too.
        .filter_map(|answer| answer.get(..3)?.parse().ok())
        .collect()
}

/// Requests that the engine has taken. Events are no measure: some acknowledge others, later.
fn requests(server: &Server) -> f64 {
    Metrics::of(server.admin).sum("engine_requests_total")
}

#[test]
fn no_shape_reaches_the_engine() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    server.define(PRODUCT, &json!({ "price": 100, "currency": "USD", "stock": 1_000 }));
    let bearer = format!("Bearer {}", server.token("mallory"));
    let before = requests(&server);
    for (name, text, status, _) in REFUSED {
        let bytes = bytes(text, PRODUCT, &bearer);
        assert_eq!(statuses(&server, &bytes), [*status], "{name}");
    }
    assert_eq!(requests(&server), before, "something reached the engine");
    let orders: usize = TAKEN.iter().map(|(_, _, orders)| orders).sum();
    for (name, text, orders) in TAKEN {
        let bytes = bytes(text, PRODUCT, &bearer);
        assert_eq!(statuses(&server, &bytes), vec![201; *orders], "{name}");
    }
    assert_eq!(requests(&server) - before, orders as f64, "and these did");
    assert_eq!(server.product(PRODUCT)["held"], orders);
}
