//! A shard that is down takes away its own buyers' lists, quickly, and nothing else; it is back as
//! soon as it is back.

use crate::{Feed, Way, buyer_in, claimed, health, impatient, listed, options, orders_of, until};
use doorbuster_persistence::postgres::PostgresStore;
use doorbuster_persistence::{Freshness, Store, StoreError};
use doorbuster_postgres_harness::{Clusters, Options};
use doorbuster_protocol::{BuyerId, OrderId};

fn two(way: Way) -> Clusters {
    let pgbouncer = way == Way::Pooled;
    Clusters::private(&Options { shards: 2, pgbouncer, fast: true, ..Options::default() })
}

/// One buyer of each of two shards, and the order of each.
async fn buyers(store: &PostgresStore) -> [(BuyerId, OrderId); 2] {
    let shards = store.shards();
    let [one, other] = [0, 1].map(|index: usize| buyer_in(shards[index].buckets()));
    let mut feed = Feed::new(store);
    [(one, feed.order(one).await), (other, feed.order(other).await)]
}

fn is_away(answer: Result<Vec<OrderId>, StoreError>) -> bool {
    match answer {
        Ok(_) => false,
        Err(StoreError::Away { .. } | StoreError::Slow { .. } | StoreError::Busy { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_primary_that_is_down_takes_only_its_own_lists_away() {
    for way in Way::ALL {
        let clusters = two(way);
        let databases = clusters.databases(2);
        let store = claimed(&impatient(options(&databases, way))).await;
        let [(away, of_away), (there, of_there)] = buyers(&store).await;
        assert_eq!(listed(&store, away, Freshness::Latest).await, [of_away], "{way:?}");

        clusters.shards()[0].stop_immediate();
        until!("the breaker opens", {
            let latest = orders_of(&store, away, Freshness::Latest).await;
            assert!(is_away(latest), "{way:?}: there is no other copy of the newest rows");
            assert_eq!(listed(&store, there, Freshness::Latest).await, [of_there], "{way:?}");
            health(&store, 0).primary.is_open
        });
        // Products are on the other shard as well.
        assert_eq!(store.products(None, 10).await.expect("a shard answers").rows, []);
        let refused = store.order(of_away, Freshness::Recent).await.expect_err("it is down");
        assert!(refused.is_retryable(), "{way:?}: {refused}");
        assert!(!health(&store, 1).primary.is_open, "{way:?}");

        clusters.shards()[0].start();
        until!("the shard answers again", {
            let answer = orders_of(&store, away, Freshness::Latest).await;
            answer.is_ok_and(|orders| orders == [of_away])
        });
        assert!(!health(&store, 0).primary.is_open, "{way:?}");
    }
}

#[tokio::test]
async fn a_primary_that_hangs_is_given_up_and_found_again() {
    for way in Way::ALL {
        let clusters = two(way);
        let databases = clusters.databases(2);
        let store = claimed(&impatient(options(&databases, way))).await;
        let [(hung, of_hung), (there, of_there)] = buyers(&store).await;
        assert_eq!(listed(&store, hung, Freshness::Latest).await, [of_hung]);

        clusters.shards()[0].suspend();
        until!("the breaker opens", {
            assert!(is_away(orders_of(&store, hung, Freshness::Latest).await), "{way:?}");
            health(&store, 0).primary.is_open
        });
        assert_eq!(listed(&store, there, Freshness::Latest).await, [of_there], "{way:?}");
        clusters.shards()[0].resume();
        until!("the shard answers again", {
            let answer = orders_of(&store, hung, Freshness::Latest).await;
            answer.is_ok_and(|orders| orders == [of_hung])
        });
    }
}

#[tokio::test]
async fn broken_connections_are_replaced() {
    for way in Way::ALL {
        let databases = Clusters::shared().databases(1);
        let store = claimed(&options(&databases, way)).await;
        let shards = store.shards();
        let buyer = buyer_in(shards[0].buckets());
        let order = Feed::new(&store).order(buyer).await;
        for _ in 0..10 {
            assert_eq!(listed(&store, buyer, Freshness::Latest).await, [order], "{way:?}");
            databases[0].terminate_backends("true");
            // A question that meets the end of its connection is refused; the next one is not.
            until!("it answers again", {
                orders_of(&store, buyer, Freshness::Latest).await.is_ok()
            });
        }
    }
}
