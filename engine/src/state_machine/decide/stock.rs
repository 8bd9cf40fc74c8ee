//! What administrators do: define products, add and take stock, pause and open.
//!
//! What would change nothing is answered with the product as it stands, and makes no event.

use super::Decision;
use crate::state_machine::matching;
use crate::state_machine::product::{Product, ProductSlot};
use crate::state_machine::state::State;
use doorbuster_protocol::command::{Define, SaleState};
use doorbuster_protocol::event::{Fact, Matched, Terms};
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{Currency, Outcome, ProductId, Timestamp, limits};

pub(super) fn define(state: &State, define: &Define, now: Timestamp) -> Decision {
    if let Err(error) = define.check() {
        panic!("a definition is checked where it is decoded: {error}");
    }
    let existing = state.products.find(define.product);
    let terms = match existing {
        Some(slot) => redefined(&state.products[slot].terms, define),
        None => match first_terms(define) {
            Some(terms) => terms,
            None => return Decision::answer(Outcome::DefinitionIncomplete),
        },
    };
    if let Some(refusal) = refusal(state, existing, &terms) {
        return Decision::answer(refusal);
    }
    match existing {
        Some(slot) => redefine(state, slot, terms, now),
        None => {
            let view = Product::new(define.product, terms).view();
            let matched = Matched::default();
            let fact = Fact::Defined { product: define.product, terms, matched };
            Decision::happens(Outcome::Product(view), now, fact)
        }
    }
}

/// Terms of a new product; `None` without a price and a stock.
fn first_terms(define: &Define) -> Option<Terms> {
    let terms = Terms {
        price: define.price?,
        currency: Currency::USD,
        stock: define.stock?,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::NONE,
        limit_per_buyer: 0,
        hold_seconds: limits::HOLD_SECONDS_DEFAULT,
        waitlist_capacity: 0,
    };
    Some(redefined(&terms, define))
}

fn redefined(terms: &Terms, define: &Define) -> Terms {
    Terms {
        price: define.price.unwrap_or(terms.price),
        currency: define.currency.unwrap_or(terms.currency),
        stock: define.stock.unwrap_or(terms.stock),
        opens_at: define.opens_at.unwrap_or(terms.opens_at),
        closes_at: define.closes_at.unwrap_or(terms.closes_at),
        limit_per_buyer: define.limit_per_buyer.unwrap_or(terms.limit_per_buyer),
        hold_seconds: define.hold_seconds.unwrap_or(terms.hold_seconds),
        waitlist_capacity: define.waitlist_capacity.unwrap_or(terms.waitlist_capacity),
    }
}

fn refusal(state: &State, existing: Option<ProductSlot>, terms: &Terms) -> Option<Outcome> {
    let product = existing.map(|slot| &state.products[slot]);
    if product.is_some_and(|product| product.terms.currency != terms.currency) {
        return Some(Outcome::CurrencyFixed);
    }
    if terms.closes_at.some().is_some_and(|closes_at| closes_at <= terms.opens_at) {
        return Some(Outcome::WindowReversed);
    }
    if product.is_none() && state.products.len() >= state.bounds.products {
        return Some(Outcome::Full);
    }
    let committed = product.map_or(0, Product::committed);
    (terms.stock < committed).then_some(Outcome::StockCommitted { committed })
}

fn redefine(state: &State, slot: ProductSlot, terms: Terms, now: Timestamp) -> Decision {
    let product = &state.products[slot];
    if product.terms == terms {
        return Decision::answer(Outcome::Product(product.view()));
    }
    let free = terms.stock - product.committed();
    let (matched, units) = matching::matched(state, product, free, None, terms.hold_seconds, now);
    let view = ProductView {
        price: terms.price,
        opens_at: terms.opens_at,
        closes_at: terms.closes_at,
        limit_per_buyer: terms.limit_per_buyer,
        hold_seconds: terms.hold_seconds,
        waitlist_capacity: terms.waitlist_capacity,
        ..served(product, terms.stock, &matched, units)
    };
    let fact = Fact::Defined { product: product.id, terms, matched };
    Decision::happens(Outcome::Product(view), now, fact)
}

/// The product with `stock` units, once `matched` orders hold `units` of them.
fn served(product: &Product, stock: u32, matched: &Matched, units: u32) -> ProductView {
    ProductView {
        stock,
        available: stock - product.committed() - units,
        held: product.held + units,
        waitlist_length: product.waitlist.len() - matched.orders.len() as u32,
        ..product.view()
    }
}

pub(super) fn restock(state: &State, id: ProductId, units: u32, now: Timestamp) -> Decision {
    let Some(slot) = state.products.find(id) else {
        return Decision::answer(Outcome::ProductNotFound);
    };
    let product = &state.products[slot];
    if units == 0 {
        return Decision::answer(Outcome::Product(product.view()));
    }
    let stock = match product.terms.stock.checked_add(units) {
        Some(stock) if stock <= limits::STOCK_MAX => stock,
        _ => return Decision::answer(Outcome::StockTooLarge),
    };
    let free = stock - product.committed();
    let hold_seconds = product.terms.hold_seconds;
    let (matched, taken) = matching::matched(state, product, free, None, hold_seconds, now);
    let view = served(product, stock, &matched, taken);
    let fact = Fact::Restocked { product: id, units, matched };
    Decision::happens(Outcome::Product(view), now, fact)
}

pub(super) fn withdraw(state: &State, id: ProductId, units: u32, now: Timestamp) -> Decision {
    let Some(slot) = state.products.find(id) else {
        return Decision::answer(Outcome::ProductNotFound);
    };
    let product = &state.products[slot];
    if units == 0 {
        return Decision::answer(Outcome::Product(product.view()));
    }
    if units > product.available {
        let committed = product.committed();
        return Decision::answer(Outcome::StockCommitted { committed });
    }
    let view = served(product, product.terms.stock - units, &Matched::default(), 0);
    Decision::happens(Outcome::Product(view), now, Fact::Withdrawn { product: id, units })
}

pub(super) fn set_state(
    state: &State,
    id: ProductId,
    wanted: SaleState,
    now: Timestamp,
) -> Decision {
    let Some(slot) = state.products.find(id) else {
        return Decision::answer(Outcome::ProductNotFound);
    };
    let product = &state.products[slot];
    if product.state == wanted {
        return Decision::answer(Outcome::Product(product.view()));
    }
    let view = ProductView { state: wanted, ..product.view() };
    let fact = Fact::StateSet { product: id, state: wanted };
    Decision::happens(Outcome::Product(view), now, fact)
}

#[cfg(test)]
#[path = "stock_test.rs"]
mod tests;
