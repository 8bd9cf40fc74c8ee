//! Encrypted connections: as the URL asks for them, and never with somebody else than it names.

use crate::shard;
use doorbuster_persistence::StoreError;
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore};
use doorbuster_postgres_harness::{Clusters, Database, Options};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// Makes a certificate for `host` that signs itself, and its key, in `directory`.
fn certify(directory: &Path, name: &str, host: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=tests", "-addext", &format!("subjectAltName={host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(directory.join(format!("{name}.key")))
        .arg("-out")
        .arg(directory.join(format!("{name}.crt")))
        .output()
        .expect("openssl, which comes with Debian's PostgreSQL, runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Opens a store with these options behind the question mark.
fn open(database: &Database, options: &str) -> Result<PostgresStore, StoreError> {
    let url = format!("{}?{options}", database.url());
    PostgresStore::open(PostgresOptions::new(vec![shard(&url)]))
}

fn check(what: &str, database: &Database, options: &str, is_encrypted: bool) {
    let store = open(database, options).expect(what);
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let shard = doorbuster_persistence::Store::shards(&store).swap_remove(0);
        shard.identity().await.expect(what);
    });
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name = 'doorbuster' AND datname = current_database()";
    let said = if is_encrypted { "t" } else { "f" };
    assert_eq!(database.psql(sql), said, "{what}");
}

fn refused(what: &str, database: &Database, options: &str, words: &str) {
    let Err(error) = open(database, options) else { panic!("{what}: it was opened") };
    assert!(matches!(error, StoreError::Misconfigured { .. }), "{what}: {error}");
    assert!(error.to_string().contains(words), "{what}: {error}");
}

#[test]
fn connections_are_encrypted_as_the_url_asks() {
    let clusters = Clusters::private(&Options { shards: 1, ..Options::default() });
    let server = &clusters.shards()[0];
    let database = clusters.database(0);
    check("prefer without it", &database, "sslmode=prefer", false);
    refused("require without it", &database, "sslmode=require", "does not support TLS");

    certify(server.data(), "server", "IP:127.0.0.1");
    let owner = std::fs::metadata(server.data()).expect("it is there");
    for (file, mode) in [("server.key", 0o600), ("server.crt", 0o644)] {
        let path = server.data().join(file);
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it can be given away");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("it can be closed");
    }
    server.set("ssl", "on");
    let mine = tempfile::tempdir().expect("a temporary directory");
    std::fs::copy(server.data().join("server.crt"), mine.path().join("ca.crt")).expect("copied");
    certify(mine.path(), "other", "IP:127.0.0.1");
    let trusting = |file: &str| {
        format!("sslmode=verify-full&sslrootcert={}", mine.path().join(file).display())
    };

    check("disable", &database, "sslmode=disable", false);
    check("prefer", &database, "sslmode=prefer", true);
    check("require", &database, "sslmode=require", true);
    check("its own authority", &database, &trusting("ca.crt"), true);
    refused("another's", &database, &trusting("other.crt"), "in private");
    refused("the system's", &database, "sslmode=verify-full", "cannot be");
    refused("no such file", &database, &trusting("missing.crt"), "missing.crt");
}
