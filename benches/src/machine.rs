//! The machine: which cores there are, who runs on which, and what a process has used.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes touched at once: a chunk of mimalloc's, but for its header.
const PIECE_BYTES: usize = (32 << 20) - (64 << 10);
/// The smallest page there is.
const PAGE_BYTES: usize = 4096;

/// CPUs that this process may use.
pub(crate) fn cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// Who runs where: the server on the first CPU, whoever asks it on the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seats {
    /// The server's CPU.
    pub(crate) server: usize,
    /// The client's CPU.
    pub(crate) client: usize,
}

impl Seats {
    /// Two different CPUs when there are two.
    pub(crate) fn choose() -> Self {
        let cpus = cpus();
        let server = cpus.first().copied().unwrap_or(0);
        Self { server, client: cpus.get(1).copied().unwrap_or(server) }
    }

    pub(crate) fn describe(self) -> String {
        if self.server == self.client {
            format!("server and client share CPU {}", self.server)
        } else {
            format!("server on CPU {}, client on CPU {}", self.server, self.client)
        }
    }
}

/// Keeps the calling thread on one CPU. Where that is not allowed, the figures are only noisier.
pub(crate) fn sit_on(cpu: usize) {
    sit_on_each(&[cpu]);
}

/// The same on several.
pub(crate) fn sit_on_each(cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    let _ = sched_setaffinity(None, &set);
}

/// Keeps a process and its children, with all their threads, on one CPU from now on.
pub(crate) fn seat(process: u32, cpu: usize) {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let all = children.split_whitespace().filter_map(|child| child.parse().ok()).chain([process]);
    for process in all {
        let _ = Command::new("taskset")
            .args(["--all-tasks", "--cpu-list", "--pid", &cpu.to_string(), &process.to_string()])
            .stdout(std::process::Stdio::null())
            .status();
    }
}

/// A command whose process, and all its threads, stay on one CPU.
pub(crate) fn command_on(cpu: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpu.to_string()).arg(program);
    command
}

/// CPU time of a process so far, user and system, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> Option<f64> {
    cpu_times(process).map(|[own, _]| own)
}

/// CPU time of the calling thread so far, in seconds.
pub(crate) fn thread_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What of it was the kernel's, in seconds, as fine as the clock's ticks.
pub(crate) fn thread_system_seconds() -> f64 {
    times_in("/proc/thread-self/stat").map_or(0.0, |[_, system, ..]| system)
}

/// CPU time of this process so far, in seconds.
pub(crate) fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id()).unwrap_or(0.0)
}

/// CPU time of the children of this process that have ended, in seconds.
pub(crate) fn ended_children_cpu_seconds() -> f64 {
    cpu_times(std::process::id()).map_or(0.0, |[_, ended]| ended)
}

/// CPU time of a process and its children so far, those that have ended included, in seconds.
pub(crate) fn family_cpu_seconds(process: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let alive = children.split_whitespace().filter_map(|child| cpu_seconds(child.parse().ok()?));
    let alive: f64 = alive.sum();
    alive + cpu_times(process).map_or(0.0, |[own, ended]| own + ended)
}

/// CPU time of a process, and of its children that it has waited for, in seconds.
fn cpu_times(process: u32) -> Option<[f64; 2]> {
    let [user, system, children_user, children_system] =
        times_in(&format!("/proc/{process}/stat"))?;
    Some([user + system, children_user + children_system])
}

/// The four times of such a file, in seconds: user, system, and both of ended children.
fn times_in(stat: &str) -> Option<[f64; 4]> {
    let stat = fs::read_to_string(stat).ok()?;
    // The name stands in parentheses and may hold anything; what follows it is numbers.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<f64> =
        fields.split(' ').skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let ticks: [f64; 4] = ticks.try_into().ok()?;
    Some(ticks.map(|ticks| ticks / ticks_per_second))
}

/// The most memory that a process has had resident so far, in MiB.
pub(crate) fn peak_memory_mib(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// What a process has resident now, in MiB.
pub(crate) fn memory_mib(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = resident.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// Leaves this process's allocator with so much memory that the system has found. It keeps that for
/// a second, and longer if nobody asks it for many thousands of blocks; whoever takes memory before
/// has it at once.
pub(crate) fn touch(bytes: usize) {
    let pieces: Vec<Vec<u8>> = (0..bytes.div_ceil(PIECE_BYTES))
        .map(|_| {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            for page in piece.spare_capacity_mut().chunks_mut(PAGE_BYTES) {
                page[0].write(1);
            }
            piece
        })
        .collect();
    drop(black_box(pieces));
}

/// Bytes of disk that everything below a path takes.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    let Ok(entries) = fs::read_dir(path) else { return own };
    own + entries.flatten().map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}

/// Lets the kernel forget what it holds of every file below a path, once that is written out, so
/// that the next read is one of the device.
pub(crate) fn forget_files(path: &Path) -> anyhow::Result<()> {
    for file in files(path)? {
        let file = fs::File::open(file)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// Every file below a path, in the order of their names.
pub(crate) fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    Ok(found)
}

/// Asks a process to end in good order.
pub(crate) fn terminate(process: u32) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
}

/// One line about the machine.
pub(crate) fn describe() -> String {
    let kernel = rustix::system::uname();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    format!("{} × {model}, Linux {}", cpus().len(), kernel.release().to_string_lossy())
}

/// Processes that ran or waited for a CPU or a disk in the last minute, on average.
pub(crate) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|minute| minute.parse().ok()).unwrap_or(f64::NAN)
}
