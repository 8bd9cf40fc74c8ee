//! `audit`: proves the invariants from the log, and compares it with the store.

use crate::audit;
use crate::cli::Audit;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::roles::store;

/// Success when nothing diverges.
pub(crate) fn run(arguments: &Audit) -> Result<Exit, Failure> {
    let config = config::load(&arguments.settings.0)?;
    let store = store::open_existing(&config)?;
    let report = audit::run(&config.data, store.as_deref())?;
    if arguments.json {
        super::print(&format!("{:#}\n", report.json()))?;
    } else {
        super::print(&report.text())?;
    }
    Ok(if report.is_clean() { Exit::Success } else { Exit::Failure })
}
