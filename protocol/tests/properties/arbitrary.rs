//! Any request, any reply, any event.

use doorbuster_protocol::command::{Ask, Define, Place, Read, SaleState};
use doorbuster_protocol::event::{Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView, Reply};
use doorbuster_protocol::{
    BuyerId, Command, Currency, Event, Fact, IdempotencyKey, OrderId, Outcome, PartitionId,
    ProductId, Quantity, Request, Sequence, Timestamp, limits,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn product() -> impl Strategy<Value = ProductId> + Clone {
    any::<[u8; 16]>().prop_map(ProductId::from_bytes)
}
fn buyer() -> impl Strategy<Value = BuyerId> {
    any::<[u8; 16]>().prop_map(BuyerId::from_bytes)
}
fn order() -> impl Strategy<Value = OrderId> + Clone {
    any::<[u8; 16]>().prop_map(OrderId::from_bytes)
}
fn key() -> impl Strategy<Value = IdempotencyKey> {
    any::<[u8; 16]>().prop_map(IdempotencyKey::from_bytes)
}
fn time() -> impl Strategy<Value = Timestamp> + Clone {
    any::<u64>().prop_map(Timestamp::from_micros)
}
fn quantity() -> impl Strategy<Value = Quantity> {
    (1..=limits::QUANTITY_MAX).prop_map(|units| Quantity::new(units).expect("in range"))
}
fn currency() -> impl Strategy<Value = Currency> {
    [b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z']
        .prop_map(|code| Currency::new(code).expect("three capitals"))
}
fn state() -> impl Strategy<Value = SaleState> {
    prop_oneof![Just(SaleState::Open), Just(SaleState::Paused)]
}
fn status() -> impl Strategy<Value = OrderStatus> {
    proptest::sample::select(OrderStatus::ALL.as_slice())
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let place = (product(), buyer(), key(), quantity(), any::<bool>()).prop_map(
        |(product, buyer, key, quantity, waitlist)| {
            Command::Place(Place { product, buyer, key, quantity, waitlist })
        },
    );
    let define = (
        (product(), option::of(0..=limits::PRICE_MAX), option::of(currency())),
        (option::of(0..=limits::STOCK_MAX), option::of(time()), option::of(time())),
        option::of(any::<u32>()),
        option::of(1..=limits::HOLD_SECONDS_MAX),
        option::of(0..=limits::WAITLIST_MAX),
    )
        .prop_map(|(identity, window, limit_per_buyer, hold_seconds, waitlist_capacity)| {
            let (product, price, currency) = identity;
            let (stock, opens_at, closes_at) = window;
            Command::Define(Define {
                product,
                price,
                currency,
                stock,
                opens_at,
                closes_at,
                limit_per_buyer,
                hold_seconds,
                waitlist_capacity,
            })
        });
    let units = 1..=limits::STOCK_MAX;
    let command = prop_oneof![
        place,
        define,
        order().prop_map(|order| Command::Confirm { order }),
        (order(), option::of(buyer())).prop_map(|(order, buyer)| Command::Cancel { order, buyer }),
        (product(), units.clone()).prop_map(|(product, units)| Command::Restock { product, units }),
        (product(), units).prop_map(|(product, units)| Command::Withdraw { product, units }),
        (product(), state()).prop_map(|(product, state)| Command::SetState { product, state }),
    ];
    let read = prop_oneof![
        product().prop_map(|product| Read::Product { product }),
        (order(), option::of(buyer())).prop_map(|(order, buyer)| Read::Order { order, buyer }),
    ];
    let ask = prop_oneof![command.prop_map(Ask::Command), read.prop_map(Ask::Read)];
    (0..limits::PARTITIONS_MAX, time(), ask).prop_map(|(partition, deadline, ask)| {
        let partition = PartitionId::new(partition).expect("in range");
        Request { partition, deadline, ask }
    })
}

fn order_view() -> impl Strategy<Value = OrderView> {
    (
        (order(), product(), buyer(), quantity()),
        (status(), currency(), any::<u64>(), any::<u32>()),
        [time(), time(), time()],
    )
        .prop_map(
            |((order, product, buyer, quantity), rest, [created_at, updated_at, expires_at])| {
                let (status, currency, unit_price, position) = rest;
                OrderView {
                    order,
                    product,
                    buyer,
                    quantity,
                    status,
                    currency,
                    unit_price,
                    created_at,
                    updated_at,
                    expires_at,
                    position,
                }
            },
        )
}

fn product_view() -> impl Strategy<Value = ProductView> {
    (product(), any::<u64>(), currency(), state(), [time(), time()], any::<[u32; 8]>()).prop_map(
        |(product, price, currency, state, [opens_at, closes_at], numbers)| {
            let [stock, available, held, sold, limit_per_buyer, hold_seconds, ..] = numbers;
            let [.., waitlist_capacity, waitlist_length] = numbers;
            ProductView {
                product,
                price,
                currency,
                state,
                opens_at,
                closes_at,
                stock,
                available,
                held,
                sold,
                limit_per_buyer,
                hold_seconds,
                waitlist_capacity,
                waitlist_length,
            }
        },
    )
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let with_order = (0..6usize, order_view()).prop_map(|(kind, view)| {
        [
            Outcome::Placed,
            Outcome::Replayed,
            Outcome::Queued,
            Outcome::Paid,
            Outcome::Cancelled,
            Outcome::Order,
        ][kind](view)
    });
    let with_time = (0..3, time()).prop_map(|(kind, time)| match kind {
        0 => Outcome::NotOpen { opens_at: time },
        1 => Outcome::Paused { opens_at: time },
        _ => Outcome::Ended { closes_at: time },
    });
    let alone = proptest::sample::select(vec![
        Outcome::SoldOut,
        Outcome::ProductNotFound,
        Outcome::OrderNotFound,
        Outcome::NotPayable,
        Outcome::KeyMismatch,
        Outcome::StockTooLarge,
        Outcome::DefinitionIncomplete,
        Outcome::CurrencyFixed,
        Outcome::WindowReversed,
        Outcome::Full,
        Outcome::Overloaded,
        Outcome::Unavailable,
        Outcome::DeadlinePassed,
    ]);
    let outcome = prop_oneof![
        with_order,
        with_time,
        alone,
        product_view().prop_map(Outcome::Product),
        any::<u32>().prop_map(|limit| Outcome::LimitExceeded { limit }),
        any::<u32>().prop_map(|committed| Outcome::StockCommitted { committed }),
        status().prop_map(Outcome::OrderFinal),
        any::<u16>().prop_map(|core| Outcome::WrongOwner { core }),
    ];
    (any::<u64>(), outcome).prop_map(|(correlation, outcome)| Reply { correlation, outcome })
}

fn matched() -> impl Strategy<Value = Matched> + Clone {
    (vec(order(), 0..20), time()).prop_map(|(orders, expires_at)| Matched { orders, expires_at })
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let identity = || (order(), product(), buyer(), key(), quantity(), any::<u64>(), currency());
    let placed =
        (identity(), time(), any::<bool>()).prop_map(|(identity, expires_at, waitlist)| {
            let (order, product, buyer, key, quantity, unit_price, currency) = identity;
            Fact::Placed(Placed {
                order,
                product,
                buyer,
                key,
                quantity,
                unit_price,
                currency,
                expires_at,
                waitlist,
            })
        });
    let queued = (identity(), any::<u32>()).prop_map(|(identity, position)| {
        let (order, product, buyer, key, quantity, unit_price, currency) = identity;
        Fact::Queued(Queued {
            order,
            product,
            buyer,
            key,
            quantity,
            unit_price,
            currency,
            position,
        })
    });
    let released = (any::<bool>(), order(), product(), quantity(), matched()).prop_map(
        |(expired, order, product, quantity, matched)| {
            let released = Released { order, product, quantity, matched };
            if expired { Fact::Expired(released) } else { Fact::Cancelled(released) }
        },
    );
    let terms = (any::<u64>(), currency(), [time(), time()], any::<[u32; 4]>()).prop_map(
        |(price, currency, [opens_at, closes_at], numbers)| {
            let [stock, limit_per_buyer, hold_seconds, waitlist_capacity] = numbers;
            Terms {
                price,
                currency,
                stock,
                opens_at,
                closes_at,
                limit_per_buyer,
                hold_seconds,
                waitlist_capacity,
            }
        },
    );
    let fact = prop_oneof![
        placed,
        queued,
        released,
        (order(), product(), quantity()).prop_map(|(order, product, quantity)| Fact::Paid {
            order,
            product,
            quantity
        }),
        (product(), terms, matched()).prop_map(|(product, terms, matched)| Fact::Defined {
            product,
            terms,
            matched
        }),
        (product(), any::<u32>(), matched())
            .prop_map(|(product, units, matched)| Fact::Restocked { product, units, matched }),
        (product(), any::<u32>()).prop_map(|(product, units)| Fact::Withdrawn { product, units }),
        (product(), state()).prop_map(|(product, state)| Fact::StateSet { product, state }),
        (any::<u8>(), any::<u64>()).prop_map(|(consumer, through)| Fact::Acknowledged {
            consumer,
            through: Sequence::new(through)
        }),
    ];
    (time(), fact).prop_map(|(at, fact)| Event { at, fact })
}
