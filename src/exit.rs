//! How the program ends: the exit codes that scripts rely on, and failures that say what to do.
//!
//! Every failure names what happened, why, and the next step, under a code that does not change.
//! The codes stand in `--help`; a test compares the two.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// An exit code with a fixed meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success,
    /// It failed, or an audit found a divergence.
    Failure,
    /// A log is damaged.
    DamagedLog,
    /// An address to listen on is taken.
    AddressInUse,
    /// The data directory is missing, or is something else's.
    NoDataDirectory,
    /// Another process has the data directory.
    DataDirectoryInUse,
    /// This machine lacks something that the engine needs.
    MachineUnfit,
    /// The store cannot be used.
    StoreUnusable,
    /// The command line is wrong.
    Usage,
    /// A bug: the process panicked.
    Bug,
    /// The configuration (file or environment) is wrong.
    Configuration,
    /// Interrupted before it was done.
    Interrupted,
}

impl Exit {
    /// Every code, in order of number.
    pub(crate) const ALL: [Self; 12] = [
        Self::Success,
        Self::Failure,
        Self::DamagedLog,
        Self::AddressInUse,
        Self::NoDataDirectory,
        Self::DataDirectoryInUse,
        Self::MachineUnfit,
        Self::StoreUnusable,
        Self::Usage,
        Self::Bug,
        Self::Configuration,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::DamagedLog => 2,
            Self::AddressInUse => 3,
            Self::NoDataDirectory => 4,
            Self::DataDirectoryInUse => 5,
            Self::MachineUnfit => 6,
            Self::StoreUnusable => 7,
            Self::Usage => 64,
            Self::Bug => 70,
            Self::Configuration => 78,
            Self::Interrupted => 130,
        }
    }

    /// What it means, for `--help`.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "it did what was asked",
            Self::Failure => "it failed, or an audit found a divergence",
            Self::DamagedLog => "a log is damaged",
            Self::AddressInUse => "an address to listen on is in use",
            Self::NoDataDirectory => "the data directory is missing or something else's",
            Self::DataDirectoryInUse => "another process has the data directory",
            Self::MachineUnfit => {
                "this machine lacks what the engine needs (the message says what)"
            }
            Self::StoreUnusable => "the store cannot be used",
            Self::Usage => "the command line is wrong",
            Self::Bug => "a bug: the process panicked (the message says how to report it)",
            Self::Configuration => "the configuration file or environment is wrong",
            Self::Interrupted => {
                "interrupted before it was done: by a second Ctrl-C or SIGTERM, or while the demo ran"
            }
        }
    }

    /// The code as a word, for messages and JSON.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failed",
            Self::DamagedLog => "damaged-log",
            Self::AddressInUse => "address-in-use",
            Self::NoDataDirectory => "no-data-directory",
            Self::DataDirectoryInUse => "data-directory-in-use",
            Self::MachineUnfit => "machine-unfit",
            Self::StoreUnusable => "store-unusable",
            Self::Usage => "usage",
            Self::Bug => "bug",
            Self::Configuration => "configuration",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The table of exit codes that ends every `--help`.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>3}  {}\n", exit.number(), exit.meaning()));
    }
    text
}

/// Why the program could not do what was asked: what, why, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    why: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// A failure of kind `exit`; `what` is a clause that starts lower-case and ends without a stop.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, next: None }
    }
    /// A failure whose reason is an error of a crate. Those speak as this program does: what is
    /// wrong, a full stop, what to do.
    pub(crate) fn because(exit: Exit, what: impl Into<String>, error: &dyn Error) -> Self {
        let text = chain(error);
        let failure = Self::new(exit, what);
        match text.split_once(". ") {
            Some((why, next)) => failure.why(why).next(next),
            None => failure.why(text),
        }
    }
    /// Says why it happened.
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }
    /// Says what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
    /// How the process ends.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.exit.code(), self.what)?;
        for (label, text) in [("why", &self.why), ("next", &self.next)] {
            if let Some(text) = text {
                write!(f, "\n  {label:>4}: {}", text.replace('\n', "\n        "))?;
            }
        }
        Ok(())
    }
}

/// Every source of an error, outermost first, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Most errors say their cause themselves, some with what to do about it behind.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        let mut numbers: Vec<_> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), Exit::ALL.len());
        assert!(numbers.is_sorted(), "the table is in order of number");
    }

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write a: {0}. Check the disk")]
        struct Told(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write a")]
        struct Untold(#[source] std::io::Error);
        let full = || std::io::Error::other("no space");
        assert_eq!(chain(&Told(full())), "cannot write a: no space. Check the disk");
        assert_eq!(chain(&Untold(full())), "cannot write a: no space");
    }

    #[test]
    fn a_failure_says_what_why_and_next() {
        let failure = Failure::new(Exit::AddressInUse, "cannot listen on 127.0.0.1:80")
            .why("address in use")
            .next("choose another\nwith --http");
        assert_eq!(
            failure.to_string(),
            "error[address-in-use]: cannot listen on 127.0.0.1:80\n   why: address in use\n  \
             next: choose another\n        with --http"
        );
    }
}
