//! The bytes of the wire and of the log, frozen.
//!
//! `vectors/*.txt` hold them as `name: hexadecimal digits`; clients in other languages are tested
//! against the same files. When a test here fails, the format has changed: logs of yesterday can no
//! longer be read, or clients of yesterday no longer be understood. Undo it, or make a new version.

mod events;
mod frames;
mod records;

use std::collections::BTreeMap;
use std::fmt::Write;

/// Compares every named case with its vector, and wants no vector left over.
fn check(vectors: &str, cases: &[(&str, Vec<u8>)]) {
    let mut frozen: BTreeMap<&str, &str> = vectors
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("`name: hexadecimal digits`"))
        .collect();
    let mut differences = String::new();
    for (name, bytes) in cases {
        let found = hex(bytes);
        if frozen.remove(name) != Some(&found) {
            writeln!(differences, "{name}: {found}").expect("a string takes all");
        }
    }
    assert!(differences.is_empty(), "these bytes are not those of the vectors:\n{differences}");
    assert!(frozen.is_empty(), "vectors without a case: {frozen:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
