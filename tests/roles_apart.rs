//! Engine, edge and projector as processes of their own: the same sale, and each may be killed.

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use support::http::Client;
use support::{doorbuster, token, verify_and_audit, wait_until};

/// One role in a process of its own, ended at the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a role and waits for the log line that says `message`; its `address`, if it has one.
fn start(data: &Path, arguments: &[&str], message: &str) -> (Process, Option<SocketAddr>) {
    let mut child = doorbuster()
        .args(arguments)
        .args(["--admin", "off", "--log-format", "json", "--data"])
        .arg(data)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let process = Process(child);
    let mut seen = Vec::new();
    let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        let is_it = entry["message"] == message;
        seen.push(line);
        is_it.then_some(entry)
    });
    let entry = found.unwrap_or_else(|| panic!("{arguments:?} never said `{message}`: {seen:#?}"));
    // Read on, so that the process never waits for somebody to read.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (process, entry["address"].as_str().and_then(|text| text.parse().ok()))
}

#[test]
fn a_sale_survives_the_death_of_each_role() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let (engine, address) =
        start(&data, &["engine", "--cores", "1", "--engine-listen", "127.0.0.1:0"], "listening");
    let core = address.expect("the engine listens").to_string();
    let edge = ["edge", "--engine", &core, "--http", "127.0.0.1:0"];
    let (edge, address) = start(&data, &edge, "the edge listens");
    let http = address.expect("the edge listens");
    let (projector, _) = start(&data, &["project", "--engine", &core], "projecting");
    let (ann, admin) = (token(&data, "ann", false), token(&data, "ops", true));
    wait_until("the edge is ready", || {
        Client::connect(http).call("GET", "/ready", None, None).status == 200
    });
    let terms = json!({ "price": 5, "currency": "USD", "stock": 10 });
    let mut client = Client::connect(http);
    assert_eq!(client.call("PUT", "/products/lamp", Some(&admin), Some(&terms)).status, 201);
    let order = client.buy("lamp", &ann, Some("k"), false).order();

    // The projector dies: the sale goes on, and the next one catches up.
    drop(projector);
    assert_eq!(client.buy("lamp", &ann, None, false).status, 201);
    let (_projector, _) = start(&data, &["project", "--engine", &core], "projecting");

    // The engine dies: the edge says so and finds the next one.
    drop(engine);
    wait_until("the edge has noticed", || {
        Client::connect(http).call("GET", "/ready", None, None).status == 503
    });
    let answer = client.buy("lamp", &ann, Some("k"), false);
    assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{answer:?}");
    let (_engine, _) =
        start(&data, &["engine", "--cores", "1", "--engine-listen", &core], "listening");
    wait_until("the edge is ready again", || {
        Client::connect(http).call("GET", "/ready", None, None).status == 200
    });
    let again = client.buy("lamp", &ann, Some("k"), false);
    assert_eq!((again.status, again.order()), (201, order), "{again:?}");
    drop(edge);

    wait_until("the store has both orders", || {
        let audit = verify_and_audit(&data);
        audit["storeOrders"] == 2 && audit["storeLagEvents"] == 0
    });
}
