//! Log lines, on standard error: pretty for eyes, JSON for machines.

use crate::config::{LogFormat, log_filter};
use std::io::IsTerminal;
use tracing_subscriber::fmt::time::SystemTime;

/// Starts logging. `level` is a level or a filter that was found valid before.
pub(crate) fn start(format: LogFormat, level: &str) {
    let filter = log_filter(level).expect("the configuration was found valid");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime);
    if is_json(format) {
        builder.json().flatten_event(true).with_current_span(false).init();
    } else {
        builder.with_ansi(wants_colour(&std::io::stderr())).with_target(false).init();
    }
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        // systemd sets it for services whose output goes to the journal.
        LogFormat::Auto => std::env::var_os("JOURNAL_STREAM").is_some(),
    }
}

/// Colour only on a terminal, and never with NO_COLOR (<https://no-color.org>).
pub(crate) fn wants_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
