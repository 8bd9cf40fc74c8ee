//! What is fuzzed: one function for each parser of bytes that come from outside, or from a disk.
//!
//! A target takes any bytes and panics when something is wrong: a parser panicked, or what it made
//! of them is not what a second, simpler look says. The same functions run under libFuzzer
//! (`fuzz/`, `scripts/fuzz`), and on stable Rust with the mutator here (`tests/`, part of
//! `scripts/test`); every input of `fuzz/corpus` and `fuzz/regressions` is replayed there, too.
//!
//! | module | what is fuzzed |
//! |---|---|
//! | [`frames`] | any bytes to a server's or a client's session, in any pieces |
//! | [`conversation`] | a valid conversation, tampered with |
//! | [`handshake`] | the opening exchange, with somebody in between |
//! | [`records`] | requests, replies, events and headers without a checksum around them |
//! | [`log`] | a log that was damaged: recovery, verification, reading |
//! | [`snapshot`] | the bytes of a state |
//! | [`http_body`] | the bodies of orders and products |
//! | [`http_framing`] | the requests of a connection, before hyper sees them |
//! | [`http_path`] | paths, escapes, queries, cursors, times |
//! | [`token`] | bearer tokens |
//! | [`configuration`] | the configuration file |
//! | [`url`] | the URLs of stores |
//!
//! | beside them | |
//! |---|---|
//! | `script` | decisions read off an input |
//! | `values`, `sessions` | what peers say, and the two ends of a connection |
//! | `sale` | a sale, for logs and snapshots |
//! | [`mutator`] | inputs made of others by a seed |
//! | [`campaign`] | runs a target over files or for a time, and keeps what fails |

pub mod campaign;
pub mod configuration;
pub mod conversation;
pub mod frames;
pub mod handshake;
pub mod http_body;
pub mod http_framing;
pub mod http_path;
pub mod log;
pub mod mutator;
pub mod records;
mod sale;
mod script;
mod sessions;
pub mod snapshot;
pub mod token;
pub mod url;
mod values;

/// The binary's configuration, as it stands there: a binary has no library to take it from.
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the binary uses what the targets do not"
)]
#[path = "../../src/config/mod.rs"]
mod config;
/// What the configuration's errors end as.
#[allow(dead_code, unreachable_pub, reason = "the binary uses what the targets do not")]
#[path = "../../src/exit.rs"]
mod exit;

/// An input to begin with: its name, its bytes.
pub type Seed = (String, Vec<u8>);

/// Something to fuzz.
#[derive(Debug)]
pub struct Target {
    /// Its name: that of its module, of its libFuzzer binary, and of its corpus.
    pub name: &'static str,
    /// Runs one input; panics when something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Seed>,
    /// Texts that mean something to it.
    pub words: &'static [&'static str],
    /// How many mutated inputs a run without a time takes: less than a second.
    pub short_run: u32,
}

macro_rules! target {
    ($name:ident, $short_run:expr, $words:expr) => {
        Target {
            name: stringify!($name),
            run: $name::run,
            seeds: $name::seeds,
            words: $words,
            short_run: $short_run,
        }
    };
}

/// Everything that is fuzzed.
pub static TARGETS: [Target; 12] = [
    target!(frames, 20_000, &[]),
    target!(conversation, 10_000, &[]),
    target!(handshake, 50_000, &[]),
    target!(records, 200_000, &[]),
    target!(log, 1_000, &[]),
    target!(snapshot, 20_000, &[]),
    target!(http_body, 50_000, http_body::WORDS),
    target!(http_framing, 50_000, http_framing::WORDS),
    target!(http_path, 50_000, http_path::WORDS),
    target!(token, 10_000, token::WORDS),
    target!(configuration, 5_000, configuration::WORDS),
    target!(url, 40_000, url::WORDS),
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Inputs of chance for targets that take any bytes as a script; some are short.
fn scripts_of_chance(seed: u64, count: usize, bytes: usize) -> Vec<Seed> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let script = |number| {
        let mut script = vec![0; 1 + dice.usize(..bytes)];
        dice.fill(&mut script);
        (format!("chance-{number}"), script)
    };
    (0..count).map(script).collect()
}
