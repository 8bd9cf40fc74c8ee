//! The products of a run: few units of most of them, with every combination of limit, hold time,
//! waitlist and sale window; and who asks for which.

use crate::chance::Chance;
use crate::clock::START_US;
use doorbuster_protocol::command::Define;
use doorbuster_protocol::{BuyerId, Currency, IdempotencyKey, ProductId, Quantity, Timestamp};

/// The products.
pub(super) struct Wares {
    products: Vec<ProductId>,
    definitions: Vec<Define>,
}

fn product(number: usize) -> ProductId {
    ProductId::parse(&format!("product-{number}")).expect("a name")
}

/// A buyer of the run.
pub(super) fn buyer(number: u64) -> BuyerId {
    BuyerId::parse(&format!("buyer-{number}")).expect("a name")
}

/// A key as a buyer's client would make one.
pub(super) fn key(buyer: BuyerId, product: ProductId, number: u64) -> IdempotencyKey {
    IdempotencyKey::new(buyer, product, &number.to_be_bytes())
}

impl Wares {
    pub(super) fn draw(count: usize, chance: &Chance) -> Self {
        let products: Vec<ProductId> = (0..count).map(product).collect();
        let definitions = products.iter().map(|product| first_terms(*product, chance)).collect();
        Self { products, definitions }
    }

    /// How each product is first defined.
    pub(super) fn definitions(&self) -> &[Define] {
        &self.definitions
    }

    /// A product to ask for: the first is the one that most people want, and now and then somebody
    /// asks for one that does not exist.
    pub(super) fn pick(&self, chance: &Chance) -> ProductId {
        match chance.below(100) {
            0..50 => self.products[0],
            50..98 => *chance.pick(&self.products),
            _ => product(1_000_000),
        }
    }
}

/// A few units, mostly one.
pub(super) fn quantity(chance: &Chance) -> Quantity {
    let units = *chance.pick(&[1, 1, 1, 2, 3, 7]);
    Quantity::new(units).expect("in range")
}

fn first_terms(product: ProductId, chance: &Chance) -> Define {
    let price = chance.between(0, 10_000);
    let define = Define {
        price: Some(price),
        currency: Some(currency("EUR")),
        stock: Some(*chance.pick(&[0, 1, 10, 60, 100_000])),
        ..changed_terms(product, Timestamp::from_micros(START_US), chance)
    };
    // It must be made, so its window must not be reversed.
    match (define.opens_at, define.closes_at) {
        (opens_at, Some(closes_at)) if closes_at <= opens_at.unwrap_or_default() => {
            Define { closes_at: None, ..define }
        }
        _ => define,
    }
}

fn currency(letters: &str) -> Currency {
    Currency::parse(letters).expect("three letters")
}

/// Some of the terms, anew, at this time. Some of it cannot be: then it is refused.
pub(super) fn changed_terms(product: ProductId, now: Timestamp, chance: &Chance) -> Define {
    let now_us = now.micros();
    let about_now = |chance: &Chance, before_us: u64, after_us: u64| {
        Timestamp::from_micros(now_us - before_us + chance.below(before_us + after_us))
    };
    let mut define = Define::new(product);
    if chance.below(4) == 0 {
        define.price = Some(chance.between(0, 10_000));
    }
    if chance.below(4) == 0 {
        define.stock = Some(*chance.pick(&[0, 5, 20, 80]));
    }
    if chance.below(16) == 0 {
        define.currency = Some(currency("USD"));
    }
    if chance.below(2) == 0 {
        define.limit_per_buyer = Some(*chance.pick(&[0, 0, 2, 5, 20]));
    }
    if chance.below(2) == 0 {
        define.hold_seconds = Some(*chance.pick(&[1, 2, 5, 30, 600]));
    }
    if chance.below(2) == 0 {
        define.waitlist_capacity = Some(*chance.pick(&[0, 1, 3, 20, 1_000]));
    }
    if chance.below(5) == 0 {
        define.opens_at = Some(match chance.below(3) {
            0 => Timestamp::NONE,
            _ => about_now(chance, 5_000_000, 5_000_000),
        });
    }
    if chance.below(5) == 0 {
        define.closes_at = Some(match chance.below(3) {
            0 => about_now(chance, 1_000_000, 20_000_000),
            _ => Timestamp::NONE,
        });
    }
    define
}
