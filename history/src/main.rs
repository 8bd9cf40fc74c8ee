//! `doorbuster-history`: judges from files whether a sale kept its promises.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli::Arguments { command: cli::Command::Check(arguments) } = cli::Arguments::parse();
    match arguments.check() {
        Ok(verdict) => arguments.print(&verdict),
        Err(error) => {
            eprintln!("doorbuster-history: {error}");
            ExitCode::from(cli::UNREADABLE)
        }
    }
}
