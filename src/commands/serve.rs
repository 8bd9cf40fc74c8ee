//! `serve`: everything in one process.

use crate::banner;
use crate::cli::Serve;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::roles::everything;
use crate::signals::Signals;

/// Serves until a signal or a failure.
pub(crate) fn run(arguments: &Serve) -> Result<Exit, Failure> {
    let config = config::load(&arguments.settings.0)?;
    logging::start(config.log_format, &config.log_level);
    let signals = Signals::take().map_err(|error| super::no_signals(&error))?;
    let everything = everything::start(&config, true)?;
    if arguments.json {
        super::print(&format!("{}\n", banner::json(&config, &everything)))?;
    } else {
        super::print(&banner::text(&config, &everything))?;
    }
    super::run_until(everything.running, signals)
}
