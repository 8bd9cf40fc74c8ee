//! Events that cannot have happened are errors, whatever is wrong with them, and never panics: a
//! log may hold them under good checksums.

use super::fixture::*;
use super::{State, replay};
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::event::{Event, Fact, Matched, Released};
use doorbuster_protocol::{Command, Currency, OrderId, Quantity, Sequence, Timestamp, limits};

/// A shoe of which ann holds one unit, bob has bought one, and cat queues for two; and the orders.
fn shop() -> (Sale, [OrderId; 3]) {
    let mut sale = Sale::with_waitlist(2);
    let held = sale.hold(with_key(b"1", attempt("ann")));
    let paid = sale.hold(attempt("bob"));
    sale.pay(paid);
    let queued = sale.queue_up(standing("cat", 2));
    (sale, [held, paid, queued])
}

fn again(sale: &Sale) -> State {
    let mut state = State::new(partition());
    sale.events.iter().for_each(|event| replay(&mut state, event).expect("it happened"));
    assert_eq!(state.digest(), sale.state.digest());
    state
}

#[test]
fn what_cannot_have_happened_is_named() {
    let (sale, [held, paid, queued]) = shop();
    let now = sale.now;
    #[track_caller]
    fn check(sale: &Sale, at: Timestamp, fact: Fact, rule: &str) {
        let refused = replay(&mut again(sale), &Event { at, fact });
        assert_eq!(refused.expect_err("a contradiction").to_string(), rule);
    }
    let shoe = product("shoe");
    let one = Quantity::ONE;
    let placed = || match &sale.events[1].fact {
        Fact::Placed(placed) => *placed,
        other => panic!("{other:?}"),
    };
    let queued_up = || match &sale.events[4].fact {
        Fact::Queued(queued) => *queued,
        other => panic!("{other:?}"),
    };
    let terms = || match &sale.events[0].fact {
        Fact::Defined { terms, .. } => *terms,
        other => panic!("{other:?}"),
    };
    let released =
        |order, quantity| Released { order, product: shoe, quantity, matched: Matched::default() };
    let pay = |order, quantity| Fact::Paid { order, product: shoe, quantity };
    let defined = |terms| Fact::Defined { product: shoe, terms, matched: Matched::default() };
    let early = Timestamp::from_micros(now.micros() - 1);
    check(&sale, early, pay(held, one), "the time of a partition does not go back");
    let late = placed().expires_at;
    check(&sale, late, pay(held, one), "a hold is paid before its deadline");
    check(&sale, now, Fact::Placed(placed()), "nobody overtakes the waitlist");
    check(&sale, now, pay(paid, one), "an order ends once");
    check(&sale, now, pay(queued, units(2)), "only a hold is paid");
    check(&sale, now, pay(held, units(2)), "an event knows the units of its order");
    let other = Fact::Paid { order: held, product: product("hat"), quantity: one };
    check(&sale, now, other, "an event knows the product of its order");
    let nobody = OrderId::new(now, partition(), buyer("ann"), Sequence::new(77));
    check(&sale, now, pay(nobody, one), "an event names an order that is here");
    check(&sale, now, Fact::Expired(released(held, one)), "a hold runs out after its deadline");
    check(&sale, now, Fact::Expired(released(queued, units(2))), "only a hold runs out");
    let mut served = released(held, one);
    served.matched.orders.push(queued);
    check(&sale, now, Fact::Cancelled(served.clone()), "a hold takes units that are available");
    served.matched.orders[0] = paid;
    check(&sale, now, Fact::Cancelled(served), "the waitlist is served from its head");
    check(&sale, now, Fact::Queued(queued_up()), "who queues up is last");
    let next = super::Contradiction("an order id names its partition and its event");
    let stale = Fact::Queued(doorbuster_protocol::event::Queued { position: 2, ..queued_up() });
    check(&sale, now, stale, next.0);
    let unknown = Fact::StateSet { product: product("hat"), state: SaleState::Open };
    check(&sale, now, unknown, "an event names a product that was defined");
    let less = "stock stays at or above what is sold and held";
    check(&sale, now, defined(doorbuster_protocol::event::Terms { stock: 1, ..terms() }), less);
    let currency = Currency::new(*b"EUR").expect("a currency");
    let dear = doorbuster_protocol::event::Terms { currency, ..terms() };
    check(&sale, now, defined(dear), "a product keeps its currency");
    let huge = doorbuster_protocol::event::Terms { stock: u32::MAX, ..terms() };
    check(&sale, now, defined(huge), "stock is bounded");
    for units in [limits::STOCK_MAX, u32::MAX] {
        let matched = Matched::default();
        let more = Fact::Restocked { product: shoe, units, matched };
        check(&sale, now, more, "stock is bounded");
    }
    let two = Fact::Restocked { product: shoe, units: 2, matched: Matched::default() };
    check(&sale, now, two, "the head of a waitlist does not fit what is available");
    let taken = Fact::Withdrawn { product: shoe, units: 1 };
    check(&sale, now, taken, "units that are sold or held stay");
    let through = sale.state.sequence();
    let acknowledged = |consumer, through| Fact::Acknowledged { consumer, through };
    check(&sale, now, acknowledged(limits::CONSUMERS_MAX, through), "there are so many consumers");
    check(&sale, now, acknowledged(0, through.plus(1)), "a consumer has what was there");
}

/// A busy sale of some hundred events, all kinds among them.
fn busy(random: &mut fastrand::Rng) -> Vec<Event> {
    let mut sale = Sale::with_waitlist(9);
    sale.run(Command::Define(Define { limit_per_buyer: Some(3), ..terms("hat", 4) }));
    let mut orders: Vec<OrderId> = Vec::new();
    while sale.events.len() < 240 {
        let name = format!("buyer-{}", random.u8(..24));
        let mut place = Place { quantity: units(random.u32(1..=3)), ..standing(&name, 1) };
        if random.bool() {
            place = with_key(&[random.u8(..)], place);
        }
        match random.u8(..16) {
            0..8 => {
                if let doorbuster_protocol::Outcome::Placed(view)
                | doorbuster_protocol::Outcome::Queued(view) = sale.place(place)
                {
                    orders.push(view.order);
                }
            }
            8..10 if !orders.is_empty() => {
                sale.pay(orders.swap_remove(random.usize(..orders.len())));
            }
            10..12 if !orders.is_empty() => {
                sale.cancel(orders.swap_remove(random.usize(..orders.len())));
            }
            12 => drop(sale.restock(random.u32(1..4))),
            13 => drop(sale.wait(random.u64(..4))),
            14 => sale.acknowledge_all(),
            _ => drop(sale.place(Place { product: product("hat"), ..place })),
        }
    }
    sale.events
}

/// Something about an event is not as it was.
fn forge(event: &mut Event, random: &mut fastrand::Rng, others: &[Event]) {
    let strange = |random: &mut fastrand::Rng| match random.u8(..4) {
        0 => u32::MAX,
        1 => 0,
        2 => random.u32(..8),
        _ => random.u32(..),
    };
    let some_order = |random: &mut fastrand::Rng| match &others[random.usize(..others.len())].fact {
        Fact::Placed(placed) => placed.order,
        Fact::Queued(queued) => queued.order,
        _ => OrderId::new(START, partition(), buyer("nobody"), Sequence::new(random.u64(..300))),
    };
    let time = Timestamp::from_micros(random.u64(..));
    if random.u8(..8) == 0 {
        event.at = time;
        return;
    }
    let mismatch = |matched: &mut Matched, random: &mut fastrand::Rng| match random.u8(..4) {
        0 => drop(matched.orders.pop()),
        1 => matched.orders.reverse(),
        2 => matched.expires_at = time,
        _ => matched.orders.push(some_order(random)),
    };
    let quantity = units(random.u32(1..=limits::QUANTITY_MAX));
    match &mut event.fact {
        Fact::Placed(placed) => match random.u8(..5) {
            0 => placed.order = some_order(random),
            1 => placed.product = product("hat"),
            2 => placed.quantity = quantity,
            3 => placed.expires_at = time,
            _ => placed.buyer = buyer("buyer-1"),
        },
        Fact::Queued(queued) => match random.u8(..4) {
            0 => queued.order = some_order(random),
            1 => queued.product = product("tie"),
            2 => queued.quantity = quantity,
            _ => queued.position = strange(random),
        },
        Fact::Paid { order, product: of, quantity: paid } => match random.u8(..3) {
            0 => *order = some_order(random),
            1 => *of = product("hat"),
            _ => *paid = quantity,
        },
        Fact::Cancelled(released) | Fact::Expired(released) => match random.u8(..3) {
            0 => released.order = some_order(random),
            1 => released.quantity = quantity,
            _ => mismatch(&mut released.matched, random),
        },
        Fact::Defined { terms, matched, .. } => match random.u8(..4) {
            0 => terms.stock = strange(random),
            1 => terms.limit_per_buyer = strange(random),
            2 => terms.waitlist_capacity = strange(random),
            _ => mismatch(matched, random),
        },
        Fact::Restocked { units, matched, .. } => match random.bool() {
            true => *units = strange(random),
            false => mismatch(matched, random),
        },
        Fact::Withdrawn { units, .. } => *units = strange(random),
        Fact::StateSet { product: of, .. } => *of = product("tie"),
        Fact::Acknowledged { consumer, through } => {
            *consumer = random.u8(..);
            *through = Sequence::new(random.u64(..1_000));
        }
    }
}

#[test]
fn whatever_is_forged_nothing_panics() {
    let seeds = std::env::var("DOORBUSTER_SEEDS");
    let seeds: u64 = seeds.map_or(2_000, |seeds| seeds.parse().expect("a number"));
    let mut refused = 0;
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let sound = busy(&mut fastrand::Rng::with_seed(seed % 7));
        let mut events = sound.clone();
        let at = random.usize(..events.len());
        match random.u8(..8) {
            0 => drop(events.remove(at)),
            1 => events.insert(at, events[random.usize(..sound.len())].clone()),
            2 => events.swap(at, (at + 1) % sound.len()),
            _ => forge(&mut events[at], &mut random, &sound),
        }
        let mut state = State::new(partition());
        if events.iter().try_for_each(|event| replay(&mut state, event)).is_err() {
            refused += 1;
        } else {
            // What is no contradiction may be told, too: but the state holds together.
            state.check_invariants();
        }
    }
    println!("{refused} of {seeds} forged logs contradict themselves");
    assert!(refused > seeds / 2, "{refused} of {seeds}");
}
