//! Real processes for end-to-end tests: `doorbuster` on free ports, in a directory of its own.
//!
//! Whatever is started here is ended here, by its process id, also when a test fails.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

pub mod clock;
pub mod control_group;
pub mod disk;
pub mod history;
pub mod http;
pub mod load;
pub mod metrics;
pub mod readme;
pub mod role;
pub mod shards;
pub mod stored;
pub mod written_log;

use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test says that it hangs. Nothing is measured with it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What an engine holds in memory for a sale: many tests run at once, and many put millions on sale.
pub const MEMORY_RESERVE: (&str, &str) = ("DOORBUSTER_MEMORY_RESERVE", "64MiB");

/// The binary under test, with an environment that no `DOORBUSTER_…` variable reaches into.
pub fn doorbuster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DOORBUSTER_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

/// The same after a line of shell that sets something up for it: a limit, a control group.
pub fn doorbuster_after(setup: &str) -> Command {
    // `exec` keeps the process id.
    let script = format!("{setup} && exec \"$0\" \"$@\"");
    behind(&["sh", "-c", &script], &doorbuster())
}

/// A command run by another one: `words`, and then it.
pub fn behind(words: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(words[0]);
    outer.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// Runs `doorbuster` to its end.
pub fn run(arguments: &[&str]) -> Output {
    doorbuster().args(arguments).output().expect("the binary runs")
}

/// Runs `doorbuster` and expects success; its standard output.
pub fn run_well(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "doorbuster {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Waits until `condition` holds; polls, and says what it waited for when it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there.
pub fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// What a test needs of the machine; `None` when it has to be skipped, see [`skip`].
pub fn or_skip<T>(needed: Result<T, String>) -> Option<T> {
    needed.map_err(|why| skip(&why)).ok()
}

/// Says that this test, or a part of it, does not run here, and why.
///
/// A run that passes would not show it, so it is also added to the file that `DOORBUSTER_SKIPPED`
/// names, which `scripts/test` prints at its end. Root can have all that is needed: for root it is a
/// failure, but with `DOORBUSTER_MAY_SKIP=1`.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("SKIPPED {test}: {why}");
    if let Some(file) = std::env::var_os("DOORBUSTER_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let line = format!("{test}: {why}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list can be written");
    }
    let may_skip = std::env::var("DOORBUSTER_MAY_SKIP").is_ok_and(|value| value == "1");
    assert!(
        may_skip || !rustix::process::geteuid().is_root(),
        "this test cannot run here: {why}. Root can have all that it needs: give it that, or let it \
         be skipped with DOORBUSTER_MAY_SKIP=1"
    );
}

/// A running `doorbuster serve`.
pub struct Server {
    child: Child,
    /// Where it serves buyers.
    pub http: SocketAddr,
    /// Where it serves metrics.
    pub admin: SocketAddr,
    /// The cores of its engine.
    pub engine: Vec<SocketAddr>,
    /// The line of JSON that told so.
    pub banner: String,
    lines: Arc<Mutex<Vec<String>>>,
    data: PathBuf,
}

impl Server {
    /// Starts one on free ports over `data`; returns when it is ready.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, "127.0.0.1:0", &[])
    }

    /// Starts one on `http` with more flags; returns when it is ready.
    pub fn start_with(data: &Path, http: &str, flags: &[&str]) -> Self {
        Self::start_as(doorbuster(), data, http, flags)
    }

    /// The same by `command`, which is [`doorbuster`] or [`doorbuster_after`] something.
    pub fn start_as(mut command: Command, data: &Path, http: &str, flags: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--json", "--http", http, "--admin", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(flags)
            .env(MEMORY_RESERVE.0, MEMORY_RESERVE.1)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("readable");
        if line.is_empty() {
            let status = child.wait().expect("it ended");
            let mut errors = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut errors);
            panic!("doorbuster serve did not start ({status}):\n{errors}");
        }
        let lines = keep_lines(child.stderr.take().expect("piped"));
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
        let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        Self {
            child,
            http: address(&ready["http"]).expect("an address"),
            admin: address(&ready["admin"]).expect("an address"),
            engine: ready["engine"].as_array().expect("cores").iter().filter_map(address).collect(),
            banner: line,
            lines,
            data: data.to_owned(),
        }
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.lines.lock().expect("nobody panics with it").join("\n")
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to drain and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it did not drain");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended, and how.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be asked")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// A bearer token for `user`.
    pub fn token(&self, user: &str) -> String {
        token(&self.data, user, false)
    }
    /// A bearer token for an administrator.
    pub fn admin_token(&self) -> String {
        token(&self.data, "ops", true)
    }
    /// A client of it, on a connection of its own.
    pub fn client(&self) -> http::Client {
        http::Client::connect(self.http)
    }

    /// Defines a product.
    pub fn define(&self, product: &str, terms: &Value) {
        let answer = self.client().call(
            "PUT",
            &format!("/products/{product}"),
            Some(&self.admin_token()),
            Some(terms),
        );
        assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
    }

    /// A product as anyone sees it.
    pub fn product(&self, product: &str) -> Value {
        let answer = self.client().call("GET", &format!("/products/{product}"), None, None);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended when `stop` or `kill` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what a process logs as it comes: kept, and passed on, so that a failing test shows it.
pub fn keep_lines(errors: ChildStderr) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            eprintln!("    {line}");
            kept.lock().expect("nobody panics with it").push(line);
        }
    });
    lines
}

/// A bearer token, printed by the binary.
pub fn token(data: &Path, user: &str, admin: bool) -> String {
    let data = data.to_str().expect("UTF-8");
    let mut arguments = vec!["token", "--data", data, "--user", user];
    if admin {
        arguments.push("--admin");
    }
    run_well(&arguments).trim().to_owned()
}

/// The signing secret of a data directory.
pub fn token_secret(data: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(data.join("secrets/token.secret")).expect("a secret");
    let text = text.trim();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

/// Runs `log verify` and `audit`, which both must find nothing. The directory may be live.
pub fn verify_and_audit(data: &Path) -> Value {
    let data = data.to_str().expect("UTF-8");
    run_well(&["log", "verify", "--data", data]);
    let report = run_well(&["audit", "--data", data, "--json"]);
    serde_json::from_str(&report).expect("the audit prints JSON")
}

/// The seed of a random test: given, or new; printed either way.
pub fn seed(variable: &str) -> u64 {
    let seed = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}; the same again: {variable}={seed}");
    seed
}
