//! The shards of one store, seen by `psql`: what stands where, and how far they are.

use super::metrics::Metrics;
use super::{run_well, wait_until};
use doorbuster_loadgen::journal::Entry;
use doorbuster_persistence::BucketSet;
use doorbuster_postgres_harness::{Clusters, Database};
use doorbuster_protocol::routing::bucket_of;
use doorbuster_protocol::{BuyerId, OrderId};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;

/// The databases of one store, in the order in which it is told of them.
pub struct Shards(pub Vec<Database>);

/// An order as it stands in a shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// The index of the shard.
    pub shard: usize,
    /// The buyer.
    pub user: String,
    /// Where it stands.
    pub status: String,
}

impl Shards {
    /// New databases of the servers that all tests share.
    pub fn shared(count: usize) -> Self {
        Self(Clusters::shared().databases(count))
    }

    /// A new database on each server of a test's own.
    pub fn of(clusters: &Clusters) -> Self {
        Self(clusters.databases(clusters.shards().len()))
    }

    /// The URL of each.
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(Database::url).collect()
    }

    /// `--store URL --store URL …`
    pub fn flags(&self) -> Vec<String> {
        self.urls().into_iter().flat_map(|url| ["--store".to_owned(), url]).collect()
    }

    /// A number, over all shards.
    pub fn sum(&self, sql: &str) -> i64 {
        self.0.iter().map(|database| database.number(sql)).sum()
    }

    /// Orders, over all shards.
    pub fn orders(&self) -> i64 {
        self.sum("SELECT count(*) FROM orders")
    }

    /// What each shard owns, as it says itself.
    pub fn buckets(&self) -> Vec<BucketSet> {
        let owned = |database: &Database| {
            let text = database.psql("SELECT buckets FROM shard");
            text.parse().unwrap_or_else(|error| panic!("{error}"))
        };
        self.0.iter().map(owned).collect()
    }

    /// Where each partition stands in each shard, by shard and partition.
    pub fn checkpoints(&self) -> BTreeMap<(usize, u16), u64> {
        (0..self.0.len()).flat_map(|shard| self.checkpoints_of(shard)).collect()
    }

    /// The same of one shard.
    pub fn checkpoints_of(&self, shard: usize) -> BTreeMap<(usize, u16), u64> {
        let rows = self.0[shard].rows("SELECT partition, sequence FROM checkpoints");
        let number = |text: &str| text.parse().expect("a number");
        let checkpoint = |row: Vec<String>| ((shard, number(&row[0]) as u16), number(&row[1]));
        rows.into_iter().map(checkpoint).collect()
    }

    /// Every order, which must stand on one shard only.
    pub fn rows(&self) -> HashMap<String, Stored> {
        let mut all = HashMap::new();
        for (shard, database) in self.0.iter().enumerate() {
            for row in database.rows("SELECT id, user_id, status FROM orders") {
                let [order, user, status] = row.try_into().expect("three columns");
                let before = all.insert(order.clone(), Stored { shard, user, status });
                assert_eq!(before, None, "order {order} stands on two shards");
            }
        }
        all
    }

    /// Each acknowledged order has its row, which stands at least where its buyer was told.
    pub fn hold(&self, acknowledged: &[Entry]) {
        let rows = self.rows();
        assert!(!acknowledged.is_empty(), "there was a load");
        for entry in acknowledged {
            let row = rows.get(&entry.order_id);
            let row = row.unwrap_or_else(|| panic!("order {} is missing", entry.order_id));
            let is_kept = ["pending", "queued"].contains(&entry.status.as_str())
                || entry.status == row.status;
            assert!(is_kept, "order {} was {} and is {}", entry.order_id, entry.status, row.status);
        }
    }

    /// Each bucket is on one shard, all that belongs to a buyer on the shard of the buyer's bucket,
    /// and all products are everywhere.
    pub fn are_in_order(&self) {
        let owned = self.buckets();
        let mut all = BucketSet::NONE;
        for buckets in &owned {
            assert!(all.intersection(buckets).is_empty(), "two shards own a bucket: {owned:?}");
            all = all.union(buckets);
        }
        assert_eq!(all, BucketSet::ALL, "nobody owns a bucket: {owned:?}");
        for (order, row) in self.rows() {
            let id: OrderId = order.parse().expect("the id of an order");
            let buyer = BuyerId::parse(&row.user).expect("the id of a buyer");
            assert_eq!(
                id.bucket(),
                bucket_of(buyer),
                "order {order} names the bucket of its buyer"
            );
            assert!(owned[row.shard].holds(id), "order {order} is not on shard {}", row.shard);
        }
        let nothing_of = |what: &str, sql: &str| {
            for database in &self.0 {
                assert_eq!(database.psql(sql), "0", "{what} on {}", database.server().name());
            }
        };
        nothing_of(
            "orders without their item or their buyer",
            "SELECT count(*) FROM orders o LEFT JOIN order_items i ON i.order_id = o.id
             LEFT JOIN users u ON u.id = o.user_id WHERE i.line IS NULL OR u.id IS NULL",
        );
        nothing_of(
            "buyers without an order",
            "SELECT count(*) FROM users u WHERE NOT EXISTS
             (SELECT FROM orders o WHERE o.user_id = u.id)",
        );
        nothing_of("dead letters", "SELECT count(*) FROM dead_letters");
        nothing_of("buckets in transit", "SELECT count(*) FROM shard WHERE in_transit <> 'none'");
        let catalogs: HashSet<String> = (self.0.iter())
            .map(|database| {
                database.psql("SELECT id, name, price, version FROM products ORDER BY id")
            })
            .collect();
        assert_eq!(catalogs.len(), 1, "products are the same on every shard: {catalogs:?}");
        assert!(!catalogs.contains(""), "there are products");
    }

    /// Compares them with the log, which must find nothing.
    pub fn audit(&self, data: &Path) -> Value {
        let flags = self.flags();
        let mut arguments = vec!["audit", "--json", "--data", data.to_str().expect("UTF-8")];
        arguments.extend(flags.iter().map(String::as_str));
        serde_json::from_str(&run_well(&arguments)).expect("the audit prints JSON")
    }

    /// Waits until they have everything; `admin` is the projector's. The audit, which is clean.
    pub fn wait_until_filled(&self, data: &Path, admin: SocketAddr) -> Value {
        wait_until("the shards have everything", || {
            Metrics::of(admin).sum("projector_lag_events") == 0.0
        });
        let mut audit = Value::Null;
        wait_until("the log has nothing that the shards do not have", || {
            audit = self.audit(data);
            audit["storeLagEvents"] == 0
        });
        assert_eq!(audit["oversold"], 0, "{audit:#}");
        assert_eq!(audit["orders"], audit["storeOrders"], "{audit:#}");
        assert_eq!(audit["storeOrders"], self.orders(), "{audit:#}");
        audit
    }
}

/// Flags as they are handed on.
pub fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}
