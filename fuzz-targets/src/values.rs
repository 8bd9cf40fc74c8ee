//! Requests, replies and events of any content, made of a script: what a peer may say.

use crate::script::Script;
use doorbuster_protocol::command::{Ask, Define, Place, Read, SaleState};
use doorbuster_protocol::event::{Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView, Reply};
use doorbuster_protocol::session::StockLevel;
use doorbuster_protocol::{
    BuyerId, Command, Currency, Event, Fact, IdempotencyKey, OrderId, Outcome, PartitionId,
    ProductId, Quantity, Request, Sequence, Timestamp, limits,
};

fn product(script: &mut Script<'_>) -> ProductId {
    ProductId::from_bytes([script.byte(); 16])
}
fn buyer(script: &mut Script<'_>) -> BuyerId {
    BuyerId::from_bytes([script.byte(); 16])
}
fn order(script: &mut Script<'_>) -> OrderId {
    OrderId::from_bytes([script.byte(); 16])
}
fn key(script: &mut Script<'_>) -> IdempotencyKey {
    IdempotencyKey::from_bytes([script.byte(); 16])
}
fn time(script: &mut Script<'_>) -> Timestamp {
    Timestamp::from_micros(script.long())
}
fn quantity(script: &mut Script<'_>) -> Quantity {
    let units = 1 + u32::from(script.short()) % limits::QUANTITY_MAX;
    Quantity::new(units).expect("in range")
}
fn currency(script: &mut Script<'_>) -> Currency {
    let letters = script.array::<3>().map(|byte| b'A' + byte % 26);
    Currency::new(letters).expect("three capitals")
}
fn state(script: &mut Script<'_>) -> SaleState {
    if script.flag() { SaleState::Open } else { SaleState::Paused }
}
fn up_to(script: &mut Script<'_>, most: u32) -> u32 {
    (u64::from(script.word()) % (u64::from(most) + 1)) as u32
}
fn from_one(script: &mut Script<'_>, most: u32) -> u32 {
    1 + script.word() % most
}
fn option<T>(script: &mut Script<'_>, make: fn(&mut Script<'_>) -> T) -> Option<T> {
    script.flag().then(|| make(script))
}
pub(crate) fn partition(script: &mut Script<'_>) -> PartitionId {
    PartitionId::new(script.short() % limits::PARTITIONS_MAX).expect("in range")
}

fn define(script: &mut Script<'_>) -> Define {
    Define {
        product: product(script),
        price: option(script, |script| script.long() % (limits::PRICE_MAX + 1)),
        currency: option(script, currency),
        stock: option(script, |script| up_to(script, limits::STOCK_MAX)),
        opens_at: option(script, time),
        closes_at: option(script, time),
        limit_per_buyer: option(script, |script| up_to(script, u32::MAX)),
        hold_seconds: option(script, |script| from_one(script, limits::HOLD_SECONDS_MAX)),
        waitlist_capacity: option(script, |script| up_to(script, limits::WAITLIST_MAX)),
    }
}

/// A request that a server takes.
pub(crate) fn request(script: &mut Script<'_>) -> Request {
    let ask = match script.below(9) {
        0 => Ask::Read(Read::Product { product: product(script) }),
        1 => Ask::Read(Read::Order { order: order(script), buyer: option(script, buyer) }),
        2 => Ask::Command(Command::Confirm { order: order(script) }),
        3 => Ask::Command(Command::Cancel { order: order(script), buyer: option(script, buyer) }),
        4 => Ask::Command(Command::Define(define(script))),
        5 => Ask::Command(Command::Restock {
            product: product(script),
            units: from_one(script, limits::STOCK_MAX),
        }),
        6 => Ask::Command(Command::Withdraw {
            product: product(script),
            units: from_one(script, limits::STOCK_MAX),
        }),
        7 => Ask::Command(Command::SetState { product: product(script), state: state(script) }),
        _ => Ask::Command(Command::Place(Place {
            product: product(script),
            buyer: buyer(script),
            key: key(script),
            quantity: quantity(script),
            waitlist: script.flag(),
        })),
    };
    Request { partition: partition(script), deadline: time(script), ask }
}

fn order_view(script: &mut Script<'_>) -> OrderView {
    OrderView {
        order: order(script),
        product: product(script),
        buyer: buyer(script),
        quantity: quantity(script),
        status: status(script),
        currency: currency(script),
        unit_price: script.long(),
        created_at: time(script),
        updated_at: time(script),
        expires_at: time(script),
        position: script.word(),
    }
}

fn status(script: &mut Script<'_>) -> OrderStatus {
    OrderStatus::ALL[script.below(OrderStatus::ALL.len())]
}

fn product_view(script: &mut Script<'_>) -> ProductView {
    ProductView {
        product: product(script),
        price: script.long(),
        currency: currency(script),
        state: state(script),
        opens_at: time(script),
        closes_at: time(script),
        stock: script.word(),
        available: script.word(),
        held: script.word(),
        sold: script.word(),
        limit_per_buyer: script.word(),
        hold_seconds: script.word(),
        waitlist_capacity: script.word(),
        waitlist_length: script.word(),
    }
}

/// A reply to the request with this correlation id.
pub(crate) fn reply(script: &mut Script<'_>, correlation: u64) -> Reply {
    let outcome = match script.below(20) {
        0 => Outcome::SoldOut,
        1 => Outcome::Placed(order_view(script)),
        2 => Outcome::Replayed(order_view(script)),
        3 => Outcome::Queued(order_view(script)),
        4 => Outcome::Paid(order_view(script)),
        5 => Outcome::Cancelled(order_view(script)),
        6 => Outcome::Order(order_view(script)),
        7 => Outcome::Product(product_view(script)),
        8 => Outcome::LimitExceeded { limit: script.word() },
        9 => Outcome::NotOpen { opens_at: time(script) },
        10 => Outcome::Paused { opens_at: time(script) },
        11 => Outcome::Ended { closes_at: time(script) },
        12 => Outcome::OrderFinal(status(script)),
        13 => Outcome::StockCommitted { committed: script.word() },
        14 => Outcome::WrongOwner { core: script.short() },
        15 => Outcome::KeyMismatch,
        16 => Outcome::Full,
        17 => Outcome::Overloaded,
        18 => Outcome::DeadlinePassed,
        _ => Outcome::OrderNotFound,
    };
    Reply { correlation, outcome }
}

/// A stock level.
pub(crate) fn level(script: &mut Script<'_>) -> StockLevel {
    StockLevel {
        product: product(script),
        stock: script.word(),
        available: script.word(),
        held: script.word(),
        sold: script.word(),
        waitlist_free: script.word(),
        accepting: script.flag(),
    }
}

fn matched(script: &mut Script<'_>) -> Matched {
    let orders = (0..script.below(4)).map(|_| order(script)).collect();
    Matched { orders, expires_at: time(script) }
}

fn released(script: &mut Script<'_>) -> Released {
    Released {
        order: order(script),
        product: product(script),
        quantity: quantity(script),
        matched: matched(script),
    }
}

/// An event, which fits no state in particular.
pub(crate) fn event(script: &mut Script<'_>) -> Event {
    let fact = match script.below(10) {
        0 => Fact::StateSet { product: product(script), state: state(script) },
        1 => Fact::Placed(Placed {
            order: order(script),
            product: product(script),
            buyer: buyer(script),
            key: key(script),
            quantity: quantity(script),
            unit_price: script.long(),
            currency: currency(script),
            expires_at: time(script),
            waitlist: script.flag(),
        }),
        2 => Fact::Queued(Queued {
            order: order(script),
            product: product(script),
            buyer: buyer(script),
            key: key(script),
            quantity: quantity(script),
            unit_price: script.long(),
            currency: currency(script),
            position: script.word(),
        }),
        3 => Fact::Paid {
            order: order(script),
            product: product(script),
            quantity: quantity(script),
        },
        4 => Fact::Cancelled(released(script)),
        5 => Fact::Expired(released(script)),
        6 => Fact::Defined {
            product: product(script),
            terms: Terms {
                price: script.long(),
                currency: currency(script),
                stock: script.word(),
                opens_at: time(script),
                closes_at: time(script),
                limit_per_buyer: script.word(),
                hold_seconds: script.word(),
                waitlist_capacity: script.word(),
            },
            matched: matched(script),
        },
        7 => Fact::Restocked {
            product: product(script),
            units: script.word(),
            matched: matched(script),
        },
        8 => Fact::Withdrawn { product: product(script), units: script.word() },
        _ => Fact::Acknowledged { consumer: script.byte(), through: Sequence::new(script.long()) },
    };
    Event { at: time(script), fact }
}
