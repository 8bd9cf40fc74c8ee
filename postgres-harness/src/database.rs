//! A scratch database of one test.

use crate::{Server, Session, psql, wait_until};

/// A database that nobody else uses; dropped with this, whoever is still connected.
#[derive(Debug)]
pub struct Database {
    name: String,
    primary: Server,
    replica: Option<Server>,
    pooler: Option<Server>,
}

impl Database {
    pub(crate) fn create(primary: Server, replica: Option<Server>, pooler: Option<Server>) -> Self {
        let name = format!("scratch_{:016x}", fastrand::u64(..));
        primary.psql(&format!("CREATE DATABASE {name} OWNER doorbuster"));
        Self { name, primary, replica, pooler }
    }

    /// Its name, which is unique.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The primary that has it.
    pub fn server(&self) -> &Server {
        &self.primary
    }

    /// Its URL on the primary, as the role `doorbuster`, which owns it.
    pub fn url(&self) -> String {
        self.primary.url_of(&self.name)
    }

    /// Its URL through PgBouncer, in transaction mode.
    pub fn pooled_url(&self) -> String {
        let pooler = self.pooler.as_ref().expect("clusters with PgBouncers");
        pooler.url_of(&self.name)
    }

    /// Its URL on the replica of its shard. [`Self::wait_for_replica`] lets the replica catch up.
    pub fn replica_url(&self) -> String {
        self.replica().url_of(&self.name)
    }

    fn replica(&self) -> &Server {
        self.replica.as_ref().expect("a shard with a replica")
    }

    /// Waits until the replica shows all that the primary has committed by now.
    pub fn wait_for_replica(&self) {
        let written = self.primary.psql("SELECT pg_current_wal_insert_lsn()");
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until("the replica has caught up", || self.replica().psql(&replayed) == "t");
    }

    /// Runs SQL on the primary as `doorbuster`: a row a line, its columns parted by `|`, a NULL as
    /// nothing. Panics with what Postgres says when it fails.
    pub fn psql(&self, sql: &str) -> String {
        psql::expect(self.try_psql(sql), sql)
    }

    /// As [`Self::psql`], with what Postgres says when it fails.
    pub fn try_psql(&self, sql: &str) -> Result<String, String> {
        psql::lines(self.primary.programs(), &self.url(), sql)
    }

    /// The rows of one query; a NULL is an empty text.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        psql::expect(psql::rows(self.primary.programs(), &self.url(), sql), sql)
    }

    /// The one number that a query gives.
    pub fn number(&self, sql: &str) -> i64 {
        let text = self.psql(sql);
        text.parse().unwrap_or_else(|_| panic!("{text:?} is no number\nin: {sql}"))
    }

    /// A connection of its own that stays, to hold locks and transactions open.
    pub fn session(&self) -> Session {
        Session::open(self.primary.programs(), &self.url())
    }

    /// As [`Self::session`], through PgBouncer.
    pub fn pooled_session(&self) -> Session {
        Session::open(self.primary.programs(), &self.pooled_url())
    }

    /// As [`Self::session`], on the replica.
    pub fn replica_session(&self) -> Session {
        Session::open(self.primary.programs(), &self.replica_url())
    }

    /// Ends the connections to it that `filter` holds for, a condition over `pg_stat_activity`
    /// (`"true"` for all); how many there were.
    pub fn terminate_backends(&self, filter: &str) -> usize {
        let name = &self.name;
        self.primary.terminate_backends(&format!("datname = '{name}' AND ({filter})"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that is down, broken by its test, goes with all of its databases.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = psql::lines(self.primary.programs(), &self.primary.admin_url(), &sql);
    }
}
