//! The books accept what can happen, and name what cannot.

use super::*;

const AT: u64 = 1_700_000_000_000_000;

/// Writes events of one partition with one product, as an engine would number them.
struct Story {
    ledger: Ledger,
    at: Timestamp,
}

impl Story {
    fn new(stock: u32, limit: u32, waitlist: u32) -> Self {
        let partition = PartitionId::new(0).expect("in range");
        let mut story = Self { ledger: Ledger::new(partition), at: Timestamp::from_micros(AT) };
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
        let sequence = self.ledger.last().next();
        self.ledger.enter(sequence, &Event { at: self.at, fact });
        sequence
    }

    fn next_order(&self, name: &str) -> OrderId {
        let partition = PartitionId::new(0).expect("in range");
        OrderId::new(self.at, partition, buyer(name), self.ledger.last().next())
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

    #[track_caller]
    fn finds(&self, expected: &[Check]) {
        let found: Vec<_> = self.ledger.findings.divergences().iter().map(|it| it.check).collect();
        assert_eq!(found, expected, "{:?}", self.ledger.findings.divergences());
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
    let account = &story.ledger.accounts[&product()];
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
    assert!(story.ledger.findings.divergences()[0].text.contains(&ben.to_string()));
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
fn a_gap_in_the_history_is_named() {
    let mut story = Story::new(2, 0, 0);
    let event =
        Event { at: story.at, fact: Fact::Acknowledged { consumer: 0, through: Sequence::ZERO } };
    story.ledger.enter(story.ledger.last().plus(2), &event);
    story.finds(&[Check::History]);
}
