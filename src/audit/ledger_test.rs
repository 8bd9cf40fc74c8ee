//! The books accept what can happen, and name what cannot.

use super::*;
use crate::audit::orders::{self, Orders};
use doorbuster_protocol::{IdempotencyKey, Quantity};

const AT: u64 = 1_700_000_000_000_000;

/// Events of one partition with one product, as an engine would number them.
struct Story {
    events: Vec<Event>,
    at: Timestamp,
}

impl Story {
    fn new(stock: u32, limit: u32, waitlist: u32) -> Self {
        let mut story = Self { events: Vec::new(), at: Timestamp::from_micros(AT) };
        let terms = Terms {
            price: 100,
            currency: Currency::USD,
            stock,
            opens_at: Timestamp::NONE,
            closes_at: Timestamp::NONE,
            limit_per_buyer: limit,
            hold_seconds: 60,
            waitlist_capacity: waitlist,
        };
        story.tell(Fact::Defined { product: product(), terms, matched: Matched::default() });
        story
    }

    fn tell(&mut self, fact: Fact) -> Sequence {
        self.at = self.at.plus_micros(1);
        self.events.push(Event { at: self.at, fact });
        self.last()
    }

    fn last(&self) -> Sequence {
        Sequence::new(self.events.len() as u64)
    }

    fn next_order(&self, name: &str) -> OrderId {
        let partition = PartitionId::new(0).expect("in range");
        OrderId::new(self.at, partition, buyer(name), self.last().next())
    }

    fn place(&mut self, name: &str) -> OrderId {
        self.place_with(name, IdempotencyKey::NONE)
    }

    fn place_with(&mut self, name: &str, key: IdempotencyKey) -> OrderId {
        let order = self.next_order(name);
        self.tell(Fact::Placed(Placed {
            order,
            product: product(),
            buyer: buyer(name),
            key,
            quantity: Quantity::ONE,
            unit_price: 100,
            currency: Currency::USD,
            expires_at: self.at.plus_seconds(60),
            waitlist: false,
        }));
        order
    }

    fn queue(&mut self, name: &str, position: u32) -> OrderId {
        let order = self.next_order(name);
        self.tell(Fact::Queued(Queued {
            order,
            product: product(),
            buyer: buyer(name),
            key: IdempotencyKey::NONE,
            quantity: Quantity::ONE,
            unit_price: 100,
            currency: Currency::USD,
            position,
        }));
        order
    }

    fn cancel(&mut self, order: OrderId, serves: &[OrderId]) {
        let matched = self.matched(serves);
        self.tell(Fact::Cancelled(Released {
            order,
            product: product(),
            quantity: Quantity::ONE,
            matched,
        }));
    }

    fn matched(&self, orders: &[OrderId]) -> Matched {
        Matched { orders: orders.to_vec(), expires_at: self.at.plus_seconds(60) }
    }

    fn pay(&mut self, order: OrderId) {
        self.tell(Fact::Paid { order, product: product(), quantity: Quantity::ONE });
    }

    /// The books of it, and what was found in events, orders, buyers' units and keys.
    fn books(&self) -> Books {
        let (mut spills, mut letters) = (Spills::new(), Letters::default());
        let partition = PartitionId::new(0).expect("in range");
        let mut ledger = Ledger::new(partition, &mut spills, &mut letters);
        ledger.begin(Sequence::new(1), Sequence::ZERO);
        for (sequence, event) in (1..).zip(&self.events) {
            ledger.event(Sequence::new(sequence), event);
        }
        let mut books = ledger.close();
        let sorted = spills.orders.finish().expect("room");
        let all = std::slice::from_ref(&books);
        let mut orders = Orders::new(sorted, spills.units, all).expect("room");
        while orders.next().expect("readable").is_some() {}
        let mut outcome = orders.outcome;
        let units = outcome.units.finish().expect("room");
        orders::check_limits(units, &mut outcome.findings, |_| partition).expect("readable");
        let keys = outcome.keys.finish().expect("room");
        orders::check_keys(keys, &mut outcome.findings).expect("readable");
        books.findings.merge(outcome.findings);
        books
    }

    #[track_caller]
    fn finds(&self, expected: &[Check]) {
        let books = self.books();
        let mut found: Vec<_> = books.findings.divergences().iter().map(|it| it.check).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{:?}", books.findings.divergences());
    }
}

fn product() -> ProductId {
    ProductId::parse("lamp").expect("a name")
}
fn buyer(name: &str) -> BuyerId {
    BuyerId::parse(name).expect("a name")
}

#[test]
fn a_sale_as_it_should_be_has_no_divergence() {
    let mut story = Story::new(2, 1, 2);
    let (ann, ben) = (story.place("ann"), story.place("ben"));
    let (cat, dan) = (story.queue("cat", 1), story.queue("dan", 2));
    story.pay(ann);
    story.cancel(ben, &[cat]);
    story.tell(Fact::Restocked { product: product(), units: 1, matched: story.matched(&[dan]) });
    story.pay(cat);
    story.cancel(dan, &[]);
    story.finds(&[]);
    let account = &story.books().accounts[&product()];
    assert_eq!((account.sold, account.held, account.available), (2, 0, 1));
    assert_eq!(account.served_from_waitlist, 2);
}

#[test]
fn selling_more_than_there_is_shows_as_oversold_and_unbalanced() {
    let mut story = Story::new(1, 0, 0);
    story.place("ann");
    story.place("ben");
    story.finds(&[Check::Oversold, Check::Balance]);
}

#[test]
fn a_buyer_over_the_limit_is_named() {
    let mut story = Story::new(9, 1, 0);
    story.place("ann");
    story.place("ann");
    story.finds(&[Check::BuyerLimit]);
}

#[test]
fn giving_back_makes_room_under_the_limit() {
    let mut story = Story::new(9, 1, 0);
    let order = story.place("ann");
    story.cancel(order, &[]);
    story.place("ann");
    story.finds(&[]);
}

#[test]
fn one_key_with_two_orders_is_named() {
    let mut story = Story::new(9, 0, 0);
    let key = IdempotencyKey::new(buyer("ann"), product(), b"k");
    story.place_with("ann", key);
    story.place_with("ann", key);
    story.finds(&[Check::OneOrderPerKey]);
}

#[test]
fn a_key_may_come_again_a_day_after_its_order_ended() {
    let mut story = Story::new(9, 0, 0);
    let key = IdempotencyKey::new(buyer("ann"), product(), b"k");
    let order = story.place_with("ann", key);
    story.cancel(order, &[]);
    story.at = story.at.plus_micros(limits::KEY_RETENTION_US);
    story.place_with("ann", key);
    story.finds(&[]);
}

#[test]
fn overtaking_the_waitlist_is_named() {
    let mut story = Story::new(1, 0, 9);
    let ann = story.place("ann");
    let (ben, cat) = (story.queue("ben", 1), story.queue("cat", 2));
    story.cancel(ann, &[cat]);
    story.finds(&[Check::Waitlist]);
    assert!(story.books().findings.divergences()[0].text.contains(&ben.to_string()));
}

#[test]
fn a_free_unit_that_passes_the_waitlist_by_is_named() {
    let mut story = Story::new(1, 0, 9);
    let ann = story.place("ann");
    story.queue("ben", 1);
    story.cancel(ann, &[]);
    // The unit is free and ben waits; then eve takes it.
    story.finds(&[Check::Waitlist]);
    story.place("eve");
    story.finds(&[Check::Waitlist, Check::Waitlist]);
}

#[test]
fn an_order_ends_once() {
    let mut story = Story::new(1, 0, 0);
    let ann = story.place("ann");
    story.cancel(ann, &[]);
    story.cancel(ann, &[]);
    story.finds(&[Check::History, Check::Balance]);
}

#[test]
fn late_payment_and_early_expiry_are_named() {
    let mut story = Story::new(2, 0, 0);
    let (ann, ben) = (story.place("ann"), story.place("ben"));
    let matched = Matched::default();
    let quantity = Quantity::ONE;
    story.tell(Fact::Expired(Released { order: ann, product: product(), quantity, matched }));
    story.finds(&[Check::Holds]);
    story.at = story.at.plus_seconds(61);
    story.pay(ben);
    story.finds(&[Check::Holds, Check::Holds]);
}

#[test]
fn an_order_that_nobody_made_and_one_made_twice_are_named() {
    let mut story = Story::new(2, 0, 0);
    story.place("ann");
    let stranger = story.next_order("eve");
    story.pay(stranger);
    story.finds(&[Check::History]);
    let mut story = Story::new(2, 0, 0);
    let order = story.place("ann");
    let Fact::Placed(placed) = story.events[1].fact.clone() else { panic!("it was placed") };
    assert_eq!(placed.order, order);
    story.tell(Fact::Placed(placed));
    // The second event names the order of the first.
    story.finds(&[Check::History, Check::History]);
}

#[test]
fn an_order_paid_twice_or_with_other_units_is_named() {
    let mut story = Story::new(2, 0, 0);
    let ann = story.place("ann");
    story.pay(ann);
    story.pay(ann);
    story.finds(&[Check::History, Check::Balance]);
    let mut story = Story::new(3, 0, 0);
    let ann = story.place("ann");
    story.place("ben");
    let quantity = Quantity::new(2).expect("in range");
    story.tell(Fact::Paid { order: ann, product: product(), quantity });
    story.finds(&[Check::History]);
}

#[test]
fn who_waits_behind_a_head_that_never_moves_and_gives_up_is_forgotten() {
    let mut story = Story::new(1, 0, 9);
    story.place("ann");
    story.queue("ben", 1);
    for _ in 0..1_000 {
        let cat = story.queue("cat", 2);
        story.cancel(cat, &[]);
    }
    story.finds(&[]);
    assert!(story.books().accounts[&product()].queue.len() < 100);
}

#[test]
fn a_gap_in_the_history_is_named() {
    let (mut spills, mut letters) = (Spills::new(), Letters::default());
    let partition = PartitionId::new(0).expect("in range");
    let mut ledger = Ledger::new(partition, &mut spills, &mut letters);
    ledger.begin(Sequence::new(1), Sequence::ZERO);
    let fact = Fact::Acknowledged { consumer: 0, through: Sequence::ZERO };
    let event = Event { at: Timestamp::from_micros(AT), fact };
    ledger.event(Sequence::new(1), &event);
    ledger.event(Sequence::new(3), &event);
    let books = ledger.close();
    assert_eq!(books.findings.count(Check::History), 1);
}
