//! Is this machine fit for the engine? Asked once, before anything is touched.
//!
//! io_uring can be switched off, locked memory can be too small for the rings: both show later as
//! errors that name neither. Here they are found first, and said with what to change.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The thread that tries io_uring. It may panic, and its end is looked at here.
pub const FITNESS_THREAD: &str = "fitness";
/// Bytes of locked memory that the rings of one core need.
const MEMLOCK_PER_CORE: u64 = 512 << 10;
/// Open files that the engine needs beside its connections.
const FILES_MIN: u64 = 256;

/// Why the engine cannot run here, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The kernel refuses io_uring.
    #[error(
        "io_uring is not available: {reason}. The engine does all of its I/O through it. {advice}"
    )]
    IoUring {
        /// What the kernel said.
        reason: String,
        /// What to change.
        advice: &'static str,
    },
    /// Too little memory may be locked.
    #[error(
        "RLIMIT_MEMLOCK is {limit} bytes, and {cores} core(s) need {needed} for their io_uring \
         rings. Raise it: `ulimit -l {}` in the shell, or `LimitMEMLOCK={needed}` in the systemd \
         unit, or `* hard memlock {}` in /etc/security/limits.conf", needed >> 10, needed >> 10
    )]
    Memlock {
        /// The hard limit.
        limit: u64,
        /// Bytes needed.
        needed: u64,
        /// Cores asked for.
        cores: usize,
    },
    /// Too few files may be open.
    #[error(
        "RLIMIT_NOFILE is {limit}, and the engine needs {needed} at least. Raise it: `ulimit -n \
         {needed}` in the shell, or `LimitNOFILE=` in the systemd unit"
    )]
    Files {
        /// The hard limit.
        limit: u64,
        /// Files needed.
        needed: u64,
    },
}

/// Checks io_uring, locked memory and open files for `cores` cores. Soft limits are raised to the
/// hard ones on the way.
pub fn check(cores: usize) -> Result<(), Unfit> {
    let needed = MEMLOCK_PER_CORE * cores.max(1) as u64;
    let memlock = raise(Resource::Memlock);
    if memlock.is_some_and(|limit| limit < needed) && !rustix::process::geteuid().is_root() {
        return Err(Unfit::Memlock { limit: memlock.unwrap_or(0), needed, cores });
    }
    let files = raise(Resource::Nofile);
    if let Some(limit) = files.filter(|limit| *limit < FILES_MIN) {
        return Err(Unfit::Files { limit, needed: FILES_MIN });
    }
    io_uring()
}

/// Raises the soft limit to the hard one; what it is then, `None` when there is none.
fn raise(resource: Resource) -> Option<u64> {
    let limit = getrlimit(resource);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(resource, raised).is_ok() {
            return limit.maximum;
        }
    }
    limit.current
}

/// Makes an executor and drops it: the one test that cannot be wrong about what glommio needs.
fn io_uring() -> Result<(), Unfit> {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()
        .and_then(|text| text.trim().parse::<u8>().ok())
        .unwrap_or(0);
    let made = std::thread::Builder::new().name(FITNESS_THREAD.into()).spawn(|| {
        glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .make()
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let reason = match made.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(reason))) => reason,
        Ok(Err(_panic)) => "setting up a ring failed".to_owned(),
        Err(error) => error.to_string(),
    };
    let advice = match disabled {
        0 => {
            "Use Linux 5.8 or newer, and let io_uring_setup, io_uring_enter and io_uring_register \
             through the seccomp filter of the container"
        }
        1 => "Run `sysctl kernel.io_uring_disabled=0`, or add the user to kernel.io_uring_group",
        _ => "Run `sysctl kernel.io_uring_disabled=0`",
    };
    Err(Unfit::IoUring { reason, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_numbers() {
        let text = Unfit::Memlock { limit: 65_536, needed: 1 << 20, cores: 2 }.to_string();
        assert!(text.contains("ulimit -l 1024"), "{text}");
        assert!(text.contains("65536"), "{text}");
    }
}
