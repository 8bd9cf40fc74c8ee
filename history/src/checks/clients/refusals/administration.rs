//! What administrators cannot do: units that are taken, terms that cannot be.

use super::{not_found, unjustified};
use crate::answer::Refusal;
use crate::books::Edition;
use crate::books::product::{Level, ProductBook};
use crate::checks::clients::sweep::{Judged, Look};
use crate::operation::{Ask, Change};
use crate::verdict::Kind;

/// The most units that a product can have.
const STOCK_MAX: u32 = 1_000_000_000;

pub(super) fn judge(look: &Look<'_>, ask: &Ask, refusal: &Refusal) -> Judged {
    if !fits(ask, refusal) {
        let why = format!("{refusal} is no answer to {}", ask.word());
        return Judged::nowhere(Kind::WrongAnswer, &[], why);
    }
    if let Ask::Define { change, .. } = ask
        && *refusal == Refusal::WindowReversed
        && is_reversed_by_itself(change)
    {
        return Judged::Anywhere;
    }
    let book = ask.product().and_then(|product| look.case.books.product(product));
    let Some(book) = book else {
        let is_right = match (refusal, ask) {
            (Refusal::ProductNotFound, _) => true,
            (Refusal::DefinitionIncomplete, Ask::Define { change, .. }) => is_incomplete(change),
            _ => false,
        };
        if is_right {
            return Judged::Anywhere;
        }
        let why = "the product was never defined".to_owned();
        return Judged::nowhere(Kind::UnjustifiedRefusal, &[], why);
    };
    let window = look.window(book.first.partition);
    match (refusal, ask) {
        (Refusal::ProductNotFound, _) => return not_found(book, window),
        (Refusal::DefinitionIncomplete, Ask::Define { change, .. }) => {
            if window.first < book.first.sequence && is_incomplete(change) {
                return Judged::At(window.at(window.first));
            }
            return unjustified(window, "the product was defined, or price and stock were named");
        }
        _ => {}
    }
    let first = book.level_at(window.first).unwrap_or(0);
    let levels = book.levels[first..].iter().take_while(|level| level.sequence <= window.last);
    for level in levels {
        if is_right(book, level, ask, refusal) {
            return Judged::At(window.at(window.first.max(level.sequence)));
        }
    }
    unjustified(window, "it was right at no time")
}

fn fits(ask: &Ask, refusal: &Refusal) -> bool {
    match ask {
        Ask::Define { .. } => matches!(
            refusal,
            Refusal::StockCommitted(_)
                | Refusal::DefinitionIncomplete
                | Refusal::CurrencyFixed
                | Refusal::WindowReversed
        ),
        Ask::Restock { .. } => {
            matches!(refusal, Refusal::ProductNotFound | Refusal::StockTooLarge)
        }
        Ask::Withdraw { .. } => {
            matches!(refusal, Refusal::ProductNotFound | Refusal::StockCommitted(_))
        }
        _ => *refusal == Refusal::ProductNotFound,
    }
}

fn is_incomplete(change: &Change) -> bool {
    change.price.is_none() || change.stock.is_none()
}

/// Whether the definition closes before it opens, whatever was there before.
fn is_reversed_by_itself(change: &Change) -> bool {
    match (change.opens_us, change.closes_us) {
        (opens_us, Some(closes_us)) if closes_us != 0 => {
            opens_us.is_some_and(|opens_us| closes_us <= opens_us)
        }
        _ => false,
    }
}

fn is_right(book: &ProductBook, level: &Level, ask: &Ask, refusal: &Refusal) -> bool {
    let Edition { terms, .. } = book.editions[level.edition as usize];
    let committed = level.held + level.sold;
    match (ask, refusal) {
        (Ask::Withdraw { units, .. }, Refusal::StockCommitted(told)) => {
            i64::from(*units) > level.available
                && told.is_none_or(|told| i64::from(told) == committed)
        }
        (Ask::Restock { units, .. }, Refusal::StockTooLarge) => {
            terms.stock.checked_add(*units).is_none_or(|stock| stock > STOCK_MAX)
        }
        (Ask::Define { change, .. }, refusal) => {
            let Some(new) = change.applied_to(Some(&terms)) else { return false };
            match refusal {
                Refusal::StockCommitted(told) => {
                    i64::from(new.stock) < committed
                        && told.is_none_or(|told| i64::from(told) == committed)
                }
                Refusal::CurrencyFixed => new.currency != terms.currency,
                Refusal::WindowReversed => new.closes_us != 0 && new.closes_us <= new.opens_us,
                _ => false,
            }
        }
        _ => false,
    }
}
