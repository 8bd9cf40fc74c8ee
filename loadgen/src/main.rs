//! `doorbuster-loadgen`: loads a server from the command line, and prints what it found.

mod cli;
mod live;

use clap::Parser;
use doorbuster_loadgen::{LoadError, Progress, Report};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Everything was answered and nothing disagreed.
const OK: u8 = 0;
/// Errors, violations, or an early end.
const FAILED: u8 = 1;
/// A command line that cannot be meant.
const MISUSE: u8 = 2;
/// An objective was missed, and that is all.
const MISSED: u8 = 99;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let plan = match arguments.plan() {
        Ok(plan) => plan,
        Err(error) => return complain(&format!("{error:#}"), MISUSE),
    };
    let progress = Arc::new(Progress::default());
    if let Err(error) = stop_on_signals(&progress) {
        return complain(&format!("signals cannot be handled: {error}"), FAILED);
    }
    let is_live = !arguments.quiet && !arguments.json && io::stderr().is_terminal();
    let watch = is_live.then(|| live::Line::start(Arc::clone(&progress)));
    let result = doorbuster_loadgen::run(plan, progress);
    if let Some(line) = watch {
        line.finish();
    }
    match result {
        Ok(report) => print(&report, arguments.json),
        Err(error @ LoadError::Plan(_)) => complain(&error.to_string(), MISUSE),
        Err(error) => complain(&error.to_string(), FAILED),
    }
}

fn print(report: &Report, as_json: bool) -> ExitCode {
    let text = if as_json {
        serde_json::to_string_pretty(report).expect("a report is plain data") + "\n"
    } else {
        report.to_string()
    };
    // A reader that has gone away (`| head`) is no failure of the load.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(match (report.is_clean(), report.meets_slos()) {
        (true, true) => OK,
        (true, false) => MISSED,
        (false, _) => FAILED,
    })
}

fn complain(what: &str, code: u8) -> ExitCode {
    eprintln!("doorbuster-loadgen: {what}");
    ExitCode::from(code)
}

/// The first signal ends the run in good order, with its report; the second ends the process.
fn stop_on_signals(progress: &Arc<Progress>) -> io::Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&again))?;
        signal_hook::flag::register(signal, Arc::clone(&again))?;
    }
    let progress = Arc::clone(progress);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while !again.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        progress.stop();
    })?;
    Ok(())
}
