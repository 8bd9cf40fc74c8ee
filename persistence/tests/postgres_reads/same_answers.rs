//! The sharded store and the embedded one answer the same, after the same history.

use crate::{IDENTITY, Way, claimed, options, seed};
use doorbuster_persistence::conformance::{self, History, batches};
use doorbuster_persistence::{CatalogEntry, Freshness, SqliteStore, Store};
use doorbuster_postgres_harness::Clusters;
use doorbuster_protocol::{BuyerId, OrderId, ProductId};

async fn check(shards: usize, way: Way) {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let databases = Clusters::shared().databases(shards);
    let sharded = claimed(&options(&databases, way)).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let embedded = SqliteStore::open(directory.path().join("results.db")).expect("it opens");
    conformance::claim(&embedded, IDENTITY).await.expect("it is fresh");

    let mut history = History::new(seed, IDENTITY.partitions.get());
    let steps: Vec<_> = (0..3_000).map(|_| history.step()).collect();
    for batch in batches(&steps, &mut random, 500) {
        let one = conformance::write(&sharded, &batch).await.expect("the batch is next");
        let other = conformance::write(&embedded, &batch).await.expect("the batch is next");
        assert_eq!(one.dead_letters, other.dead_letters, "seed {seed}");
    }
    let products = embedded.products(None, 10_000).await.expect("it answers").rows;
    for (number, row) in products.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
        let name = (number % 4 == 0).then(|| format!("product {number}"));
        let description = Some("all of it, 'quoted' — and ünïcode".to_owned());
        let entry = CatalogEntry { product: row.product, name, description };
        sharded.put_catalog(entry.clone()).await.expect("it is taken");
        embedded.put_catalog(entry).await.expect("it is taken");
    }

    let stores: [&dyn Store; 2] = [&sharded, &embedded];
    for limit in [1, 7, 100, 1_000_000] {
        for number in 0..=20 {
            let mut buyer = [7; 16];
            buyer[15] = number;
            let buyer = BuyerId::from_bytes(buyer);
            for freshness in [Freshness::Latest, Freshness::Recent] {
                let mut after = None;
                loop {
                    let [one, other] =
                        stores.map(|store| store.orders_of(buyer, after, limit, freshness));
                    let (one, other) =
                        (one.await.expect("it answers"), other.await.expect("it answers"));
                    assert!(one == other, "{buyer}, {after:?}, limit {limit}, seed {seed}");
                    let Some(next) = one.next else { break };
                    after = Some(next);
                }
            }
        }
        let mut after = None;
        loop {
            let [one, other] = stores.map(|store| store.products(after, limit));
            let (one, other) = (one.await.expect("it answers"), other.await.expect("it answers"));
            assert!(one == other, "products, {after:?}, limit {limit}, seed {seed}");
            let Some(next) = one.next else { break };
            after = Some(next);
        }
    }
    let orders = conformance::scan_orders(&embedded, None, None, 10_000).await.expect("it answers");
    let mut orders: Vec<_> = orders.iter().map(|row| row.order).collect();
    orders.push(OrderId::from_bytes([0; 16]));
    for order in orders {
        let [one, other] = stores.map(|store| store.order(order, Freshness::Recent));
        let (one, other) = (one.await.expect("it answers"), other.await.expect("it answers"));
        assert!(one == other, "{order}, seed {seed}");
    }
    let products = products.iter().map(|row| row.product);
    for product in products.chain([ProductId::from_bytes([0; 16])]) {
        let [one, other] = stores.map(|store| store.product(product));
        let (one, other) = (one.await.expect("it answers"), other.await.expect("it answers"));
        assert!(one == other, "{product}, seed {seed}");
        let [one, other] = stores.map(|store| store.catalog(product));
        let (one, other) = (one.await.expect("it answers"), other.await.expect("it answers"));
        assert!(one == other, "catalog of {product}, seed {seed}");
    }
}

#[tokio::test]
async fn one_shard_answers_as_the_embedded_store() {
    check(1, Way::Direct).await;
}

#[tokio::test]
async fn four_shards_answer_as_the_embedded_store() {
    check(4, Way::Direct).await;
}

#[tokio::test]
async fn four_shards_behind_poolers_answer_as_the_embedded_store() {
    check(4, Way::Pooled).await;
}
