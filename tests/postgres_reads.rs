//! Reading through PgBouncers and replicas: what a buyer has done is never hidden from the buyer,
//! however far behind a replica is, and a replica that is gone is not missed.

mod support;

use doorbuster_postgres_harness::{Clusters, Options};
use serde_json::{Value, json};
use std::path::Path;
use support::http::{Answer, Client};
use support::shards::Shards;
use support::{Server, run_well, wait_until};

/// Orders that are listed at once after the store has them.
const ORDERS: usize = 100;

/// A sale with one shard, its replica and its PgBouncer.
struct Shop {
    server: Server,
    client: Client,
}

impl Shop {
    fn start(data: &Path, shards: &Shards) -> Self {
        let database = &shards.0[0];
        let (store, reads) = (database.url(), database.pooled_url());
        let replica = database.replica_url();
        let flags = ["--store", &store, "--store-reads", &reads, "--store-replica", &replica];
        let server = Server::start_with(data, "127.0.0.1:0", &flags);
        server.define("lamp", &json!({ "price": 5, "currency": "USD", "stock": 100_000 }));
        let client = server.client();
        Self { server, client }
    }

    fn list(&mut self, buyer: &str, token: &str) -> Answer {
        let answer = self.client.call("GET", &format!("/orders/user/{buyer}"), Some(token), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }
}

fn ids(answer: &Answer) -> Vec<&str> {
    let orders = answer.body["orders"].as_array().expect("orders");
    orders.iter().filter_map(|order| order["orderId"].as_str()).collect()
}

/// Until the engine has let go of `order`, which is final: the store has acknowledged its last event.
fn wait_until_let_go(data: &Path, order: &str) {
    let data = data.to_str().expect("UTF-8");
    wait_until("the engine has let go of the order", || {
        let dump = run_well(&["log", "dump", "--json", "--data", data]);
        let events: Vec<Value> =
            dump.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let last = events.iter().rfind(|event| event["order"] == order).expect("it was placed");
        events.iter().any(|event| {
            event["event"] == "acknowledged"
                && event["partition"] == last["partition"]
                && event["through"].as_u64() >= last["sequence"].as_u64()
        })
    });
}

#[test]
fn a_replica_an_hour_behind_hides_nothing_from_its_buyer() {
    let options = Options { shards: 1, replicas: 1, pgbouncer: true, fast: true };
    let clusters = Clusters::private(&options);
    let shards = Shards::of(&clusters);
    let replica = clusters.replica(0).expect("there is one");
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let mut shop = Shop::start(&data, &shards);
    let database = &shards.0[0];
    wait_until("the store has the product", || {
        database.psql("SELECT count(*) FROM products WHERE created_at IS NOT NULL") == "2"
    });
    // It has tables and the product by now; of what comes it knows nothing for an hour.
    database.wait_for_replica();
    replica.set("recovery_min_apply_delay", "1h");

    let (ann, admin) = (shop.server.token("ann"), shop.server.admin_token());
    let mut session = database.session();
    let mut orders: Vec<String> = Vec::new();
    for number in 0..ORDERS {
        let buyer = format!("ann-{}", number % 5);
        let token = shop.server.token(&buyer);
        let order = shop.client.buy("lamp", &token, None, false).order();
        let is_stored = format!("SELECT count(*) FROM orders WHERE id = '{order}'");
        wait_until("the store has it", || session.psql(&is_stored) == "1");
        let listed = shop.list(&buyer, &token);
        assert_eq!(ids(&listed).first(), Some(&order.as_str()), "{number}: the newest comes first");
        orders.push(order);
    }
    let mut late = database.replica_session();
    let on_replica = late.psql("SELECT count(*) FROM orders").parse::<usize>().expect("a count");
    assert!(on_replica < ORDERS, "the replica is behind: it has {on_replica} of {ORDERS}");

    // An order that the engine has let go of is the store's to answer for.
    let order = shop.client.buy("lamp", &ann, None, false).order();
    let path = format!("/orders/{order}");
    let cancelled = shop.client.call("PUT", &format!("{path}/cancel"), Some(&ann), None);
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    wait_until_let_go(&data, &order);
    for path in [path.clone(), format!("{path}/status")] {
        let read = shop.client.call("GET", &path, Some(&ann), None);
        assert_eq!((read.status, &read.body["status"]), (200, &json!("cancelled")), "{read:?}");
    }
    let again = shop.client.call("PUT", &format!("{path}/cancel"), Some(&ann), None);
    assert_eq!((again.status, again.code()), (409, "order-final"), "{again:?}");
    let bob = shop.server.token("bob");
    let others = shop.client.call("GET", &path, Some(&bob), None);
    assert_eq!((others.status, others.code()), (404, "order-not-found"), "{others:?}");

    // Whoever looks into another's orders is answered too: that replica is too far behind for it.
    let listed = shop.list("ann-0", &admin);
    assert_eq!(ids(&listed).first(), Some(&orders[ORDERS - 5].as_str()));

    // Without the replica, and without the connections of the pooler, lists go on.
    replica.stop_immediate();
    for _ in 0..20 {
        assert_eq!(ids(&shop.list("ann-0", &admin)).len(), 20);
        assert_eq!(ids(&shop.list("ann", &ann)), [order.as_str()]);
    }
    let answer = shop.client.call("GET", "/products?limit=1", None, None);
    assert_eq!((answer.status, answer.body["nextCursor"].is_string()), (200, true), "{answer:?}");
    shards.wait_until_filled(&data, shop.server.admin);
    assert!(shop.server.stop().success());
}

#[test]
fn a_list_is_read_page_by_page_while_it_grows() {
    let shards = Shards::shared(1);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let mut shop = Shop::start(&data, &shards);
    let ann = shop.server.token("ann");
    let mut orders: Vec<String> =
        (0..45).map(|_| shop.client.buy("lamp", &ann, None, false).order()).collect();
    wait_until("the store has them", || shards.orders() == 45);
    orders.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/orders/user/ann?limit=10{cursor}");
        let page = shop.client.call("GET", &path, Some(&ann), None);
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        // What comes meanwhile is newer, and moves nothing of what is still to be read.
        assert_eq!(shop.client.buy("lamp", &ann, None, false).status, 201);
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, orders);
    assert!(shop.server.stop().success());
}
