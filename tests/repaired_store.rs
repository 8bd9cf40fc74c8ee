//! Whatever is wrong in a store is found by the audit, each thing with its order, and set right from
//! the log; a second audit finds nothing. A store is never set right from a log that is in doubt.

mod support;

use doorbuster_engine::directory::DataDirectory;
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{BuyerId, OrderId, ProductId, Quantity, Sequence, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::shards::{Shards, words};
use support::stored::Stored;
use support::written_log::WrittenLog;
use support::{Server, run, wait_until};

const PRODUCTS: [&str; 6] = ["lamp", "desk", "sofa", "chair", "table", "clock"];
const ORDERS: usize = 48;

/// What is done to the row of one order, and the check that finds it.
const ORDER_PLANTS: &[(&str, &str, &str)] = &[
    (
        "deleted",
        "store-orders",
        "DELETE FROM order_items WHERE order_id = ID(it); DELETE FROM orders WHERE id = ID(it)",
    ),
    ("status", "store-orders", "UPDATE orders SET status = 'expired' WHERE id = ID(it)"),
    (
        "amount",
        "store-orders",
        "UPDATE orders SET total_amount = total_amount + 1 WHERE id = ID(it)",
    ),
    (
        "buyer",
        "store-orders",
        "UPDATE orders SET user_id = ID(00000000-0000-4000-8000-000000000001) WHERE id = ID(it)",
    ),
    ("currency", "store-orders", "UPDATE orders SET currency = 'EUR' WHERE id = ID(it)"),
    (
        "created_at",
        "store-orders",
        "UPDATE orders SET created_at = LATER(created_at) WHERE id = ID(it)",
    ),
    (
        "updated_at",
        "store-orders",
        "UPDATE orders SET updated_at = LATER(updated_at) WHERE id = ID(it)",
    ),
    (
        "expires_at",
        "store-orders",
        "UPDATE orders SET expires_at = LATER(expires_at) WHERE id = ID(it)",
    ),
    ("no expires_at", "store-orders", "UPDATE orders SET expires_at = NULL WHERE id = ID(it)"),
    ("version", "store-orders", "UPDATE orders SET version = version + 1 WHERE id = ID(it)"),
    (
        "item's quantity",
        "store-orders",
        "UPDATE order_items SET quantity = quantity + 1 WHERE order_id = ID(it)",
    ),
    (
        "item's price",
        "store-orders",
        "UPDATE order_items SET ITEM_PRICE = ITEM_PRICE + 1 WHERE order_id = ID(it)",
    ),
    (
        "item's product",
        "store-orders",
        "UPDATE order_items SET product_id = ID(00000000-0000-4000-8000-000000000002) \
         WHERE order_id = ID(it)",
    ),
    ("item deleted", "store-orders", "DELETE FROM order_items WHERE order_id = ID(it)"),
    (
        "item added",
        "store-orders",
        "INSERT INTO order_items (order_id, line, product_id, quantity, ITEM_PRICE ITEM_COLUMNS) \
         VALUES (ID(it), 1, ID(00000000-0000-4000-8000-000000000002), 1, 1 ITEM_VALUES)",
    ),
];

/// What is done to a product.
const PRODUCT_PLANTS: &[(&str, &str)] = &[
    ("price", "UPDATE products SET price = price + 1 WHERE id = ID(it)"),
    ("stock", "UPDATE products SET STOCK = STOCK + 1 WHERE id = ID(it)"),
    ("state", "UPDATE products SET state = 'paused' WHERE id = ID(it)"),
    ("version", "UPDATE products SET version = version + 1 WHERE id = ID(it)"),
    ("deleted", "DELETE FROM products WHERE id = ID(it)"),
];

/// What an audit should find: the check, and the order, the product or the partition.
type Found = BTreeSet<(String, String)>;

struct Shop {
    _home: tempfile::TempDir,
    data: PathBuf,
    stored: Stored,
    server: Option<Server>,
}

impl Shop {
    /// A server on a store, with products and orders, paid and cancelled ones among them.
    fn open(shards: Option<Shards>) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        let stored = match shards {
            Some(shards) => Stored::Postgres(shards),
            None => Stored::Sqlite(data.join("store.sqlite")),
        };
        let server = Server::start_with(&data, "127.0.0.1:0", &words(&stored.flags()));
        let terms = json!({ "price": 250, "currency": "USD", "stock": 1000 });
        PRODUCTS.iter().for_each(|product| server.define(product, &terms));
        let mut client = server.client();
        let admin = server.admin_token();
        for number in 0..ORDERS {
            let buyer = server.token(&format!("buyer-{number}"));
            let order = client.buy("lamp", &buyer, None, false).order();
            let (method, path, token) = match number % 4 {
                0 => ("PUT", format!("/orders/{order}/cancel"), &buyer),
                1 => continue,
                _ => ("PUT", format!("/orders/{order}/pay"), &admin),
            };
            let answer = client.call(method, &path, Some(token), None);
            assert!(answer.status < 300, "{method} {path}: {answer:?}");
        }
        Self { _home: home, data, stored, server: Some(server) }
    }

    /// The same, stopped when the store has everything.
    fn closed(shards: Option<Shards>) -> Self {
        let mut shop = Self::open(shards);
        wait_until("the store has everything", || {
            let (_, report) = shop.audit(&[]);
            report["storeLagEvents"] == 0 && report["clean"] == true
        });
        let server = shop.server.take().expect("it runs");
        assert!(server.stop().success());
        shop
    }

    /// Runs the audit: its exit code, and what it found.
    fn audit(&self, more: &[&str]) -> (Option<i32>, Value) {
        let flags = self.stored.flags();
        let data = self.data.to_str().expect("UTF-8");
        let arguments = [&["audit", "--json", "--data", data], more, &words(&flags)].concat();
        let output = run(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {errors}"));
        (output.status.code(), report)
    }
}

fn found(report: &Value) -> Found {
    let divergences = report["divergences"].as_array().expect("divergences");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    divergences
        .iter()
        .map(|it| {
            let subject = text(&it["order"]).or(text(&it["product"]));
            let subject = subject.unwrap_or_else(|| format!("partition {}", it["partition"]));
            (it["check"].as_str().expect("a check").to_owned(), subject)
        })
        .collect()
}

fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a name")
}

fn lamps_partition() -> u16 {
    PartitionCount::new(16).expect("the default").partition_of(product("lamp")).get()
}

/// Plants everything that there is, each on another order; what must be found.
fn plant(stored: &Stored) -> Found {
    let mut expected = Found::new();
    let mut expect = |check: &str, subject: &str| {
        assert!(expected.insert((check.to_owned(), subject.to_owned())), "{subject} is used once");
    };
    // One order in hand of the shop: what comes after `paid` is no divergence.
    let paid = "SELECT id FROM orders WHERE status = 'paid' ORDER BY id DESC LIMIT 1";
    let shipped = stored.rows(0, paid)[0][0].clone();
    let sql =
        "UPDATE orders SET status = 'shipped', updated_at = LATER(updated_at) WHERE id = ID(it)";
    stored.execute(0, &sql.replace("it)", &format!("{shipped})")));

    let orders = stored.orders();
    let mut orders = orders.iter().filter(|(order, _)| *order != shipped);
    // Ones with a hold, so that there is a time of expiry to change; all have one here.
    for (what, check, sql) in ORDER_PLANTS {
        let (order, shard) = orders.next().expect("enough orders");
        stored.execute(*shard, &sql.replace("ID(it)", &format!("ID({order})")));
        eprintln!("{what}: {order} on shard {shard}");
        expect(check, order);
    }
    for (number, ((what, sql), name)) in PRODUCT_PLANTS.iter().zip(PRODUCTS).enumerate() {
        let (id, shard) = (product(name).to_string(), number % stored.shards());
        stored.execute(shard, &sql.replace("ID(it)", &format!("ID({id})")));
        eprintln!("{what}: product {id} on shard {shard}");
        expect("store-products", &id);
    }
    let stranger = product("stranger").to_string();
    stored.execute(
        0,
        &format!(
            "INSERT INTO products (id, price, currency, STOCK, state, limit_per_user, \
             hold_seconds, waitlist_capacity, created_at, updated_at, version) \
             VALUES (ID({stranger}), 1, 'USD', 1, 'open', 0, 60, 0, NOW, NOW, 1)"
        ),
    );
    expect("store-products", &stranger);

    // An order that nobody placed: its id names the event that defined a product.
    let partition = PartitionCount::new(16).expect("16").partition_of(product("lamp"));
    let eve = BuyerId::parse("eve").expect("a name");
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    let made_up = OrderId::new(at, partition, eve, Sequence::new(1)).to_string();
    insert_order(stored, 0, &made_up, &eve.to_string());
    expect("store-orders", &made_up);
    // And one whose id is none.
    let no_id = "00000000-0000-8fff-8000-000000000007";
    insert_order(stored, stored.shards() - 1, no_id, &eve.to_string());
    expect("store-orders", no_id);

    let (order, shard) = orders.next().expect("enough orders");
    let sequence = order.parse::<OrderId>().expect("an id").sequence_bits();
    let partition = lamps_partition();
    stored.execute(
        *shard,
        &format!(
            "INSERT INTO dead_letters (partition, sequence, line, at, reason, change) \
             VALUES ({partition}, {sequence}, 0, NOW, 'planted', 'an order')"
        ),
    );
    expect("dead-letters", order);
    let last = stored.shards() - 1;
    stored.execute(
        last,
        &format!("UPDATE checkpoints SET sequence = sequence + 9 WHERE partition = {partition}"),
    );
    expect("checkpoints", &format!("partition {partition}"));

    if let Stored::Postgres(shards) = stored
        && shards.0.len() > 1
    {
        for stays in [false, true] {
            let (order, shard) = orders.next().expect("enough orders");
            let other = (shard + 1) % shards.0.len();
            copy_order(shards, order, *shard, other);
            if !stays {
                shards.0[*shard].psql(&format!("DELETE FROM orders WHERE id = '{order}'"));
            }
            expect("store-orders", order);
        }
    }
    expected
}

fn insert_order(stored: &Stored, shard: usize, order: &str, buyer: &str) {
    stored.execute(
        shard,
        &format!(
            "INSERT INTO orders (id, user_id, total_amount, currency, status, created_at, \
             updated_at, version) VALUES (ID({order}), ID({buyer}), 1, 'USD', 'paid', NOW, NOW, 1)"
        ),
    );
}

fn copy_order(shards: &Shards, order: &str, from: usize, to: usize) {
    for (table, key) in [("orders", "id"), ("order_items", "order_id")] {
        let row = format!("SELECT to_jsonb(t) FROM {table} t WHERE {key} = '{order}'");
        let row = shards.0[from].psql(&row).replace('\'', "''");
        let sql = format!(
            "INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, '{row}')"
        );
        shards.0[to].psql(&sql);
    }
}

/// Plants, finds, leaves alone, repairs, and finds nothing any more.
fn check(shop: &Shop) {
    let untouched = shop.stored.everything();
    let expected = plant(&shop.stored);
    assert!(expected.len() >= 20, "twenty at least: {expected:#?}");
    let planted = shop.stored.everything();

    let (code, report) = shop.audit(&[]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(found(&report), expected, "{report:#}");
    for divergence in report["divergences"].as_array().expect("divergences") {
        let has_sides = !(divergence["log"].is_null() && divergence["store"].is_null());
        assert!(has_sides, "both versions are told: {divergence:#}");
    }
    assert_eq!(shop.stored.everything(), planted, "an audit writes nothing");

    let (code, report) = shop.audit(&["--repair"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["clean"], true, "{report:#}");
    assert_eq!(found(&report["repair"]["found"]), expected, "{report:#}");
    assert_eq!(found(&report), Found::new());
    let repairs = report["repair"]["repairs"].as_array().expect("repairs");
    assert!(repairs.len() >= expected.len(), "{report:#}");
    for (check, subject) in &expected {
        let is_it = |it: &&Value| it["order"] == **subject || it["product"] == **subject;
        let told = repairs.iter().find(is_it);
        let is_row = check.starts_with("store-");
        assert!(
            !is_row || told.is_some_and(|it| it["old"] != it["new"]),
            "{subject}: {repairs:#?}"
        );
    }

    let (code, report) = shop.audit(&[]);
    assert_eq!((code, &report["divergenceCount"]), (Some(0), &json!(0)), "{report:#}");
    let repaired = shop.stored.everything();
    let shipped = |rows: &[Vec<String>]| {
        rows.iter().filter(|row| row.contains(&"shipped".to_owned())).count()
    };
    assert_eq!((shipped(&untouched), shipped(&repaired)), (0, 1), "what the shop did stays");
    let is_checkpoint = |row: &&Vec<String>| row.len() == 2;
    let differs = untouched.iter().filter(|row| !is_checkpoint(row) && !repaired.contains(row));
    let differs = differs.collect::<Vec<_>>();
    assert_eq!(differs.len(), 1, "all else is as it was: {differs:#?}");
    // One that stood beyond the log stands at its end now; an acknowledgement that the engine logged
    // while it drained may have come after what the store saw of it.
    let number = |row: &Vec<String>| row[1].parse::<u64>().expect("a sequence");
    let checkpoints = untouched.iter().filter(is_checkpoint);
    for (before, after) in checkpoints.zip(repaired.iter().filter(is_checkpoint)) {
        assert_eq!(before[0], after[0], "partitions stand in order");
        assert!(number(before) <= number(after), "{before:?} has become {after:?}");
    }
    assert_eq!(untouched.len(), repaired.len());
}

#[test]
fn what_is_planted_in_a_file_is_found_and_set_right() {
    check(&Shop::closed(None));
}

#[test]
fn what_is_planted_in_postgres_shards_is_found_and_set_right() {
    for shards in [1, 4] {
        check(&Shop::closed(Some(Shards::shared(shards))));
    }
}

#[test]
fn a_store_is_set_right_beside_a_sale() {
    check_live(None);
}

#[test]
fn postgres_shards_are_set_right_beside_a_sale() {
    check_live(Some(Shards::shared(2)));
}

/// Repairs while a projector moves the checkpoints.
fn check_live(shards: Option<Shards>) {
    let shop = Shop::open(shards);
    let server = shop.server.as_ref().expect("it runs");
    wait_until("the store has the orders", || shop.stored.orders().len() == ORDERS);
    let orders = shop.stored.orders();
    for ((_, _, sql), (order, shard)) in ORDER_PLANTS.iter().zip(&orders) {
        shop.stored.execute(*shard, &sql.replace("ID(it)", &format!("ID({order})")));
    }
    let is_over = AtomicBool::new(false);
    let (code, report) = thread::scope(|scope| {
        scope.spawn(|| {
            let (token, mut client) = (server.token("ann"), server.client());
            while !is_over.load(Ordering::Relaxed) {
                client.buy("desk", &token, None, false).order();
                client.buy("lamp", &token, None, false).order();
            }
        });
        let audited = shop.audit(&["--repair"]);
        is_over.store(true, Ordering::Relaxed);
        audited
    });
    assert_eq!(code, Some(0), "{report:#}");
    let repaired: BTreeSet<_> = report["repair"]["repairs"]
        .as_array()
        .expect("repairs")
        .iter()
        .map(|it| it["order"].as_str().expect("an order").to_owned())
        .collect();
    let planted = orders.iter().take(ORDER_PLANTS.len()).map(|(order, _)| order.clone()).collect();
    assert_eq!(repaired, planted);
}

#[test]
fn a_log_that_contradicts_itself_repairs_nothing() {
    let shop = Shop::closed(None);
    shop.stored.execute(0, "UPDATE orders SET total_amount = 7");
    let (_, before) = shop.audit(&[]);
    assert_eq!(before["divergenceCount"], ORDERS, "{before:#}");
    let paid = "SELECT id FROM orders WHERE status = 'paid' ORDER BY id LIMIT 1";
    let order = shop.stored.rows(0, paid)[0][0].parse().expect("an id");
    write_more(&shop.data, order);

    let rows = shop.stored.everything();
    let (code, report) = shop.audit(&["--repair"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["repair"]["refused"], true, "{report:#}");
    assert!(found(&report).contains(&("history".to_owned(), order.to_string())), "{report:#}");
    assert_eq!(shop.stored.everything(), rows, "the store was not touched");
}

/// Pays an order that was paid before.
fn write_more(data: &Path, order: OrderId) {
    let directory = DataDirectory::open(data).expect("a stopped data directory");
    let mut log = WrittenLog::open(&directory, order.partition());
    log.write(Fact::Paid { order, product: product("lamp"), quantity: Quantity::ONE });
    log.close();
}

#[test]
fn a_damaged_log_repairs_nothing_and_says_so_in_json() {
    let shop = Shop::closed(None);
    shop.stored.execute(0, "UPDATE orders SET total_amount = 7");
    let folder = shop.data.join(format!("partitions/{:04}", lamps_partition()));
    let segment = fs::read_dir(folder)
        .expect("a partition")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .expect("a segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[4096 + 100] ^= 1;
    fs::write(&segment, &bytes).expect("written");

    let rows = shop.stored.everything();
    for more in [&[][..], &["--repair"]] {
        let (code, report) = shop.audit(more);
        assert_eq!(code, Some(2), "{report:#}");
        assert_eq!(
            (&report["clean"], &report["error"]["code"]),
            (&json!(false), &json!("damaged-log"))
        );
        let text = report["error"]["text"].as_str().expect("a text");
        assert!(text.contains(segment.to_str().expect("UTF-8")), "{text}");
    }
    assert_eq!(shop.stored.everything(), rows, "the store was not touched");
}
