//! Which servers there are: shared by the tests of a run, or private to one test.

use crate::script::{self, Description, Kind};
use crate::{Database, Server};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What a test wants of its own.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many primaries, 1 to 99.
    pub shards: usize,
    /// How many of them have a streaming replica, from the first on.
    pub replicas: usize,
    /// Whether a PgBouncer in transaction mode stands before each primary.
    pub pgbouncer: bool,
    /// Without fsync: for tests of logic alone, never for those of crashes.
    pub fast: bool,
}

impl Default for Options {
    /// One primary, as durable as Postgres is, and nothing else.
    fn default() -> Self {
        Self { shards: 1, replicas: 0, pgbouncer: false, fast: false }
    }
}

/// PostgreSQL servers: shards, their replicas and their PgBouncers.
///
/// Private ones are stopped and deleted when this is dropped. All are also when the process ends
/// in any other way: a guard that `scripts/postgres` leaves beside them watches it.
#[derive(Debug)]
pub struct Clusters {
    directory: PathBuf,
    shards: Vec<Server>,
    replicas: Vec<Server>,
    poolers: Vec<Server>,
    is_private: bool,
}

impl Clusters {
    /// Those that all tests of a run share: four shards, a replica of the first, and PgBouncers.
    /// Tests take scratch databases from them and break nothing but those.
    ///
    /// They are the ones that `DOORBUSTER_TEST_POSTGRES` names (`scripts/test` and
    /// `scripts/postgres run` set it). Without it, the first test that asks starts them; they end
    /// with the run of nextest, or with the process under cargo's own runner.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Clusters> = OnceLock::new();
        SHARED.get_or_init(|| {
            let given = std::env::var_os("DOORBUSTER_TEST_POSTGRES");
            let description = given.map_or_else(start_shared, PathBuf::from);
            Self::read(&description, false)
        })
    }

    /// One test's own, to be stopped, killed and set otherwise.
    pub fn private(options: &Options) -> Self {
        let directory = tempfile::Builder::new().prefix("doorbuster-postgres-").tempdir();
        let directory = directory.expect("a temporary directory");
        let shards = options.shards.to_string();
        let mut more = vec!["--shards", &shards];
        let replicas = options.replicas.to_string();
        more.extend(["--replicas", &replicas]);
        if options.pgbouncer {
            more.push("--pgbouncer");
        }
        if options.fast {
            more.push("--fast");
        }
        start(directory.path(), std::process::id(), &more);
        // From here on the script's, which deletes it when the servers are stopped.
        Self::read(&directory.keep().join("cluster.json"), true)
    }

    fn read(description: &Path, is_private: bool) -> Self {
        let description = Description::read(description);
        let of_kind = |kind| {
            let entries = description.servers.iter().filter(move |entry| entry.kind == kind);
            entries.map(|entry| Server::new(&description, entry, is_private)).collect()
        };
        Self {
            shards: of_kind(Kind::Shard),
            replicas: of_kind(Kind::Replica),
            poolers: of_kind(Kind::Pgbouncer),
            directory: description.directory.clone(),
            is_private,
        }
    }

    /// The primaries, in order.
    pub fn shards(&self) -> &[Server] {
        &self.shards
    }

    /// The replica of a shard, where it has one.
    pub fn replica(&self, shard: usize) -> Option<&Server> {
        self.serving(&self.replicas, shard)
    }

    /// The PgBouncer before a shard, where it has one.
    pub fn pgbouncer(&self, shard: usize) -> Option<&Server> {
        self.serving(&self.poolers, shard)
    }

    fn serving<'a>(&self, servers: &'a [Server], shard: usize) -> Option<&'a Server> {
        servers.iter().find(|server| server.shard() == self.shards[shard].name())
    }

    /// The directory in which they live.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new database of a shard, with a name that nobody else has.
    pub fn database(&self, shard: usize) -> Database {
        let primary = self.shards[shard].clone();
        Database::create(primary, self.replica(shard).cloned(), self.pgbouncer(shard).cloned())
    }

    /// New databases, spread over the shards.
    pub fn databases(&self, count: usize) -> Vec<Database> {
        (0..count).map(|number| self.database(number % self.shards.len())).collect()
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        if self.is_private {
            script::run(&["stop", utf8(&self.directory), "--remove"]);
        }
    }
}

/// Starts the shared ones, or finds those that another test of this run has started.
fn start_shared() -> PathBuf {
    const WITH: &[&str] = &["--shards", "4", "--replica", "--pgbouncer", "--fast"];
    let directory = |name: &str| std::env::temp_dir().join(format!("doorbuster-postgres-{name}"));
    let Ok(run) = std::env::var("NEXTEST_RUN_ID") else {
        let own = std::process::id();
        let directory = directory(&own.to_string());
        start(&directory, own, WITH);
        return directory.join("cluster.json");
    };
    // nextest runs each test in a process of its own, all of them its children.
    let directory = directory(&run);
    let description = directory.join("cluster.json");
    let turn = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("it is there");
    turn.lock().expect("a file can be locked");
    if !description.exists() {
        start(&directory, std::os::unix::process::parent_id(), WITH);
    }
    description
}

fn start(directory: &Path, as_long_as: u32, options: &[&str]) {
    let as_long_as = as_long_as.to_string();
    let mut arguments = vec!["start", utf8(directory), "--while", &as_long_as];
    arguments.extend(options);
    script::run(&arguments);
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path of a test is UTF-8")
}
