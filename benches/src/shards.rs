//! Postgres shards of a measurement: clusters of their own, one for each shard, all on one disk and
//! as durable as Postgres is; new databases on them for every run.

use crate::machine;
use anyhow::Context;
use doorbuster_postgres_harness::{Clusters, Database, Options};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// Running clusters; they are stopped and removed when this is dropped.
pub(crate) struct Shards {
    clusters: Clusters,
}

impl Shards {
    /// Starts `count` of them.
    pub(crate) fn start(count: usize) -> Self {
        Self { clusters: Clusters::private(&Options { shards: count, ..Options::default() }) }
    }

    /// A new database on each of the first `count`. No dirty page of an earlier run is left.
    pub(crate) fn databases(&self, count: usize) -> Vec<Database> {
        let databases = (0..count).map(|shard| self.clusters.database(shard)).collect();
        self.settle();
        databases
    }

    /// Lets Postgres write what earlier runs have left to write.
    pub(crate) fn settle(&self) {
        for server in self.clusters.shards() {
            server.psql("CHECKPOINT");
        }
    }

    /// Keeps all their processes on one CPU, and those that they start from now on.
    pub(crate) fn sit_on(&self, cpu: usize) {
        for server in self.clusters.shards() {
            machine::seat(server.pid(), cpu);
        }
    }

    /// CPU time of all their processes so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.clusters.shards().iter().map(|server| machine::family_cpu_seconds(server.pid())).sum()
    }

    /// Version and settings that matter, in words.
    pub(crate) fn describe(&self) -> String {
        let server = &self.clusters.shards()[0];
        let show = |name: &str| server.psql(&format!("SHOW {name}"));
        format!(
            "Postgres {}, fsync {}, synchronous_commit {}, shared_buffers {} a shard, all below {}",
            show("server_version"),
            show("fsync"),
            show("synchronous_commit"),
            show("shared_buffers"),
            self.clusters.directory().parent().unwrap_or(self.clusters.directory()).display(),
        )
    }
}

/// Databases as the configuration names a store.
pub(crate) fn store_of(databases: &[Database]) -> String {
    databases.iter().map(Database::url).collect::<Vec<_>>().join(",")
}

/// Rows of a table over all databases.
pub(crate) fn count_rows(databases: &[Database], table: &str) -> u64 {
    let sql = format!("SELECT count(*) FROM {table}");
    databases.iter().map(|database| database.number(&sql).unsigned_abs()).sum()
}

/// Runs `work` on a runtime of this thread alone.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Connects, on the current runtime.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    let mut config: tokio_postgres::Config = url.parse()?;
    config.connect_timeout(Duration::from_secs(10));
    let (client, connection) = config.connect(NoTls).await.context("a shard does not answer")?;
    tokio::spawn(async move {
        // Whoever uses the client learns of it.
        let _ = connection.await;
    });
    Ok(client)
}
