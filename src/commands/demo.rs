//! `demo`: a throwaway sale under real load, ended by an audit.

use crate::cli::Demo;
use crate::demo::{sale, summary};
use crate::exit::{Exit, Failure};

/// Sells, audits, sums up. Success only when everything that was promised was kept.
pub(crate) fn run(arguments: &Demo) -> Result<Exit, Failure> {
    let sold = sale::run(arguments)?;
    if arguments.json {
        super::print(&format!("{:#}\n", summary::json(&sold)))?;
    } else {
        super::print(&summary::text(&sold))?;
    }
    Ok(if sold.is_as_promised() { Exit::Success } else { Exit::Failure })
}
