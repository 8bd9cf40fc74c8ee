//! `audit`: proves the invariants from the log, compares it with the store, and sets the store right
//! when it is asked to.

use crate::audit::{self, repair};
use crate::cli::Audit;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::roles::store;
use serde_json::{Value, json};

/// Success when nothing diverges, or does not any more.
pub(crate) fn run(arguments: &Audit) -> Result<Exit, Failure> {
    match audited(arguments) {
        Ok(Found { is_clean, text, json }) => {
            if arguments.json {
                super::print(&format!("{json:#}\n"))?;
            } else {
                super::print(&text)?;
            }
            Ok(if is_clean { Exit::Success } else { Exit::Failure })
        }
        Err(failure) => {
            if arguments.json {
                let error = json!({ "code": failure.exit().code(), "text": failure.to_string() });
                super::print(&format!("{:#}\n", json!({ "clean": false, "error": error })))?;
            }
            Err(failure)
        }
    }
}

struct Found {
    is_clean: bool,
    text: String,
    json: Value,
}

fn audited(arguments: &Audit) -> Result<Found, Failure> {
    let config = config::load(&arguments.settings.0)?;
    let store = store::open_existing(&config)?;
    let bound = arguments.state_orders_max;
    if !arguments.repair {
        let report = audit::run_within(&config.data, store.as_deref(), bound)?;
        let (text, json) = (report.text(), report.json());
        return Ok(Found { is_clean: report.is_clean(), text, json });
    }
    let Some(store) = store else {
        return Err(Failure::new(Exit::StoreUnusable, "there is no store to repair").next(
            "name it with --store, or start the projector: it fills a new one from the log",
        ));
    };
    let repairs = repair::run(&config.data, store.as_ref(), bound)?;
    Ok(Found { is_clean: repairs.is_clean(), text: repairs.text(), json: repairs.json() })
}
