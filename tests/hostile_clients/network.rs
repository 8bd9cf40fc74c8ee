//! A network namespace of the test's own: in it a part of the loopback addresses can be cut off, so
//! that a client vanishes without a word.

use std::process::Command;

/// Set where a test has a network of its own.
const OWN: &str = "DOORBUSTER_OWN_NETWORK";
/// What is said where there is none.
pub(crate) const WANTED: &str = "clients vanish in a network of the test's own, which cannot be \
     made here; it takes `unshare`, `ip` of iproute2, and root or user namespaces";
/// Addresses that can be cut off.
const CUT: &str = "127.77.0.0/16";
const UP_AND_GO: &str = "ip link set lo up && exec \"$0\" \"$@\"";

/// Runs the test of this name again in a network of its own. `false`: that cannot be had here, and
/// the test goes on in the network that it has.
pub(crate) fn has_run_apart(test: &str) -> bool {
    if is_own() {
        return false;
    }
    let program = std::env::current_exe().expect("a test is a program");
    let user: &[&str] = match rustix::process::geteuid().is_root() {
        true => &[],
        false => &["--user", "--map-root-user"],
    };
    let apart = || {
        let mut command = Command::new("unshare");
        command.args(user).args(["--net", "sh", "-c", UP_AND_GO]);
        command
    };
    if !apart().arg("true").output().is_ok_and(|output| output.status.success()) {
        return false;
    }
    let status = apart()
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(OWN, "1")
        .status()
        .expect("it could be run before");
    assert!(status.success(), "{test}: {status}");
    true
}

/// Whether addresses can be cut off.
pub(crate) fn is_own() -> bool {
    std::env::var_os(OWN).is_some()
}

/// Drops whatever is sent to the addresses that attackers vanish from.
pub(crate) fn cut() {
    route("add");
}

/// Lets it through again.
pub(crate) fn mend() {
    route("del");
}

fn route(change: &str) {
    let status = Command::new("ip")
        .args(["route", change, "blackhole", CUT, "table", "local"])
        .status()
        .expect("ip runs");
    assert!(status.success(), "ip route {change}: {status}");
}
