//! Receipts next to a plain queue of orders, on any kind of shelf.

use super::*;
use crate::state_machine::fixture::*;

/// A final order, told from others by its buyer.
fn order(number: u64) -> Order {
    let mut sale = Sale::defined(&terms("shoe", 9));
    let id = sale.hold(with_key(&number.to_le_bytes(), attempt(&format!("buyer-{number}"))));
    sale.now = at(number % 9);
    sale.pay(id);
    let slot = sale.state.finals.head().expect("it was paid");
    sale.state.orders[slot]
}

fn record(order: &Order) -> Vec<u8> {
    let mut bytes = Vec::new();
    order.encode_receipt(&mut bytes);
    bytes
}

/// Has the same done by receipts and by a queue, and compares them after each step.
fn compare(mut receipts: Receipts, orders: &[Order], random: &mut fastrand::Rng) {
    let mut twin: VecDeque<(ReceiptNumber, &Order)> = VecDeque::new();
    // Filling up for a while, then running empty.
    let mut grows = true;
    for _ in 0..2_000 {
        if random.u8(..100) == 0 {
            grows = !grows;
        }
        if random.u8(..10) < if grows { 7 } else { 3 } {
            let order = random.choice(orders).expect("some");
            twin.push_back((receipts.push(order), order));
        } else {
            let gone = receipts.pop().map(|(number, order)| (number, record(&order)));
            let expected = twin.pop_front().map(|(number, order)| (number, record(order)));
            assert_eq!(gone, expected);
        }
        assert_eq!(receipts.len(), twin.len());
        assert_eq!(receipts.oldest_at(), twin.front().map(|(_, order)| order.updated_at));
        if let Some((number, order)) = random.choice(&twin) {
            assert_eq!(record(&receipts.get(*number)), record(order));
        }
    }
    let mut seen = Vec::new();
    let shown = receipts.try_each(|number, bytes| {
        seen.push((number, bytes.to_vec()));
        if seen.len() == twin.len() { Err(io::Error::other("enough")) } else { Ok(()) }
    });
    assert_eq!(shown.is_err(), !twin.is_empty(), "whoever looks can end it");
    let expected = twin.iter().map(|(number, order)| (*number, record(order)));
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn they_are_a_queue() {
    let orders: Vec<Order> = (0..20).map(order).collect();
    for seed in 0..50 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        // The numbers begin anew after 2^31 of them, somewhere in the middle of it all.
        let oldest = NUMBERS - random.u64(..200);
        let receipts = Receipts { begin: oldest, oldest, end: oldest, ..Receipts::default() };
        compare(receipts, &orders, &mut random);
    }
}

#[test]
fn places_are_used_again() {
    let order = order(1);
    let mut receipts = Receipts::default();
    for _ in 0..10 * RECORDS {
        receipts.push(&order);
    }
    for _ in 0..1_000 {
        receipts.push(&order);
        receipts.pop();
    }
    let places = receipts.pages.len() + receipts.free.len();
    assert!(places <= 11, "{places} places for 10 pages");
}

/// Gives nothing back.
#[derive(Debug)]
struct Lossy;

impl Shelf for Lossy {
    fn put(&mut self, _: u32, _: Vec<u8>) {}
    fn get(&self, _: u32, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("the disk is gone"))
    }
    fn forget(&mut self, _: u32) {}
    fn settle(&mut self) {}
}

#[test]
fn no_answer_is_made_up() {
    let mut receipts = Receipts::on(Box::new(Lossy));
    let first = receipts.push(&order(0));
    for number in 1..RECORDS {
        receipts.push(&order(number));
    }
    let look = std::panic::AssertUnwindSafe(|| receipts.get(first));
    let lost = std::panic::catch_unwind(look).expect_err("it is lost");
    let lost = lost.downcast_ref::<ReceiptsLost>().expect("it says so");
    assert_eq!(lost.0.to_string(), "the disk is gone");
    let shown = receipts.try_each(|_, _| Ok::<_, io::Error>(()));
    assert_eq!(shown.expect_err("it is lost").to_string(), "the disk is gone");
}
