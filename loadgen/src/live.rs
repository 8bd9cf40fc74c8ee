//! One line on the terminal that says how it goes.

use doorbuster_loadgen::Progress;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(250);

/// The line, drawn by a thread of its own.
pub(crate) struct Line {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Line {
    pub(crate) fn start(progress: Arc<Progress>) -> Self {
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut before = (Instant::now(), 0);
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let (now, answers) = (Instant::now(), progress.answers());
                let seconds = (now - before.0).as_secs_f64();
                let rate = (answers - before.1) as f64 / seconds;
                before = (now, answers);
                let text = describe(&progress, rate);
                // Nothing is lost with a line that cannot be drawn.
                let _ = write!(io::stderr(), "\r\x1b[2K{text}").and_then(|()| io::stderr().flush());
            }
            let _ = write!(io::stderr(), "\r\x1b[2K");
        });
        Self { end, thread }
    }

    pub(crate) fn finish(self) {
        drop(self.end);
        let _ = self.thread.join();
    }
}

fn describe(progress: &Progress, rate: f64) -> String {
    let share = match progress.planned() {
        0 => String::new(),
        planned => format!("{:3.0} %  ", 100.0 * progress.attempts() as f64 / planned as f64),
    };
    format!(
        "{share}{rate:7.0}/s  accepted {}  sold out {}  queued {}  errors {}  p50 {:.2} ms  \
         p99 {:.2} ms",
        progress.accepted(),
        progress.sold_out(),
        progress.queued(),
        progress.failed(),
        progress.p50_us() as f64 / 1e3,
        progress.p99_us() as f64 / 1e3,
    )
}
