//! Which rows an order may have, as its shard stood still or moved.

use super::*;
use doorbuster_protocol::PartitionId;

const AT: u64 = 1_700_000_000_000_000;

fn time(event: u64) -> Timestamp {
    Timestamp::from_micros(AT + event)
}

/// Queued at 10, served at 20, paid at 30.
fn entry() -> Entry {
    let (buyer, partition) = (BuyerId::parse("ann").expect("a name"), PartitionId::new(0));
    let created = Sequence::new(10);
    let expires_at = time(90);
    Entry {
        order: OrderId::new(time(10), partition.expect("in range"), buyer, created),
        buyer,
        product: ProductId::parse("lamp").expect("a name"),
        quantity: Quantity::new(2).expect("in range"),
        unit_price: 150,
        currency: Currency::USD,
        created_at: time(10),
        created,
        known_since: Sequence::ZERO,
        first: Stage::new(created, time(10), OrderStatus::Queued, Timestamp::NONE),
        served: Some(Stage::new(Sequence::new(20), time(20), OrderStatus::Pending, expires_at)),
        ended: Some(Stage::new(Sequence::new(30), time(30), OrderStatus::Paid, expires_at)),
    }
}

fn window(before: u64, after: u64) -> Window {
    Window { before: Sequence::new(before), after: Sequence::new(after) }
}

#[test]
fn a_row_is_what_the_log_had_within_the_window() {
    fn check(row_at: u64, before: u64, after: u64, expected: &[&str]) {
        let entry = entry();
        let row = entry.row_at(Sequence::new(row_at)).expect("it was made");
        let found = entry.differences(&row, window(before, after));
        assert_eq!(found, expected, "the row of {row_at} between {before} and {after}");
    }
    let all = ["status", "time of change", "time of expiry", "version"];
    check(10, 19, 19, &[]);
    check(10, 20, 20, &all);
    check(10, 19, 40, &[]);
    check(20, 15, 40, &[]);
    check(20, 30, 40, &["status", "time of change", "version"]);
    check(35, 30, 40, &[]);
    // Ahead of the checkpoint, as its version says.
    check(30, 12, 12, &[]);
}

#[test]
fn every_column_is_compared() {
    fn check(change: impl Fn(&mut OrderRow), expected: &[&str]) {
        let entry = entry();
        let mut row = entry.row_at(Sequence::new(30)).expect("it was made");
        change(&mut row);
        assert_eq!(entry.differences(&row, window(40, 40)), expected);
    }
    check(|_| {}, &[]);
    check(|row| row.buyer = BuyerId::parse("eve").expect("a name"), &["buyer"]);
    check(|row| row.items.clear(), &["items"]);
    check(|row| row.items[0].unit_price = 1, &["items"]);
    check(|row| row.total_amount += 1, &["total"]);
    check(|row| row.currency = Currency::new(*b"EUR").expect("a code"), &["currency"]);
    check(|row| row.created_at = time(11), &["time of creation"]);
    check(|row| row.updated_at = time(11), &["time of change"]);
    check(|row| row.expires_at = Timestamp::NONE, &["time of expiry"]);
    check(|row| row.version = Sequence::new(29), &["version"]);
    check(|row| row.version = Sequence::ZERO, &[]);
    check(|row| row.status = OrderStatus::Cancelled, &["status"]);
    // The shop shipped it later.
    check(|row| (row.status, row.updated_at) = (OrderStatus::Shipped, time(99)), &[]);
}

#[test]
fn what_happened_before_the_log_is_not_judged() {
    let stage = Stage { has_version: false, version: Sequence::new(20), ..entry().first };
    let first = Stage { since: Sequence::new(25), status: OrderStatus::Paid, ..stage };
    let known_since = Sequence::new(25);
    let entry = Entry { known_since, first, served: None, ended: None, ..entry() };
    let mut row = entry.row_in(first);
    row.version = Sequence::new(7);
    assert!(entry.differences(&row, window(30, 30)).is_empty(), "its version is not known");
    row.status = OrderStatus::Pending;
    assert!(entry.differences(&row, window(22, 24)).is_empty(), "nor is what it was before");
    assert_eq!(entry.differences(&row, window(25, 25)), ["status"]);
}

#[test]
fn an_entry_survives_its_bytes() {
    for entry in [entry(), Entry { served: None, ..entry() }, Entry { ended: None, ..entry() }] {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(Entry::decode(&mut Reader::new(&bytes)), Ok(entry));
    }
}
