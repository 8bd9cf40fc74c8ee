//! What no log may hold: each event against the books as they stood before it.

mod ends;
mod holds;
mod keys;
mod limit;
mod order_of_events;
mod sale;
mod units;
mod waitlist;

pub(super) use keys::kept_until_us;

use crate::books::Books;
use crate::event::Event;
use crate::verdict::Findings;

/// Looks at one event, which the books do not have yet.
pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    order_of_events::check(books, event, found);
    ends::check(books, event, found);
    units::check(books, event, found);
    holds::check(books, event, found);
    waitlist::check(books, event, found);
    limit::check(books, event, found);
    sale::check(books, event, found);
    keys::check(books, event, found);
}
