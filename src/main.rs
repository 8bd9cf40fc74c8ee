//! The one binary of Doorbuster: command line, configuration, and the composition of roles.
//!
//! `main` is the boot script; each module says what it owns.

mod audit;
mod banner;
mod cli;
mod commands;
mod config;
mod demo;
mod event_lines;
mod exit;
mod logging;
mod metrics;
mod panics;
mod roles;
mod secrets;
mod signals;

use clap::Parser;
use exit::{Exit, Failure};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    panics::end_the_process_on_a_bug();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error),
    };
    match commands::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure),
    }
}

/// clap prints help and mistakes alike; only a mistake is a failure.
fn refuse_usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    failure.exit().into()
}
