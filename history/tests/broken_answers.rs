//! Answers that the log does not bear out are found.

mod sale;

use doorbuster_history::Kind;
use doorbuster_history::answer::{Answer, OrderSeen, Refusal};
use doorbuster_history::event::{Fact, Ordered};
use doorbuster_history::ids::{KeyId, OrderId};
use doorbuster_history::operation::{Ask, Change};
use doorbuster_history::terms::{SaleState, Status};
use sale::story::{ANN, BOB, CAT, LAMP, Story, broken, buy, buy_many, insert_after, last};
use sale::story::{ordered, queue, remove, told, told_product};
use sale::{buyer, product};

/// Nine lamps; ann buys one, and it is looked at, paid, and looked at again.
fn paid() -> (Story, OrderId) {
    let mut story = Story::of_lamps(9, |_| {});
    let ann = story.ask(buy(ANN, 1));
    let order = story.order(ann);
    story.ask(Ask::LookAtOrder { order, buyer: Some(buyer(ANN)) });
    story.ask(Ask::Pay { order });
    story.ask(Ask::LookAtProduct { product: product(LAMP) });
    story.ask(Ask::LookAtOrder { order, buyer: None });
    (story, order)
}

/// Ann buys one of nine lamps, and asks again with her key.
fn replayed() -> (Story, ()) {
    let mut story = Story::of_lamps(9, |_| {});
    story.ask(buy(ANN, 1));
    story.ask(buy(ANN, 1));
    (story, ())
}

fn refuse(refusal: Refusal) -> Answer {
    Answer::Refused(refusal)
}

#[test]
fn an_acknowledged_order_that_is_lost() {
    let kind = Kind::LostAcknowledgement;
    let story = || {
        let mut story = Story::of_lamps(9, |_| {});
        story.ask(buy(ANN, 1));
        (story, ())
    };
    let words = "the log has no event that made it";
    broken(kind, words, story, |history, ()| drop(remove(history, 1)));
    broken(kind, "by the log its key made order", story, |history, ()| {
        told(history, 1).order = OrderId::new(5);
    });
    let again = "no event that made the order";
    broken(kind, again, replayed, |history, ()| drop(remove(history, 1)));
    broken(kind, "by the log it is pending", paid, |history, _| {
        let at = last(history, "paid");
        remove(history, at);
    });
    let story = || {
        let mut story = Story::of_lamps(9, |_| {});
        story.ask(Ask::Restock { product: product(LAMP), units: 3 });
        (story, ())
    };
    broken(kind, "no event of the log did what it asked", story, |history, ()| {
        let at = last(history, "restocked");
        remove(history, at);
    });
}

#[test]
fn an_answer_that_says_something_else_than_the_log() {
    let kind = Kind::WrongAnswer;
    broken(kind, "the unit price of order", paid, |history, _| {
        told(history, 1).unit_price = Some(499);
    });
    broken(kind, "the deadline of order", paid, |history, _| {
        told(history, 1).expires_us = Some(7);
    });
    broken(kind, "it asked for (", paid, |history, _| {
        history.operations[1].ask = buy_many(ANN, 1, 2, false);
    });
    broken(kind, "it asked for order", paid, |history, _| {
        told(history, 3).status = Status::Expired;
    });
    broken(kind, "had no key", replayed, |history, ()| {
        let Ask::Place { key, .. } = &mut history.operations[2].ask else { panic!("an attempt") };
        *key = None;
    });
    broken(kind, "was shown an order of buyer", paid, |history, order| {
        history.operations[2].ask = Ask::LookAtOrder { order, buyer: Some(buyer(BOB)) };
    });
    broken(kind, "sold-out is no answer to pay", paid, |history, _| {
        history.operations[3].answer = refuse(Refusal::SoldOut);
    });
}

#[test]
fn a_key_that_is_answered_differently() {
    let kind = Kind::ChangedAnswer;
    broken(kind, "the deadline of order", replayed, |history, ()| {
        told(history, 2).expires_us = Some(7);
    });
    broken(kind, "the status of order", replayed, |history, ()| {
        told(history, 2).status = Status::Paid;
    });
    broken(kind, "whose first answer it must get", replayed, |history, ()| {
        history.operations[2].answer = refuse(Refusal::SoldOut);
    });
    broken(kind, "with the same body", replayed, |history, ()| {
        history.operations[2].answer = refuse(Refusal::IdempotencyMismatch);
    });
    broken(Kind::AcknowledgedTwice, "did event 1/2", replayed, |history, ()| {
        let Answer::Order { replayed, .. } = &mut history.operations[2].answer else {
            panic!("it was replayed")
        };
        *replayed = false;
    });
}

#[test]
fn a_refusal_that_was_never_right() {
    let kind = Kind::UnjustifiedRefusal;
    let free = || {
        let mut story = Story::of_lamps(2, |change| change.limit_per_buyer = Some(2));
        let ann = story.ask(buy(ANN, 1));
        let order = story.order(ann);
        let open = SaleState::Open;
        let bob = story.ask_unheard(buy_many(BOB, 2, 3, false));
        story.ask(Ask::Cancel { order: OrderId::new(1), buyer: None });
        story.ask(Ask::Withdraw { product: product(LAMP), units: 9 });
        story.ask(Ask::SetState { product: product(LAMP), state: open });
        (story, (order, bob))
    };
    for (refusal, words) in [
        (Refusal::SoldOut, "it was sold out at no time after"),
        (Refusal::PurchaseLimit, "at the first the buyer had 0 units of at most 2"),
        (Refusal::SaleNotOpen, "opening at 0"),
        (Refusal::SalePaused, "the sale was Open"),
        (Refusal::SaleEnded, "closing at 0"),
        (Refusal::ProductNotFound, "had defined it"),
        (Refusal::IdempotencyMismatch, "its key had made no order"),
    ] {
        broken(kind, words, free, |history, (_, bob)| {
            history.operations[bob].ask = buy(BOB, 2);
            history.operations[bob].answered_us = Some(history.operations[bob].sent_us + 9);
            history.operations[bob].answer = refuse(refusal);
        });
    }
    broken(kind, "it was pending at the first", free, |history, (order, _)| {
        history.operations[3].ask = Ask::Cancel { order, buyer: None };
    });
    broken(kind, "Some(Pending) at the first", free, |history, (order, _)| {
        history.operations[3].ask = Ask::Pay { order };
        history.operations[3].answer = refuse(Refusal::OrderFinal(None));
    });
    broken(kind, "it did not wait at any time", free, |history, (order, _)| {
        history.operations[3].ask = Ask::Pay { order };
        history.operations[3].answer = refuse(Refusal::OrderQueued);
    });
    broken(kind, "it was right at no time", free, |history, _| {
        history.operations[4].ask = Ask::Withdraw { product: product(LAMP), units: 1 };
    });
    broken(kind, "it was right at no time", free, |history, _| {
        let change = Change { price: Some(1), ..Change::default() };
        history.operations[4].ask = Ask::Define { product: product(LAMP), change };
        history.operations[4].answer = refuse(Refusal::WindowReversed);
    });
}

#[test]
fn a_flag_that_says_sold_out_for_too_long() {
    let story = |later_us: u64| {
        move || {
            let mut story = Story::of_lamps(1, |_| {});
            let ann = story.ask(buy(ANN, 1));
            let order = story.order(ann);
            story.ask(Ask::Cancel { order, buyer: None });
            story.now_us += later_us;
            let bob = story.ask_unheard(Ask::Place {
                product: product(LAMP),
                buyer: buyer(BOB),
                key: None,
                quantity: 2,
                waitlist: false,
            });
            (story, bob)
        }
    };
    let refused = |history: &mut doorbuster_history::History, bob: usize| {
        let Ask::Place { quantity, .. } = &mut history.operations[bob].ask else {
            panic!("an attempt")
        };
        *quantity = 1;
        history.operations[bob].answered_us = Some(history.operations[bob].sent_us + 9);
        history.operations[bob].answer = refuse(Refusal::SoldOut);
    };
    broken(Kind::UnjustifiedRefusal, "was sold out at no time", story(110_000), refused);
    // A moment before that, the edge could not know better.
    let (in_time, bob) = story(90_000)();
    let rows = Some(in_time.engine.rows());
    let (operations, events) = (in_time.operations, in_time.engine.events);
    let mut history = doorbuster_history::History { operations, events, rows };
    refused(&mut history, bob);
    let verdict = doorbuster_history::check(&history, &sale::allowance());
    assert!(verdict.is_clean(), "{verdict}");
    // But for a key it asks.
    if let Ask::Place { key, .. } = &mut history.operations[bob].ask {
        *key = Some(KeyId::new(8));
    }
    let verdict = doorbuster_history::check(&history, &sale::allowance());
    assert_eq!(verdict.count(Kind::UnjustifiedRefusal), 1, "{verdict}");
}

#[test]
fn a_look_that_shows_what_is_past() {
    let kind = Kind::StaleRead;
    broken(kind, "the order was paid at the first", paid, |history, _| {
        told(history, 5).status = Status::Pending;
    });
    broken(kind, "it never was expired", paid, |history, _| {
        told(history, 5).status = Status::Expired;
    });
    broken(kind, "the time of change of order", paid, |history, _| {
        told(history, 5).updated_us = Some(1);
    });
    broken(kind, "8 were available, 0 held, 1 sold", paid, |history, _| {
        let seen = told_product(history, 4);
        (seen.held, seen.sold) = (1, 0);
    });
    let waiting = || {
        let mut story = Story::of_lamps(1, |change| change.waitlist_capacity = Some(9));
        story.ask(buy(ANN, 1));
        let bob = story.ask(queue(BOB, 2));
        let cat = story.ask(queue(CAT, 3));
        let (bob, cat) = (story.order(bob), story.order(cat));
        story.ask(Ask::Cancel { order: bob, buyer: None });
        let look = story.ask(Ask::LookAtOrder { order: cat, buyer: None });
        (story, look)
    };
    broken(kind, "is number 2", waiting, |history, look| told(history, look).position = Some(2));
}

#[test]
fn answers_that_contradict_each_other_in_time() {
    let kind = Kind::RealTimeInversion;
    let two = || {
        let mut story = Story::of_lamps(9, |_| {});
        story.ask(buy(ANN, 1));
        story.ask(buy(BOB, 2));
        (story, ())
    };
    // Bob's order stands after ann's, though hers was sent when he had his answer.
    broken(kind, "sent after operation 2 had been answered", two, |history, ()| {
        let bob_us = history.operations[2].answered_us.expect("it was answered");
        history.operations[1].sent_us = bob_us + 1;
        history.operations[1].answered_us = Some(bob_us + 2);
    });
    // A look showed both orders before ann sent hers.
    let looked = || {
        let (mut story, ()) = two();
        story.ask(Ask::LookAtProduct { product: product(LAMP) });
        (story, ())
    };
    let words = "all that time the log stood at event 1/1";
    broken(Kind::StaleRead, words, looked, |history, ()| {
        let look_us = history.operations[3].answered_us.expect("it was answered");
        history.operations[2].answered_us = Some(look_us + 5);
        history.operations[2].sent_us = look_us - 5;
        history.operations[1].sent_us = look_us + 1;
        history.operations[1].answered_us = Some(look_us + 2);
    });
    broken(Kind::WrongTime, "too early", two, |history, ()| {
        history.operations[2].sent_us += 1_000_000;
        history.operations[2].answered_us = Some(history.operations[2].sent_us + 1);
    });
    broken(Kind::WrongTime, "too late", two, |history, ()| {
        history.operations[2].sent_us -= 1_000_000;
        history.operations[2].answered_us = Some(history.operations[2].sent_us + 1);
    });
}

#[test]
fn an_event_that_nobody_asked_for() {
    let kind = Kind::UnexplainedEvent;
    let words = "no operation asked for it";
    broken(kind, words, paid, |history, _| {
        let first = *ordered(history, 1);
        let (order, key) = (OrderId::new(77), Some(KeyId::new(9)));
        insert_after(history, 1, Fact::Ordered(Ordered { order, key, ..first }));
    });
    broken(kind, words, paid, |history, _| {
        let first = *ordered(history, 1);
        let (order, key) = (OrderId::new(77), None);
        insert_after(history, 1, Fact::Ordered(Ordered { order, key, ..first }));
    });
    broken(kind, words, paid, |history, _| drop(history.operations.remove(3)));
    broken(kind, "says that product", paid, |history, _| drop(history.operations.remove(0)));
    broken(kind, "was told that another had done it", replayed, |history, ()| {
        history.operations.remove(1);
    });
}

#[test]
fn an_event_that_all_were_told_was_not_done() {
    let kind = Kind::DoneThoughRefused;
    let unheard = || {
        let mut story = Story::of_lamps(1, |_| {});
        let ann = story.ask_unheard(buy(ANN, 1));
        let order = story.last_order();
        let pay = story.ask_unheard(Ask::Pay { order });
        (story, (ann, pay))
    };
    broken(kind, "operation 1 was told that it was not done", unheard, |history, (ann, _)| {
        history.operations[ann].answered_us = Some(history.operations[ann].sent_us + 1);
        history.operations[ann].answer = Answer::NotDone("overloaded".to_owned());
    });
    broken(kind, "operation 2 was told that it was not done", unheard, |history, (_, pay)| {
        history.operations[pay].answered_us = Some(history.operations[pay].sent_us + 1);
        history.operations[pay].answer = refuse(Refusal::OrderNotFound);
    });
    let keyless = || {
        let mut story = Story::of_lamps(1, |_| {});
        let (product, buyer) = (product(LAMP), buyer(ANN));
        let place = Ask::Place { product, buyer, key: None, quantity: 1, waitlist: false };
        let ann = story.ask_unheard(place);
        (story, ann)
    };
    broken(kind, "operation 1 was told", keyless, |history, ann| {
        history.operations[ann].answered_us = Some(history.operations[ann].sent_us + 1);
        history.operations[ann].answer = refuse(Refusal::SoldOut);
    });
}

#[test]
fn a_history_that_cannot_be() {
    let kind = Kind::BrokenHistory;
    broken(kind, "two operations 1", paid, |history, _| history.operations[2].number = 1);
    broken(kind, "before it was sent", paid, |history, _| {
        history.operations[2].answered_us = Some(1);
    });
    broken(kind, "no time of it", paid, |history, order| {
        history.operations[2].answered_us = None;
        let seen = Box::new(OrderSeen::new(order, Status::Pending));
        history.operations[2].answer = Answer::Order { seen, replayed: false };
    });
}
