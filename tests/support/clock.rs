//! A wall clock that a test sets, for one process alone: libfaketime, when it is installed.
//!
//! What counts seconds since the start (`CLOCK_MONOTONIC`) goes on as it is, as on a machine whose
//! clock somebody sets.

use super::is_alive;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a process may take to see a changed clock: it reads the file once in a second.
pub const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// The clock of the processes that are started with it.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// One that is right, kept in `file`; or why there is none.
    pub fn new(file: &Path) -> Result<Self, String> {
        let folders = fs::read_dir("/usr/lib").map_err(|error| error.to_string())?.flatten();
        let library = folders
            .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
            .chain([PathBuf::from("/usr/lib/faketime/libfaketimeMT.so.1")])
            .find(|path| path.exists())
            .ok_or("libfaketime is not installed (Debian: apt-get install libfaketime)")?;
        let clock = Self { library, file: file.to_owned() };
        clock.set(0);
        forget_the_dead();
        Ok(clock)
    }

    /// Sets it so many seconds ahead of the machine's, or behind.
    pub fn set(&self, seconds: i64) {
        // Renamed into place, so that nobody reads the half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).expect("written");
        fs::rename(&new, &self.file).expect("renamed");
    }

    /// Has a process live by it.
    pub fn apply(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        forget_the_dead();
    }
}

/// libfaketime keeps a few bytes of shared memory for each process, named after its id, and removes
/// them only when the process ends by itself.
fn forget_the_dead() {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid =
            ["faketime_shm_", "sem.faketime_sem_"].iter().find_map(|it| name.strip_prefix(it));
        if pid.and_then(|pid| pid.parse().ok()).is_some_and(|pid| !is_alive(pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
