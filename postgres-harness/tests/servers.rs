//! What the harness promises to the tests that use it.

use doorbuster_postgres_harness::{Clusters, Options, Server};
use std::fs;
use std::path::Path;

/// Processes whose command line or working directory names `directory`.
fn processes_of(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().expect("UTF-8");
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| *id != std::process::id())
        .filter_map(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let place = fs::read_link(format!("/proc/{id}/cwd")).unwrap_or_default();
            let is_of_it = line.contains(directory) || place.starts_with(directory);
            // The guard looks twice a second, and ends when it finds nothing to guard.
            (is_of_it && !line.contains(" guard ")).then_some(line)
        })
        .collect()
}

fn durability(server: &Server) -> String {
    server.psql("SELECT current_setting('fsync') || ' ' || current_setting('full_page_writes')")
}

#[test]
fn each_database_is_its_own_and_is_gone_when_it_is_dropped() {
    let clusters = Clusters::shared();
    assert_eq!(clusters.shards().len(), 4);
    // Nothing crashes them.
    assert_eq!(durability(&clusters.shards()[3]), "off off");

    let databases = clusters.databases(5);
    let shards: Vec<_> = databases.iter().map(|database| database.server().name()).collect();
    assert_eq!(shards, ["shard-0", "shard-1", "shard-2", "shard-3", "shard-0"]);
    for database in &databases {
        database.psql("CREATE TABLE stock (units BIGINT); INSERT INTO stock VALUES (100)");
        assert_eq!(database.number("SELECT units FROM stock"), 100);
    }
    let rows = databases[0].rows("VALUES (1, NULL, E'two\\nlines'), (2, 'a|b', '')");
    assert_eq!(rows, [["1", "", "two\nlines"], ["2", "a|b", ""]]);
    assert!(databases[0].rows("SELECT 1 WHERE false").is_empty());
    let error = databases[0].try_psql("SELECT * FROM orders").expect_err("there is none");
    assert!(error.contains("relation \"orders\" does not exist"), "{error}");

    let mut names = String::new();
    let mut sessions = Vec::new();
    for database in &databases {
        names += &format!("{}|", database.name());
        sessions.push(database.session());
    }
    drop(databases);
    for shard in clusters.shards() {
        let left =
            format!("SELECT count(*) FROM pg_database WHERE '{names}' LIKE '%' || datname || '|%'");
        assert_eq!(shard.psql(&left), "0", "{}", shard.name());
    }
}

#[test]
fn the_role_owns_its_databases_and_is_no_superuser() {
    let database = Clusters::shared().database(1);
    let role = database
        .rows("SELECT rolname, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user");
    assert_eq!(role, [["doorbuster", "f", "t"]]);
    let mut victim = database.session();
    let backend = victim.backend();
    assert_eq!(database.psql(&format!("SELECT pg_terminate_backend({backend})")), "t");
}

#[test]
fn nobody_comes_in_without_the_password() {
    let server = &Clusters::shared().shards()[0];
    let methods = server.psql("SELECT DISTINCT auth_method FROM pg_hba_file_rules");
    assert_eq!(methods, "scram-sha-256");
}

#[test]
fn a_replica_follows_its_shard() {
    let database = Clusters::shared().database(0);
    database.psql("CREATE TABLE stock (units BIGINT); INSERT INTO stock VALUES (7)");
    database.wait_for_replica();
    let replica = Clusters::shared().replica(0).expect("the first has one");
    assert!(Clusters::shared().replica(1).is_none());
    assert_eq!(replica.psql("SELECT pg_is_in_recovery()"), "t");
    let mut session = database.replica_session();
    assert_eq!(session.psql("SELECT units FROM stock"), "7");
}

#[test]
fn a_pooler_hands_each_transaction_to_any_connection() {
    let database = Clusters::shared().database(2);
    let mut first = database.pooled_session();
    let mut second = database.pooled_session();
    assert_eq!(first.psql("SELECT current_database()"), database.name());
    // Both were idle, and so share one connection; inside a transaction, none is shared.
    assert_eq!(first.backend(), second.backend());
    first.psql("BEGIN");
    assert_ne!(first.backend(), second.backend());
    let pooler = Clusters::shared().pgbouncer(2).expect("each has one");
    assert!(pooler.psql("SHOW POOLS").contains(database.name()));
}

#[test]
fn private_servers_stop_start_and_stand_still() {
    let clusters = Clusters::private(&Options { shards: 2, ..Options::default() });
    assert_eq!(durability(&clusters.shards()[1]), "on on");
    let [first, second] = clusters.shards() else { panic!("two shards") };
    let database = clusters.database(1);
    database.psql("CREATE TABLE stock (units BIGINT); INSERT INTO stock VALUES (3)");

    type Break = fn(&Server);
    let breaks: [(&str, Break); 3] = [
        ("stop_immediate", Server::stop_immediate),
        ("stop_fast", Server::stop_fast),
        ("kill", Server::kill),
    ];
    for (name, breaks) in breaks {
        let port = second.port();
        breaks(second);
        assert!(!second.is_up(), "{name}");
        assert!(first.is_up(), "{name}");
        second.start();
        assert_eq!(database.number("SELECT units FROM stock"), 3, "{name}");
        assert_eq!(second.psql("SHOW port"), port.to_string(), "{name}");
    }

    let mut session = database.session();
    second.suspend();
    assert_eq!(first.psql("SELECT 1"), "1");
    second.resume();
    assert_eq!(session.psql("SELECT units FROM stock"), "3");
    let backend = session.backend();
    assert_eq!(database.terminate_backends(&format!("pid = {backend}")), 1);

    second.set("statement_timeout", "1234ms");
    assert_eq!(database.psql("SHOW statement_timeout"), "1234ms");
    second.reset("statement_timeout");
    assert_eq!(database.psql("SHOW statement_timeout"), "0");
}

#[test]
fn a_replica_falls_behind_and_takes_over() {
    let options = Options { replicas: 1, pgbouncer: true, fast: true, ..Options::default() };
    let clusters = Clusters::private(&options);
    let replica = clusters.replica(0).expect("it has one");
    assert_eq!(durability(&clusters.shards()[0]), "off off");
    let database = clusters.database(0);
    database.wait_for_replica();
    replica.set("recovery_min_apply_delay", "1h");
    database.psql("CREATE TABLE stock (units BIGINT)");
    let mut session = database.replica_session();
    assert_eq!(session.psql("SELECT to_regclass('stock') IS NULL"), "t");
    replica.reset("recovery_min_apply_delay");
    database.wait_for_replica();
    assert_eq!(session.psql("SELECT to_regclass('stock') IS NULL"), "f");

    clusters.shards()[0].kill();
    replica.promote();
    session.psql("INSERT INTO stock VALUES (9)");
    assert_eq!(session.psql("SELECT units FROM stock"), "9");

    let pooler = clusters.pgbouncer(0).expect("it has one");
    pooler.stop_immediate();
    assert!(!pooler.is_up());
    pooler.start();
    assert!(pooler.is_up());
}

#[test]
fn nothing_is_left_when_private_servers_are_dropped() {
    let options = Options { replicas: 1, pgbouncer: true, ..Options::default() };
    let clusters = Clusters::private(&options);
    let directory = clusters.directory().to_owned();
    assert!(processes_of(&directory).len() >= 3);
    // Also when some are down, and others stand still.
    clusters.shards()[0].suspend();
    clusters.pgbouncer(0).expect("it has one").stop_immediate();
    drop(clusters);
    assert!(!directory.exists());
    let left = processes_of(&directory);
    assert!(left.is_empty(), "{left:#?}");
}
