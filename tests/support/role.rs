//! One role in a process of its own (`engine`, `edge`, `project`, …), with what it logs.

use super::{MEMORY_RESERVE, doorbuster, keep_lines, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// A running role, ended at once when this is dropped.
pub struct Role {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Where it listens, when it does.
    pub address: Option<SocketAddr>,
    /// Where it serves metrics.
    pub admin: Option<SocketAddr>,
}

impl Role {
    /// Starts one and waits until it has logged `message`.
    pub fn start(data: &Path, arguments: &[&str], message: &str) -> Self {
        Self::start_as(doorbuster(), data, arguments, message)
    }

    /// The same by `command`, see [`super::doorbuster_after`].
    pub fn start_as(command: Command, data: &Path, arguments: &[&str], message: &str) -> Self {
        let mut role = Self::spawn_as(command, data, arguments);
        wait_until(&format!("{arguments:?} has said `{message}`"), || {
            let ended = role.child.try_wait().expect("it can be asked");
            let log = role.log();
            assert!(ended.is_none(), "{arguments:?} ended ({ended:?}):\n{log}");
            log.contains(&format!("\"message\":\"{message}\""))
        });
        role.address = role.address_in(message);
        role.admin = role.address_in("metrics");
        role
    }

    /// Starts one and waits for nothing.
    pub fn spawn(data: &Path, arguments: &[&str]) -> Self {
        Self::spawn_as(doorbuster(), data, arguments)
    }

    fn spawn_as(mut command: Command, data: &Path, arguments: &[&str]) -> Self {
        let mut child = command
            .env(MEMORY_RESERVE.0, MEMORY_RESERVE.1)
            .args(arguments)
            .args(["--admin", "127.0.0.1:0", "--log-format", "json", "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = keep_lines(child.stderr.take().expect("piped"));
        Self { child, lines, address: None, admin: None }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.lines.lock().expect("nobody panics with it").join("\n")
    }

    fn address_in(&self, message: &str) -> Option<SocketAddr> {
        let lines = self.lines.lock().expect("nobody panics with it");
        let entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut said = entries.filter(|entry| entry["message"] == message);
        said.next()?["address"].as_str()?.parse().ok()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// How it has ended, when it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be asked")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
