//! Runs that are kept because they found a bug: the seed, and the dials that it was found with.
//!
//! A seed alone would tell another story as soon as the dials are drawn in another way. Kept with its
//! dials it goes on to do what it did; a fault that came later is off in it. Only where the simulator
//! or the product asks chance in another order is a story lost, and then it has to be found anew.

use crate::dials::Dials;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A run that found a bug.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What it found.
    pub found: String,
    /// Its seed.
    pub seed: u64,
    /// Its dials, reduced to what it needs.
    pub dials: Dials,
}

impl Kept {
    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("cannot read {}: {error}. Give a file of simulator/regressions", path.display())
        })?;
        toml::from_str(&text).map_err(|error| {
            format!("{} is not a kept run: {error}. Write it with --keep", path.display())
        })
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = toml::to_string(self).expect("dials are plain numbers");
        std::fs::write(path, text).map_err(|error| {
            format!("cannot write {}: {error}. Give a path that can be written", path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn what_is_written_is_read_and_a_fault_that_is_not_named_is_off() {
        let directory = std::env::temp_dir().join(format!("kept-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("a directory");
        let path = directory.join("bug.toml");
        for seed in 0..50 {
            let kept = Kept { found: "a bug".into(), seed, dials: seeds::dials_of(seed) };
            kept.write(&path).expect("it is written");
            assert_eq!(Kept::read(&path).expect("it is read"), kept);
        }
        let mut kept = Kept::read(&path).expect("it is read");
        kept.dials.disk.misread = 0.0;
        let text = toml::to_string(&kept).expect("plain numbers");
        let without: String = text
            .lines()
            .filter(|line| !line.starts_with("misread"))
            .map(|l| l.to_owned() + "\n")
            .collect();
        assert_ne!(text, without);
        std::fs::write(&path, without).expect("it is written");
        assert_eq!(Kept::read(&path).expect("it is read"), kept);
        std::fs::remove_dir_all(&directory).expect("it is there");
    }
}
