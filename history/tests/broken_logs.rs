//! What no log may hold is found, whatever clients were told.

mod sale;

use doorbuster_history::Kind;
use doorbuster_history::event::{Fact, Ordered, Released, Standing};
use doorbuster_history::ids::{KeyId, OrderId};
use doorbuster_history::operation::Ask;
use doorbuster_history::terms::SaleState;
use sale::story::{ANN, BOB, CAT, LAMP, Story, broken, buy, buy_many, insert_after, last};
use sale::story::{ordered, queue, remove};
use sale::{buyer, product};

/// A lamp of which one is there, and ann has it.
fn sold_out() -> (Story, ()) {
    let mut story = Story::of_lamps(1, |_| {});
    story.ask(buy(ANN, 1));
    (story, ())
}

/// One lamp, which ann has; bob and cat wait.
fn two_wait() -> (Story, OrderId) {
    let mut story = Story::of_lamps(1, |change| change.waitlist_capacity = Some(9));
    let ann = story.ask(buy(ANN, 1));
    story.ask(queue(BOB, 2));
    story.ask(queue(CAT, 3));
    let order = story.order(ann);
    (story, order)
}

/// The same, and ann gives it back: bob has it, and cat waits.
fn one_served() -> (Story, ()) {
    let (mut story, order) = two_wait();
    story.ask(Ask::Cancel { order, buyer: None });
    (story, ())
}

fn another(first: &Ordered) -> Ordered {
    Ordered { order: OrderId::new(77), buyer: buyer(BOB), key: None, ..*first }
}

#[test]
fn a_unit_that_is_sold_twice() {
    broken(Kind::Oversold, "1 were held and 0 sold of 1", sold_out, |history, ()| {
        let second = another(ordered(history, 1));
        insert_after(history, 1, Fact::Ordered(second));
    });
    broken(Kind::Oversold, "the stock of product", sold_out, |history, ()| {
        let Fact::Defined { product, terms, served } = history.events[0].fact.clone() else {
            panic!("it is a definition")
        };
        let terms = doorbuster_history::terms::Terms { stock: 0, ..terms };
        insert_after(history, 1, Fact::Defined { product, terms, served });
    });
    broken(Kind::Oversold, "were taken out", sold_out, |history, ()| {
        insert_after(history, 1, Fact::Withdrawn { product: product(LAMP), units: 1 });
    });
    broken(Kind::Oversold, "was served from the waitlist", one_served, |history, ()| {
        let Fact::Cancelled(Released { served, .. }) = &mut history.events[4].fact else {
            panic!("it is a cancel")
        };
        let cat = OrderId::new(0xA0_0003);
        served.orders.push(cat);
    });
}

#[test]
fn units_that_come_from_nowhere() {
    let story = || {
        let (mut story, order) = two_wait();
        story.ask(Ask::Pay { order });
        (story, ())
    };
    broken(Kind::WrongUnits, "the order is of 1", story, |history, ()| {
        let Fact::Paid { quantity, .. } = &mut history.events[4].fact else { panic!("it is paid") };
        *quantity = 2;
    });
}

#[test]
fn an_order_that_ends_twice() {
    let story = || {
        let (mut story, ()) = sold_out();
        let order = story.last_order();
        story.ask(Ask::Pay { order });
        (story, order)
    };
    broken(Kind::WrongEnd, "it was paid then", story, |history, order| {
        let at = last(history, "paid");
        let (product, served) = (product(LAMP), Default::default());
        let released = Released { order, product, quantity: 1, served };
        insert_after(history, at, Fact::Expired(released));
    });
    broken(Kind::WrongEnd, "no event before it made the order", story, |history, _| {
        let at = last(history, "paid");
        let (order, product) = (OrderId::new(78), product(LAMP));
        insert_after(history, at, Fact::Paid { order, product, quantity: 1 });
    });
    broken(Kind::WrongEnd, "for another product", story, |history, _| {
        let at = last(history, "paid");
        let Fact::Paid { product: of, .. } = &mut history.events[at].fact else {
            panic!("it is paid")
        };
        *of = product(LAMP + 3);
    });
}

#[test]
fn a_key_that_makes_two_orders() {
    let story = || {
        let mut story = Story::of_lamps(9, |_| {});
        story.ask(buy(ANN, 1));
        (story, ())
    };
    broken(Kind::TwoOrdersForKey, "it had made order", story, |history, ()| {
        let first = *ordered(history, 1);
        let second = Ordered { order: OrderId::new(77), ..first };
        insert_after(history, 1, Fact::Ordered(second));
    });
    broken(Kind::BrokenLog, "made it already", story, |history, ()| {
        let first = *ordered(history, 1);
        insert_after(history, 1, Fact::Ordered(Ordered { key: Some(KeyId::new(9)), ..first }));
    });
}

#[test]
fn a_waitlist_that_is_jumped() {
    let kind = Kind::JumpedWaitlist;
    broken(kind, "order 00000000-0000-0000-0000-000000a00002 was before it", one_served, {
        |history, ()| {
            let Fact::Cancelled(Released { served, .. }) = &mut history.events[4].fact else {
                panic!("it is a cancel")
            };
            served.orders = vec![OrderId::new(0xA0_0003)];
        }
    });
    broken(kind, "2 orders were waiting", two_wait, |history, _| {
        let first = *ordered(history, 1);
        insert_after(history, 3, Fact::Ordered(another(&first)));
    });
    broken(kind, "was given place 1 on the waitlist", two_wait, |history, _| {
        ordered(history, 3).standing = Standing::Waiting { position: 1 };
    });
    broken(kind, "its buyer did not want to wait", two_wait, |history, _| {
        ordered(history, 3).waitlist = false;
    });
    broken(kind, "it has 1 places, all taken", two_wait, |history, _| {
        let Fact::Defined { terms, .. } = &mut history.events[0].fact else {
            panic!("it is a definition")
        };
        terms.waitlist_capacity = 1;
    });
    broken(kind, "nobody was waiting", sold_out, |history, ()| {
        let (product, units) = (product(LAMP), 1);
        let served =
            doorbuster_history::event::Served { orders: vec![OrderId::new(4)], expires_us: 1 };
        insert_after(history, 1, Fact::Restocked { product, units, served });
    });
}

#[test]
fn units_that_nobody_is_served_with() {
    let kind = Kind::UnservedWaitlist;
    broken(kind, "1 units are free, and it is the first that waits", one_served, |history, ()| {
        let Fact::Cancelled(Released { served, .. }) = &mut history.events[4].fact else {
            panic!("it is a cancel")
        };
        served.orders.clear();
    });
    broken(kind, "1 units were free and nobody waited", sold_out, |history, ()| {
        ordered(history, 1).standing = Standing::Waiting { position: 1 };
    });
}

#[test]
fn a_hold_that_runs_out_before_its_time() {
    let story = || {
        let (mut story, ()) = sold_out();
        story.wait(11);
        (story, ())
    };
    broken(Kind::EarlyExpiry, "1 us before its deadline", story, |history, ()| {
        let Standing::Held { expires_us } = ordered(history, 1).standing else {
            panic!("it is held")
        };
        let at = last(history, "expired");
        history.events[at].at_us = expires_us - 1;
    });
    broken(Kind::WrongDeadline, "holds last 10 s", story, |history, ()| {
        let Standing::Held { expires_us } = &mut ordered(history, 1).standing else {
            panic!("it is held")
        };
        *expires_us -= 1_000_000;
    });
}

#[test]
fn a_hold_that_is_paid_after_its_time() {
    let story = || {
        let (mut story, ()) = sold_out();
        let order = story.last_order();
        story.ask(Ask::Pay { order });
        (story, ())
    };
    broken(Kind::LatePayment, "0 us after its deadline", story, |history, ()| {
        let Standing::Held { expires_us } = ordered(history, 1).standing else {
            panic!("it is held")
        };
        let at = last(history, "paid");
        history.events[at].at_us = expires_us;
    });
}

#[test]
fn a_buyer_beyond_the_limit() {
    let story = || {
        let mut story = Story::of_lamps(9, |change| change.limit_per_buyer = Some(3));
        story.ask(buy_many(ANN, 1, 2, false));
        story.ask(buy(ANN, 2));
        (story, ())
    };
    broken(Kind::OverLimit, "the buyer had 2 units", story, |history, ()| {
        let Fact::Defined { terms, .. } = &mut history.events[0].fact else {
            panic!("it is a definition")
        };
        terms.limit_per_buyer = 2;
    });
}

#[test]
fn an_order_while_the_sale_does_not_run() {
    let kind = Kind::OutsideSale;
    broken(kind, "the sale was paused", sold_out, |history, ()| {
        let (product, state) = (product(LAMP), SaleState::Paused);
        insert_after(history, 0, Fact::StateSet { product, state });
    });
    for (words, opens_us, closes_us) in [("the sale opens at", 1, 0), ("the sale closed at", 0, 1)]
    {
        broken(kind, words, sold_out, |history, ()| {
            let at_us = history.events[1].at_us;
            let Fact::Defined { terms, .. } = &mut history.events[0].fact else {
                panic!("it is a definition")
            };
            terms.opens_us = opens_us * (at_us + 1);
            terms.closes_us = closes_us * at_us;
        });
    }
    broken(kind, "it costs 501 USD, the price was 500 USD", sold_out, |history, ()| {
        ordered(history, 1).unit_price += 1;
    });
}

#[test]
fn a_log_with_gaps_or_without_order() {
    let kind = Kind::BrokenLog;
    broken(kind, "numbered without a gap", sold_out, |history, ()| {
        history.events[1].position.sequence += 1;
    });
    broken(kind, "was it trimmed?", sold_out, |history, ()| {
        history.events.remove(0);
    });
    broken(kind, "does not go back", two_wait, |history, _| history.events[2].at_us -= 1_000_000);
    broken(kind, "no event before it defined the product", sold_out, |history, ()| {
        remove(history, 0);
    });
    broken(kind, "a consumer has what was there", sold_out, |history, ()| {
        insert_after(history, 1, Fact::Acknowledged { consumer: 0, through: 1 });
        let Fact::Acknowledged { through, .. } = &mut history.events[2].fact else {
            panic!("it was added")
        };
        *through = 3;
    });
    broken(kind, "is in the log of two partitions", two_wait, |history, _| {
        history.events[3].position.partition += 1;
        history.events[3].position.sequence = 1;
    });
}
