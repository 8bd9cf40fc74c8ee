//! How `scripts/postgres` is called, and what it answers.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cluster.json` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Description {
    pub(crate) directory: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) servers: Vec<Entry>,
}

/// One server of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The shard that it is, follows or stands before.
    pub(crate) of: String,
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) url: String,
    pub(crate) admin_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Shard,
    Replica,
    Pgbouncer,
}

impl Description {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
            panic!("{}: {error}. scripts/postgres start writes it", path.display())
        });
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Runs `scripts/postgres` to its end and expects success.
pub(crate) fn run(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
    let output = Command::new(&script).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "scripts/postgres {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
