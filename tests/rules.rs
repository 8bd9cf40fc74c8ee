//! The rules of the tree: who may depend on whom, and what every file keeps to.
//!
//! They are checked from the outside, over `cargo metadata` and the sources, so that breaking one
//! takes a change of this file and a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crates of the workspace each may use, by any kind of dependency.
const EDGES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("client", &["protocol"]),
    ("engine", &["protocol"]),
    ("persistence", &["protocol", "client", "postgres-harness"]),
    ("edge", &["protocol", "client", "persistence", "postgres-harness"]),
    ("loadgen", &["protocol", "client", "history"]),
    // It judges the others, so it shares nothing with them.
    ("history", &[]),
    ("postgres-harness", &[]),
];

/// Crates that may use all others: the binary, the benchmarks, the simulator, and what is fuzzed.
const TOPS: &[&str] =
    &["doorbuster", "doorbuster-benches", "doorbuster-simulator", "doorbuster-fuzz-targets"];

/// What the state machine may name beside the standard library.
const STATE_MACHINE_USES: &[&str] = &[
    "doorbuster_protocol",
    "crate::state_machine",
    "super",
    "self",
    "hashbrown",
    "xxhash_rust",
    "crc32c",
    "thiserror",
    "std::",
];
/// What of the standard library it may not: no clock, no I/O but byte streams, no threads.
const STATE_MACHINE_AVOIDS: &[&str] =
    &["std::time", "std::fs", "std::net", "std::thread", "std::sync", "std::env", "std::process"];

/// Lines past which a file tells more than one story.
const FILE_LINES_MAX: usize = 500;
/// Characters of a line: 100, as `rustfmt.toml` has it, and a little for what it cannot break.
const LINE_CHARS_MAX: usize = 104;
/// File names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helper", "helpers", "manager", "common", "misc"];
/// The one place where `unsafe` is argued for.
const UNSAFE_PLACES: &[&str] = &["engine/src/net/listener.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "data" {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Every Rust file of the tree with its text, by its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    rust_files(root(), &mut paths);
    assert!(paths.len() > 50, "the tree has more files than {}", paths.len());
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            (name, fs::read_to_string(&path).expect("a source is UTF-8"))
        })
        .collect()
}

fn metadata() -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

#[test]
fn crates_depend_only_along_the_edges_of_the_design() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut seen = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if TOPS.contains(&name) {
            continue;
        }
        let short = name.strip_prefix("doorbuster-").expect("crates are named doorbuster-…");
        let (_, allowed) = EDGES
            .iter()
            .find(|(from, _)| *from == short)
            .unwrap_or_else(|| panic!("{name} is new: say in EDGES what it may use"));
        seen.insert(short.to_owned());
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            if let Some(to) = to.strip_prefix("doorbuster-") {
                assert!(allowed.contains(&to), "{name} may not depend on doorbuster-{to}");
            }
        }
    }
    let expected: BTreeSet<_> = EDGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(seen, expected, "every crate of the design is there");
}

#[test]
fn versions_stand_once_in_the_workspace_table() {
    for entry in fs::read_dir(root()).expect("the root").flatten() {
        let manifest = entry.path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(|table| table.as_table()) else {
                continue;
            };
            for (name, value) in table {
                let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherits, "{name} in {}: say workspace = true", entry.path().display());
            }
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints.and_then(toml::Value::as_bool), Some(true), "{}", entry.path().display());
    }
}

/// The paths that a source names in `use` items and in expressions with a crate in front.
fn used_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("//") {
            continue;
        }
        let public = ["pub use ", "pub(crate) use ", "pub(super) use ", "use "];
        if let Some(path) = public.iter().find_map(|start| line.strip_prefix(start)) {
            found.push(path.trim_end_matches(';').to_owned());
        }
        for outside in
            ["std::", "crate::", "tokio::", "glommio::", "rustix::", "libc::", "fastrand::"]
        {
            found.extend(line.match_indices(outside).map(|(at, _)| line[at..].to_owned()));
        }
    }
    found
}

#[test]
fn the_state_machine_imports_only_the_protocol() {
    let mut files = 0;
    for (name, text) in sources() {
        let is_inside = name.starts_with("engine/src/state_machine");
        let is_test =
            name.contains("_test.rs") || name.contains("/tests") || name.contains("/twin");
        if !is_inside || is_test {
            continue;
        }
        files += 1;
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        let own = module_names(&name);
        for path in used_paths(code) {
            let is_allowed = STATE_MACHINE_USES.iter().any(|allowed| path.starts_with(allowed))
                || own.iter().any(|module| path.starts_with(module.as_str()));
            let is_allowed =
                is_allowed && !STATE_MACHINE_AVOIDS.iter().any(|avoided| path.starts_with(avoided));
            assert!(is_allowed, "{name} uses {path}: the state machine may not");
        }
        for word in ["SystemTime", "Instant::", "async ", ".await", "thread_local"] {
            assert!(!code.contains(word), "{name} has `{word}`: the state machine may not");
        }
    }
    assert!(files >= 5, "the state machine was found");
}

/// Names of the modules beside and below a file, which `use` may name without a prefix.
fn module_names(name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(name)).expect("a source");
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            let line = line.strip_prefix("pub(super) ").unwrap_or(line);
            line.strip_prefix("mod ").map(|rest| rest.trim_end_matches(';').to_owned())
        })
        .collect()
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let sources = sources();
    let silent: Vec<_> = sources
        .iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "these do not open with `//!`: {silent:#?}");
}

#[test]
fn files_and_lines_stay_short_and_names_say_something() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{name} has {lines} lines, past {FILE_LINES_MAX}"));
        }
        let stem = Path::new(&name).file_stem().expect("a name").to_string_lossy();
        if EMPTY_NAMES.contains(&stem.as_ref()) {
            found.push(format!("{name}: say what it is"));
        }
        for (number, line) in text.lines().enumerate() {
            // A text, an address or a row of a table cannot be broken; rustfmt breaks the rest.
            let is_text = line.contains('"') || line.contains("://") || line.contains("| ");
            let chars = line.chars().count();
            if chars > LINE_CHARS_MAX && !is_text {
                found.push(format!("{name}:{} has {chars} characters", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn unsafe_stands_only_where_it_is_argued_for() {
    let keyword = concat!("un", "safe ");
    for (name, text) in sources() {
        let has_it = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or(line);
            code.contains(&format!("{keyword}{{")) || code.trim_start().starts_with(keyword)
        });
        assert!(!has_it || UNSAFE_PLACES.contains(&name.as_str()), "{name} has `{keyword}`");
    }
}

#[test]
fn panics_unwind_so_that_the_hook_speaks() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let profiles = manifest["profile"].as_table().expect("profiles");
    for (name, profile) in profiles {
        let panic = profile.get("panic").and_then(|panic| panic.as_str());
        assert_ne!(panic, Some("abort"), "profile {name}: glommio must unwind");
    }
}
