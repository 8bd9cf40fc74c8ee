//! Every request and reply record.

use crate::check;
use doorbuster_protocol::command::{Ask, Define, Place, Read, SaleState};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView, Reply};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{
    BuyerId, Command, Currency, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Quantity,
    Request, Timestamp,
};

const ORDER: OrderId = OrderId::from_bytes([0x11; 16]);
const PRODUCT: ProductId = ProductId::from_bytes([0x22; 16]);
const BUYER: BuyerId = BuyerId::from_bytes([0x33; 16]);
const KEY: IdempotencyKey = IdempotencyKey::from_bytes([0x44; 16]);

#[test]
fn requests_are_frozen() {
    let place = |key, waitlist| {
        let quantity = Quantity::new(3).expect("in range");
        Ask::Command(Command::Place(Place {
            product: PRODUCT,
            buyer: BUYER,
            key,
            quantity,
            waitlist,
        }))
    };
    let terms = Define {
        product: PRODUCT,
        price: Some(1999),
        currency: Currency::parse("EUR"),
        stock: Some(10_000),
        opens_at: Some(Timestamp::from_micros(0x0102_0304_0506_0708)),
        closes_at: Some(Timestamp::from_micros(0x1112_1314_1516_1718)),
        limit_per_buyer: Some(2),
        hold_seconds: Some(600),
        waitlist_capacity: Some(500),
    };
    let price_only = Define { price: Some(5), ..Define::new(PRODUCT) };
    let (of_buyer, of_administrator) = (Some(BUYER), None);
    let cases = [
        ("place", place(KEY, false)),
        ("place, waitlist, no key", place(IdempotencyKey::NONE, true)),
        ("confirm", Ask::Command(Command::Confirm { order: ORDER })),
        ("cancel", Ask::Command(Command::Cancel { order: ORDER, buyer: of_buyer })),
        (
            "cancel, administrator",
            Ask::Command(Command::Cancel { order: ORDER, buyer: of_administrator }),
        ),
        ("define, all terms", Ask::Command(Command::Define(terms))),
        ("define, price only", Ask::Command(Command::Define(price_only))),
        ("restock", Ask::Command(Command::Restock { product: PRODUCT, units: 500 })),
        ("withdraw", Ask::Command(Command::Withdraw { product: PRODUCT, units: 20 })),
        (
            "set state, open",
            Ask::Command(Command::SetState { product: PRODUCT, state: SaleState::Open }),
        ),
        (
            "set state, paused",
            Ask::Command(Command::SetState { product: PRODUCT, state: SaleState::Paused }),
        ),
        ("read order", Ask::Read(Read::Order { order: ORDER, buyer: of_buyer })),
        (
            "read order, administrator",
            Ask::Read(Read::Order { order: ORDER, buyer: of_administrator }),
        ),
        ("read product", Ask::Read(Read::Product { product: PRODUCT })),
    ];
    let cases = cases.map(|(name, ask)| {
        let partition = PartitionId::new(0x0102).expect("in range");
        let deadline = Timestamp::from_micros(0xA1A2_A3A4_A5A6_A7A8);
        let request = Request { partition, deadline, ask };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let mut from = Reader::new(&bytes);
        assert_eq!(Request::decode(&mut from), Ok(request), "{name}");
        assert!(from.is_empty(), "{name}");
        (name, bytes)
    });
    check(include_str!("../../vectors/requests.txt"), &cases);
}

#[test]
fn replies_are_frozen() {
    let order = OrderView {
        order: ORDER,
        product: PRODUCT,
        buyer: BUYER,
        quantity: Quantity::new(3).expect("in range"),
        status: OrderStatus::Pending,
        currency: Currency::USD,
        unit_price: 1999,
        created_at: Timestamp::from_micros(0x0102_0304_0506_0708),
        updated_at: Timestamp::from_micros(0x1112_1314_1516_1718),
        expires_at: Timestamp::from_micros(0x2122_2324_2526_2728),
        position: 0,
    };
    let queued = OrderView {
        status: OrderStatus::Queued,
        expires_at: Timestamp::NONE,
        position: 7,
        ..order
    };
    let product = ProductView {
        product: PRODUCT,
        price: 1999,
        currency: Currency::USD,
        state: SaleState::Open,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::from_micros(0x1112_1314_1516_1718),
        stock: 1_000,
        available: 700,
        held: 200,
        sold: 100,
        limit_per_buyer: 2,
        hold_seconds: 600,
        waitlist_capacity: 500,
        waitlist_length: 5,
    };
    let time = Timestamp::from_micros(0x0102_0304_0506_0708);
    let cases = [
        ("placed", Outcome::Placed(order)),
        ("replayed", Outcome::Replayed(order)),
        ("queued", Outcome::Queued(queued)),
        ("paid", Outcome::Paid(OrderView { status: OrderStatus::Paid, ..order })),
        ("cancelled", Outcome::Cancelled(OrderView { status: OrderStatus::Cancelled, ..order })),
        ("order", Outcome::Order(OrderView { status: OrderStatus::Expired, ..order })),
        ("product", Outcome::Product(product)),
        ("sold out", Outcome::SoldOut),
        ("limit exceeded", Outcome::LimitExceeded { limit: 2 }),
        ("not open", Outcome::NotOpen { opens_at: time }),
        ("paused", Outcome::Paused { opens_at: time }),
        ("ended", Outcome::Ended { closes_at: time }),
        ("product not found", Outcome::ProductNotFound),
        ("order not found", Outcome::OrderNotFound),
        ("order final", Outcome::OrderFinal(OrderStatus::Paid)),
        ("not payable", Outcome::NotPayable),
        ("key mismatch", Outcome::KeyMismatch),
        ("stock committed", Outcome::StockCommitted { committed: 300 }),
        ("stock too large", Outcome::StockTooLarge),
        ("definition incomplete", Outcome::DefinitionIncomplete),
        ("currency fixed", Outcome::CurrencyFixed),
        ("window reversed", Outcome::WindowReversed),
        ("full", Outcome::Full),
        ("overloaded", Outcome::Overloaded),
        ("unavailable", Outcome::Unavailable),
        ("deadline passed", Outcome::DeadlinePassed),
        ("wrong owner", Outcome::WrongOwner { core: 3 }),
    ];
    let cases = cases.map(|(name, outcome)| {
        let reply = Reply { correlation: 0xC1C2_C3C4_C5C6_C7C8, outcome };
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let mut from = Reader::new(&bytes);
        assert_eq!(Reply::decode(&mut from), Ok(reply), "{name}");
        assert!(from.is_empty(), "{name}");
        (name, bytes)
    });
    check(include_str!("../../vectors/replies.txt"), &cases);
}
