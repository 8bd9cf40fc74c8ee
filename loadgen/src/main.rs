//! `doorbuster-loadgen`: loads a server from the command line, and prints what it found.

mod cli;
mod compare;
mod descriptors;
mod files;
mod html;
mod live;
#[cfg(feature = "tui")]
mod tui;

use clap::Parser;
use cli::{Command, Load};
use compare::Comparison;
use doorbuster_loadgen::{LoadError, Progress, Report};
use live::Live;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    let done = match arguments.command {
        None => load(&arguments.load),
        Some(Command::Report { file, html }) => show(&file, html.as_deref()),
        Some(Command::Compare { before, after, tolerance, html }) => {
            compare([&before, &after], tolerance, html.as_deref())
        }
    };
    done.unwrap_or_else(|(what, code)| {
        eprintln!("doorbuster-loadgen: {what}");
        ExitCode::from(code)
    })
}

/// What went wrong, and the exit code for it.
type Failure = (String, u8);

fn load(arguments: &Load) -> Result<ExitCode, Failure> {
    let plan = arguments.plan().map_err(|error| (format!("{error:#}"), MISUSE))?;
    let connections = plan.concurrency.saturating_add(plan.idle) as u64;
    descriptors::make_room_for(connections).map_err(|what| (what, MISUSE))?;
    plan.check().map_err(|error| (error.to_string(), MISUSE))?;
    let files = files::Files::try_out([&arguments.journal, &arguments.out, &arguments.html])
        .map_err(|what| (what, MISUSE))?;
    let progress = Arc::new(Progress::default());
    stop_on_signals(&progress)
        .map_err(|error| (format!("signals cannot be handled: {error}"), FAILED))?;
    let live = Live::start(arguments, &plan, &progress);
    let result = doorbuster_loadgen::run(plan, Arc::clone(&progress));
    live.finish();
    if result.is_err() {
        files.forget();
    }
    let mut report = result.map_err(|error| match error {
        LoadError::Plan(_) => (error.to_string(), MISUSE),
        _ => (error.to_string(), FAILED),
    })?;
    if progress.is_stopped() {
        // Whoever waits for the exit code must not take a part for the whole.
        report.ended_by.get_or_insert_with(|| "it was stopped by a key or a signal".to_owned());
    }
    let json = || serde_json::to_string_pretty(&report).expect("a report is plain data") + "\n";
    print(&if arguments.json { json() } else { report.to_string() });
    let kept = arguments.out.as_ref().map_or(Ok(()), |file| write(file, &json()));
    // One that failed is no reason to lose the other.
    if let Some(file) = &arguments.html {
        write(file, &html::page(&report))?;
    }
    kept?;
    Ok(ExitCode::from(match (report.is_clean(), report.meets_slos()) {
        (true, true) => OK,
        (true, false) => MISSED,
        (false, _) => FAILED,
    }))
}

/// Shows a result that was kept.
fn show(file: &Path, html: Option<&Path>) -> Result<ExitCode, Failure> {
    let report = read(file)?;
    match html {
        Some(html) => write(html, &html::page(&report))?,
        None => print(&report.to_string()),
    }
    Ok(ExitCode::from(OK))
}

/// Shows two results beside each other.
fn compare(files: [&Path; 2], tolerance: f64, html: Option<&Path>) -> Result<ExitCode, Failure> {
    let [before, after] = [read(files[0])?, read(files[1])?];
    let [first, second] = files.map(|file| match file.file_name() {
        // Of two files of one name, only where they lie tells which is which.
        Some(name) if files[0].file_name() != files[1].file_name() => name.display().to_string(),
        _ => file.display().to_string(),
    });
    let comparison = Comparison::new([(first, &before), (second, &after)], tolerance);
    match html {
        Some(html) => write(html, &html::comparison_page(&comparison))?,
        None => print(&comparison.to_string()),
    }
    Ok(ExitCode::from(if comparison.is_worse() { MISSED } else { OK }))
}

fn read(file: &Path) -> Result<Report, Failure> {
    let failed = |error: &dyn Error| (format!("{}: {error}", file.display()), MISUSE);
    let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
    Report::read(&text).map_err(|error| failed(&error))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| (files::unwritable(file, &error), FAILED))
}

fn print(text: &str) {
    // A reader that has gone away (`| head`) is no failure of the load.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// The first signal ends the run in good order, with its report; the second ends the process.
fn stop_on_signals(progress: &Arc<Progress>) -> io::Result<()> {
    let came = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&came))?;
    }
    let progress = Arc::clone(progress);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            if came.swap(false, Relaxed) {
                if progress.is_stopped() {
                    live::restore_terminal();
                    std::process::exit(FAILED.into());
                }
                progress.stop();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    })?;
    Ok(())
}
