//! Everything that means something is in the digest: each row spoils one thing in a sound state.

use crate::state_machine::fixture::*;
use crate::state_machine::list::List;
use crate::state_machine::order::{OrderSlot, Orders};
use crate::state_machine::product::ProductSlot;
use crate::state_machine::{State, snapshot};
use doorbuster_protocol::command::{Define, SaleState};
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Currency, IdempotencyKey, Sequence, Timestamp};

/// Three holds, two standing orders, a final order, two receipts.
fn lively() -> Sale {
    let mut sale = Sale::with_waitlist(6);
    for name in ["ann", "bob", "cat"] {
        sale.hold(with_key(b"k", attempt(name)));
    }
    let ended: Vec<_> = ["dan", "eve", "fay"]
        .map(|name| sale.hold(with_key(b"k", attempt(name))))
        .into_iter()
        .collect();
    sale.queue_up(standing("gus", 9));
    sale.queue_up(standing("hal", 9));
    sale.pay(ended[0]);
    sale.pay(ended[1]);
    sale.acknowledge_all();
    sale.pay(ended[2]);
    sale
}

fn copy(state: &State) -> State {
    let mut bytes = Vec::new();
    snapshot::write(state, &mut bytes).expect("memory takes it");
    snapshot::read(&mut bytes.as_slice(), partition()).expect("sound bytes")
}

/// Moves the head of a queue to its end.
fn turn(queue: &mut List, orders: &mut Orders) {
    let head = queue.head().expect("a head");
    queue.remove(orders, head);
    queue.push_back(orders, head);
}

#[test]
fn everything_counts() {
    const SHOE: fn() -> ProductSlot = || ProductSlot::new(0);
    let hold =
        |state: &State| -> OrderSlot { state.products[SHOE()].holds.head().expect("a hold") };
    let sale = lively();
    let sound = sale.state.digest();
    assert_eq!(copy(&sale.state).digest(), sound);
    #[track_caller]
    fn check(sale: &Sale, sound: u64, what: &str, spoil: impl FnOnce(&mut State)) {
        let mut state = copy(&sale.state);
        spoil(&mut state);
        assert_ne!(state.digest(), sound, "{what}");
    }
    macro_rules! check {
        ($what:literal, $spoil:expr) => {
            check(&sale, sound, $what, $spoil)
        };
    }
    check!("sequence", |s| s.sequence = s.sequence.next());
    check!("time", |s| s.last_at = Timestamp::NONE);
    check!("last fact", |s| s.last_fact = Sequence::ZERO);
    check!("consumer", |s| s.acknowledged[0] = Some(Sequence::new(1)));
    check!("another consumer", |s| s.acknowledged[5] = Some(Sequence::ZERO));
    check!("price", |s| s.products[SHOE()].terms.price += 1);
    check!("currency", |s| s.products[SHOE()].terms.currency =
        Currency::parse("EUR").expect("a currency"));
    check!("stock", |s| s.products[SHOE()].terms.stock += 1);
    check!("opens", |s| s.products[SHOE()].terms.opens_at = START);
    check!("closes", |s| s.products[SHOE()].terms.closes_at = START);
    check!("limit", |s| s.products[SHOE()].terms.limit_per_buyer = 3);
    check!("hold time", |s| s.products[SHOE()].terms.hold_seconds += 1);
    check!("capacity", |s| s.products[SHOE()].terms.waitlist_capacity += 1);
    check!("state", |s| s.products[SHOE()].state = SaleState::Paused);
    check!("available", |s| s.products[SHOE()].available += 1);
    check!("held", |s| s.products[SHOE()].held += 1);
    check!("sold", |s| s.products[SHOE()].sold += 1);
    check!("buyer of an order", |s| {
        let slot = hold(s);
        s.orders[slot].buyer = buyer("zoe");
    });
    check!("key", |s| {
        let slot = hold(s);
        s.orders[slot].key = IdempotencyKey::NONE;
    });
    check!("unit price", |s| {
        let slot = hold(s);
        s.orders[slot].unit_price += 1;
    });
    check!("created", |s| {
        let slot = hold(s);
        s.orders[slot].created_at = Timestamp::NONE;
    });
    check!("updated", |s| {
        let slot = hold(s);
        s.orders[slot].updated_at = Timestamp::NONE;
    });
    check!("deadline", |s| {
        let slot = hold(s);
        s.orders[slot].expires_at = Timestamp::NONE;
    });
    check!("first place", |s| {
        let slot = hold(s);
        s.orders[slot].position = 1;
    });
    check!("quantity", |s| {
        let slot = hold(s);
        s.orders[slot].quantity = units(2).into();
    });
    check!("status", |s| {
        let slot = hold(s);
        s.orders[slot].status = OrderStatus::Paid;
    });
    check!("wish to queue up", |s| {
        let slot = hold(s);
        s.orders[slot].waitlist = true;
    });
    check!("released", |s| {
        let slot = s.finals.head().expect("a final order");
        s.finals.remove(&mut s.orders, slot);
        s.receipts.push(&s.orders[slot]);
    });
    check!("end of an order", |s| {
        let slot = s.finals.head().expect("a final order");
        s.orders[slot].mark += 1;
    });
    check!("queue of holds", |s| turn(&mut s.products[SHOE()].holds, &mut s.orders));
    check!("waitlist", |s| {
        let product = &mut s.products[SHOE()];
        let head = product.waitlist.head().expect("a head");
        product.waitlist.remove(&mut s.orders, head);
        product.waitlist.push_back(&mut s.orders, head);
    });
    check!("receipts", |s| {
        let (_, oldest) = s.receipts.pop().expect("a receipt");
        s.receipts.push(&oldest);
    });
    check!("a receipt gone", |s| assert!(s.receipts.pop().is_some()));
    check!("a buyer of a receipt", |s| {
        for _ in 0..2 {
            let (_, mut oldest) = s.receipts.pop().expect("a receipt");
            oldest.buyer = buyer("zoe");
            s.receipts.push(&oldest);
        }
    });
    check!("units of a buyer", |s| {
        s.buyers.add(SHOE(), buyer("ann"), 1);
    });
    check!("another buyer", |s| {
        s.buyers.add(SHOE(), buyer("zoe"), 1);
    });
}

#[test]
fn queues_and_tickets_are_no_memory_layout() {
    // The same orders, once in slots that were used before and once in fresh ones.
    let mut used = lively();
    used.run(doorbuster_protocol::Command::Define(Define {
        hold_seconds: Some(11),
        ..Define::new(product("shoe"))
    }));
    used.acknowledge_all();
    let mut fresh = Sale { state: copy(&used.state), now: used.now, events: Vec::new() };
    for name in ["ida", "jim"] {
        let place = doorbuster_protocol::Command::Place(standing(name, 1));
        assert_eq!(used.run(place), fresh.run(place));
        assert_eq!(used.state.digest(), fresh.state.digest());
    }
}
