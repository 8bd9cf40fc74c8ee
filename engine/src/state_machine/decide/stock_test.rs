//! Defining, restocking, withdrawing and pausing, and whom new units go to.

use crate::state_machine::State;
use crate::state_machine::fixture::*;
use crate::state_machine::state::Bounds;
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::outcome::ProductView;
use doorbuster_protocol::{Command, Currency, Outcome, Timestamp, limits};

#[test]
fn a_new_product_has_defaults() {
    let mut sale = Sale::empty();
    let bare = Define { price: Some(1999), stock: Some(7), ..Define::new(product("shoe")) };
    let expected = ProductView {
        product: product("shoe"),
        price: 1999,
        currency: Currency::USD,
        state: SaleState::Open,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::NONE,
        stock: 7,
        available: 7,
        held: 0,
        sold: 0,
        limit_per_buyer: 0,
        hold_seconds: limits::HOLD_SECONDS_DEFAULT,
        waitlist_capacity: 0,
        waitlist_length: 0,
    };
    assert_eq!(sale.run(Command::Define(bare)), Outcome::Product(expected));
    assert_eq!(sale.shoe(), expected);
    assert_eq!(sale.refuse(Command::Define(bare)), Outcome::Product(expected), "nothing new");
    assert_eq!(sale.state.product(product("hat")), Outcome::ProductNotFound);
}

#[test]
fn definitions_are_refused_in_their_order() {
    let bounds = Bounds { products: 1, orders: 10, buyers: 10 };
    let mut sale = Sale::of(State::with_bounds(partition(), bounds));
    #[track_caller]
    fn check(sale: &mut Sale, define: Define, expected: Outcome) {
        assert_eq!(sale.refuse(Command::Define(define)), expected);
    }
    let bare = Define::new(product("shoe"));
    check(&mut sale, Define { stock: Some(1), ..bare }, Outcome::DefinitionIncomplete);
    check(&mut sale, Define { price: Some(1), ..bare }, Outcome::DefinitionIncomplete);
    let reversed = Define { opens_at: Some(at(9)), closes_at: Some(at(9)), ..terms("shoe", 5) };
    check(&mut sale, reversed, Outcome::WindowReversed);
    sale.run(Command::Define(terms("shoe", 5)));
    check(&mut sale, terms("hat", 5), Outcome::Full);
    check(&mut sale, Define { closes_at: Some(at(9)), ..reversed }, Outcome::WindowReversed);
    sale.hold(Place { quantity: units(2), ..attempt("ann") });
    let bob = sale.hold(attempt("bob"));
    sale.pay(bob);
    let committed = Outcome::StockCommitted { committed: 3 };
    check(&mut sale, Define { stock: Some(2), ..bare }, committed);
    let euro = Define { currency: Currency::parse("EUR"), stock: Some(2), ..bare };
    check(&mut sale, euro, Outcome::CurrencyFixed);
    assert!(matches!(
        sale.run(Command::Define(Define { stock: Some(3), ..bare })),
        Outcome::Product(view) if (view.stock, view.available) == (3, 0)
    ));
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let mut sale = Sale::defined(&Define { limit_per_buyer: Some(4), ..terms("shoe", 5) });
    let order = sale.hold(attempt("ann"));
    let before = sale.shoe();
    let change = Define { price: Some(900), ..Define::new(product("shoe")) };
    let after = ProductView { price: 900, ..before };
    assert_eq!(sale.run(Command::Define(change)), Outcome::Product(after));
    assert_eq!(sale.shoe(), after);
    assert_eq!(sale.view(order).unit_price, 500, "an order keeps its price");
    let later = sale.hold(attempt("bob"));
    assert_eq!(sale.view(later).unit_price, 900);
}

#[test]
fn more_stock_serves_the_waitlist() {
    #[track_caller]
    fn check(more: Command, served: usize, expected: (u32, u32, u32)) {
        let mut sale = Sale::with_waitlist(2);
        let sold = sale.hold(attempt("ann"));
        sale.pay(sold);
        sale.hold(attempt("bob"));
        let standing = [2, 1, 3].map(|units| sale.queue_up(standing("cat", units)));
        sale.run(Command::Define(Define { price: Some(1), ..Define::new(product("shoe")) }));
        sale.now = at(1);
        let outcome = sale.run(more);
        assert_eq!(outcome, Outcome::Product(sale.shoe()), "the answer is what is there after");
        assert_eq!(sale.last_matched().orders, standing[..served]);
        assert_eq!(sale.counters(), expected);
        for order in &standing[..served] {
            assert_eq!(sale.view(*order).unit_price, 500, "the price of when they queued up");
        }
    }
    let restock = |units| Command::Restock { product: product("shoe"), units };
    let define =
        |stock| Command::Define(Define { stock: Some(stock), ..Define::new(product("shoe")) });
    check(restock(1), 0, (1, 1, 1));
    check(restock(2), 1, (0, 3, 1));
    check(restock(5), 2, (2, 4, 1));
    check(restock(7), 3, (1, 7, 1));
    check(define(3), 0, (1, 1, 1));
    check(define(4), 1, (0, 3, 1));
    check(define(9), 3, (1, 7, 1));
}

#[test]
fn a_definition_with_a_new_hold_time_serves_by_it() {
    let mut sale = Sale::with_waitlist(0);
    let order = sale.queue_up(standing("ann", 1));
    let define = Define { stock: Some(1), hold_seconds: Some(77), ..Define::new(product("shoe")) };
    sale.run(Command::Define(define));
    assert_eq!(sale.view(order).expires_at, at(77));
}

#[test]
fn stock_is_added_and_taken_within_its_bounds() {
    let mut sale = Sale::defined(&terms("shoe", 5));
    sale.hold(Place { quantity: units(3), ..attempt("ann") });
    let restock = |units| Command::Restock { product: product("shoe"), units };
    let withdraw = |units| Command::Withdraw { product: product("shoe"), units };
    let too_many = Outcome::StockCommitted { committed: 3 };
    assert_eq!(sale.refuse(withdraw(3)), too_many);
    assert!(matches!(sale.run(withdraw(2)), Outcome::Product(view) if view == sale.shoe()));
    assert_eq!((sale.shoe().stock, sale.counters()), (3, (0, 3, 0)));
    assert_eq!(sale.refuse(restock(limits::STOCK_MAX - 2)), Outcome::StockTooLarge);
    assert_eq!(sale.refuse(restock(u32::MAX)), Outcome::StockTooLarge);
    sale.run(restock(limits::STOCK_MAX - 3));
    assert_eq!(sale.shoe().stock, limits::STOCK_MAX);
    assert_eq!(sale.refuse(restock(1)), Outcome::StockTooLarge);
    assert_eq!(sale.refuse(restock(0)), Outcome::Product(sale.shoe()));
    assert_eq!(sale.refuse(withdraw(0)), Outcome::Product(sale.shoe()));
    for unknown in [
        Command::Restock { product: product("hat"), units: 1 },
        Command::Withdraw { product: product("hat"), units: 1 },
        Command::SetState { product: product("hat"), state: SaleState::Paused },
    ] {
        assert_eq!(sale.refuse(unknown), Outcome::ProductNotFound);
    }
}

#[test]
fn a_state_that_is_set_already_makes_no_event() {
    let mut sale = Sale::defined(&terms("shoe", 5));
    let open = Command::SetState { product: product("shoe"), state: SaleState::Open };
    assert_eq!(sale.refuse(open), Outcome::Product(sale.shoe()));
    assert_eq!(sale.set_state(SaleState::Paused), Outcome::Product(sale.shoe()));
    assert_eq!(sale.shoe().state, SaleState::Paused);
}

#[test]
fn levels_change_once_per_ask() {
    let mut sale = Sale::with_waitlist(1);
    sale.run(Command::Define(terms("hat", 5)));
    assert_eq!(sale.state.take_changed_products(), [product("shoe"), product("hat")]);
    assert_eq!(sale.state.take_changed_products(), []);
    let hold = sale.hold(attempt("ann"));
    sale.pay(hold);
    assert_eq!(sale.state.take_changed_products(), [product("shoe")]);
    let level = sale.state.level(product("shoe")).expect("a level");
    assert_eq!((level.stock, level.available, level.held, level.sold), (1, 0, 0, 1));
    assert_eq!((level.waitlist_free, level.accepting), (100, true));
    assert_eq!(sale.state.level(product("sock")), None);
}
