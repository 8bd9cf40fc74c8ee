//! How orders end: paid, cancelled, expired, each once.

use crate::state_machine::fixture::*;
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::outcome::OrderStatus::{Cancelled, Expired, Paid, Pending, Queued};
use doorbuster_protocol::outcome::OrderView;
use doorbuster_protocol::{Command, OrderId, Outcome, Timestamp};

#[test]
fn a_payment_turns_the_hold_into_a_sale() {
    let mut sale = Sale::defined(&terms("shoe", 5));
    let order = sale.hold(Place { quantity: units(2), ..attempt("ann") });
    let placed = sale.view(order);
    sale.now = at(3);
    let paid = OrderView { status: Paid, updated_at: at(3), ..placed };
    assert_eq!(sale.pay(order), Outcome::Paid(paid));
    assert_eq!(sale.view(order), paid);
    assert_eq!(sale.counters(), (3, 0, 2));
    assert_eq!(sale.state.next_expiry(), None);
}

/// From every status: what a payment and a cancel are answered.
#[test]
fn every_order_ends_once() {
    #[track_caller]
    fn check(name: &str, prepare: fn(&mut Sale) -> OrderId, pay: &str, cancel: &str) {
        let said = |outcome: Outcome| match outcome {
            Outcome::Paid(_) => "paid".to_owned(),
            Outcome::Cancelled(_) => "cancelled".to_owned(),
            other => format!("{other:?}"),
        };
        let mut sale = Sale::with_waitlist(1);
        let order = prepare(&mut sale);
        assert_eq!(said(sale.pay(order)), pay, "pay, {name}");
        let mut sale = Sale::with_waitlist(1);
        let order = prepare(&mut sale);
        assert_eq!(said(sale.cancel(order)), cancel, "cancel, {name}");
    }
    let unknown = |_: &mut Sale| {
        OrderId::new(START, partition(), buyer("ann"), doorbuster_protocol::Sequence::new(99))
    };
    let pending = |sale: &mut Sale| sale.hold(attempt("ann"));
    let queued = |sale: &mut Sale| {
        sale.hold(attempt("ann"));
        sale.queue_up(standing("bob", 1))
    };
    let paid = |sale: &mut Sale| {
        let order = sale.hold(attempt("ann"));
        sale.pay(order);
        order
    };
    let cancelled = |sale: &mut Sale| {
        let order = sale.hold(attempt("ann"));
        sale.cancel(order);
        order
    };
    let overdue = |sale: &mut Sale| {
        let order = sale.hold(attempt("ann"));
        sale.now = at(10);
        order
    };
    let expired = |sale: &mut Sale| {
        let order = sale.hold(attempt("ann"));
        assert_eq!(sale.wait(10), [order]);
        order
    };
    let released = |sale: &mut Sale| {
        let order = sale.hold(with_key(b"k", attempt("ann")));
        sale.pay(order);
        sale.acknowledge_all();
        order
    };
    check("unknown", unknown, "OrderNotFound", "OrderNotFound");
    check("pending", pending, "paid", "cancelled");
    check("queued", queued, "NotPayable", "cancelled");
    check("paid", paid, "OrderFinal(Paid)", "OrderFinal(Paid)");
    check("cancelled", cancelled, "OrderFinal(Cancelled)", "OrderFinal(Cancelled)");
    check("overdue", overdue, "OrderFinal(Expired)", "OrderFinal(Expired)");
    check("expired", expired, "OrderFinal(Expired)", "OrderFinal(Expired)");
    check("released", released, "OrderNotFound", "OrderNotFound");
}

#[test]
fn a_cancel_returns_its_units_once() {
    let mut sale = Sale::defined(&terms("shoe", 5));
    let order = sale.hold(Place { quantity: units(2), ..attempt("ann") });
    let strangers = Command::Cancel { order, buyer: Some(buyer("bob")) };
    assert_eq!(sale.refuse(strangers), Outcome::OrderNotFound);
    let own = Command::Cancel { order, buyer: Some(buyer("ann")) };
    assert!(matches!(sale.run(own), Outcome::Cancelled(view) if view.status == Cancelled));
    for _ in 0..100 {
        assert_eq!(sale.refuse(own), Outcome::OrderFinal(Cancelled));
    }
    assert_eq!(sale.counters(), (5, 0, 0));
}

#[test]
fn holds_expire_earliest_first_across_products() {
    let mut sale = Sale::empty();
    sale.run(Command::Define(Define { hold_seconds: Some(30), ..terms("hat", 5) }));
    sale.run(Command::Define(terms("shoe", 5)));
    sale.run(Command::Define(Define { hold_seconds: Some(20), ..terms("sock", 5) }));
    let of = |name| Place { product: product(name), ..attempt("ann") };
    let hat = sale.hold(of("hat"));
    let sock = sale.hold(of("sock"));
    let shoe = sale.hold(of("shoe"));
    sale.now = at(10);
    assert_eq!(sale.state.next_expiry(), Some(at(10)));
    let late_sock = sale.hold(of("sock"));
    let late_shoe = sale.hold(of("shoe"));
    sale.now = at(9);
    // Equal deadlines (sock and late shoe, hat and late sock): the product defined first goes
    // first.
    assert_eq!(sale.wait(100), [shoe, late_shoe, sock, hat, late_sock]);
    assert_eq!(sale.state.next_expiry(), None);
    assert_eq!(sale.state.totals().held, 0);
}

#[test]
fn a_hold_expires_at_its_deadline_and_not_before() {
    let mut sale = Sale::defined(&terms("shoe", 1));
    let order = sale.hold(attempt("ann"));
    sale.now = Timestamp::from_micros(at(10).micros() - 1);
    assert_eq!(sale.refuse(Command::Expire), Outcome::OrderNotFound);
    sale.now = at(10);
    let expired = OrderView { status: Expired, updated_at: at(10), ..sale.view(order) };
    assert_eq!(sale.run(Command::Expire), Outcome::Order(expired));
    assert_eq!(sale.view(order), expired);
    assert_eq!(sale.counters(), (1, 0, 0));
}

#[test]
fn a_clock_that_stands_behind_the_last_event_does_not_matter() {
    let mut sale = Sale::defined(&terms("shoe", 2));
    sale.now = at(50);
    sale.hold(attempt("ann"));
    sale.now = at(1);
    let order = sale.hold(attempt("bob"));
    assert_eq!(sale.view(order).created_at, at(50));
}

#[test]
fn freed_units_serve_the_waitlist_in_the_same_event() {
    #[track_caller]
    fn check(waiting: [u32; 3], freed: u32, served: usize, available: u32) {
        let mut sale = Sale::with_waitlist(10);
        let hold = sale.hold(Place { quantity: units(freed), ..attempt("ann") });
        if freed < 10 {
            sale.hold(Place { quantity: units(10 - freed), ..attempt("bob") });
        }
        let standing = waiting.map(|units| sale.queue_up(standing("cat", units)));
        let events = sale.events.len();
        sale.now = at(4);
        sale.cancel(hold);
        assert_eq!(sale.events.len(), events + 1, "one event");
        assert_eq!(sale.last_matched().orders, standing[..served]);
        assert_eq!(sale.shoe().available, available);
        for (index, order) in standing.into_iter().enumerate() {
            let view = sale.view(order);
            if index < served {
                assert_eq!((view.status, view.position), (Pending, 0));
                assert_eq!((view.updated_at, view.expires_at), (at(4), at(14)));
            } else {
                assert_eq!((view.status, view.position), (Queued, (index - served) as u32 + 1));
                assert_eq!((view.updated_at, view.expires_at), (START, Timestamp::NONE));
            }
        }
    }
    check([1, 1, 1], 1, 1, 0);
    check([1, 1, 1], 2, 2, 0);
    check([1, 1, 1], 5, 3, 2);
    check([2, 1, 1], 1, 0, 1);
    check([2, 1, 1], 3, 2, 0);
    check([1, 9, 1], 3, 1, 2);
    check([10, 1, 1], 10, 1, 0);
}

#[test]
fn a_head_that_leaves_lets_those_behind_it_pass() {
    let mut sale = Sale::with_waitlist(3);
    sale.hold(attempt("ann"));
    let head = sale.queue_up(standing("bob", 3));
    let second = sale.queue_up(standing("cat", 1));
    let third = sale.queue_up(standing("dan", 2));
    let fourth = sale.queue_up(standing("eve", 1));
    assert!(matches!(sale.cancel(third), Outcome::Cancelled(view) if view.position == 0));
    assert!(sale.last_matched().orders.is_empty());
    assert_eq!(sale.view(fourth).position, 3);
    sale.cancel(head);
    assert_eq!(sale.last_matched().orders, [second, fourth]);
    assert_eq!(sale.counters(), (0, 3, 0));
}

#[test]
fn expired_holds_go_to_the_waitlist_first() {
    let mut sale = Sale::with_waitlist(3);
    let holds: Vec<_> = ["a", "b", "c"].map(|name| sale.hold(attempt(name))).into();
    let standing: Vec<_> = ["d", "e", "f", "g"].map(|name| sale.queue_up(standing(name, 1))).into();
    assert_eq!(sale.wait(10), holds);
    let statuses: Vec<_> = standing.iter().map(|order| sale.status(*order)).collect();
    assert_eq!(statuses, [Pending, Pending, Pending, Queued]);
    assert_eq!(sale.refuse(Command::Place(attempt("h"))), Outcome::SoldOut);
    assert_eq!(sale.wait(9), []);
    assert_eq!(sale.wait(1), standing[..3]);
    assert_eq!(sale.status(standing[3]), Pending);
}

#[test]
fn a_matched_hold_counts_from_the_last_hold_that_stays() {
    let mut sale = Sale::with_waitlist(2);
    let early = sale.hold(attempt("ann"));
    sale.now = at(5);
    let late = sale.hold(attempt("bob"));
    let first = sale.queue_up(standing("cat", 1));
    let second = sale.queue_up(standing("dan", 1));
    sale.run(Command::Define(Define { hold_seconds: Some(1), ..Define::new(product("shoe")) }));
    sale.cancel(early);
    assert_eq!(sale.view(first).expires_at, at(15), "not before the hold of bob");
    sale.cancel(first);
    assert_eq!(sale.view(second).expires_at, at(15));
    sale.cancel(second);
    let third = sale.queue_up(standing("eve", 2));
    sale.cancel(late);
    assert_eq!(sale.view(third).expires_at, at(6), "nobody stays before it");
}
