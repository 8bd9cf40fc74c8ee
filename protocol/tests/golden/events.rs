//! Every fact, as the log and the feed hold it: length and archive.

use crate::check;
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::{Matched, Placed, Queued, Released, Terms};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{
    BuyerId, Currency, Event, Fact, IdempotencyKey, OrderId, ProductId, Quantity, Sequence,
    Timestamp,
};

const ORDER: OrderId = OrderId::from_bytes([0x11; 16]);
const PRODUCT: ProductId = ProductId::from_bytes([0x22; 16]);
const BUYER: BuyerId = BuyerId::from_bytes([0x33; 16]);
const KEY: IdempotencyKey = IdempotencyKey::from_bytes([0x44; 16]);

#[test]
fn events_are_frozen() {
    let quantity = Quantity::new(3).expect("in range");
    let placed = Placed {
        order: ORDER,
        product: PRODUCT,
        buyer: BUYER,
        key: KEY,
        quantity,
        unit_price: 1999,
        currency: Currency::USD,
        expires_at: Timestamp::from_micros(0x2122_2324_2526_2728),
        waitlist: true,
    };
    let queued = Queued {
        order: ORDER,
        product: PRODUCT,
        buyer: BUYER,
        key: IdempotencyKey::NONE,
        quantity,
        unit_price: 1999,
        currency: Currency::USD,
        position: 7,
    };
    let matched = |count: u8| Matched {
        orders: (0..count).map(|number| OrderId::from_bytes([0x50 + number; 16])).collect(),
        expires_at: Timestamp::from_micros(if count == 0 { 0 } else { 0x3132_3334_3536_3738 }),
    };
    let released =
        |count| Released { order: ORDER, product: PRODUCT, quantity, matched: matched(count) };
    let terms = Terms {
        price: 1999,
        currency: Currency::USD,
        stock: 10_000,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::from_micros(0x1112_1314_1516_1718),
        limit_per_buyer: 2,
        hold_seconds: 600,
        waitlist_capacity: 500,
    };
    let cases = [
        ("placed", Fact::Placed(placed)),
        ("queued", Fact::Queued(queued)),
        ("paid", Fact::Paid { order: ORDER, product: PRODUCT, quantity }),
        ("cancelled", Fact::Cancelled(released(0))),
        ("cancelled, two matched", Fact::Cancelled(released(2))),
        ("expired", Fact::Expired(released(0))),
        ("expired, one matched", Fact::Expired(released(1))),
        ("defined", Fact::Defined { product: PRODUCT, terms, matched: matched(0) }),
        ("defined, one matched", Fact::Defined { product: PRODUCT, terms, matched: matched(1) }),
        ("restocked", Fact::Restocked { product: PRODUCT, units: 500, matched: matched(0) }),
        (
            "restocked, two matched",
            Fact::Restocked { product: PRODUCT, units: 500, matched: matched(2) },
        ),
        ("withdrawn", Fact::Withdrawn { product: PRODUCT, units: 20 }),
        ("state set, open", Fact::StateSet { product: PRODUCT, state: SaleState::Open }),
        ("state set, paused", Fact::StateSet { product: PRODUCT, state: SaleState::Paused }),
        ("acknowledged", Fact::Acknowledged { consumer: 5, through: Sequence::new(0x0102_0304) }),
    ];
    let cases = cases.map(|(name, fact)| {
        let event = Event { at: Timestamp::from_micros(0x0102_0304_0506_0708), fact };
        // Behind other bytes, as in a batch: nothing depends on where an event stands.
        let mut bytes = b"before".to_vec();
        event.encode(&mut bytes);
        let bytes = bytes.split_off(6);
        let mut alone = Vec::new();
        event.encode(&mut alone);
        assert_eq!(alone, bytes, "{name}");
        let mut from = Reader::new(&bytes);
        assert_eq!(Event::decode(&mut from), Ok(event), "{name}");
        assert!(from.is_empty(), "{name}");
        (name, bytes)
    });
    check(include_str!("../../vectors/events.txt"), &cases);
}
