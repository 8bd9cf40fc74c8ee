//! The shell lines of README.md, run as they are printed.
//!
//! Only what cannot be the same is put in place of what is printed: the address, and where the
//! binary lies. A `curl` in front of the real one notes the status of each answer.

use super::Server;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The fenced `sh` blocks of README.md.
pub fn shell_blocks() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).expect("there is a README");
    text.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or("").into())
        .collect()
}

/// The statuses that the comments of a block promise (`→ 201`), in order.
pub fn promised(block: &str) -> Vec<u16> {
    block
        .lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.rsplit_once("→ ")?.1.trim().parse().ok())
        .collect()
}

/// Runs a block against `server`, in the directory whose `data` is the server's; the statuses of
/// its `curl` lines, in order.
pub fn run(block: &str, server: &Server) -> Vec<u16> {
    let home = server.data().parent().expect("a directory above the data");
    let bin = home.join("target/release");
    fs::create_dir_all(&bin).expect("a directory");
    let binary = bin.join("doorbuster");
    if !binary.exists() {
        symlink(env!("CARGO_BIN_EXE_doorbuster"), &binary).expect("a link");
    }
    let curl = bin.join("curl");
    // The body goes to where the block sends it, the status to standard error.
    let shim = format!(
        "#!/bin/sh\nexec {} -sS -w '%{{stderr}}status %{{http_code}}\\n' \"$@\"\n",
        real_curl().display()
    );
    fs::write(&curl, shim).expect("written");
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).expect("executable");
    let script = block.replace("127.0.0.1:8080", &server.http.to_string());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(home)
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path")))
        .output()
        .expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}\n{}{errors}",
        String::from_utf8_lossy(&output.stdout)
    );
    let statuses = errors.lines().filter_map(|line| line.strip_prefix("status "));
    statuses.map(|status| status.parse().expect("a status")).collect()
}

fn real_curl() -> PathBuf {
    let path = std::env::var_os("PATH").expect("a path");
    std::env::split_paths(&path)
        .map(|folder| folder.join("curl"))
        .find(|curl| curl.is_file())
        .expect("curl is installed")
}
