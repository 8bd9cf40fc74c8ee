//! "Not open", "paused", "over": the sale did not run, by its state or by the engine's clock.

use super::unjustified;
use crate::answer::Refusal;
use crate::books::product::ProductBook;
use crate::books::{Books, Edition};
use crate::checks::clients::sweep::Judged;
use crate::checks::clients::window::Window;
use crate::terms::SaleState;

pub(super) fn judge(
    books: &Books,
    book: &ProductBook,
    refusal: &Refusal,
    window: Window,
) -> Judged {
    let partition = books.partitions.get(&book.first.partition);
    let at_us = |sequence: u64| partition.map_or(0, |partition| partition.at_us(sequence));
    let first = book.edition_at(window.first).unwrap_or(0);
    let editions = &book.editions[first..];
    for edition in editions.iter().take_while(|edition| edition.sequence <= window.last) {
        let place = window.first.max(edition.sequence);
        // The engine's time never goes back behind that of an event.
        let (earliest_us, latest_us) = (window.earliest_us.max(at_us(place)), window.latest_us);
        let Edition { terms, state, .. } = edition;
        let is_right = match refusal {
            Refusal::SalePaused => *state == SaleState::Paused,
            Refusal::SaleNotOpen => earliest_us < terms.opens_us,
            _ => terms.closes_us != 0 && terms.closes_us <= latest_us.max(earliest_us),
        };
        if is_right {
            return Judged::At(window.at(place));
        }
    }
    let Edition { terms, state, .. } = book.editions[first];
    let why = format!(
        "the clock can have read {} to {}; the sale was {state:?}, opening at {} and closing at {} \
         (0: none)",
        window.earliest_us, window.latest_us, terms.opens_us, terms.closes_us
    );
    unjustified(window, &why)
}
