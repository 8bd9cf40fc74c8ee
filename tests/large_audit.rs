//! The memory of an audit does not grow with the orders, also when all of them are of one product,
//! in one partition, and none is over.
//!
//! As many orders as `DOORBUSTER_AUDIT_ORDERS` says; the figures of ten million are made with
//!
//! ```sh
//! DOORBUSTER_AUDIT_ORDERS=10000000 cargo nextest run --release --test large_audit --no-capture
//! ```

mod support;

use doorbuster_engine::directory::DataDirectory;
use doorbuster_persistence::store::{Advance, Batch, Change, RowChange, StoreIdentity};
use doorbuster_persistence::{BucketSet, OrderItem, OrderRow, SqliteStore, Store};
use doorbuster_protocol::event::{Fact, Matched, Placed, Terms};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{
    BuyerId, Currency, Epoch, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity, Sequence,
    Timestamp,
};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::doorbuster;
use support::written_log::WrittenLog;

const ORDERS: u64 = 20_000;
/// Whatever the number of orders; with a state machine beside the books it would be three times that
/// for ten million.
const MEMORY_MAX: u64 = 512 << 20;
/// Changes of one transaction.
const BATCH: usize = 10_000;

fn orders() -> u64 {
    let asked = std::env::var("DOORBUSTER_AUDIT_ORDERS").ok();
    asked.map_or(ORDERS, |text| text.parse().expect("a number of orders"))
}

/// A log and a store with the same rows in them.
struct Sale {
    log: WrittenLog,
    product: ProductId,
    changes: Vec<Change>,
    after: Sequence,
    store: SqliteStore,
    runtime: tokio::runtime::Runtime,
}

impl Sale {
    fn begin(data: &Path) -> Self {
        let count = PartitionCount::new(1).expect("in range");
        let directory = DataDirectory::create_or_open(data, count).expect("a new one");
        let log = WrittenLog::open(&directory, partition());
        let store = SqliteStore::open(data.join("store.sqlite")).expect("a new store");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let identity = StoreIdentity { directory: directory.id(), partitions: count };
        runtime.block_on(store.shards()[0].claim(identity)).expect("an empty store");
        let product = ProductId::parse("lamp").expect("a name");
        let (changes, after) = (Vec::new(), Sequence::ZERO);
        let mut sale = Self { log, product, changes, after, store, runtime };
        let terms = Terms {
            price: 250,
            currency: Currency::USD,
            stock: 1_000_000_000,
            opens_at: Timestamp::NONE,
            closes_at: Timestamp::NONE,
            limit_per_buyer: 2,
            hold_seconds: 600,
            waitlist_capacity: 0,
        };
        sale.happens(
            Fact::Defined { product, terms, matched: Matched::default() },
            RowChange::ProductDefined { product, terms },
        );
        sale
    }

    fn happens(&mut self, fact: Fact, row: RowChange) {
        let at = self.log.now();
        let sequence = self.log.write(fact);
        self.changes.push(Change { partition: partition(), sequence, line: 0, at, row });
        if self.changes.len() == BATCH {
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(last) = self.changes.last() else { return };
        let through = last.sequence;
        let epoch = Epoch::new(1);
        let advance = Advance { partition: partition(), epoch, after: self.after, through };
        let changes = std::mem::take(&mut self.changes);
        let batch = Batch { buckets: BucketSet::ALL, advances: vec![advance], changes };
        let written = self.runtime.block_on(self.store.shards()[0].write(Arc::new(batch)));
        assert_eq!(written.expect("a good store").dead_letters, 0);
        self.after = through;
    }

    /// One order, of a buyer that has two.
    fn place(&mut self, number: u64) -> OrderId {
        let (at, product, quantity) = (self.log.now(), self.product, Quantity::ONE);
        let buyer = BuyerId::parse(&format!("buyer-{}", number / 2)).expect("a name");
        let order = OrderId::new(at, partition(), buyer, self.log.next());
        let expires_at = at.plus_seconds(600);
        let placed = Placed {
            order,
            product,
            buyer,
            key: IdempotencyKey::new(buyer, product, &number.to_le_bytes()),
            quantity,
            unit_price: 250,
            currency: Currency::USD,
            expires_at,
            waitlist: false,
        };
        let row = OrderRow {
            order,
            buyer,
            total_amount: 250,
            currency: Currency::USD,
            status: OrderStatus::Pending,
            created_at: at,
            updated_at: at,
            expires_at,
            version: self.log.next(),
            items: vec![OrderItem { product, quantity, unit_price: 250 }],
        };
        self.happens(Fact::Placed(placed), RowChange::OrderCreated(row));
        order
    }

    fn pay(&mut self, order: OrderId) {
        let (product, quantity) = (self.product, Quantity::ONE);
        let (status, expires_at) = (OrderStatus::Paid, Timestamp::NONE);
        self.happens(
            Fact::Paid { order, product, quantity },
            RowChange::OrderMoved { order, status, expires_at },
        );
    }

    fn end(mut self) {
        self.write();
        self.log.close();
    }
}

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

/// Runs the audit: what it found, its peak of memory in bytes, and how long it took.
fn audit(data: &Path, more: &[&str]) -> (Value, u64, Duration) {
    let begun = Instant::now();
    let mut child = doorbuster()
        .args(["audit", "--json", "--data"])
        .arg(data)
        .args(more)
        .stdout(Stdio::from(fs::File::create(data.join("report.json")).expect("a file")))
        .spawn()
        .expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        // The high-water mark only grows: the last one that is seen is the one, or close to it.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = kib.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        if let Some(ended) = child.try_wait().expect("it can be asked") {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let report = fs::read_to_string(data.join("report.json")).expect("a report");
    assert!(ended.success(), "{report}");
    (serde_json::from_str(&report).expect("JSON"), peak, begun.elapsed())
}

fn check(is_paid: bool) {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let count = orders();
    let mut sale = Sale::begin(&data);
    for number in 0..count {
        let order = sale.place(number);
        if is_paid {
            sale.pay(order);
        }
    }
    sale.end();
    // Without the state machine: that holds what the engine holds.
    let (report, peak, took) = audit(&data, &["--state-orders-max", "0"]);
    assert_eq!(report["orders"], count);
    assert_eq!(report["storeOrders"], count);
    assert_eq!(report[if is_paid { "sold" } else { "held" }], count);
    let notes = report["notes"].as_array().expect("notes");
    assert_eq!(notes.len(), 1, "what was left out is said: {notes:?}");
    let mib = peak >> 20;
    eprintln!("{count} orders, paid: {is_paid}: {mib} MiB, {:.1} s", took.as_secs_f64());
    assert!(peak < MEMORY_MAX, "{mib} MiB for {count} orders");

    if count <= 1_000_000 {
        let (report, peak, took) = audit(&data, &[]);
        assert!(report["ends"][0]["digest"].is_string(), "{report:#}");
        let (mib, seconds) = (peak >> 20, took.as_secs_f64());
        eprintln!("with the state machine: {mib} MiB, {seconds:.1} s");
    }
}

#[test]
fn orders_that_are_over_take_no_memory() {
    check(true);
}

#[test]
fn orders_that_are_held_take_no_memory() {
    check(false);
}
