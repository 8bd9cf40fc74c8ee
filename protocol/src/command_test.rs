//! Requests whose fields are out of range, and the check that finds them before they are sent.

use super::*;

fn encoded(ask: Ask) -> Vec<u8> {
    let partition = PartitionId::new(3).expect("in range");
    let mut out = Vec::new();
    Request { partition, deadline: Timestamp::from_micros(9), ask }.encode(&mut out);
    out
}

fn product() -> ProductId {
    ProductId::from_bytes([2; 16])
}

fn place() -> Ask {
    Ask::Command(Command::Place(Place {
        product: product(),
        buyer: BuyerId::from_bytes([3; 16]),
        key: IdempotencyKey::NONE,
        quantity: Quantity::ONE,
        waitlist: true,
    }))
}

/// Decodes `ask`'s record with some bytes replaced.
#[track_caller]
fn check(ask: Ask, at: usize, bytes: &[u8], expected: Malformed) {
    let mut record = encoded(ask);
    record[at..at + bytes.len()].copy_from_slice(bytes);
    assert_eq!(Request::decode(&mut Reader::new(&record)), Err(expected));
}

#[test]
fn a_field_out_of_range_is_named() {
    check(place(), 1, &[2], Malformed::OutOfRange("flags"));
    check(place(), 1, &[0x80], Malformed::OutOfRange("flags"));
    check(place(), 2, &4096u16.to_le_bytes(), Malformed::OutOfRange("partition"));
    check(place(), 4, &[1], Malformed::OutOfRange("reserved"));
    check(place(), 64, &0u32.to_le_bytes(), Malformed::OutOfRange("quantity"));
    check(place(), 64, &1001u32.to_le_bytes(), Malformed::OutOfRange("quantity"));
    check(place(), 71, &[1], Malformed::OutOfRange("reserved"));

    let confirm = Ask::Command(Command::Confirm { order: OrderId::from_bytes([1; 16]) });
    check(confirm, 0, &[0], Malformed::UnknownKind(0));
    check(confirm, 0, &[8], Malformed::UnknownKind(8));
    check(confirm, 1, &[1], Malformed::OutOfRange("flags"));
    let restock = Ask::Command(Command::Restock { product: product(), units: 1 });
    check(restock, 32, &0u32.to_le_bytes(), Malformed::OutOfRange("units"));
    check(restock, 32, &1_000_000_001u32.to_le_bytes(), Malformed::OutOfRange("units"));
    let state = Command::SetState { product: product(), state: SaleState::Open };
    check(Ask::Command(state), 32, &3u32.to_le_bytes(), Malformed::OutOfRange("state"));
    check(Ask::Command(state), 32, &257u32.to_le_bytes(), Malformed::OutOfRange("state"));
}

#[test]
fn a_definition_out_of_range_is_refused_by_both_sides() {
    let check = |change: fn(&mut Define), field: &'static str| {
        let mut define = Define::new(product());
        change(&mut define);
        let ask = Ask::Command(Command::Define(define));
        let partition = PartitionId::new(0).expect("in range");
        let expected = Err(Malformed::OutOfRange(field));
        assert_eq!(Request { partition, deadline: Timestamp::NONE, ask }.check(), expected);
        let decoded = Request::decode(&mut Reader::new(&encoded(ask)));
        assert_eq!(decoded.map(|_| ()), expected);
    };
    check(|define| define.price = Some(limits::PRICE_MAX + 1), "price");
    check(|define| define.stock = Some(limits::STOCK_MAX + 1), "stock");
    check(|define| define.hold_seconds = Some(0), "holdSeconds");
    check(|define| define.hold_seconds = Some(limits::HOLD_SECONDS_MAX + 1), "holdSeconds");
    check(|define| define.waitlist_capacity = Some(limits::WAITLIST_MAX + 1), "waitlistCapacity");
    let empty = Ask::Command(Command::Define(Define::new(product())));
    let mut record = encoded(empty);
    assert!(Request::decode(&mut Reader::new(&record)).is_ok(), "a definition may set nothing");
    record[33] = 1;
    let decoded = Request::decode(&mut Reader::new(&record));
    assert_eq!(decoded, Err(Malformed::OutOfRange("present")));
    record[33] = 0;
    record[36..39].copy_from_slice(b"usd");
    let decoded = Request::decode(&mut Reader::new(&record));
    assert_eq!(decoded, Err(Malformed::OutOfRange("currency")));
}

#[test]
fn units_are_checked_before_they_are_sent() {
    let partition = PartitionId::new(0).expect("in range");
    for (units, is_sound) in [(0, false), (1, true), (limits::STOCK_MAX, true), (u32::MAX, false)] {
        for command in [
            Command::Restock { product: product(), units },
            Command::Withdraw { product: product(), units },
        ] {
            let ask = Ask::Command(command);
            let request = Request { partition, deadline: Timestamp::NONE, ask };
            assert_eq!(request.check().is_ok(), is_sound, "{command:?}");
        }
    }
}

#[test]
fn internal_commands_have_no_record() {
    let partition = PartitionId::new(0).expect("in range");
    for command in [Command::Expire, Command::Acknowledge { consumer: 0, through: Sequence::ZERO }]
    {
        let ask = Ask::Command(command);
        assert!(Request { partition, deadline: Timestamp::NONE, ask }.check().is_err());
    }
}

#[test]
fn states_have_one_byte() {
    for state in [SaleState::Open, SaleState::Paused] {
        assert_eq!(SaleState::from_code(state.code()), Some(state));
    }
    for code in [0, 3, 255] {
        assert_eq!(SaleState::from_code(code), None, "{code}");
    }
}
