//! A share of a CPU for some processes: a control group with a quota, of either version.

use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";
/// How often the quota is handed out anew: who has used it up waits for the rest of this.
const PERIOD_US: u64 = 10_000;
/// The least that kernels hand out.
const QUOTA_US_MIN: u64 = 1_000;

/// Whoever else wants the CPU stands back: the quota alone decides.
const SHARES_MAX: &str = "262144";
const WEIGHT_MAX: &str = "10000";

/// A group of processes that share so much CPU time; it goes with the last of them.
pub(super) struct Quota {
    path: PathBuf,
}

impl Quota {
    /// A group with `percent` of one CPU.
    pub(super) fn of_one_cpu(percent: u32) -> anyhow::Result<Self> {
        let version_1 = Path::new(ROOT).join("cpu");
        let name = format!("doorbuster-overload-{}", std::process::id());
        let (quota, period) = parts(percent);
        let (path, settings) = if version_1.join("cgroup.procs").exists() {
            let settings = vec![
                ("cpu.shares", SHARES_MAX.to_owned()),
                ("cpu.cfs_period_us", period.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            (version_1.join(name), settings)
        } else {
            fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+cpu")
                .context("no control group for CPU time: are you root?")?;
            let settings = vec![
                ("cpu.weight", WEIGHT_MAX.to_owned()),
                ("cpu.max", format!("{quota} {period}")),
            ];
            (Path::new(ROOT).join(name), settings)
        };
        fs::create_dir(&path).with_context(|| {
            format!("{} cannot be made: a share of a CPU is root's to give", path.display())
        })?;
        let group = Self { path };
        for (file, value) in settings {
            let file = group.path.join(file);
            fs::write(&file, &value).with_context(|| format!("{value} to {}", file.display()))?;
        }
        Ok(group)
    }

    /// Takes a process in, with all its threads.
    pub(super) fn take_in(&self, process: u32) -> anyhow::Result<()> {
        let file = self.path.join("cgroup.procs");
        fs::write(&file, process.to_string())
            .with_context(|| format!("process {process} cannot be put into {}", file.display()))
    }
}

/// Microseconds of CPU time in so many microseconds.
fn parts(percent: u32) -> (u64, u64) {
    let quota = PERIOD_US * u64::from(percent) / 100;
    if quota >= QUOTA_US_MIN {
        (quota, PERIOD_US)
    } else {
        (QUOTA_US_MIN, QUOTA_US_MIN * 100 / u64::from(percent.max(1)))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // It goes when its last process is gone, which may have ended a moment ago.
        let began = Instant::now();
        while fs::remove_dir(&self.path).is_err() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_takes_a_longer_period() {
        let check = |percent, expected| assert_eq!(parts(percent), expected, "{percent} %");
        check(100, (10_000, 10_000));
        check(50, (5_000, 10_000));
        check(10, (1_000, 10_000));
        check(5, (1_000, 20_000));
        check(1, (1_000, 100_000));
    }
}
