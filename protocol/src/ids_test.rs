//! Ids: names and UUIDs, what an order id says, and what its checksum catches.

use super::*;

fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).expect("a name")
}

fn order(sequence: u64) -> OrderId {
    let partition = PartitionId::new(1234).expect("in range");
    let at = Timestamp::from_micros(1_789_000_000_123_456);
    OrderId::new(at, partition, buyer("alice"), Sequence::new(sequence))
}

#[test]
fn names_and_uuids_become_ids() {
    let check = |text: &str, expected: Result<&str, IdError>| {
        let parsed = ProductId::parse(text).map(|id| id.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text:?}");
    };
    let uuid = "0190f7a1-5b2c-7def-8123-456789abcdef";
    check(uuid, Ok(uuid));
    check("0190F7A1-5B2C-7DEF-8123-456789ABCDEF", Ok(uuid));
    // Frozen: stores and data directories hold these.
    check("sneaker", Ok("23a931cb-2c05-5008-839e-499a6c2de055"));
    check("Sneaker", Ok("2aea8bc9-b35a-5fa0-9bb3-77174d0531e9"));
    check("", Err(IdError::Name));
    check("with space", Err(IdError::Name));
    check("with/slash", Err(IdError::Name));
    check("naïve", Err(IdError::Name));
    check("tab\t", Err(IdError::Name));
    check(&"x".repeat(129), Err(IdError::Name));
    assert!(ProductId::parse(&"x".repeat(128)).is_ok());
    // Only the hyphenated form is a UUID; the same digits without hyphens are a name.
    assert_ne!(ProductId::parse(&uuid.replace('-', "")), ProductId::parse(uuid));
}

#[test]
fn a_buyer_and_a_product_of_one_name_are_two() {
    let product = ProductId::parse("alice").expect("a name");
    assert_ne!(product.as_bytes(), buyer("alice").as_bytes());
}

#[test]
fn an_order_id_says_where_it_lives() {
    for sequence in [1, 2, 77, (1 << 40) - 1] {
        let order = order(sequence);
        assert!(order.is_sound(), "{order}");
        assert_eq!(order.partition().get(), 1234);
        assert_eq!(order.bucket(), routing::bucket_of(buyer("alice")));
        assert_eq!(order.sequence_bits(), sequence);
        assert_eq!(order.created_ms(), Timestamp::from_micros(1_789_000_000_123_000));
        assert_eq!(order.to_string().parse(), Ok(order));
        assert_eq!(order.to_string().to_uppercase().parse(), Ok(order));
        assert_eq!(OrderId::from_bytes(*order.as_bytes()), order);
    }
    // Beyond 40 bits the sequence wraps: the time tells such orders apart.
    assert_eq!(order((1 << 40) + 5).sequence_bits(), 5);
}

#[test]
fn order_ids_are_frozen() {
    assert_eq!(order(42).to_string(), "01a088b5-a27b-84d2-9f20-00000002af1f");
}

#[test]
fn order_ids_sort_by_time() {
    let at = |millis: u64| {
        let partition = PartitionId::new(0).expect("in range");
        OrderId::new(Timestamp::from_micros(millis * 1000), partition, buyer("b"), Sequence::new(1))
    };
    assert!(at(1) < at(2) && at(2) < at(1 << 40));
}

#[test]
fn the_checksum_catches_every_flip_of_one_bit_and_most_of_two() {
    let order = order(987_654_321);
    let flipped = |order: OrderId, bit: usize| {
        let mut bytes = *order.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        OrderId::from_bytes(bytes)
    };
    let mut missed = 0;
    for first in 0..128 {
        let once = flipped(order, first);
        assert!(!once.is_sound(), "bit {first}: {once}");
        assert_eq!(once.to_string().parse::<OrderId>(), Err(IdError::Order));
        for second in first + 1..128 {
            missed += u32::from(flipped(once, second).is_sound());
        }
    }
    // Twelve bits let one random id in 4096 pass; of 8 128 pairs that is about two.
    assert!(missed <= 16, "{missed} flips of two bits went unseen");
}

#[test]
fn what_is_no_order_id_is_refused() {
    let check = |text: &str, expected: IdError| {
        assert_eq!(text.parse::<OrderId>(), Err(expected), "{text:?}");
    };
    check("", IdError::Uuid);
    check("sneaker", IdError::Uuid);
    check("0190f7a15b2c7def8123456789abcdef", IdError::Uuid);
    check("{0190f7a1-5b2c-7def-8123-456789abcd}", IdError::Uuid);
    check("0190f7a1-5b2c-7def-8123-456789abcdeg", IdError::Uuid);
    check("0190f7a1-5b2c-7def-8123-456789abcdef", IdError::Order);
    check("00000000-0000-0000-0000-000000000000", IdError::Order);
}

#[test]
fn partitions_are_bounded() {
    assert_eq!(PartitionId::new(limits::PARTITIONS_MAX), None);
    assert_eq!(PartitionId::new(u16::MAX), None);
    let last = PartitionId::new(limits::PARTITIONS_MAX - 1).expect("in range");
    assert_eq!((last.get(), last.index()), (4095, 4095));
}

#[test]
fn a_key_depends_on_buyer_product_and_text() {
    let product = |name| ProductId::parse(name).expect("a name");
    let key = |buyer_name, product_name, text: &str| {
        IdempotencyKey::new(buyer(buyer_name), product(product_name), text.as_bytes())
    };
    let one = key("alice", "sneaker", "k1");
    assert_eq!(one, key("alice", "sneaker", "k1"));
    for other in
        [key("bob", "sneaker", "k1"), key("alice", "boot", "k1"), key("alice", "sneaker", "k2")]
    {
        assert_ne!(one, other);
    }
    assert!(!one.is_none() && IdempotencyKey::NONE.is_none());
    assert!(!key("alice", "sneaker", "").is_none());
    // Frozen: keys of yesterday's log are compared with today's.
    let frozen = u128::from_be_bytes(*one.as_bytes());
    assert_eq!(format!("{frozen:032x}"), "1c31ba0d78926475dcc4e0a0867ad53a");
}
