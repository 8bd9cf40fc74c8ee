//! Whether a thread has time to spare, as the kernel saw it.
//!
//! A thread that runs, or could run and is not let, has none: because others run, or because its
//! control group has used up its share. Only the kernel knows the second part, and tells both in
//! `/proc/thread-self/schedstat` (Documentation/scheduler/sched-stats.rst): nanoseconds on a CPU, and
//! nanoseconds on the way to one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use tokio::time::Instant;

/// Over how long it is measured.
const WINDOW: Duration = Duration::from_millis(100);
/// The share of that time from which on there is none to spare.
const SHARE_MAX: f64 = 0.8;
/// How long a thread that had none is not believed to have some: whatever is done in a single
/// quiet window, for all who wait, would take the time of those who are served.
const BELIEVED_AFTER: Duration = Duration::from_secs(1);

/// The watch over the thread that made it.
#[derive(Debug)]
pub(super) struct Busy {
    /// `None` where the kernel does not tell; then nobody is ever busy.
    schedstat: Option<File>,
    since: Instant,
    wanted_before: Duration,
    /// When it last had no time to spare.
    busy_at: Option<Instant>,
}

impl Busy {
    /// Watches the calling thread from now on.
    pub(super) fn of_this_thread(now: Instant) -> Self {
        let schedstat = File::open("/proc/thread-self/schedstat");
        if let Err(error) = &schedstat {
            tracing::warn!(%error, "the kernel does not say how busy a thread is");
        }
        let schedstat = schedstat.ok();
        let wanted_before = wanted(schedstat.as_ref());
        Self { schedstat, since: now, wanted_before, busy_at: None }
    }

    /// Measures anew from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.since, self.wanted_before) = (now, wanted(self.schedstat.as_ref()));
    }

    /// Whether there was no time to spare of late.
    pub(super) fn is_busy(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            let wanted = wanted(self.schedstat.as_ref());
            let busy = wanted.saturating_sub(self.wanted_before);
            (self.since, self.wanted_before) = (now, wanted);
            if busy >= passed.mul_f64(SHARE_MAX) {
                self.busy_at = Some(now);
            }
        }
        self.busy_at.is_some_and(|at| now.saturating_duration_since(at) < BELIEVED_AFTER)
    }
}

/// For how long the thread has run or wanted to.
fn wanted(schedstat: Option<&File>) -> Duration {
    let mut bytes = [0; 96];
    let read = schedstat.and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
    let text = std::str::from_utf8(&bytes[..read]).unwrap_or_default();
    let nanos = text.split_ascii_whitespace().take(2).filter_map(|text| text.parse::<u64>().ok());
    Duration::from_nanos(nanos.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_spins_is_busy_and_one_that_sleeps_is_not() {
        let mut busy = Busy::of_this_thread(Instant::now());
        assert!(busy.schedstat.is_some(), "this kernel tells");
        while busy.since.elapsed() < 2 * WINDOW {}
        assert!(busy.is_busy(Instant::now()));
        // A quiet window right after it says little.
        let mut now = Instant::now();
        busy.begin(now);
        assert!(busy.is_busy(now + WINDOW));
        // However slow the machine is: waking up takes a small part of this.
        std::thread::sleep(20 * WINDOW);
        now = Instant::now();
        assert!(!busy.is_busy(now.max(busy.busy_at.expect("it was") + BELIEVED_AFTER)));
    }
}
