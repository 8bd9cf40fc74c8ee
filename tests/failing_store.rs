//! A store that fails in the middle of a sale: orders go on from the log, which loses nothing.

mod support;

use serde_json::json;
use std::time::Duration;
use support::{Server, http, run_well, wait_until};

#[test]
fn a_store_that_fails_does_not_stop_the_sale() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let store = home.path().join("store.sqlite");
    let flags = ["--store", &format!("sqlite:{}", store.display())];
    let mut server = Server::start_with(&data, "127.0.0.1:0", &flags);
    server.define("lamp", &json!({ "price": 1, "currency": "USD", "stock": 100_000 }));
    let ann = server.token("ann");
    let mut client = server.client();
    let mut orders = vec![client.buy("lamp", &ann, None, false).order()];

    // Somebody tidies up: nothing can be written any more.
    let connection = rusqlite::Connection::open(&store).expect("it can be opened");
    connection.busy_timeout(Duration::from_secs(30)).expect("a setting");
    connection.execute_batch("DROP TABLE checkpoints").expect("dropped");

    // On until the store has noticed: what it does not have stands in the metrics, and stays.
    let behind = || {
        let metrics = http::Client::connect(server.admin).call("GET", "/metrics", None, None).text;
        metrics
            .lines()
            .any(|line| line.starts_with("projector_connected") && line.ends_with(" 0.0"))
    };
    wait_until("the projector has given up for now", || {
        let answer = client.buy("lamp", &ann, None, false);
        assert_eq!(answer.status, 201, "{answer:?}");
        orders.push(answer.order());
        behind()
    });
    for _ in 0..100 {
        let answer = client.buy("lamp", &ann, None, false);
        assert_eq!(answer.status, 201, "{answer:?}");
        orders.push(answer.order());
    }
    assert!(server.try_wait().is_none(), "it sells on");
    server.stop();

    let data = data.to_str().expect("a path");
    run_well(&["log", "verify", "--data", data]);
    let logged = run_well(&["log", "dump", "--data", data]);
    for order in orders {
        assert!(logged.contains(&order), "{order} is in the log");
    }
}
