//! Many checks on every processor, counted; and what to do about one that fails.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A number from the environment, or the one that is good enough for every day.
pub(crate) fn asked(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// What was checked, by kind, in the order in which they came up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts(Vec<(&'static str, usize)>);

impl Counts {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add_some(what, 1);
    }
    fn add_some(&mut self, what: &'static str, some: usize) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += some,
            None => self.0.push((what, some)),
        }
    }
    pub(crate) fn of(&self, what: &str) -> usize {
        self.0.iter().find(|(known, _)| *known == what).map_or(0, |(_, count)| *count)
    }
    pub(crate) fn add(&mut self, other: Self) {
        other.0.into_iter().for_each(|(what, count)| self.add_some(what, count));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> =
            self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&each.join(", "))
    }
}

pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// Runs `part` on every processor: with its number, and how many there are.
pub(crate) fn together(part: impl Fn(usize, usize, &mut Counts) + Sync) -> Counts {
    let threads = threads();
    thread::scope(|scope| {
        let part = &part;
        let parts: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    let mut counts = Counts::default();
                    part(number, threads, &mut counts);
                    counts
                })
            })
            .collect();
        let mut counts = Counts::default();
        for part in parts {
            counts.add(part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        counts
    })
}

/// Checks begun in this process.
static CHECKS: AtomicUsize = AtomicUsize::new(0);

/// Checks one thing; when it fails, says how to check it alone, and after how many others.
pub(crate) fn check_one<T>(what: &str, check: impl FnOnce() -> T) -> T {
    let checks = CHECKS.fetch_add(1, Ordering::Relaxed) + 1;
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(done) => done,
        Err(panic) => {
            eprintln!(
                "failed: {what}, check {checks}\nagain:  DOORBUSTER_IMAGE='{what}' cargo test -p \
                 doorbuster-engine --test crash_images one_image -- --nocapture"
            );
            resume_unwind(panic)
        }
    }
}
