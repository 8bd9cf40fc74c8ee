//! How much memory this process may still take: what the system has left, what the control groups
//! that it is in have left, and what its own limits allow.

use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

/// Where the system shows control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes that could be taken; 0 when the system does not say.
pub(super) fn bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let in_groups = groups.lines().filter_map(|line| left_in_group(line, Path::new(GROUPS)));
    let limits = [Resource::As, Resource::Data].map(|limit| getrlimit(limit).current);
    let all = in_groups.chain(limits.into_iter().flatten());
    all.fold(left_in_system(&meminfo), u64::min)
}

fn left_in_system(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Bytes that a control group and those above it have left, by its line in `/proc/self/cgroup`;
/// `None` when they have no limit. Of both versions of control groups.
fn left_in_group(line: &str, root: &Path) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (root, limits, used, reclaimed) = match controllers {
        "" => {
            let limits = ["memory.max", "memory.high"].as_slice();
            (root.to_owned(), limits, "memory.current", "inactive_file ")
        }
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            let limits = ["memory.limit_in_bytes"].as_slice();
            (root.join("memory"), limits, "memory.usage_in_bytes", "total_inactive_file ")
        }
        _ => return None,
    };
    let number = |file: &Path| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let left = |group: &Path| {
        let limit = limits.iter().filter_map(|limit| number(&group.join(limit))).min()?;
        // Cached files count as used, and those that nobody has read of late go first.
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(reclaimed)?.parse().ok());
        let used = number(&group.join(used))?.saturating_sub(cached.unwrap_or(0));
        Some(limit.saturating_sub(used))
    };
    let group = root.join(path.trim_start_matches('/'));
    group.ancestors().take_while(|group| group.starts_with(&root)).filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_it_has_left() {
        let meminfo = "MemTotal: 24684132 kB\nMemFree: 1 kB\nMemAvailable:   23000 kB\n";
        assert_eq!(left_in_system(meminfo), 23_000 << 10);
        assert_eq!(left_in_system("MemTotal: 24684132 kB\n"), 0);
        assert!(bytes() > 0);
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().expect("below the root")).expect("made");
            fs::write(file, text).expect("written");
        }
    }

    #[test]
    fn a_control_group_and_those_above_it_have_a_say() {
        let root = tempfile::tempdir().expect("a directory");
        let files = [
            ("shop/memory.max", "1000\n"),
            ("shop/memory.current", "900\n"),
            ("shop/memory.stat", "anon 500\ninactive_file 300\nactive_file 100\n"),
            ("shop/engine/memory.max", "max\n"),
            ("shop/engine/memory.high", "700\n"),
            ("shop/engine/memory.current", "100\n"),
            ("free/memory.max", "max\n"),
            ("free/memory.current", "100\n"),
            ("full/memory.max", "100\n"),
            ("full/memory.current", "101\n"),
        ];
        write(root.path(), &files);
        let left = |line| left_in_group(line, root.path());
        // Of 1 000 there are 600 used that cannot be had back; the group below has 600 left.
        assert_eq!(left("0::/shop/engine"), Some(400));
        assert_eq!(left("0::/shop"), Some(400));
        assert_eq!(left("0::/free"), None);
        assert_eq!(left("0::/full"), Some(0));
        assert_eq!(left("0::/"), None);
        assert_eq!(left("no line of it"), None);
    }

    #[test]
    fn so_has_one_of_the_first_version() {
        let root = tempfile::tempdir().expect("a directory");
        let files = [
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.usage_in_bytes", "5000\n"),
            ("memory/shop/memory.limit_in_bytes", "1000\n"),
            ("memory/shop/memory.usage_in_bytes", "900\n"),
            ("memory/shop/memory.stat", "inactive_file 1\ntotal_inactive_file 200\n"),
        ];
        write(root.path(), &files);
        let left = |line| left_in_group(line, root.path());
        assert_eq!(left("4:memory:/shop"), Some(300));
        assert_eq!(left("3:cpu,cpuacct:/shop"), None);
        // Inside a container the path may be one of the host's: the nearest that is there counts.
        assert_eq!(left("4:memory:/docker/abc"), Some(9_223_372_036_854_771_712 - 5_000));
    }
}
