//! What does not fit is refused at the start, with what, why and the next step: URLs that lead
//! nowhere or to the wrong place, logins that fail, schemas of other versions. The password is shown
//! nowhere, whether something fails or not.

mod support;

use doorbuster_postgres_harness::Database;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use support::metrics::Metrics;
use support::role::Role;
use support::shards::{Shards, words};
use support::{PATIENCE, Server, doorbuster, wait_until};

/// The password of the clusters that tests share, and of a URL.
fn password(url: &str) -> &str {
    let (login, _) = url.split_once('@').expect("a login");
    login.rsplit_once(':').expect("a password").1
}

/// A data directory whose sale has its results elsewhere.
fn data_directory(home: &Path) -> PathBuf {
    let data = home.join("data");
    assert!(Server::start(&data).stop().success());
    data
}

/// Runs to the end, which must come by itself.
fn run_to_its_end(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the binary starts");
    let pid = Pid::from_child(&child);
    let (ended, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        let output = child.wait_with_output().expect("it can be waited for");
        // Nobody waits for it any more when this fails.
        let _ = ended.send(());
        output
    });
    let in_time = end.recv_timeout(PATIENCE).is_ok();
    if !in_time {
        kill_process(pid, Signal::KILL).expect("it runs");
    }
    let output = thread.join().expect("it only waits");
    assert!(in_time, "it was not refused: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Roles and the home of their data directories.
struct Refusals<'a> {
    home: &'a Path,
    /// A data directory that was made before.
    data: PathBuf,
    /// The engine of that directory, when it runs.
    engine: Option<String>,
    /// What must never be shown.
    secrets: Vec<String>,
}

impl Refusals<'_> {
    /// Each of `roles` refuses these stores with this exit code, and says these words.
    #[track_caller]
    fn check(&self, roles: &[&str], stores: &[&str], exit: i32, mentions: &[&str]) {
        for role in roles {
            let data = match *role {
                "serve" => self.home.join(format!("new-{:016x}", fastrand::u64(..))),
                _ => self.data.clone(),
            };
            let mut command = doorbuster();
            command.arg(role).arg("--data").arg(&data).args(["--store-connect-timeout", "2s"]);
            match *role {
                "serve" => _ = command.args(["--http", "127.0.0.1:0", "--admin", "off"]),
                "project" => _ = command.args(["--admin", "off"]),
                "edge" => _ = command.args(["--http", "127.0.0.1:0", "--admin", "off"]),
                _ => {}
            }
            if let Some(engine) =
                self.engine.as_ref().filter(|_| ["project", "edge"].contains(role))
            {
                command.args(["--engine", engine]);
            }
            if *role != "audit" {
                command.args(["--log-level", "debug"]);
            }
            let output =
                run_to_its_end(command.args(stores.iter().flat_map(|store| ["--store", store])));
            self.refused(&format!("{role} {stores:?}"), &output, exit, mentions);
        }
    }

    #[track_caller]
    fn refused(&self, what: &str, output: &Output, exit: i32, mentions: &[&str]) {
        let text = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(exit), "{what}: {text}");
        let code = match exit {
            7 => "error[store-unusable]: ",
            64 => "error[usage]: ",
            78 => "error[configuration]: ",
            _ => "error",
        };
        for part in [code, "why: ", "next: "].iter().chain(mentions) {
            assert!(text.contains(part), "{what}: no `{part}` in: {text}");
        }
        self.shows_no_secret(what, &text);
    }

    #[track_caller]
    fn shows_no_secret(&self, what: &str, text: &str) {
        for secret in &self.secrets {
            assert!(!text.contains(secret), "{what} shows a password: {text}");
        }
    }
}

const CLAIMED: &str = "SELECT count(*) FROM shard WHERE cluster IS NOT NULL";
const ALL: &[&str] = &["serve", "project", "edge", "audit"];
/// Those that do without a shard that cannot be reached just now are left out.
const NEEDING: &[&str] = &["serve", "project", "audit"];

#[test]
fn urls_that_lead_nowhere_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let shards = Shards::shared(1);
    let url = shards.0[0].url();
    let secret = password(&url).to_owned();
    let place = url.split_once('@').expect("a login").1.to_owned();
    let (address, database) = place.split_once('/').expect("a database");
    let (_, port) = address.split_once(':').expect("a port");
    let refusals = Refusals {
        home: home.path(),
        data: data_directory(home.path()),
        engine: None,
        secrets: vec![secret.clone(), "hunter2".to_owned()],
    };
    // What cannot be read is found before anything is asked.
    for (url, mentions) in [
        ("postgres://ann:hunter2@db:port/shop".to_owned(), &["--store", "port"][..]),
        (format!("postgres://doorbuster:{secret}@:{port}:{port}/x"), &["--store"]),
        (format!("mysql://doorbuster:{secret}@{place}"), &["--store"]),
        (format!("postgres://doorbuster:{secret}@{place}?flavour={secret}"), &["flavour"]),
        (format!("postgres://doorbuster:{secret}@{place}?sslmode=sometimes"), &["sslmode"]),
        (format!("UPPER=postgres://doorbuster:{secret}@{place}"), &["UPPER", "a-z"]),
        (format!("password={secret} host=127.0.0.1"), &["--store"]),
    ] {
        refusals.check(ALL, &[&url], 64, mentions);
    }
    let mixed = ["sqlite", url.as_str()];
    refusals.check(ALL, &mixed, 64, &["sqlite", "all values are shards"]);

    let login = format!("postgres://doorbuster:{secret}@");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = nobody.local_addr().expect("an address").to_string();
    drop(nobody);
    refusals.check(NEEDING, &[&format!("{login}{closed}/x")], 7, &["shard-0", &closed]);
    // A first start that failed makes the next one no less a first one.
    for _ in 0..2 {
        let mut command = doorbuster();
        command.args(["serve", "--http", "127.0.0.1:0", "--admin", "off", "--data"]);
        command.arg(home.path().join("again"));
        let output = run_to_its_end(command.args(["--store", &format!("{login}{closed}/x")]));
        refusals.refused("serve", &output, 7, &["shard-0", "start its server"]);
    }
    let host = format!("{login}no-such-host.invalid:{port}/{database}");
    refusals.check(NEEDING, &[&host], 7, &["shard-0", "no-such-host.invalid"]);

    let wrong = format!("postgres://doorbuster:hunter2@{place}");
    refusals.check(ALL, &[&wrong], 7, &["shard-0", "password", "28P01"]);
    let stranger = format!("postgres://nobody-we-know:hunter2@{place}");
    refusals.check(ALL, &[&stranger], 7, &["shard-0", "password"]);
    let encrypted = format!("{url}?sslmode=require");
    refusals.check(ALL, &[&encrypted], 7, &["shard-0", "TLS"]);
    let missing = format!("{login}{address}/no_such_database");
    refusals.check(ALL, &[&missing], 7, &["no_such_database", "createdb"]);
    // One of several: it is named.
    let named = format!("east={missing}");
    refusals.check(ALL, &[&url, &named], 7, &["east", "no_such_database"]);
}

#[test]
fn schemas_of_other_versions_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let shards = Shards::shared(2);
    let url = shards.0[0].url();
    let refusals = Refusals {
        home: home.path(),
        data: data_directory(home.path()),
        engine: None,
        secrets: vec![password(&url).to_owned()],
    };
    let readers: &[&str] = &["edge", "audit"];
    refusals.check(readers, &[&url], 7, &["shard-0", "project --migrate"]);

    let migrate = ["project", "--migrate", "--store", &url];
    let output = run_to_its_end(doorbuster().args(migrate));
    assert!(output.status.success(), "{output:?}");
    shards.0[0].psql(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
         VALUES (99, 'of_tomorrow', '2030-01-01T00:00:00Z', '1')",
    );
    refusals.check(ALL, &[&url], 7, &["99", "newer"]);
    let output = run_to_its_end(doorbuster().args(migrate));
    refusals.refused("project --migrate", &output, 7, &["99", "newer"]);

    // Somebody else's tables stay as they are.
    shards.0[1].psql("CREATE TABLE orders (what TEXT); INSERT INTO orders VALUES ('precious')");
    let theirs = shards.0[1].url();
    refusals.check(&["serve", "project"], &[&theirs], 7, &["shard-0"]);
    assert_eq!(shards.0[1].psql("SELECT what FROM orders"), "precious");
    assert_eq!(shards.0[1].psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");
}

#[test]
fn a_shard_that_is_another_one_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let shards = Shards::shared(3);
    let urls: Vec<_> = shards.0.iter().map(Database::url).collect();
    let [one, two, spare] = [&urls[0], &urls[1], &urls[2]];
    // A sale of its own claims two of them.
    let claimed = home.path().join("claimed");
    let server = Server::start_with(&claimed, "127.0.0.1:0", &["--store", one, "--store", two]);
    for database in &shards.0[..2] {
        wait_until("the sale has claimed its shard", || database.psql(CLAIMED) == "1");
    }
    assert!(server.stop().success());
    let secrets = urls.iter().map(|url| password(url).to_owned()).collect();
    let refusals = Refusals { home: home.path(), data: claimed, engine: None, secrets };
    let own: &[&str] = &["project", "edge", "audit"];

    let swapped = [two.as_str(), one];
    refusals.check(own, &swapped, 7, &["shard-0", "shard-1"]);
    let named = format!("east={one}");
    refusals.check(own, &[&named, two], 7, &["east", "shard-0"]);
    let twice = [one.as_str(), one];
    refusals.check(own, &twice, 7, &["same"]);
    refusals.check(&["serve"], &[spare, spare], 7, &["same"]);

    // Another data directory's, as a whole and for a part.
    let other = data_directory(&home.path().join("other"));
    let flags = ["engine", "--cores", "1", "--engine-listen", "127.0.0.1:0"];
    let engine = Role::start(&other, &flags, "listening");
    let address = engine.address.map(|address| address.to_string());
    let refusals = Refusals { data: other, engine: address, ..refusals };
    refusals.check(ALL, &[one, two], 7, &["belongs"]);
    refusals.check(&["serve", "project"], &[spare, two], 7, &["shard-1"]);
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'shard'";
    let is_untouched = shards.0[2].psql(tables) == "0" || shards.0[2].psql(CLAIMED) == "0";
    assert!(is_untouched, "a store that is refused claims nothing");
}

#[test]
fn the_password_is_shown_nowhere() {
    let home = tempfile::tempdir().expect("a directory");
    let shards = Shards::shared(2);
    let url = shards.0[0].url();
    let refusals = Refusals {
        home: home.path(),
        data: home.path().join("data"),
        engine: None,
        secrets: shards.0.iter().map(|database| password(&database.url()).to_owned()).collect(),
    };
    let data = &refusals.data;
    // A server with all that it can log, and its pages.
    let stores = shards.flags();
    let flags = [&["--log-level", "trace"], &words(&stores)[..]].concat();
    let server = Server::start_with(data, "127.0.0.1:0", &flags);
    refusals.shows_no_secret("the banner", &server.banner);
    refusals.shows_no_secret("/metrics", &Metrics::of(server.admin).0);
    for database in &shards.0 {
        database.terminate_backends("application_name = 'doorbuster'");
    }
    wait_until("a connection was lost and made again", || {
        refusals.shows_no_secret("the log", &server.log());
        shards.sum("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") > 2
    });
    refusals.shows_no_secret("the log", &server.log());
    let audit = shards.audit(data).to_string();
    refusals.shows_no_secret("audit", &audit);
    drop(server);

    // The banner for eyes.
    let mut command = doorbuster();
    command.arg("serve").arg("--data").arg(data).args(&stores);
    command.args(["--http", "127.0.0.1:0", "--admin", "off"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary starts");
    let mut banner = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    while !banner.contains("Postgres") {
        let read = stdout.read_line(&mut banner).expect("readable");
        assert!(read > 0, "the banner names the store: {banner}");
    }
    child.kill().expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    refusals.shows_no_secret("the banner", &banner);
    refusals.shows_no_secret("the log", &String::from_utf8_lossy(&output.stderr));

    // The configuration, from flags, the environment and a file, when it is right and when not.
    let file = home.path().join("doorbuster.toml");
    for (url, exit) in [(url.clone(), 0), (format!("{url}?flavour=vanilla"), 78)] {
        fs::write(&file, format!("store = [\"{url}\"]\n")).expect("written");
        let show: &[&[&str]] = &[
            &["config", "show"],
            &["config", "show", "--json"],
            &["config", "show", "--origin"],
            &["config", "check"],
        ];
        for words in show {
            let of_file = [words, &["--config", file.to_str().expect("UTF-8")][..]].concat();
            let mut from_environment = doorbuster();
            from_environment.args(*words).env("DOORBUSTER_STORE", &url);
            let mut from_file = doorbuster();
            from_file.args(&of_file);
            let mut from_flag = doorbuster();
            from_flag.args(*words).args(["--store", &url]);
            let by_flag = if exit == 0 { 0 } else { 64 };
            for (mut command, exit) in
                [(from_file, exit), (from_environment, exit), (from_flag, by_flag)]
            {
                let output = run_to_its_end(&mut command);
                let text = [&output.stdout[..], &output.stderr].concat();
                let text = String::from_utf8_lossy(&text);
                assert_eq!(output.status.code(), Some(exit), "{words:?}: {text}");
                refusals.shows_no_secret(&format!("{words:?}"), &text);
            }
        }
    }
}
