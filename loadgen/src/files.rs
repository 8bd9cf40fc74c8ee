//! The files that a load is to leave behind, tried out before it: one that cannot be written is better
//! known then than after the load.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files that can be written.
pub(crate) struct Files {
    /// Those that were not there before.
    made: Vec<PathBuf>,
}

impl Files {
    /// Opens each of them, and changes none that is there. The error says what cannot be.
    pub(crate) fn try_out<const N: usize>(files: [&Option<PathBuf>; N]) -> Result<Self, String> {
        let mut tried: Vec<PathBuf> = Vec::new();
        let mut all = Self { made: Vec::new() };
        for file in files.into_iter().flatten() {
            if let Err(what) = all.try_one(file, &mut tried) {
                all.forget();
                return Err(what);
            }
        }
        Ok(all)
    }

    fn try_one(&mut self, file: &Path, tried: &mut Vec<PathBuf>) -> Result<(), String> {
        let failed = |error: io::Error| unwritable(file, &error);
        let is_new = !file.exists();
        fs::OpenOptions::new().create(true).append(true).open(file).map_err(failed)?;
        if is_new {
            self.made.push(file.to_path_buf());
        }
        // A pipe behind /dev/stdout has no other name.
        let real = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
        // Devices take everything, and keep nothing.
        if tried.contains(&real) && real.is_file() {
            return Err(format!(
                "{} is named twice: what is written last would be all that is left. Give the \
                 journal, the result and the page names of their own",
                file.display()
            ));
        }
        tried.push(real);
        Ok(())
    }

    /// There is nothing to write: takes those away that were not there before.
    pub(crate) fn forget(&self) {
        for file in &self.made {
            // A journal may have been begun, and says what was sent.
            if file.metadata().is_ok_and(|data| data.len() == 0) {
                let _ = fs::remove_file(file);
            }
        }
    }
}

pub(crate) fn unwritable(file: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", file.display())
}
