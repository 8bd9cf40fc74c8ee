//! One line on the terminal that shows how the sale goes.

use super::sale;
use crate::cli::Demo;
use crate::metrics::Stock;
use crate::roles::spawn;
use doorbuster_loadgen::Progress;
use doorbuster_loadgen::units::number as grouped;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(200);
const BAR_CHARS: u64 = 24;

/// The line, drawn by a thread of its own; nothing when nobody looks.
pub(crate) struct Live(Option<(Sender<()>, JoinHandle<()>)>);

impl Live {
    /// Begins to draw.
    pub(crate) fn start(arguments: &Demo, progress: Arc<Progress>, stock: Stock) -> Self {
        if arguments.json || !io::stderr().is_terminal() {
            return Self(None);
        }
        let (end, ended) = mpsc::channel::<()>();
        let thread = spawn("live", move || {
            let mut before = (Instant::now(), 0);
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let (now, answers) = (Instant::now(), progress.answers());
                let rate = (answers - before.1) as f64 / (now - before.0).as_secs_f64();
                before = (now, answers);
                draw(&line(&progress, &stock, rate));
            }
            draw("");
        });
        Self(Some((end, thread)))
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        if let Some((end, thread)) = self.0 {
            drop(end);
            let _ = thread.join();
        }
    }
}

/// In place of what stood there. Nothing is lost with a line that cannot be drawn.
fn draw(text: &str) {
    let mut out = io::stderr();
    let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
}

fn line(progress: &Progress, stock: &Stock, rate: f64) -> String {
    let level = sale::level(stock);
    let (units, sold, held) =
        level.map_or((0, 0, 0), |it| (u64::from(it.stock), u64::from(it.sold), u64::from(it.held)));
    format!(
        "{} sold {} of {}, {} held  {:>7}/s  p50 {:.1} ms  p99 {:.1} ms  refused {}  queued {}",
        bar(sold, units),
        grouped(sold),
        grouped(units),
        grouped(held),
        grouped(rate as u64),
        progress.p50_us() as f64 / 1e3,
        progress.p99_us() as f64 / 1e3,
        grouped(progress.sold_out() + progress.limit()),
        grouped(progress.queued()),
    )
}

fn bar(part: u64, whole: u64) -> String {
    let full = (part * BAR_CHARS).checked_div(whole).unwrap_or(0).min(BAR_CHARS);
    let (full, rest) = (full as usize, (BAR_CHARS - full) as usize);
    format!("{}{}", "█".repeat(full), "░".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_from_the_left() {
        assert_eq!(bar(0, 0), "░".repeat(24));
        assert_eq!(bar(1, 2), format!("{}{}", "█".repeat(12), "░".repeat(12)));
        assert_eq!(bar(9, 2), "█".repeat(24));
    }
}
