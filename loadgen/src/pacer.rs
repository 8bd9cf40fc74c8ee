//! The clock that releases slots: a timer of the kernel, because the runtime's counts milliseconds.
//!
//! A millisecond of rounding would stand in every latency of an open loop. The timer descriptor
//! wakes within some tens of microseconds, in the same `epoll_wait` as the sockets.

use crate::books::Books;
use crate::gate::Gate;
use crate::progress::Progress;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// At the least this long between two wakes, so that a high rate does not wake for every slot.
const WAKE_INTERVAL_MIN: Duration = Duration::from_micros(50);
/// At the most this long, so that a stop is seen soon.
const WAKE_INTERVAL_MAX: Duration = Duration::from_millis(20);

/// How long the run may go on once the schedule has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// No slot is taken after this (a closed loop that lasts a time; an open loop that cannot
    /// keep up).
    pub(crate) slots_until: Instant,
    /// Jobs are done until this long after the last slot was taken.
    pub(crate) jobs_for: Duration,
}

struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is `unsafe`, for types whose descriptor may \
                                       change; an `OwnedFd` keeps its own until it is dropped"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    async fn sleep(&self, time: Duration) -> io::Result<()> {
        let time = time.max(Duration::from_nanos(1));
        let value = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: time.as_secs().cast_signed(),
                tv_nsec: time.subsec_nanos().into(),
            },
        };
        // Setting the time also forgets an expiry that nobody has read.
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &value)?;
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

/// Releases slots and jobs of one worker until all is over.
pub(crate) async fn pace<J>(
    gate: &Gate<J>,
    bounds: Bounds,
    progress: &Progress,
    books: &Books,
    patience: Option<Duration>,
) -> io::Result<()> {
    let timer = Timer::new()?;
    let mut seen = 0;
    let mut jobs_until: Option<Instant> = None;
    loop {
        let next = gate.release();
        let (released, _) = gate.slots();
        progress.add_released(released - seen.min(released));
        seen = seen.max(released);
        let now = Instant::now();
        if progress.is_stopped() {
            gate.close_slots();
            gate.drop_jobs();
        }
        if now >= bounds.slots_until {
            books.cut_short(gate.untaken(), now);
            gate.close_slots();
        }
        if let Some(patience) = patience {
            books.gave_up(gate.give_up(patience));
        }
        if gate.slots_are_taken() && now >= *jobs_until.get_or_insert(now + bounds.jobs_for) {
            books.dropped(gate.drop_jobs());
        }
        books.flow().publish(progress, now);
        if gate.is_over() {
            return Ok(());
        }
        let wait = next.map_or(WAKE_INTERVAL_MAX, |due| due.saturating_duration_since(now));
        let wait = wait.clamp(WAKE_INTERVAL_MIN, WAKE_INTERVAL_MAX);
        tokio::select! {
            // When both have happened, the timer says how late it is.
            biased;
            slept = timer.sleep(wait) => {
                slept?;
                books.woke_late(now + wait);
            }
            () = gate.pushed() => {}
        }
    }
}
