//! What happened in a run, line by line: hashed always, kept a little, printed on demand.
//!
//! Two runs of one seed are the same exactly when their traces are, so the hash of the trace is
//! what shows that a run can be repeated.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3Default;

/// Lines that are kept for the report of a failure.
const KEPT: usize = 60;

/// The trace of one run. A clone is another handle of the same one.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<State>>);

struct State {
    began: Instant,
    hash: Xxh3Default,
    lines: u64,
    kept: VecDeque<String>,
    is_printed: bool,
    line: String,
}

impl Trace {
    /// An empty trace; its times count from now.
    pub fn new(is_printed: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            began: Instant::now(),
            hash: Xxh3Default::new(),
            lines: 0,
            kept: VecDeque::with_capacity(KEPT),
            is_printed,
            line: String::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line: who, and what.
    pub fn line(&self, who: &str, what: Arguments<'_>) {
        let state = &mut *self.state();
        let mut line = if state.kept.len() == KEPT {
            state.kept.pop_front().unwrap_or_default()
        } else {
            std::mem::take(&mut state.line)
        };
        line.clear();
        let at = state.began.elapsed();
        // Writing into a string does not fail.
        let _ = write!(line, "{:>5}.{:06} {who:<12} {what}", at.as_secs(), at.subsec_micros());
        state.hash.update(line.as_bytes());
        state.lines += 1;
        if state.is_printed {
            println!("{line}");
        }
        state.kept.push_back(line);
    }

    /// Adds what is too much to be a line to the hash.
    pub fn mix(&self, bytes: &[u8]) {
        let state = &mut *self.state();
        let at = state.began.elapsed().as_micros() as u64;
        state.hash.update(&at.to_le_bytes());
        state.hash.update(bytes);
    }

    /// The hash of all lines, and of what was mixed in.
    pub fn hash(&self) -> u64 {
        self.state().hash.digest()
    }
    /// How many lines there were.
    pub fn lines(&self) -> u64 {
        self.state().lines
    }
    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.state().kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_lines_give_the_same_hash_and_only_the_last_are_kept() {
        let run = |last: usize| {
            let trace = Trace::new(false);
            (0..=last).for_each(|number| trace.line("disk", format_args!("write {number}")));
            trace
        };
        assert_eq!(run(100).hash(), run(100).hash());
        assert_ne!(run(100).hash(), run(101).hash());
        let trace = run(100);
        assert_eq!((trace.lines(), trace.last().len()), (101, KEPT));
        assert_eq!(trace.last()[KEPT - 1], "    0.000000 disk         write 100");
    }
}
