//! "Over the limit": with the order the buyer would have had more units than one may.

use super::{Wanted, unjustified};
use crate::books::{Books, ProductNumber};
use crate::checks::clients::sweep::Judged;
use crate::checks::clients::window::Window;

pub(super) fn judge(
    books: &Books,
    product: ProductNumber,
    wanted: Wanted,
    window: Window,
) -> Judged {
    let book = &books.products[product as usize];
    let counts = books.units(product, wanted.buyer);
    let in_window = |sequence: u64| window.first < sequence && sequence <= window.last;
    // Either changes at few places only: between them all is the same.
    let from = counts.partition_point(|count| count.sequence <= window.first);
    let of_units = counts[from..].iter().map(|count| count.sequence);
    let from = book.editions.partition_point(|edition| edition.sequence <= window.first);
    let of_terms = book.editions[from..].iter().map(|edition| edition.sequence);
    let mut places: Vec<u64> = vec![window.first];
    places.extend(of_units.take_while(|sequence| in_window(*sequence)));
    places.extend(of_terms.take_while(|sequence| in_window(*sequence)));
    places.sort_unstable();
    let at = |sequence: u64| {
        let index = counts.partition_point(|count| count.sequence <= sequence);
        let units = index.checked_sub(1).map_or(0, |index| counts[index].units);
        let edition = book.edition_at(sequence).map(|index| book.editions[index]);
        (units, edition.map_or(0, |edition| edition.terms.limit_per_buyer))
    };
    let is_over = |sequence: &u64| {
        let (units, limit) = at(*sequence);
        limit != 0 && units + i64::from(wanted.quantity) > i64::from(limit)
    };
    if let Some(place) = places.iter().copied().find(is_over) {
        return Judged::At(window.at(place));
    }
    let (units, limit) = at(window.first);
    let why = match limit {
        0 => "there was no limit".to_owned(),
        _ => format!("at the first the buyer had {units} units of at most {limit}, and never more"),
    };
    unjustified(window, &why)
}
