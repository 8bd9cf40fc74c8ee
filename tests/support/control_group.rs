//! Control groups of a test's own, that take memory or the disk's speed from the processes in them.
//!
//! Both versions of the interface are known; where neither offers what is asked for, the reason is
//! told. A group goes with its guard, what a killed test left with the next test's.

use super::is_alive;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";
/// What the names of groups begin with; the process id of the test follows.
const PREFIX: &str = "doorbuster-test-";

/// A group without a limit.
pub struct ControlGroup {
    path: PathBuf,
    /// 1 or 2.
    version: u8,
}

impl ControlGroup {
    /// One that can limit memory.
    pub fn of_memory() -> Result<Self, String> {
        Self::make("memory", "memory")
    }

    /// One that can limit what a disk does for it.
    pub fn of_disks() -> Result<Self, String> {
        Self::make("blkio", "io")
    }

    fn make(first: &str, second: &str) -> Result<Self, String> {
        let version_1 = Path::new(ROOT).join(first);
        let (parent, version) = if version_1.join("cgroup.procs").exists() {
            (version_1, 1)
        } else {
            let control = Path::new(ROOT).join("cgroup.subtree_control");
            fs::write(&control, format!("+{second}")).map_err(|error| {
                format!("no control group for `{second}`: {}: {error}", control.display())
            })?;
            (PathBuf::from(ROOT), 2)
        };
        for entry in fs::read_dir(&parent).map_err(|error| error.to_string())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok());
            if owner.is_some_and(|pid| !is_alive(pid)) {
                let _ = fs::remove_dir(entry.path());
            }
        }
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, version })
    }

    /// A line of shell that moves the shell, and what it executes, into the group.
    pub fn join(&self) -> String {
        format!("echo $$ > {}", self.path.join("cgroup.procs").display())
    }

    /// Takes a running process into the group.
    pub fn take_in(&self, process: u32) {
        self.set("cgroup.procs", &process.to_string());
    }

    /// Limits memory from now on to what is in use, and hardly more.
    pub fn limit_memory(&self) {
        let (file, used) = match self.version {
            1 => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            _ => ("memory.max", "memory.current"),
        };
        let used = fs::read_to_string(self.path.join(used)).expect("a number of bytes");
        let used: u64 = used.trim().parse().expect("a number of bytes");
        // What the page cache holds counts and can go; the rest cannot, and then this is refused.
        let mut limit = used / 4;
        while fs::write(self.path.join(file), limit.to_string()).is_err() {
            limit += 1 << 20;
        }
        eprintln!("{} MiB of memory used, {} allowed", used >> 20, limit >> 20);
    }

    /// Lets it have memory again.
    pub fn free_memory(&self) {
        match self.version {
            1 => self.set("memory.limit_in_bytes", "-1"),
            _ => self.set("memory.max", "max"),
        }
    }

    /// Limits writes to a device per second from now on; `None` is no limit.
    pub fn limit_writes(&self, device: &str, per_second: Option<u32>) {
        self.limit("blkio.throttle.write_iops_device", "wiops", device, per_second);
    }

    /// Limits the bytes written to a device per second from now on; `None` is no limit.
    pub fn limit_bytes(&self, device: &str, per_second: Option<u32>) {
        self.limit("blkio.throttle.write_bps_device", "wbps", device, per_second);
    }

    /// By the file of the first version of the interface, or the word of the second.
    fn limit(&self, file: &str, word: &str, device: &str, per_second: Option<u32>) {
        match (self.version, per_second) {
            // 0 is no limit.
            (1, limit) => self.set(file, &format!("{device} {}", limit.unwrap_or(0))),
            (_, Some(limit)) => self.set("io.max", &format!("{device} {word}={limit}")),
            (_, None) => self.set("io.max", &format!("{device} {word}=max")),
        }
    }

    fn set(&self, file: &str, value: &str) {
        let file = self.path.join(file);
        fs::write(&file, value)
            .unwrap_or_else(|error| panic!("{value} to {}: {error}", file.display()));
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A group goes when its last process is gone, which may have been killed a moment ago.
        let begun = Instant::now();
        while let Err(error) = fs::remove_dir(&self.path) {
            if begun.elapsed() > Duration::from_secs(5) {
                eprintln!("{}: {error}", self.path.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
