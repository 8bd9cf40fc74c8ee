//! One server, a Postgres or a PgBouncer: stopped, started, suspended, killed, set otherwise.

use crate::script::{self, Description, Entry, Kind};
use crate::{psql, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};

/// A primary, a replica or a PgBouncer.
#[derive(Debug, Clone)]
pub struct Server {
    entry: Entry,
    directory: PathBuf,
    programs: PathBuf,
    is_private: bool,
}

impl Server {
    pub(crate) fn new(description: &Description, entry: &Entry, is_private: bool) -> Self {
        Self {
            entry: entry.clone(),
            directory: description.directory.clone(),
            programs: description.programs.clone(),
            is_private,
        }
    }

    /// `shard-0`, `replica-0`, `pgbouncer-0`, …
    pub fn name(&self) -> &str {
        &self.entry.name
    }
    /// The name of the shard that it is, follows or stands before.
    pub fn shard(&self) -> &str {
        &self.entry.of
    }
    /// The port on 127.0.0.1; it stays the same when the server is started again.
    pub fn port(&self) -> u16 {
        self.entry.port
    }
    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.entry.data
    }
    /// Where `psql` and the other programs are.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }
    /// What it has logged.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.entry.log).expect("its log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its database `doorbuster`, as the role of the same name.
    pub fn url(&self) -> String {
        self.entry.url.clone()
    }
    /// One of its databases, as the role `doorbuster`.
    pub fn url_of(&self, database: &str) -> String {
        with_database(&self.entry.url, database)
    }
    /// As the superuser; of a PgBouncer, its console.
    pub fn admin_url(&self) -> String {
        self.entry.admin_url.clone()
    }

    /// Runs SQL as the superuser (at a PgBouncer: its commands); a row a line.
    pub fn psql(&self, sql: &str) -> String {
        psql::expect(psql::lines(&self.programs, &self.entry.admin_url, sql), sql)
    }

    /// Stops it at once, as a crash would; returns when it is gone.
    pub fn stop_immediate(&self) {
        self.must_be_private();
        script::run(&["down", self.directory_text(), self.name()]);
    }

    /// Stops it after a last checkpoint; its clients are cut off.
    pub fn stop_fast(&self) {
        self.must_be_private();
        script::run(&["down", self.directory_text(), self.name(), "--fast"]);
    }

    /// Starts it again on its port; returns when it accepts connections.
    pub fn start(&self) {
        self.must_be_private();
        script::run(&["up", self.directory_text(), self.name()]);
    }

    /// Kills all of its processes at once, without a word to any of them.
    pub fn kill(&self) {
        self.must_be_private();
        let family = self.family();
        self.signal(&family, Signal::KILL);
        wait_until("the killed server is gone", || family.iter().all(|pid| is_gone(*pid)));
    }

    /// Suspends all of its processes: connections stay open, and nothing answers.
    pub fn suspend(&self) {
        self.must_be_private();
        // The first stops first: then no more come. Others may come until it does.
        wait_until("the suspended server stands still", || {
            let family = self.family();
            self.signal(&family, Signal::STOP);
            let now = self.family();
            now.iter().all(|pid| matches!(state(*pid), Some('T' | 'Z') | None))
        });
    }

    /// Lets a suspended server go on.
    pub fn resume(&self) {
        self.must_be_private();
        self.signal(&self.family(), Signal::CONT);
    }

    /// Ends the connections that `filter` holds for, a condition over `pg_stat_activity`
    /// (`"true"` for all clients); how many there were. In a shared server, name the database.
    pub fn terminate_backends(&self, filter: &str) -> usize {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND ({filter})"
        );
        self.psql(&sql).parse().expect("a count")
    }

    /// Changes a setting, such as `recovery_min_apply_delay`; returns when new connections have it.
    pub fn set(&self, name: &str, value: &str) {
        self.alter(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    }

    /// Changes a setting back to what it was at the start.
    pub fn reset(&self, name: &str) {
        self.alter(&format!("ALTER SYSTEM RESET {name}"));
    }

    fn alter(&self, sql: &str) {
        self.must_be_private();
        let loaded = "SELECT pg_conf_load_time()";
        let before = self.psql(loaded);
        self.psql(sql);
        self.psql("SELECT pg_reload_conf()");
        wait_until("the settings are loaded again", || self.psql(loaded) != before);
    }

    /// Makes a replica a primary; returns when it takes writes.
    pub fn promote(&self) {
        self.must_be_private();
        assert_eq!(self.entry.kind, Kind::Replica, "only a replica is promoted");
        assert_eq!(self.psql("SELECT pg_promote(true, 60)"), "t", "{} is promoted", self.name());
    }

    /// Whether it takes connections and answers them.
    pub fn is_up(&self) -> bool {
        let question = if self.entry.kind == Kind::Pgbouncer { "SHOW VERSION" } else { "SELECT 1" };
        psql::lines(&self.programs, &self.entry.admin_url, question).is_ok()
    }

    /// The process id of its first process.
    pub fn pid(&self) -> u32 {
        self.first().as_raw_pid().cast_unsigned()
    }

    fn first(&self) -> Pid {
        let file = match self.entry.kind {
            Kind::Pgbouncer => self.directory.join(self.name()).join("pid"),
            Kind::Shard | Kind::Replica => self.entry.data.join("postmaster.pid"),
        };
        let text = fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("{} is down: {error}", self.name()));
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        pid.and_then(Pid::from_raw).expect("its first line is a process id")
    }

    /// Its first process and that one's children.
    fn family(&self) -> Vec<Pid> {
        let first = self.first();
        let id = first.as_raw_pid();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(first).chain(children.filter_map(Pid::from_raw)).collect()
    }

    fn signal(&self, family: &[Pid], signal: Signal) {
        for pid in family {
            // One that has ended meanwhile needs none.
            let _ = kill_process(*pid, signal);
        }
    }

    fn must_be_private(&self) {
        let name = self.name();
        assert!(self.is_private, "{name} is shared: break one of Clusters::private instead");
    }

    fn directory_text(&self) -> &str {
        self.directory.to_str().expect("a path of a test is UTF-8")
    }
}

/// The same server's URL with another database.
fn with_database(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("a URL has a path");
    format!("{server}/{database}")
}

/// The state of a process as Linux shows it: R, S, D, T, Z; none when there is no such process.
fn state(pid: Pid) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name before it may have spaces and brackets itself.
    text.rsplit_once(") ")?.1.chars().next()
}

fn is_gone(pid: Pid) -> bool {
    matches!(state(pid), None | Some('Z'))
}
