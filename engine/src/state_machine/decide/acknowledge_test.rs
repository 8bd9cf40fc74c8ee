//! What a consumer's acknowledgement lets go of, and what stays.

use crate::state_machine::fixture::*;
use doorbuster_protocol::command::Define;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Command, Outcome, Sequence, limits};

#[test]
fn final_orders_leave_when_every_consumer_has_them() {
    let mut sale = Sale::defined(&terms("shoe", 9));
    sale.acknowledge(1, Sequence::new(1));
    let paid = sale.hold(attempt("ann"));
    let pending = sale.hold(attempt("bob"));
    sale.pay(paid);
    let ended = sale.state.sequence();
    sale.acknowledge(0, ended);
    assert_eq!(sale.status(paid), OrderStatus::Paid, "consumer 1 does not have it yet");
    assert_eq!(sale.state.acknowledged(), Sequence::new(1));
    sale.acknowledge(1, Sequence::new(ended.get() - 1));
    assert_eq!(sale.status(paid), OrderStatus::Paid);
    sale.acknowledge(1, ended);
    assert_eq!(sale.state.order(paid, None), Outcome::OrderNotFound);
    assert_eq!(sale.status(pending), OrderStatus::Pending, "what is not final stays");
    assert_eq!(sale.state.acknowledged(), ended);
    let totals = sale.state.totals();
    assert_eq!((totals.orders, totals.receipts, totals.buyers), (1, 0, 2));
}

#[test]
fn what_a_consumer_cannot_mean_is_ignored() {
    let mut sale = Sale::defined(&terms("shoe", 9));
    let order = sale.hold(attempt("ann"));
    sale.pay(order);
    let check = |sale: &mut Sale, consumer, through| {
        let through = Sequence::new(through);
        sale.refuse(Command::Acknowledge { consumer, through });
    };
    check(&mut sale, 0, 4);
    check(&mut sale, limits::CONSUMERS_MAX, 3);
    check(&mut sale, 255, 3);
    check(&mut sale, 3, 0);
    sale.acknowledge(0, Sequence::new(3));
    check(&mut sale, 0, 2);
    check(&mut sale, 0, 3);
    assert_eq!(sale.state.sequence(), Sequence::new(4));
    check(&mut sale, 0, 4);
    assert_eq!(sale.state.acknowledged_by(0), Sequence::new(3));
    assert_eq!(sale.state.acknowledged_by(3), Sequence::ZERO);
}

#[test]
fn keys_are_kept_for_their_time() {
    let mut sale = Sale::defined(&terms("shoe", 9));
    let place = with_key(b"k", attempt("ann"));
    let order = sale.hold(place);
    sale.pay(order);
    sale.acknowledge_all();
    assert_eq!((sale.state.totals().receipts, sale.state.totals().keys), (1, 1));
    assert!(!sale.state.has_releasable());
    sale.now = START.plus_micros(limits::KEY_RETENTION_US - 1);
    let again = sale.state.acknowledged();
    sale.refuse(Command::Acknowledge { consumer: 0, through: again });
    assert!(matches!(sale.place(place), Outcome::Replayed(_)));
    sale.now = START.plus_micros(limits::KEY_RETENTION_US);
    sale.acknowledge(0, again);
    assert_eq!((sale.state.totals().receipts, sale.state.totals().keys), (0, 0));
    assert!(matches!(sale.place(place), Outcome::Placed(_)), "the key is forgotten");
}

#[test]
fn one_event_lets_a_bounded_number_go() {
    let most = u64::from(limits::RELEASES_PER_EVENT_MAX);
    let mut sale = Sale::defined(&terms("shoe", 100_000));
    for number in 0..most + 10 {
        let keyless = attempt("ann");
        let keyed = with_key(&number.to_le_bytes(), keyless);
        let place = Command::Place(if number % 2 == 0 { keyed } else { keyless });
        let decision = super::decide(&sale.state, &place, sale.now);
        crate::state_machine::apply(&mut sale.state, &decision.event.expect("a hold"));
    }
    sale.now = at(10);
    for _ in 0..most + 10 {
        let decision = super::decide(&sale.state, &Command::Expire, sale.now);
        crate::state_machine::apply(&mut sale.state, &decision.event.expect("an expiry"));
    }
    sale.acknowledge_all();
    let through = sale.state.acknowledged();
    assert_eq!((sale.state.totals().orders, sale.state.totals().receipts), (10, most / 2));
    assert!(sale.state.has_releasable());
    sale.acknowledge(0, through);
    assert_eq!((sale.state.totals().orders, sale.state.totals().receipts), (0, most / 2 + 5));
    assert!(!sale.state.has_releasable());
    sale.now = sale.now.plus_micros(limits::KEY_RETENTION_US);
    sale.acknowledge(0, through);
    assert_eq!(sale.state.totals().receipts, 0);
    sale.refuse(Command::Acknowledge { consumer: 0, through });
}

#[test]
fn slots_are_used_again() {
    let mut sale = Sale::defined(&Define { limit_per_buyer: Some(1), ..terms("shoe", 1) });
    for round in 0..500u32 {
        let order = sale.hold(with_key(&round.to_le_bytes(), attempt("ann")));
        sale.cancel(order);
        sale.now = sale.now.plus_micros(limits::KEY_RETENTION_US);
        sale.acknowledge_all();
    }
    let totals = sale.state.totals();
    assert_eq!((totals.orders, totals.receipts, totals.keys, totals.buyers), (0, 0, 0, 0));
}
