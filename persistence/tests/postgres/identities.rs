//! Who a shard is: claims, spares that join, shards that come back, and what they own.

use crate::{IDENTITY, Way, batch, claimed, open, options, order, shard};
use doorbuster_persistence::conformance::{claim, write};
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore, WhenAway};
use doorbuster_persistence::{BucketSet, CatalogEntry, Freshness, RowChange, Store, StoreError};
use doorbuster_postgres_harness::{Clusters, Options};
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::{Currency, ProductId, Timestamp};

const LAMP: ProductId = ProductId::from_bytes([5; 16]);

fn defined() -> RowChange {
    let terms = Terms {
        price: 500,
        currency: Currency::USD,
        stock: 100,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::NONE,
        limit_per_buyer: 0,
        hold_seconds: 600,
        waitlist_capacity: 0,
    };
    RowChange::ProductDefined { product: LAMP, terms }
}

fn owned(store: &PostgresStore) -> Vec<String> {
    store.shards().iter().map(|shard| shard.buckets().to_string()).collect()
}

fn named(name: &str) -> CatalogEntry {
    CatalogEntry { product: LAMP, name: Some(name.into()), description: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_may_claim_at_once() {
    let databases = Clusters::shared().databases(4);
    let stores: Vec<_> =
        (0..3).map(|_| std::sync::Arc::new(open(&options(&databases, Way::Direct)))).collect();
    let mut claims = Vec::new();
    for store in &stores {
        for shard in store.shards() {
            claims.push(tokio::spawn(async move { shard.claim(IDENTITY).await }));
        }
    }
    for claim in claims {
        claim.await.expect("no panic").expect("it is fresh or its own");
    }
    for store in &stores {
        assert_eq!(owned(store), ["0-255", "256-511", "512-767", "768-1023"]);
    }
    for database in &databases {
        assert_eq!(database.number("SELECT count(*) FROM checkpoints"), 2);
    }
}

#[tokio::test]
async fn a_table_of_buckets_is_kept_from_the_first_claim_on() {
    let databases = Clusters::shared().databases(2);
    let sets = |texts: [&str; 2]| {
        let parse = |text: &str| text.parse::<BucketSet>().expect("a set");
        PostgresOptions {
            buckets: Some(texts.map(parse).to_vec()),
            ..options(&databases, Way::Direct)
        }
    };
    let given = sets(["0-99,1000-1023", "100-999"]);
    let store = open(&given);
    claim(&store, IDENTITY).await.expect("it is fresh");
    assert_eq!(owned(&store), ["0-99,1000-1023", "100-999"]);
    drop(store);
    for later in [given, sets(["0-511", "512-1023"]), options(&databases, Way::Direct)] {
        assert_eq!(owned(&open(&later)), ["0-99,1000-1023", "100-999"], "the shards know");
    }
}

/// A shard that joins when the others own everything has their products and checkpoints, and a
/// batch goes to it as to all.
#[tokio::test]
async fn a_spare_begins_where_the_others_are() {
    let databases = Clusters::shared().databases(3);
    let store = claimed(&databases[..2]).await;
    let both = batch(0, vec![defined(), RowChange::OrderCreated(order(2))]);
    write(&store, &both).await.expect("the batch is next");
    store.put_catalog(named("Lamp")).await.expect("it is kept");
    drop(store);

    let store = open(&options(&databases, Way::Direct));
    // An edge that names products puts the name on the newcomer as well.
    store.put_catalog(named("Lamp")).await.expect("it is kept");
    claim(&store, IDENTITY).await.expect("the third joins");
    assert_eq!(owned(&store), ["0-511", "512-1023", "none"]);
    let spare = store.shards().swap_remove(2);
    let checkpoints = spare.checkpoints().await.expect("it answers");
    assert_eq!(
        checkpoints[0].sequence.get(),
        2,
        "not from the beginning of a log that was trimmed"
    );
    let products = spare.scan_products(None, 10).await.expect("it answers");
    assert_eq!(products.len(), 1);
    assert_eq!(products[0].name.as_deref(), Some("Lamp"));
    assert_eq!(spare.scan_orders(None, None, 10).await, Ok(vec![]));
    write(&store, &batch(2, vec![RowChange::OrderCreated(order(3))])).await.expect("it is next");
    let three = order(3);
    let found = store.order(three.order, Freshness::Latest).await;
    assert_eq!(found, Ok(Some(three)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_away_takes_only_its_own_buyers_along() {
    let clusters = Clusters::private(&Options { shards: 2, ..Options::default() });
    let databases = clusters.databases(2);
    let store = claimed(&databases).await;
    let rows: Vec<_> = (2..40).map(|number| RowChange::OrderCreated(order(number))).collect();
    let mut all = vec![defined()];
    all.extend(rows);
    write(&store, &batch(0, all)).await.expect("the batch is next");
    store.put_catalog(named("Lamp")).await.expect("it is kept");
    drop(store);

    clusters.shards()[1].stop_immediate();
    let tolerant = PostgresOptions {
        away: WhenAway::Tolerate,
        connect_timeout: std::time::Duration::from_secs(1),
        ..options(&databases, Way::Direct)
    };
    let refused =
        PostgresStore::open(PostgresOptions { away: WhenAway::Refuse, ..tolerant.clone() });
    assert!(matches!(refused, Err(StoreError::Away { .. })));
    let store = open(&tolerant);
    let (here, away) = (2..40).map(order).partition::<Vec<_>, _>(|row| row.order.bucket() < 512);
    for row in &here {
        let found = store.order(row.order, Freshness::Latest).await;
        assert_eq!(found.as_ref().map(|found| found.as_ref()), Ok(Some(row)));
    }
    for row in away.iter().take(2) {
        let error = store.order(row.order, Freshness::Latest).await.expect_err("its shard is away");
        assert!(error.is_retryable(), "{error}");
    }
    let lamp = store.product(LAMP).await.expect("any shard knows the products");
    assert_eq!(lamp.and_then(|lamp| lamp.name).as_deref(), Some("Lamp"));
    store.put_catalog(named("Lantern")).await.expect("one shard took it");

    clusters.shards()[1].start();
    let back = store.shards().swap_remove(1);
    let began = std::time::Instant::now();
    while let Err(error) = back.claim(IDENTITY).await {
        assert!(error.is_retryable() && began.elapsed().as_secs() < 60, "{error}");
    }
    for row in &away {
        let found = store.order(row.order, Freshness::Latest).await;
        assert_eq!(found.as_ref().map(|found| found.as_ref()), Ok(Some(row)));
    }
    let names = databases[1].psql("SELECT name FROM products");
    assert_eq!(names, "Lantern", "what it was not told while it was away");
}

/// Behind the URL of a shard that was away there is another one when it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_comes_back_is_checked_before_it_is_used() {
    let clusters = Clusters::private(&Options { shards: 2, ..Options::default() });
    let databases = clusters.databases(2);
    drop(claimed(&databases).await);
    databases[1].psql("UPDATE shard SET name = 'shard-7'");
    clusters.shards()[1].stop_immediate();
    let store = open(&PostgresOptions {
        away: WhenAway::Tolerate,
        ..PostgresOptions::new(vec![shard(&databases[0].url()), shard(&databases[1].url())])
    });
    clusters.shards()[1].start();
    let back = store.shards().swap_remove(1);
    let began = std::time::Instant::now();
    let error = loop {
        let error = back.checkpoints().await.expect_err("it is not the one");
        if !error.is_retryable() {
            break error;
        }
        assert!(began.elapsed().as_secs() < 60, "{error}");
    };
    assert!(error.to_string().contains("leads to shard shard-7"), "{error}");
}
