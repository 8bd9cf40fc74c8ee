//! Statuses, and replies whose fields are out of range.

use super::*;

#[test]
fn statuses_have_one_byte_and_one_word() {
    for (index, status) in OrderStatus::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(status.code()), index + 1);
        assert_eq!(OrderStatus::from_code(status.code()), Some(status));
        assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
    }
    for code in [0, 9, 255] {
        assert_eq!(OrderStatus::from_code(code), None, "{code}");
    }
    for word in ["", "Paid", "unknown"] {
        assert_eq!(OrderStatus::parse(word), None, "{word:?}");
    }
}

#[test]
fn what_the_engine_will_not_change_is_final() {
    let open: Vec<_> = OrderStatus::ALL.into_iter().filter(|s| !s.is_final()).collect();
    assert_eq!(open, [OrderStatus::Queued, OrderStatus::Pending]);
}

#[test]
fn a_reply_with_a_field_out_of_range_is_refused() {
    let sound = {
        let mut out = Vec::new();
        Reply { correlation: 1, outcome: Outcome::SoldOut }.encode(&mut out);
        out
    };
    let check = |at: usize, byte: u8, expected: Malformed| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        assert_eq!(Reply::decode(&mut Reader::new(&bytes)), Err(expected), "byte {at}");
    };
    check(8, 0, Malformed::UnknownKind(0));
    check(8, 255, Malformed::UnknownKind(255));
    check(8, 1, Malformed::Truncated);
    check(9, 1, Malformed::OutOfRange("reserved"));
    check(11, 1, Malformed::OutOfRange("reserved"));
    for (kind, number) in [(kind::ORDER_FINAL, 0u32), (kind::WRONG_OWNER, 0x1_0000)] {
        let mut bytes = sound.clone();
        bytes[8] = kind;
        bytes[12..].copy_from_slice(&number.to_le_bytes());
        let decoded = Reply::decode(&mut Reader::new(&bytes));
        assert!(matches!(decoded, Err(Malformed::OutOfRange(_))), "{decoded:?}");
    }
}
