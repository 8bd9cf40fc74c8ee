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
    Define {
        price: Some(chance.between(0, 10_000)),
        currency: Some(Currency::parse("EUR").expect("a currency")),
        stock: Some(*chance.pick(&[0, 1, 10, 60, 100_000])),
        ..changed_terms(product, chance)
    }
}

/// Some of the terms, anew.
pub(super) fn changed_terms(product: ProductId, chance: &Chance) -> Define {
    let soon = |chance: &Chance| match chance.below(3) {
        0 => Timestamp::NONE,
        _ => Timestamp::from_micros(START_US + chance.below(60_000_000)),
    };
    let late = |chance: &Chance| match chance.below(3) {
        0 => Timestamp::from_micros(START_US + 30_000_000 + chance.below(120_000_000)),
        _ => Timestamp::NONE,
    };
    let mut define = Define::new(product);
    if chance.below(2) == 0 {
        define.limit_per_buyer = Some(*chance.pick(&[0, 1, 2, 5, 20]));
    }
    if chance.below(2) == 0 {
        define.hold_seconds = Some(*chance.pick(&[1, 2, 5, 30, 600]));
    }
    if chance.below(2) == 0 {
        define.waitlist_capacity = Some(*chance.pick(&[0, 1, 3, 20, 1_000]));
    }
    if chance.below(5) == 0 {
        define.opens_at = Some(soon(chance));
    }
    if chance.below(5) == 0 {
        define.closes_at = Some(late(chance));
    }
    define
}
