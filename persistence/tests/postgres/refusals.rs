//! What is refused when a store is opened: each names what is wrong and what to do, none shows a
//! password, and no database is changed by it.

use crate::{IDENTITY, Way, claimed, open, options, shard};
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore, ShardUrl, WhenAway};
use doorbuster_persistence::{BucketSet, Store, StoreError, StoreIdentity};
use doorbuster_postgres_harness::{Clusters, Database};
use std::time::Duration;

fn of_url(url: &str) -> PostgresOptions {
    PostgresOptions {
        connect_timeout: Duration::from_secs(5),
        ..PostgresOptions::new(vec![shard(url)])
    }
}

fn password(url: &str) -> &str {
    let secret = url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    secret.and_then(|(user, _)| user.split_once(':')).expect("it has a password").1
}

/// Opening fails with an error whose words include these.
fn check(what: &str, options: &PostgresOptions, words: &[&str]) -> StoreError {
    let Err(error) = PostgresStore::open(options.clone()) else {
        panic!("{what}: it was opened");
    };
    let said = format!("{error} {error:?}");
    for words in words {
        assert!(said.contains(words), "{what}: {said}");
    }
    for secret in ["hunter2", password(&Clusters::shared().database(0).url())] {
        assert!(!said.contains(secret), "{what}: {said}");
        assert!(!format!("{options:?}").contains(secret), "{what}: {options:?}");
    }
    error
}

#[test]
fn servers_that_cannot_be_used_are_refused() {
    let database = Clusters::shared().database(0);
    let good = database.url();
    let wrong = |from: &str, to: &str| of_url(&good.replace(from, to));
    for url in [database.url(), database.pooled_url()] {
        let away = WhenAway::Tolerate;
        let wrong =
            |from: &str, to: &str| PostgresOptions { away, ..of_url(&url.replace(from, to)) };
        let error = check("wrong password", &wrong(password(&url), "hunter2"), &["password"]);
        assert!(!error.is_retryable(), "{error}");
        let error = check("no such user", &wrong("doorbuster:", "nobody_here:"), &["Correct"]);
        assert!(!error.is_retryable(), "{error}");
        let missing = wrong(database.name(), "not_there");
        let error = check("no such database", &missing, &["not_there"]);
        assert!(!error.is_retryable(), "{error}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let server = database.server().port().to_string();
    let nobody = wrong(&format!(":{server}/"), &format!(":{port}/"));
    let error = check("nobody listens", &nobody, &["is away", &port.to_string()]);
    assert!(matches!(error, StoreError::Away { .. }) && error.is_retryable(), "{error}");
    check("no such host", &wrong("127.0.0.1", "no-such-host.invalid"), &["away"]);
    assert_eq!(database.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_away() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://u:hunter2@{}/x", mute.local_addr().expect("it is bound"));
    let options = PostgresOptions { connect_timeout: Duration::from_millis(50), ..of_url(&url) };
    check("mute", &options, &["did not answer within 50 ms"]);
}

#[tokio::test]
async fn schemas_of_other_times_and_other_programs_are_refused() {
    let [fresh, newer, foreign, other] = std::array::from_fn(|n| Clusters::shared().database(n));
    let tables = |database: &Database| {
        database.psql(
            "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables
                       WHERE schemaname = 'public'",
        )
    };
    let existing = |database: &Database| PostgresOptions {
        migrate: false,
        ..options(std::slice::from_ref(database), Way::Direct)
    };
    let older = check("no tables", &existing(&fresh), &["--migrate"]);
    assert!(matches!(older, StoreError::OlderSchema { found: 0, .. }), "{older}");
    assert_eq!(tables(&fresh), "");

    let of_newer = options(std::slice::from_ref(&newer), Way::Direct);
    drop(open(&of_newer));
    newer.psql("INSERT INTO refinery_schema_history (version, name) VALUES (99, 'later')");
    let before = tables(&newer);
    let error = check("newer", &of_newer, &["99"]);
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
    assert_eq!(tables(&newer), before);

    foreign.psql("CREATE TABLE orders (song TEXT)");
    check("foreign", &options(std::slice::from_ref(&foreign), Way::Direct), &["orders", "empty"]);
    assert_eq!(tables(&foreign), "orders");

    other.psql(
        "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name TEXT,
             applied_on TEXT, checksum TEXT);
         INSERT INTO refinery_schema_history VALUES (1, 'songs', '', '0')",
    );
    check("another's history", &options(std::slice::from_ref(&other), Way::Direct), &["another"]);
    assert_eq!(tables(&other), "refinery_schema_history");
}

#[test]
fn migrating_tells_what_it_did_and_several_may_try_at_once() {
    let databases = Clusters::shared().databases(4);
    for way in [Way::Direct, Way::Pooled] {
        let options = options(&databases[..2], way);
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let options = options.clone();
                std::thread::spawn(move || PostgresStore::migrate(&options))
            })
            .collect();
        for racer in racers {
            let migrated = racer.join().expect("no panic").expect("it migrates");
            let names: Vec<_> = migrated.iter().map(|shard| shard.name.as_str()).collect();
            assert_eq!(names, ["shard-0", "shard-1"]);
            assert!(migrated.iter().all(|shard| shard.to >= 1 && shard.from <= shard.to));
        }
    }
    let again = PostgresStore::migrate(&options(&databases[..2], Way::Direct)).expect("it is done");
    assert!(again.iter().all(|shard| shard.from == shard.to));
}

#[tokio::test]
async fn shards_that_are_not_the_ones_that_are_meant_are_refused() {
    let databases = Clusters::shared().databases(4);
    drop(claimed(&databases[..2]).await);
    let of = |order: &[usize]| {
        let urls = order.iter().map(|index| shard(&databases[*index].url())).collect();
        PostgresOptions::new(urls)
    };
    check("swapped", &of(&[1, 0]), &["leads to shard shard-1", "order of their shards"]);
    check("one twice", &of(&[0, 0]), &["lead to the same database"]);
    check("one is left out", &of(&[0]), &["512-1023"]);
    let mut renamed = of(&[0, 1]);
    renamed.shards[0].name = Some("berlin".into());
    check("another name", &renamed, &["berlin", "leads to shard shard-0"]);

    let elsewhere = StoreIdentity { directory: 8, ..IDENTITY };
    let mut of_another = of(&[2]);
    of_another.shards[0].name = Some("shard-1".into());
    of_another.buckets = Some(vec![BucketSet::ALL]);
    let another = open(&of_another);
    another.shards()[0].claim(elsewhere).await.expect("it is fresh");
    check("two clusters", &of(&[0, 2]), &["another installation"]);
    let foreign = another.shards()[0].claim(IDENTITY).await;
    assert!(matches!(foreign, Err(StoreError::Foreign { .. })), "{foreign:?}");
}

#[test]
fn options_that_cannot_be_meant_are_refused() {
    let url: ShardUrl = "postgres://u:hunter2@127.0.0.1:1/x".parse().expect("a URL");
    let shard = || doorbuster_persistence::ShardOptions::new(url.clone());
    let two = || PostgresOptions::new(vec![shard(), shard()]);
    let sets =
        |texts: &[&str]| Some(texts.iter().map(|text| text.parse().expect("a set")).collect());
    check("no shards", &PostgresOptions::new(vec![]), &["0 shards"]);
    let mut one_name = two();
    one_name.shards[0].name = Some("shard-1".into());
    check("one name", &one_name, &["one name"]);
    let check_buckets = |what, texts: &[&str], words| {
        check(what, &PostgresOptions { buckets: sets(texts), ..two() }, &[words]);
    };
    check_buckets("a bucket twice", &["0-600", "600-1023"], "buckets 600 are given to shard-1");
    check_buckets("a bucket nowhere", &["0-500", "502-1023"], "without 501");
    check_buckets("too few sets", &["0-1023"], "1 sets");
}
