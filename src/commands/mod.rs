//! One file per subcommand; each says how the process is to end.

mod audit;
mod config;
mod demo;
mod edge;
mod engine;
mod log;
mod move_buckets;
mod project;
mod serve;
mod token;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::roles::Running;
use crate::signals::Signals;
use sd_notify::NotifyState;
use std::io::{self, Write};

/// Runs what the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(arguments)) => serve::run(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Engine(settings)) => engine::run(&settings),
        Some(Command::Edge(settings)) => edge::run(&settings),
        Some(Command::Project(settings)) => project::run(&settings),
        Some(Command::Token(arguments)) => token::run(&arguments),
        Some(Command::Log(command)) => log::run(command),
        Some(Command::Audit(arguments)) => audit::run(&arguments),
        Some(Command::Config(command)) => config::run(command),
    }
}

/// Tells systemd that the roles are ready, runs them, and tells it when they drain.
fn run_until(running: Running, signals: Signals) -> Result<Exit, Failure> {
    // Outside systemd these do nothing.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let ended = running.until(signals, || {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    });
    ended.map(|()| Exit::Success)
}

pub(crate) fn no_signals(error: &io::Error) -> Failure {
    Failure::new(Exit::Failure, "cannot listen for signals").why(error)
}

/// Writes data to standard output. A reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Success),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) => {
            Err(Failure::new(Exit::Failure, "cannot write to standard output").why(error))
        }
    }
}
