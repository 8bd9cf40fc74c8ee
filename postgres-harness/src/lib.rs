//! PostgreSQL for tests: clusters of their own, which are broken at will and leave nothing behind.
//!
//! `scripts/postgres` makes, starts and stops the servers; this crate calls it and adds what tests
//! ask of them. Nothing here uses a server that happens to run. Whatever goes wrong panics, since a
//! test can do nothing else with it.
//!
//! | file | tells |
//! |---|---|
//! | `clusters.rs` | which servers there are: shared by the tests of a run, or private to one |
//! | `server.rs` | one server: stop, start, suspend, kill, settings, promotion |
//! | `database.rs` | a scratch database of one test, and its URLs |
//! | `session.rs` | a connection that stays, to hold locks and transactions open |
//! | `psql.rs` | how SQL is run: by the server's own `psql` |
//! | `script.rs` | how `scripts/postgres` is called, and what it answers |
//!
//! ```no_run
//! use doorbuster_postgres_harness::{Clusters, Options};
//!
//! // Four shards, a replica of the first, a PgBouncer before each: started once for all tests.
//! let database = Clusters::shared().database(0);
//! database.psql("CREATE TABLE stock (units BIGINT); INSERT INTO stock VALUES (100)");
//! assert_eq!(database.psql("SELECT units FROM stock"), "100");
//!
//! // To be broken: this test's own.
//! let clusters = Clusters::private(&Options { shards: 2, ..Options::default() });
//! clusters.shards()[1].stop_immediate();
//! clusters.shards()[1].start();
//! ```

mod clusters;
mod database;
mod psql;
mod script;
mod server;
mod session;

pub use clusters::{Clusters, Options};
pub use database::Database;
pub use server::Server;
pub use session::Session;

use std::time::{Duration, Instant};

/// How long anything may take before a test says that it hangs. Nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; polls, and says what it waited for when it never does.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
