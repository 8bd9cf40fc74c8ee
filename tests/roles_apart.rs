//! Engine, edge and projector as processes of their own: the same sale, and each may be killed.

mod support;

use serde_json::json;
use support::http::Client;
use support::role::Role;
use support::{token, verify_and_audit, wait_until};

#[test]
fn a_sale_survives_the_death_of_each_role() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let engine = ["engine", "--cores", "1", "--engine-listen", "127.0.0.1:0"];
    let engine = Role::start(&data, &engine, "listening");
    let core = engine.address.expect("the engine listens").to_string();
    let edge = ["edge", "--engine", &core, "--http", "127.0.0.1:0"];
    let edge = Role::start(&data, &edge, "the edge listens");
    let http = edge.address.expect("the edge listens");
    let projector = Role::start(&data, &["project", "--engine", &core], "projecting");
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
    let _projector = Role::start(&data, &["project", "--engine", &core], "projecting");

    // The engine dies: the edge says so and finds the next one.
    drop(engine);
    wait_until("the edge has noticed", || {
        Client::connect(http).call("GET", "/ready", None, None).status == 503
    });
    let answer = client.buy("lamp", &ann, Some("k"), false);
    assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{answer:?}");
    let engine = ["engine", "--cores", "1", "--engine-listen", &core];
    let _engine = Role::start(&data, &engine, "listening");
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
