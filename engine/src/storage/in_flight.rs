//! Writes that outlive the process that began them.
//!
//! A process that is killed leaves its direct writes to the kernel, which carries them out when the
//! disk is ready. The next process may have read the log by then, and may have written events of its
//! own in the same place: a late write would lie over events that were acknowledged.
//!
//! So each file that is written to has a shared lock (flock(2)) of its open file, which the kernel
//! keeps until the last request that uses this open file has ended, whatever became of the process.
//! Before a log is recovered, an exclusive lock of each of its files is waited for.

use nix::errno::Errno;
use nix::fcntl::{FlockArg, flock};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether a write has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the log says that it has not.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Has the kernel show, for as long as this open file or a request to it lives, that it is written.
pub(super) fn mark(file: &impl AsRawFd, path: &Path) {
    match flock(file.as_raw_fd(), FlockArg::LockSharedNonblock) {
        Ok(()) => {}
        Err(error @ Errno::EWOULDBLOCK) => tracing::warn!(
            path = %path.display(), %error,
            "another program has locked a file of the log: look into /proc/locks"
        ),
        Err(error) => without_locks(path, error),
    }
}

/// Waits until nothing that an earlier process began is written to any file in `directory` any more.
/// Whoever calls has the data directory to itself, so that nothing new is begun.
pub(crate) fn wait(directory: &Path) -> io::Result<()> {
    wait_telling(directory, |path| {
        tracing::warn!(
            path = %path.display(),
            "a write of an earlier process has not ended; the log is read when it has. If this \
             lasts, the disk hangs, or another program has locked the file: look into /proc/locks; \
             a second signal ends the wait"
        );
    })
}

/// The same; `tell` hears, now and then, which file it still waits for.
fn wait_telling(directory: &Path, mut tell: impl FnMut(&Path)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let path = entry.path();
        let file = File::open(&path)?;
        let mut told: Option<Instant> = None;
        while is_written(&file, &path) {
            if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                tell(&path);
                told = Some(Instant::now());
            }
            thread::sleep(LOOK_EVERY);
        }
    }
    Ok(())
}

/// Whether some open file that was marked lives. If none does, this one has the lock until it closes.
fn is_written(file: &File, path: &Path) -> bool {
    match flock(file.as_raw_fd(), FlockArg::LockExclusiveNonblock) {
        Ok(()) => false,
        Err(Errno::EWOULDBLOCK | Errno::EINTR) => true,
        Err(error) => {
            without_locks(path, error);
            false
        }
    }
}

/// Some network file systems have no locks. What is then left to chance is a write that takes longer
/// than a restart.
fn without_locks(path: &Path, error: Errno) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            path = %path.display(), %error,
            "no locks on this file system: after a kill, wait for the disk before a new start"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{File as _, GlommioDisk, Mode, Storage as _, WriteMode};
    use glommio::{LocalExecutorBuilder, Placement};

    fn is_marked(path: &Path) -> bool {
        is_written(&File::open(path).expect("it is there"), path)
    }

    #[test]
    fn a_file_that_is_written_shows_it_until_the_last_of_it_is_closed() {
        for mode in [WriteMode::Direct, WriteMode::Buffered] {
            let home = tempfile::tempdir().expect("a directory");
            let path = home.path().join("a");
            let executor =
                LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
                    let directory = path.parent().expect("it is in one");
                    let disk = GlommioDisk::at(directory, mode);
                    let file = disk.create("a").await.expect("a file");
                    let buffer = file.buffer(4096);
                    file.write_at(buffer, 0).await.expect("written");
                    assert!(is_marked(&path));
                    let again = disk.open("a", Mode::Write).await.expect("a file");
                    drop(file);
                    // Closing it is glommio's work, in its own time.
                    assert!(is_marked(&path));
                    let read = disk.open("a", Mode::Read).await.expect("a file");
                    drop(again);
                    while is_marked(&path) {
                        glommio::executor().yield_task_queue_now().await;
                    }
                    drop(read);
                });
            executor.expect("an executor").join().expect("no panic");
        }
    }

    #[test]
    fn what_is_still_written_is_waited_for() {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["a", "b"] {
            fs::write(home.path().join(name), "").expect("written");
        }
        fs::create_dir(home.path().join("c")).expect("made");
        wait(home.path()).expect("nobody writes");
        let path = home.path().join("b");
        let mut written = Some(File::open(&path).expect("it is there"));
        mark(written.as_ref().expect("it is open"), &path);
        wait_telling(home.path(), |late| {
            assert_eq!(late, path);
            drop(written.take().expect("it is told once"));
        })
        .expect("it ends");
        assert!(written.is_none(), "it was waited for");
        assert!(wait(&home.path().join("nothing")).is_err());
    }
}
