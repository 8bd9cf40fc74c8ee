//! What a person sees while a load goes on: a screen, one line that changes, or a line a second.

use crate::cli::Load;
#[cfg(feature = "tui")]
use crate::tui;
use doorbuster_loadgen::{Plan, Progress};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a line is drawn on a terminal, and elsewhere.
const DRAWN_EVERY: Duration = Duration::from_millis(250);
const WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// What is shown, until it is finished.
pub(crate) enum Live {
    Nothing,
    Line(Line),
    #[cfg(feature = "tui")]
    Screen(tui::Screen),
}

impl Live {
    /// Whatever suits the arguments and where standard error goes.
    pub(crate) fn start(arguments: &Load, plan: &Plan, progress: &Arc<Progress>) -> Self {
        if arguments.quiet || arguments.json {
            return Self::Nothing;
        }
        let is_terminal = io::stderr().is_terminal();
        #[cfg(feature = "tui")]
        if is_terminal && !arguments.no_tui && can_have_a_screen() {
            let about = tui::About::of(plan);
            // A terminal that has no screen still has lines.
            if let Ok(screen) = tui::Screen::start(about, Arc::clone(progress)) {
                return Self::Screen(screen);
            }
        }
        let _ = plan;
        Self::Line(Line::start(Arc::clone(progress), is_terminal))
    }

    pub(crate) fn finish(self) {
        match self {
            Self::Nothing => {}
            Self::Line(line) => line.finish(),
            #[cfg(feature = "tui")]
            Self::Screen(screen) => screen.finish(),
        }
    }
}

/// Keys have to come from somewhere, and the terminal must know how to be drawn on.
#[cfg(feature = "tui")]
fn can_have_a_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    io::stdin().is_terminal() && !is_dumb
}

/// Leaves the terminal as it was found, for whoever ends the process in between.
pub(crate) fn restore_terminal() {
    #[cfg(feature = "tui")]
    tui::restore();
}

/// Lines, written by a thread of its own.
pub(crate) struct Line {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Line {
    /// On a terminal one line that changes; elsewhere, a line a second.
    fn start(progress: Arc<Progress>, is_terminal: bool) -> Self {
        let (end, ended) = channel::<()>();
        let every = if is_terminal { DRAWN_EVERY } else { WRITTEN_EVERY };
        let thread = std::thread::spawn(move || {
            let mut before = (Instant::now(), 0);
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let (now, answers) = (Instant::now(), progress.answers());
                let seconds = (now - before.0).as_secs_f64();
                let rate = (answers - before.1) as f64 / seconds;
                before = (now, answers);
                let text = describe(&progress, rate);
                let line =
                    if is_terminal { format!("\r\x1b[2K{text}") } else { format!("{text}\n") };
                // Nothing is lost with a line that cannot be drawn.
                let _ = io::stderr().write_all(line.as_bytes());
            }
            if is_terminal {
                let _ = write!(io::stderr(), "\r\x1b[2K");
            }
        });
        Self { end, thread }
    }

    fn finish(self) {
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
