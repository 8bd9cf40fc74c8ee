//! A snapshot gives the state again, and damage to it is found.

use super::{SnapshotError, SnapshotVisitor, read, visit, write};
use crate::state_machine::fixture::*;
use crate::state_machine::{State, apply};
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{BuyerId, Command, Outcome, PartitionId, ProductId, Timestamp, limits};

/// A bit of everything: every status, queues of several, receipts, two products, two consumers.
fn lively() -> Sale {
    let mut sale = Sale::with_waitlist(6);
    sale.run(Command::Define(Define {
        limit_per_buyer: Some(2),
        opens_at: Some(START),
        closes_at: Some(at(1_000)),
        ..terms("hat", 3)
    }));
    sale.hold(Place { product: product("hat"), ..attempt("ann") });
    let paid = sale.hold(with_key(b"1", attempt("ann")));
    let cancelled = sale.hold(with_key(b"2", attempt("bob")));
    sale.hold(attempt("cat"));
    sale.pay(paid);
    sale.cancel(cancelled);
    sale.acknowledge_all();
    sale.acknowledge(2, sale.state.acknowledged());
    sale.now = at(3);
    sale.hold(with_key(b"3", Place { quantity: units(4), ..attempt("dan") }));
    let leaves = sale.queue_up(with_key(b"4", standing("eve", 3)));
    sale.queue_up(with_key(b"5", standing("fay", 2)));
    sale.queue_up(standing("gus", 1));
    sale.cancel(leaves);
    sale.wait(7);
    sale.run(Command::SetState { product: product("hat"), state: SaleState::Paused });
    sale
}

fn bytes_of(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(state, &mut bytes).expect("memory takes it");
    bytes
}

#[test]
fn a_restored_state_goes_on_alike() {
    let mut live = lively();
    let bytes = bytes_of(&live.state);
    let restored = read(&mut bytes.as_slice(), partition()).expect("sound bytes");
    assert_eq!(restored.digest(), live.state.digest());
    assert_eq!(restored.totals(), live.state.totals());
    assert_eq!(restored.acknowledged_by(2), live.state.acknowledged_by(2));
    assert!(restored.orders().eq(live.state.orders()), "orders, in their queues, at their places");
    assert!(restored.products().eq(live.state.products()));
    let mut restored = Sale { state: restored, now: live.now, events: Vec::new() };

    let same = |live: &mut Sale, restored: &mut Sale, command| {
        assert_eq!(live.run(command), restored.run(command), "{command:?}");
        assert_eq!(live.state.digest(), restored.state.digest(), "{command:?}");
    };
    for key in [b"1", b"2", b"3", b"4", b"5"] {
        let place = with_key(key, attempt("ann"));
        same(&mut live, &mut restored, Command::Place(place));
    }
    same(&mut live, &mut restored, Command::Place(with_key(b"5", standing("fay", 2))));
    for _ in 0..20 {
        same(&mut live, &mut restored, Command::Expire);
        live.now = live.now.plus_seconds(2);
        restored.now = live.now;
    }
    for order in live.state.orders().map(|view| view.order).collect::<Vec<_>>() {
        same(&mut live, &mut restored, Command::Cancel { order, buyer: None });
    }
    let through = live.state.sequence();
    same(&mut live, &mut restored, Command::Acknowledge { consumer: 2, through });
    live.now = live.now.plus_micros(limits::KEY_RETENTION_US);
    restored.now = live.now;
    same(&mut live, &mut restored, Command::Acknowledge { consumer: 0, through });
    assert_eq!(live.state.totals().keys, 0);
}

#[derive(Default)]
struct Shown {
    products: Vec<ProductView>,
    orders: Vec<OrderView>,
    units: Vec<(ProductId, BuyerId, u32)>,
}

impl SnapshotVisitor for Shown {
    fn product(&mut self, product: &ProductView) {
        self.products.push(*product);
    }
    fn order(&mut self, order: &OrderView) {
        self.orders.push(*order);
    }
    fn units(&mut self, product: ProductId, buyer: BuyerId, units: u32) {
        self.units.push((product, buyer, units));
    }
}

#[test]
fn a_visitor_sees_what_the_state_holds() {
    let live = lively().state;
    let bytes = bytes_of(&live);
    let mut shown = Shown::default();
    let sequence = visit(&mut bytes.as_slice(), partition(), &mut shown).expect("sound bytes");
    assert_eq!(sequence, live.sequence());
    assert_eq!(shown.orders, live.orders().collect::<Vec<_>>());
    let mut units: Vec<_> = live.units_of_buyers().collect();
    units.sort_unstable();
    shown.units.sort_unstable();
    assert_eq!(shown.units, units);
    let without_waitlist = |view: ProductView| ProductView { waitlist_length: 0, ..view };
    let products: Vec<_> = live.products().map(without_waitlist).collect();
    assert_eq!(shown.products, products);
    for at in [bytes.len() / 3, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let seen = visit(&mut damaged.as_slice(), partition(), &mut Shown::default());
        assert!(seen.is_err(), "a flipped bit in byte {at}");
    }
}

#[test]
fn an_empty_state_has_a_snapshot() {
    let state = State::new(partition());
    let restored = read(&mut bytes_of(&state).as_slice(), partition()).expect("sound bytes");
    assert_eq!(restored.digest(), state.digest());
}

#[test]
fn a_reader_takes_no_byte_too_many() {
    let bytes = [bytes_of(&lively().state), b"rest".to_vec()].concat();
    let mut input = bytes.as_slice();
    read(&mut input, partition()).expect("sound bytes");
    assert_eq!(input, b"rest");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut bytes = bytes_of(&lively().state);
    for index in 0..bytes.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            let result = read(&mut bytes.as_slice(), partition());
            assert!(result.is_err(), "bit {bit} of byte {index} was not noticed");
            bytes[index] ^= 1 << bit;
        }
    }
}

#[test]
fn every_cut_is_noticed() {
    let bytes = bytes_of(&lively().state);
    for length in 0..bytes.len() {
        let result = read(&mut &bytes[..length], partition());
        assert!(matches!(result, Err(SnapshotError::Truncated)), "cut at {length}: {result:?}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let sound = bytes_of(&lively().state);
    #[track_caller]
    fn check(bytes: &[u8], of: PartitionId, expected: &str) {
        let mut input = bytes;
        let error = read(&mut input, of).expect_err("damage");
        assert!(error.to_string().contains(expected), "{error}");
    }
    check(b"something else entirely", partition(), "no snapshot");
    let mut other = sound.clone();
    other[8] = 2;
    check(&other, partition(), "version 2");
    check(&sound, PartitionId::new(8).expect("a number"), "of partition 7, not 8");
    let mut header = sound.clone();
    header[20] ^= 1;
    check(&header, partition(), "checksum");
    let mut last = sound.clone();
    *last.last_mut().expect("bytes") ^= 1;
    check(&last, partition(), "checksum");
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let error = read(&mut Broken, partition()).expect_err("an error");
    assert!(matches!(error, SnapshotError::Io(_)), "{error}");
}

#[test]
fn a_waitlist_that_was_dealt_anew_keeps_its_order() {
    let mut sale = Sale::with_waitlist(0);
    sale.run(Command::Define(Define {
        waitlist_capacity: Some(limits::WAITLIST_MAX),
        ..Define::new(product("shoe"))
    }));
    let head = sale.queue_up(standing("ann", 1));
    let second = sale.queue_up(standing("bob", 1));
    // A head that stays while more come and go than the tickets span.
    let quick = |sale: &mut Sale, command: Command| {
        let decision = crate::state_machine::decide(&sale.state, &command, sale.now);
        apply(&mut sale.state, &decision.event.expect("an event"));
        decision.outcome
    };
    for _ in 0..3 * limits::WAITLIST_MAX {
        let place = Command::Place(standing("cat", 1));
        let Outcome::Queued(view) = quick(&mut sale, place) else { panic!("not queued") };
        assert_eq!(view.position, 3);
        quick(&mut sale, Command::Cancel { order: view.order, buyer: None });
    }
    sale.state.check_invariants();
    let last = sale.queue_up(standing("dan", 1));
    let positions = [head, second, last].map(|order| sale.view(order).position);
    assert_eq!(positions, [1, 2, 3]);
    let bytes = bytes_of(&sale.state);
    let restored = read(&mut bytes.as_slice(), partition()).expect("sound bytes");
    assert_eq!(restored.digest(), sale.state.digest(), "tickets are not part of the state");
    sale.restock(2);
    assert_eq!(sale.last_matched().orders, [head, second]);
    assert_eq!(sale.status(last), OrderStatus::Queued);
    assert_eq!(sale.view(last).expires_at, Timestamp::NONE);
}
