//! The command line: which files, by what measure, and how the verdict is printed.

use clap::{Args, Parser, Subcommand};
use doorbuster_history::journal::{self, Line};
use doorbuster_history::{Allowance, History, Others, Verdict, log_lines, row_lines};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// No promise was broken.
const CLEAN: u8 = 0;
/// A promise was broken.
const BROKEN: u8 = 1;
/// The files cannot be read, or the command line cannot be meant.
pub(crate) const UNREADABLE: u8 = 2;
/// Room between the numbers of operations of two journals.
const JOURNAL_BITS: u32 = 40;

/// Proves from what clients saw, the log and the store that a sale kept its promises.
#[derive(Debug, Parser)]
#[command(
    name = "doorbuster-history",
    version,
    after_help = "Exit codes: 0 clean, 1 a promise was broken, 2 a file cannot be read"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge what clients saw, a log, and a store
    Check(Check),
}

/// What is judged, and by what measure.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// What clients did: `doorbuster-loadgen --journal FILE`. Repeatable
    #[arg(long, value_name = "FILE")]
    journal: Vec<PathBuf>,
    /// The log: the output of `doorbuster log dump --json --data DIR`; `-` is the standard input
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// The rows of the store, which must have everything
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// How far the engine's clock may be from those of the clients
    #[arg(long, value_name = "MS", default_value_t = 20)]
    skew_ms: u64,
    /// How far the clocks of two clients may be apart
    #[arg(long, value_name = "MS", default_value_t = 0)]
    client_skew_ms: u64,
    /// How long an edge may go on saying "sold out" after units have come back
    #[arg(long, value_name = "MS", default_value_t = 100)]
    staleness_ms: u64,
    /// Nobody else did anything: every event comes from an operation of the journals
    #[arg(long)]
    nobody_else: bool,
    /// The clients were killed: the end of their journals may be missing
    #[arg(long)]
    incomplete: bool,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    why: String,
}

impl Check {
    /// Reads all files and judges them.
    pub(crate) fn check(&self) -> Result<Verdict, Unreadable> {
        let mut history = History::default();
        let mut asks_engine = false;
        for (index, path) in self.journal.iter().enumerate() {
            let lines = read(path, journal::read_lines)?;
            asks_engine |=
                lines.iter().any(|line| matches!(line, Line::Begun(begun) if begun.asks_engine));
            let base = (index as u64) << JOURNAL_BITS;
            let operations = journal::operations(lines, base);
            history.operations.extend(operations.map_err(|error| unreadable(path, &error))?);
        }
        history.events = read(&self.log, log_lines::read)?;
        if let Some(path) = &self.rows {
            history.rows = Some(read(path, row_lines::read)?);
        }
        let allowance = Allowance {
            engine_skew_us: self.skew_ms * 1_000,
            client_skew_us: self.client_skew_ms * 1_000,
            flag_staleness_us: self.staleness_ms * 1_000,
            orders_leave: asks_engine,
            others: if self.nobody_else { Others::Nobody } else { Others::Strangers },
            operations_are_complete: !self.incomplete,
            ..Allowance::default()
        };
        Ok(doorbuster_history::check(&history, &allowance))
    }

    /// Prints what was found.
    pub(crate) fn print(&self, verdict: &Verdict) -> ExitCode {
        let text = if self.json {
            serde_json::to_string_pretty(verdict).expect("a verdict is plain data")
        } else {
            verdict.to_string()
        };
        // A reader that has gone away (`| head`) changes nothing about the verdict.
        let _ = writeln!(io::stdout(), "{text}");
        ExitCode::from(if verdict.is_clean() { CLEAN } else { BROKEN })
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Unreadable {
    Unreadable { path: path.to_owned(), why: error.to_string() }
}

/// Reads a file, or the standard input.
fn read<T, E: std::error::Error>(
    path: &Path,
    read: impl FnOnce(Box<dyn BufRead>) -> Result<T, E>,
) -> Result<T, Unreadable> {
    let from: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    read(from).map_err(|error| unreadable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
