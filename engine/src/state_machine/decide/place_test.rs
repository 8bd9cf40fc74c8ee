//! Every answer to an attempt to buy, and which one comes first.

use crate::state_machine::State;
use crate::state_machine::fixture::*;
use crate::state_machine::state::Bounds;
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{BuyerId, Command, IdempotencyKey, Outcome, Timestamp};

#[test]
fn a_hold_says_what_was_agreed() {
    let mut sale = Sale::defined(&terms("shoe", 3));
    let Outcome::Placed(view) = sale.place(standing("ann", 2)) else { panic!("no hold") };
    assert_eq!((view.product, view.buyer), (product("shoe"), buyer("ann")));
    assert_eq!((view.quantity, view.status), (units(2), OrderStatus::Pending));
    assert_eq!((view.unit_price, view.total(), view.currency.as_str()), (500, 1000, "USD"));
    assert_eq!((view.created_at, view.updated_at, view.expires_at), (START, START, at(10)));
    assert_eq!(view.position, 0);
    assert!(view.order.is_sound());
    assert_eq!(view.order.partition(), partition());
    assert_eq!(sale.view(view.order), view, "a read says the same");
    assert_eq!(sale.counters(), (1, 2, 0));
    assert_eq!(sale.state.order(view.order, Some(buyer("ann"))), Outcome::Order(view));
    assert_eq!(sale.state.order(view.order, Some(buyer("bob"))), Outcome::OrderNotFound);
}

/// Everything that can be wrong at once, and what is said; each row mends the first thing.
#[test]
fn refusals_come_in_their_order() {
    let bounds = Bounds { products: 2, orders: 2, buyers: 2 };
    let mut sale = Sale::of(State::with_bounds(partition(), bounds));
    let greedy = with_key(b"k", Place { quantity: units(5), ..attempt("ann") });
    assert_eq!(sale.place(greedy), Outcome::ProductNotFound);

    let window = Define {
        limit_per_buyer: Some(3),
        opens_at: Some(at(100)),
        closes_at: Some(at(200)),
        hold_seconds: Some(1000),
        ..terms("shoe", 2)
    };
    sale.run(Command::Define(window));
    sale.set_state(SaleState::Paused);
    let paused = Outcome::Paused { opens_at: at(100) };
    assert_eq!(sale.refuse(Command::Place(greedy)), paused);
    sale.set_state(SaleState::Open);
    assert_eq!(sale.refuse(Command::Place(greedy)), Outcome::NotOpen { opens_at: at(100) });
    sale.now = at(200);
    assert_eq!(sale.refuse(Command::Place(greedy)), Outcome::Ended { closes_at: at(200) });
    sale.run(Command::Define(Define { closes_at: Some(Timestamp::NONE), ..window }));

    let first = sale.hold(attempt("bob"));
    let second = sale.hold(attempt("cat"));
    assert_eq!(sale.refuse(Command::Place(greedy)), Outcome::Full, "no room for the order");
    sale.cancel(first);
    sale.acknowledge_all();
    sale.hold(attempt("dan"));
    sale.pay(second);
    sale.acknowledge_all();
    let stranger = Outcome::Full;
    assert_eq!(sale.refuse(Command::Place(greedy)), stranger, "no room for another buyer");
    let of_known = Place { quantity: units(5), ..attempt("dan") };
    let over = Outcome::LimitExceeded { limit: 3 };
    assert_eq!(sale.refuse(Command::Place(of_known)), over);
    let fits_limit = Place { quantity: units(2), ..of_known };
    assert_eq!(sale.refuse(Command::Place(fits_limit)), Outcome::SoldOut);
}

#[test]
fn the_window_opens_and_closes_on_the_microsecond() {
    let window = Define { opens_at: Some(at(5)), closes_at: Some(at(9)), ..terms("shoe", 9) };
    #[track_caller]
    fn check(terms: &Define, now: Timestamp, expected: Option<Outcome>) {
        let mut sale = Sale::defined(terms);
        sale.now = now;
        let outcome = sale.place(attempt("ann"));
        match expected {
            None => assert!(matches!(outcome, Outcome::Placed(_)), "{outcome:?}"),
            Some(refusal) => assert_eq!(outcome, refusal),
        }
    }
    let early = Timestamp::from_micros(at(5).micros() - 1);
    let last = Timestamp::from_micros(at(9).micros() - 1);
    check(&window, early, Some(Outcome::NotOpen { opens_at: at(5) }));
    check(&window, at(5), None);
    check(&window, last, None);
    check(&window, at(9), Some(Outcome::Ended { closes_at: at(9) }));
    let endless = Define { closes_at: None, ..window };
    check(&endless, at(1_000_000), None);
}

#[test]
fn a_pause_stops_new_orders_and_nothing_else() {
    let mut sale = Sale::with_waitlist(3);
    let paid = sale.hold(attempt("ann"));
    let cancelled = sale.hold(attempt("bob"));
    let expired = sale.hold(attempt("cat"));
    let first = sale.queue_up(standing("dan", 1));
    let second = sale.queue_up(standing("eve", 1));
    sale.set_state(SaleState::Paused);
    let paused = Outcome::Paused { opens_at: Timestamp::NONE };
    assert_eq!(sale.refuse(Command::Place(standing("fay", 1))), paused);
    assert!(matches!(sale.pay(paid), Outcome::Paid(_)));
    assert!(matches!(sale.cancel(cancelled), Outcome::Cancelled(_)));
    assert_eq!(sale.status(first), OrderStatus::Pending);
    assert_eq!(sale.wait(10), [expired, first]);
    assert_eq!(sale.status(second), OrderStatus::Pending);
    sale.set_state(SaleState::Open);
    sale.hold(attempt("fay"));
}

#[test]
fn a_key_gets_its_first_answer_for_ever() {
    let mut sale = Sale::with_waitlist(1);
    let hold = with_key(b"one", attempt("ann"));
    let Outcome::Placed(first) = sale.place(hold) else { panic!("no hold") };
    let wait = with_key(b"two", standing("bob", 1));
    let Outcome::Queued(queued) = sale.place(wait) else { panic!("not queued") };
    sale.set_state(SaleState::Paused);
    let check = |sale: &mut Sale, what: &str| {
        let replayed = Outcome::Replayed(first);
        assert_eq!(sale.refuse(Command::Place(hold)), replayed, "{what}");
        assert_eq!(sale.refuse(Command::Place(wait)), Outcome::Replayed(queued), "{what}");
    };
    check(&mut sale, "while paused");
    sale.pay(first.order);
    check(&mut sale, "after payment");
    sale.restock(1);
    assert_eq!(sale.status(queued.order), OrderStatus::Pending);
    check(&mut sale, "after the wait was over");
    assert_eq!(sale.wait(10), [queued.order]);
    check(&mut sale, "after the hold ran out");
    sale.acknowledge_all();
    assert_eq!(sale.state.order(first.order, None), Outcome::OrderNotFound);
    check(&mut sale, "after the store took the orders over");
}

#[test]
fn a_key_stands_for_its_body_and_its_buyer() {
    let mut sale = Sale::with_waitlist(9);
    sale.place(with_key(b"k", attempt("ann")));
    let key = IdempotencyKey::new(buyer("ann"), product("shoe"), b"k");
    let same = Place { key, ..attempt("ann") };
    sale.run(Command::Define(terms("hat", 5)));
    let check = |sale: &mut Sale, place: Place| {
        assert_eq!(sale.refuse(Command::Place(place)), Outcome::KeyMismatch, "{place:?}");
    };
    check(&mut sale, Place { quantity: units(2), ..same });
    check(&mut sale, Place { waitlist: true, ..same });
    check(&mut sale, Place { buyer: buyer("bob"), ..same });
    check(&mut sale, Place { product: product("hat"), ..same });
    sale.set_state(SaleState::Paused);
    check(&mut sale, Place { quantity: units(2), ..same });
    assert!(matches!(sale.place(same), Outcome::Replayed(_)));
}

#[test]
fn a_refusal_is_forgotten_by_its_key() {
    let mut sale = Sale::defined(&terms("shoe", 1));
    let hold = sale.hold(attempt("ann"));
    let late = with_key(b"k", attempt("bob"));
    assert_eq!(sale.refuse(Command::Place(late)), Outcome::SoldOut);
    sale.cancel(hold);
    assert!(matches!(sale.place(late), Outcome::Placed(_)));
}

#[test]
fn a_limit_counts_what_is_held_sold_and_queued() {
    let mut sale = Sale::with_waitlist(2);
    sale.run(Command::Define(Define { limit_per_buyer: Some(3), ..Define::new(product("shoe")) }));
    let refused = Outcome::LimitExceeded { limit: 3 };
    let sold = sale.hold(attempt("ann"));
    sale.pay(sold);
    let held = sale.hold(attempt("ann"));
    let queued = sale.queue_up(standing("ann", 1));
    assert_eq!(sale.refuse(Command::Place(standing("ann", 1))), refused);
    sale.cancel(queued);
    let queued = sale.queue_up(standing("ann", 1));
    sale.acknowledge_all();
    assert_eq!(sale.refuse(Command::Place(standing("ann", 1))), refused, "sold units count on");
    sale.cancel(held);
    assert_eq!(sale.status(queued), OrderStatus::Pending);
    assert!(matches!(sale.place(standing("ann", 1)), Outcome::Queued(_)));
    assert!(matches!(sale.place(standing("bob", 3)), Outcome::Queued(_)), "others have their own");
}

#[test]
fn a_lower_limit_binds_new_orders_only() {
    let mut sale = Sale::with_waitlist(5);
    sale.hold(Place { quantity: units(4), ..attempt("ann") });
    let limit = |units| Define { limit_per_buyer: Some(units), ..Define::new(product("shoe")) };
    sale.run(Command::Define(limit(2)));
    let refused = Outcome::LimitExceeded { limit: 2 };
    assert_eq!(sale.refuse(Command::Place(attempt("ann"))), refused);
    sale.run(Command::Define(limit(0)));
    sale.hold(attempt("ann"));
    let waiting = sale.queue_up(standing("ann", 3));
    sale.run(Command::Define(limit(1)));
    sale.restock(3);
    assert_eq!(sale.status(waiting), OrderStatus::Pending, "who stands is served");
}

#[test]
fn nobody_overtakes_the_waitlist() {
    let mut sale = Sale::with_waitlist(3);
    sale.hold(attempt("ann"));
    let head = sale.queue_up(standing("bob", 3));
    assert_eq!(sale.counters(), (2, 1, 0));
    assert_eq!(sale.refuse(Command::Place(attempt("cat"))), Outcome::SoldOut);
    let behind = sale.queue_up(standing("cat", 1));
    assert_eq!((sale.view(head).position, sale.view(behind).position), (1, 2));
    sale.restock(1);
    assert_eq!(sale.last_matched().orders, [head]);
    sale.restock(1);
    assert_eq!(sale.last_matched().orders, [behind]);
    sale.restock(1);
    sale.hold(attempt("dan"));
}

#[test]
fn a_waitlist_has_its_capacity() {
    let mut sale = Sale::with_waitlist(0);
    let capacity =
        |places| Define { waitlist_capacity: Some(places), ..Define::new(product("shoe")) };
    sale.run(Command::Define(capacity(2)));
    sale.queue_up(standing("ann", 1));
    let last = sale.queue_up(standing("bob", 1));
    assert_eq!(sale.refuse(Command::Place(standing("cat", 1))), Outcome::SoldOut);
    sale.run(Command::Define(capacity(1)));
    sale.cancel(last);
    assert_eq!(sale.refuse(Command::Place(standing("cat", 1))), Outcome::SoldOut);
    assert_eq!(sale.state.level(product("shoe")).map(|level| level.accepting), Some(false));
}

#[test]
fn a_shorter_hold_time_does_not_jump_the_queue_of_deadlines() {
    let mut sale = Sale::defined(&terms("shoe", 5));
    let long = sale.hold(attempt("ann"));
    let hold_seconds = |s| Define { hold_seconds: Some(s), ..Define::new(product("shoe")) };
    sale.run(Command::Define(hold_seconds(1)));
    let short = sale.hold(attempt("bob"));
    assert_eq!(sale.view(short).expires_at, at(10));
    sale.cancel(short);
    sale.cancel(long);
    let alone = sale.hold(attempt("cat"));
    assert_eq!(sale.view(alone).expires_at, at(1));
}

#[test]
fn many_buyers_one_unit_each() {
    let mut sale = Sale::defined(&Define { limit_per_buyer: Some(1), ..terms("shoe", 50) });
    let mut holds = 0;
    for attempts in 0..300u16 {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&(attempts % 100).to_le_bytes());
        let place = Place { buyer: BuyerId::from_bytes(id), ..attempt("ann") };
        holds += u32::from(matches!(sale.place(place), Outcome::Placed(_)));
    }
    assert_eq!((holds, sale.counters()), (50, (0, 50, 0)));
}
