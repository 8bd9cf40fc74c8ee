//! Rows that are missing, too many or wrong are found.

mod sale;

use doorbuster_history::history::History;
use doorbuster_history::ids::OrderId;
use doorbuster_history::row::Rows;
use doorbuster_history::terms::{SaleState, Status};
use doorbuster_history::{Kind, operation::Ask};
use sale::story::{ANN, BOB, Story, broken, buy};
use sale::{allowance, product};

fn two_orders() -> (Story, ()) {
    let mut story = Story::of_lamps(9, |_| {});
    let ann = story.ask(buy(ANN, 1));
    let order = story.order(ann);
    story.ask(Ask::Pay { order });
    story.ask(buy(BOB, 2));
    (story, ())
}

fn rows(history: &mut History) -> &mut Rows {
    history.rows.as_mut().expect("there is a store")
}

#[test]
fn rows_that_are_missing() {
    broken(Kind::MissingRow, "the store lacks order", two_orders, |history, ()| {
        rows(history).orders.pop();
    });
    broken(Kind::MissingRow, "the store lacks product", two_orders, |history, ()| {
        rows(history).products.pop();
    });
}

#[test]
fn rows_that_are_too_many() {
    broken(Kind::ExtraRow, "no event made it", two_orders, |history, ()| {
        let mut row = rows(history).orders[0];
        row.order = OrderId::new(5);
        rows(history).orders.push(row);
    });
    broken(Kind::ExtraRow, "twice", two_orders, |history, ()| {
        let row = rows(history).orders[0];
        rows(history).orders.push(row);
    });
    broken(Kind::ExtraRow, "no event defined it", two_orders, |history, ()| {
        let mut row = rows(history).products[0];
        row.product = product(77);
        rows(history).products.push(row);
    });
}

#[test]
fn orders_that_were_set_aside_have_no_rows() {
    broken(Kind::ExtraRow, "was set aside", two_orders, |history, ()| {
        let order = rows(history).orders[0].order;
        rows(history).set_aside.push(order);
    });
    broken(Kind::MissingRow, "the store lacks order", two_orders, |history, ()| {
        let row = rows(history).orders.pop().expect("there are two");
        rows(history).set_aside.push(row.order);
        rows(history).orders.pop();
    });
}

#[test]
fn rows_that_are_wrong() {
    let check = |words: &str, change: &dyn Fn(&mut Rows)| {
        broken(Kind::WrongRow, words, two_orders, |history, ()| change(rows(history)));
    };
    check(r#"has status "pending""#, &|rows| rows.orders[0].status = Status::Pending);
    check("has totalAmount 499", &|rows| rows.orders[0].total_amount = 499);
    check("updatedUs 1", &|rows| rows.orders[0].updated_us = 1);
    check("has quantity 2", &|rows| rows.orders[1].quantity = 2);
    check(r#"has state "paused""#, &|rows| rows.products[0].state = SaleState::Paused);
    check("has terms", &|rows| rows.products[0].terms.stock = 8);
}

#[test]
fn a_store_that_is_not_given_is_not_judged() {
    let (story, ()) = two_orders();
    let (operations, events) = (story.operations, story.engine.events);
    let history = History { operations, events, rows: None };
    assert!(doorbuster_history::check(&history, &allowance()).is_clean());
}
