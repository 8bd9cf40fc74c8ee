//! Every way that an attempt to buy can go, over HTTP, with the status and code of the contract;
//! the README's lines and the banner's line, as they are printed.

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::http::{Answer, Client};
use support::{Server, doorbuster, readme, run_well, verify_and_audit, wait_until};

#[track_caller]
fn expect(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    if status >= 400 {
        let content_type = answer.header("content-type").unwrap_or("");
        assert!(content_type.starts_with("application/problem+json"), "{answer:?}");
        for field in ["type", "title", "status", "detail", "code", "requestId"] {
            assert!(!answer.body[field].is_null(), "no {field} in {answer:?}");
        }
    }
}

#[test]
fn the_lines_of_the_readme_do_what_they_say() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let blocks = readme::shell_blocks();
    assert!(blocks.len() >= 2, "the README has a purchase and a look behind the counter");
    let mut statuses = 0;
    let mut earlier = String::new();
    for block in blocks {
        let promised = readme::promised(&block);
        // Later blocks go on in the shell of the first: its variables and its path.
        let answered = readme::run(&format!("{earlier}\n{block}"), &server);
        assert_eq!(answered, promised, "{block}");
        statuses += promised.len();
        let is_setting = |line: &&str| line.contains("=\"") && !line.starts_with([' ', '#', 'c']);
        earlier = block.lines().filter(is_setting).collect::<Vec<_>>().join("\n");
    }
    assert!(statuses >= 6, "the README shows a whole purchase");
    assert!(server.stop().success());
    verify_and_audit(&home.path().join("data"));
}

#[test]
fn the_line_of_the_banner_buys_something() {
    let home = tempfile::tempdir().expect("a directory");
    let mut child = doorbuster()
        .args(["--http", "127.0.0.1:0", "--admin", "off", "--data", "./my data"])
        .current_dir(home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut banner = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("readable");
        let is_last = line.contains("Ctrl-C");
        banner.push(line);
        if is_last {
            break;
        }
    }
    let from = banner.iter().position(|line| line.contains("curl")).expect("a curl line");
    let line = banner[from..from + 3].join("\n");
    let output = Command::new("bash")
        .args(["-c", &line])
        .current_dir(home.path())
        .output()
        .expect("bash runs");
    let order: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(order["status"], "pending", "{banner:#?}\n{output:?}");
}

#[test]
fn placing_an_order_has_the_outcomes_of_the_contract() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let mut client = server.client();
    let (ann, ben, cat) = (server.token("ann"), server.token("ben"), server.token("cat"));
    let lamp = json!({ "price": 1999, "currency": "USD", "stock": 2, "limitPerUser": 1 });
    server.define("lamp", &lamp);

    let first = client.buy("lamp", &ann, Some("k"), false);
    expect(&first, 201, "");
    for field in ["orderId", "productId", "createdAt", "expiresAt"] {
        assert!(first.body[field].is_string(), "{first:?}");
    }
    assert_eq!(first.body["status"], "pending");
    assert_eq!(
        (&first.body["unitPrice"], &first.body["totalAmount"]),
        (&json!(1999), &json!(1999))
    );
    let again = client.buy("lamp", &ann, Some("k"), false);
    expect(&again, 201, "");
    assert_eq!(again.text, first.text, "the first answer, word for word");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = json!({ "quantity": 2 });
    let path = "/orders/flash-sale/lamp";
    let mismatch =
        client.call_with("POST", path, Some(&ann), Some(&other), &[("Idempotency-Key", "k")]);
    expect(&mismatch, 422, "idempotency-mismatch");
    expect(&client.buy("lamp", &ann, None, false), 409, "purchase-limit");
    expect(&client.buy("lamp", &ben, None, false), 201, "");
    expect(&client.buy("lamp", &cat, None, false), 409, "sold-out");

    let queued = json!({ "price": 1, "currency": "EUR", "stock": 0, "waitlistCapacity": 1 });
    server.define("queue", &queued);
    let waiting = client.buy("queue", &ann, None, true);
    expect(&waiting, 202, "");
    assert_eq!((&waiting.body["status"], &waiting.body["position"]), (&json!("queued"), &json!(1)));
    expect(&client.buy("queue", &ben, None, true), 409, "sold-out");

    for (name, terms, status, code) in [
        ("later", json!({ "opensAt": "2999-01-01T00:00:00Z" }), 409, "sale-not-open"),
        ("over", json!({ "closesAt": "2020-01-01T00:00:00Z" }), 410, "sale-ended"),
        ("open", json!({}), 201, ""),
    ] {
        let mut full = json!({ "price": 5, "currency": "USD", "stock": 9 });
        full.as_object_mut().expect("an object").extend(terms.as_object().expect("one").clone());
        server.define(name, &full);
        let answer = client.buy(name, &ann, None, false);
        expect(&answer, status, code);
        if code == "sale-not-open" {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            assert!(answer.body["opensAt"].is_string(), "{answer:?}");
        }
    }
    let pause = json!({ "state": "paused" });
    let admin = server.admin_token();
    let paused = client.call("PUT", "/products/open/state", Some(&admin), Some(&pause));
    assert_eq!(paused.status, 200, "{paused:?}");
    expect(&client.buy("open", &ben, None, false), 409, "sale-paused");
    expect(&client.buy("nothing", &ann, None, false), 404, "product-not-found");
    drop(client);
    assert!(server.stop().success());
    verify_and_audit(&home.path().join("data"));
}

#[test]
fn what_is_no_order_is_refused_with_its_field() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let ann = server.token("ann");
    let mut client = server.client();
    let path = "/orders/flash-sale/demo";
    for body in [
        json!({ "quantity": 0 }),
        json!({ "quantity": 1001 }),
        json!({ "quantity": "1" }),
        json!({ "quantity": 1, "productId": "another" }),
        json!([1]),
    ] {
        let answer = client.call("POST", path, Some(&ann), Some(&body));
        expect(&answer, 400, "invalid-request");
    }
    let one = json!({ "quantity": 1 });
    let anonymous = client.call("POST", path, None, Some(&one));
    expect(&anonymous, 401, "unauthenticated");
    assert!(anonymous.header("www-authenticate").is_some());
    expect(&client.call("POST", path, Some("no.real.token"), Some(&one)), 401, "unauthenticated");
    let terms = json!({ "price": 1, "currency": "USD", "stock": 1 });
    expect(&client.call("PUT", "/products/x", Some(&ann), Some(&terms)), 403, "forbidden");
    let wrong_method = client.call("DELETE", path, Some(&ann), None);
    assert_eq!(wrong_method.status, 405, "{wrong_method:?}");
    assert!(wrong_method.header("allow").is_some());
    assert_eq!(client.call("GET", "/nowhere", None, None).status, 404);
    let large = json!({ "quantity": 1, "note": "x".repeat(100_000) });
    assert_eq!(server.client().call("POST", path, Some(&ann), Some(&large)).status, 413);
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let home = tempfile::tempdir().expect("a directory");
    let flags = ["--rate-limit", "1/s burst 3", "--edge-threads", "1"];
    let server = Server::start_with(&home.path().join("data"), "127.0.0.1:0", &flags);
    let (ann, admin) = (server.token("ann"), server.admin_token());
    let mut client = server.client();
    let answers: Vec<_> = (0..6).map(|_| client.buy("demo", &ann, None, false)).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("six are too many");
    expect(refused, 429, "rate-limited");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let is_limit = |(name, _): &(String, String)| name.starts_with("ratelimit");
    assert!(refused.headers.iter().any(is_limit), "{refused:?}");
    for _ in 0..6 {
        assert_eq!(client.call("GET", "/orders/user/ann", Some(&admin), None).status, 200);
    }
}

#[test]
fn an_order_goes_its_way_and_the_store_keeps_it() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let server = Server::start(&data);
    let (ann, ben, admin) = (server.token("ann"), server.token("ben"), server.admin_token());
    let mut client = server.client();
    let items = json!({ "items": [{ "productId": "demo", "quantity": 2 }] });
    let order = client.call("POST", "/orders", Some(&ann), Some(&items));
    expect(&order, 201, "");
    assert_eq!(order.body["totalAmount"], 2 * 1999);
    let id = order.order();
    let at = |what: &str| format!("/orders/{id}{what}");
    expect(&client.call("GET", &at(""), Some(&ben), None), 404, "order-not-found");
    expect(&client.call("PUT", &at("/pay"), Some(&ann), None), 403, "forbidden");
    let paid = client.call("PUT", &at("/pay"), Some(&admin), None);
    assert_eq!((paid.status, &paid.body["status"]), (200, &json!("paid")), "{paid:?}");
    expect(&client.call("PUT", &at("/cancel"), Some(&ann), None), 409, "order-final");
    let cancelled = client.buy("demo", &ben, None, false).order();
    let path = format!("/orders/{cancelled}/cancel");
    assert_eq!(client.call("PUT", &path, Some(&ben), None).body["status"], "cancelled");
    assert_eq!(server.product("demo")["available"], 98);

    let list_of = |client: &mut Client| client.call("GET", "/orders/user/ann", Some(&ann), None);
    wait_until("the store has the paid order", || list_of(&mut client).text.contains("\"paid\""));
    assert!(list_of(&mut client).text.contains(&id));
    assert_eq!(client.call("GET", "/orders/user/ann", Some(&ben), None).status, 403);
    let status = client.call("GET", &at("/status"), Some(&ann), None);
    assert_eq!((status.status, &status.body["status"]), (200, &json!("paid")), "{status:?}");
    for path in ["/health", "/ready", "/products?limit=5", "/products/flash-sale"] {
        assert_eq!(client.call("GET", path, None, None).status, 200, "{path}");
    }
    drop(client);
    assert!(server.stop().success());

    let server = Server::start(&data);
    let again = server.client().call("GET", &format!("/orders/{id}"), Some(&ann), None);
    assert_eq!((again.status, &again.body["status"]), (200, &json!("paid")), "{again:?}");
    let report = verify_and_audit(&data);
    assert_eq!((&report["sold"], &report["storeOrders"]), (&json!(2), &json!(2)));
}

#[test]
fn the_metrics_have_the_names_of_the_contract() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let ann = server.token("ann");
    expect(&server.client().buy("demo", &ann, None, false), 201, "");
    let names = [
        "orders_total{status=\"pending\",type=\"flash-sale\"} 1",
        "order_duration_seconds_bucket",
        "inventory_available{product_id=",
        "http_requests_total{route=",
        "log_commit_duration_seconds_bucket",
        "log_batch_events_bucket",
        "log_bytes_total",
        "engine_queue_depth{core=\"0\"}",
        "projector_lag_events{partition=\"0\"}",
        "projector_lag_seconds",
        "store_batch_duration_seconds_bucket{le=",
        "edge_inflight{core=\"0\"}",
        "edge_rejected_total{reason=",
    ];
    let mut missing = Vec::new();
    wait_until("all metrics are there", || {
        let page = Client::connect(server.admin).call("GET", "/metrics", None, None).text;
        missing = names.iter().filter(|name| !page.contains(**name)).collect();
        missing.is_empty()
    });
}

#[test]
fn configuration_says_what_counts_and_where_it_came_from() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("doorbuster.toml");
    let path = file.to_str().expect("UTF-8");
    run_well(&["config", "init", "--output", path]);
    run_well(&["config", "check", "--config", path]);
    std::fs::write(&file, "http = \"127.0.0.1:1\"\ncores = 3\n").expect("written");
    let output = doorbuster()
        .args(["config", "show", "--json", "--config", path, "--cores", "2"])
        .env("DOORBUSTER_HTTP", "127.0.0.1:2")
        .env("DOORBUSTER_TOKEN_SECRET", "a secret that nobody may see, ever")
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(shown["http"]["value"], "127.0.0.1:2");
    assert_eq!(shown["http"]["origin"], "env");
    assert_eq!(
        (&shown["cores"]["value"], &shown["cores"]["origin"]),
        (&json!("2"), &json!("flag"))
    );
    assert_eq!(shown["partitions"]["origin"], "default");
    assert!(!text.contains("nobody may see"), "{text}");
}
