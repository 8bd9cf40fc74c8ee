//! The checks, one concern to a file.
//!
//! Those of the [`log`] look at each event and at the books before it: what no log may hold,
//! whatever clients did. Those of [`clients`] look at each operation and at the books over time.
//! Those of the [`store`] compare its rows with the books at the end.

mod clients;
mod log;
mod store;

use crate::books::Books;
use crate::history::{Allowance, History};
use crate::verdict::{Findings, Verdict};

/// Judges a history.
pub fn check(history: &History, allowance: &Allowance) -> Verdict {
    let mut found = Findings::default();
    let mut books = Books::default();
    for event in &history.events {
        log::check(&books, event, &mut found);
        books.enter(event);
    }
    let looked = &mut found.verdict.looked;
    looked.events = history.events.len() as u64;
    looked.orders = books.orders.len() as u64;
    looked.waited = books.orders.iter().filter(|order| order.has_waited()).count() as u64;
    looked.keys = books.keys() as u64;
    clients::check(&books, history, allowance, &mut found);
    if let Some(rows) = &history.rows {
        store::check(&books, rows, &mut found);
    }
    found.verdict
}
