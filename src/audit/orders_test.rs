//! Whatever sale the engine's rules allow has clean books, and a log whose beginning is gone tells of
//! each order the same as the whole log, as far as it tells anything.

use super::super::account::Edition;
use super::super::ledger::Ledger;
use super::super::letters::Letters;
use super::super::product_comparison::edition_at;
use super::super::spills::Spills;
use super::*;
use doorbuster_engine::log::inspect::EventReader;
use doorbuster_engine::state_machine::{State, apply, decide, snapshot};
use doorbuster_protocol::command::{Command, Define, Place, SaleState};
use doorbuster_protocol::event::{Event, Fact};
use doorbuster_protocol::{BuyerId, IdempotencyKey, PartitionId};
use std::collections::HashMap;

const EVENTS: usize = 400;
const PRODUCTS: u8 = 3;

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

/// A random sale, as the engine would log it.
struct Sale {
    dice: fastrand::Rng,
    state: State,
    now: Timestamp,
    orders: Vec<OrderId>,
    events: Vec<Event>,
}

impl Sale {
    fn of(seed: u64) -> Vec<Event> {
        let mut sale = Self {
            dice: fastrand::Rng::with_seed(seed),
            state: State::new(partition()),
            now: Timestamp::from_micros(1_700_000_000_000_000),
            orders: Vec::new(),
            events: Vec::new(),
        };
        for product in 0..PRODUCTS {
            let mut define = Define::new(ProductId::from_bytes([product; 16]));
            (define.price, define.stock) = (Some(100), Some(8));
            (define.limit_per_buyer, define.hold_seconds) = (Some(3), Some(5));
            define.waitlist_capacity = Some(6);
            sale.happens(&Command::Define(define));
        }
        while sale.events.len() < EVENTS {
            let command = sale.command();
            sale.happens(&command);
        }
        sale.events
    }

    fn happens(&mut self, command: &Command) {
        self.now = self.now.plus_micros(self.dice.u64(0..1_000_000));
        let Some(event) = decide(&self.state, command, self.now).event else { return };
        apply(&mut self.state, &event);
        match &event.fact {
            Fact::Placed(placed) => self.orders.push(placed.order),
            Fact::Queued(queued) => self.orders.push(queued.order),
            _ => {}
        }
        self.events.push(event);
    }

    fn command(&mut self) -> Command {
        let product = ProductId::from_bytes([self.dice.u8(..PRODUCTS); 16]);
        let units = self.dice.u32(1..3);
        match self.dice.u8(..20) {
            0..8 => {
                let buyer = BuyerId::from_bytes([self.dice.u8(..20); 16]);
                let key = IdempotencyKey::new(buyer, product, &self.dice.u64(..).to_le_bytes());
                let quantity = Quantity::new(units).expect("in range");
                Command::Place(Place { product, buyer, key, quantity, waitlist: self.dice.bool() })
            }
            8..13 if !self.orders.is_empty() => {
                let order = self.orders[self.dice.usize(..self.orders.len())];
                match self.dice.bool() {
                    true => Command::Confirm { order },
                    false => Command::Cancel { order, buyer: None },
                }
            }
            13..15 => Command::Expire,
            15 => Command::Restock { product, units },
            16 => Command::Withdraw { product, units },
            17 => {
                let state =
                    if self.dice.u8(..4) == 0 { SaleState::Paused } else { SaleState::Open };
                Command::SetState { product, state }
            }
            18 => {
                let mut define = Define::new(product);
                define.price = Some(self.dice.u64(1..900));
                Command::Define(define)
            }
            _ => {
                let through = Sequence::new(self.dice.u64(..self.events.len() as u64));
                let through = through.max(self.state.acknowledged());
                Command::Acknowledge { consumer: 0, through }
            }
        }
    }
}

/// What a log tells that begins with `first` and with a snapshot of event `base`.
struct Told {
    entries: HashMap<OrderId, Entry>,
    editions: HashMap<ProductId, Vec<Edition>>,
    findings: Findings,
}

fn told(events: &[Event], first: u64, base: u64) -> Told {
    let mut state = State::new(partition());
    events[..base as usize].iter().for_each(|event| apply(&mut state, event));
    let (mut spills, mut letters) = (Spills::new(), Letters::default());
    let mut ledger = Ledger::new(partition(), &mut spills, &mut letters);
    ledger.begin(Sequence::new(first), state.sequence());
    let mut bytes = Vec::new();
    snapshot::write(&state, &mut bytes).expect("memory takes it");
    snapshot::visit(&mut bytes.as_slice(), partition(), &mut ledger).expect("sound bytes");
    for (sequence, event) in (first..).zip(&events[first as usize - 1..]) {
        ledger.event(Sequence::new(sequence), event);
    }
    let books = ledger.close();
    let sorted = spills.orders.finish().expect("room");
    let mut orders = Orders::new(sorted, spills.units, std::slice::from_ref(&books)).expect("room");
    let mut entries = HashMap::new();
    while let Some(entry) = orders.next().expect("readable") {
        entries.insert(entry.order, entry);
    }
    let mut findings = orders.outcome.findings;
    findings.merge(books.findings);
    let units = orders.outcome.units.finish().expect("room");
    check_limits(units, &mut findings, |_| partition()).expect("readable");
    check_keys(orders.outcome.keys.finish().expect("room"), &mut findings).expect("readable");
    let mut products = spills.products.finish().expect("room");
    let mut editions: HashMap<_, Vec<_>> = HashMap::new();
    while let Some(bytes) = products.next().expect("readable") {
        let edition = Edition::decode(&bytes);
        editions.entry(edition.product).or_default().push(edition);
    }
    Told { entries, editions, findings }
}

fn check(events: &[Event], whole: &Told, first: u64, base: u64) {
    let place = format!("a log from event {first} on, with a snapshot of event {base}");
    let rest = told(events, first, base);
    for told in [whole, &rest] {
        assert_eq!(told.findings.divergences(), [], "{place}");
    }
    for (order, entry) in &whole.entries {
        let Some(same) = rest.entries.get(order) else {
            assert!(order.sequence_bits() < first, "{place}: order {order} is missing");
            continue;
        };
        for at in (first - 1..=events.len() as u64).map(Sequence::new) {
            let (Some(row), true) = (entry.row_at(at), same.is_known_at(at)) else { continue };
            let mut told = same.row_at(at).unwrap_or_else(|| panic!("{place}: {order} at {at}"));
            assert!(told.version <= row.version || told.version < Sequence::new(first), "{place}");
            if !same.stage_at(at).is_some_and(|stage| stage.has_version) {
                told.version = row.version;
            }
            assert_eq!(told, row, "{place}: order {order} at event {at}");
        }
    }
    assert!(rest.entries.keys().all(|order| whole.entries.contains_key(order)), "{place}");
    for (product, editions) in &whole.editions {
        let Some(same) = rest.editions.get(product) else {
            assert!(editions[0].since > Sequence::new(base), "{place}: product {product}");
            continue;
        };
        for at in (first - 1..=events.len() as u64).map(Sequence::new) {
            let Some(edition) = edition_at(editions, at) else { continue };
            if !same[0].tells_of(at) {
                continue;
            }
            let told = edition_at(same, at).unwrap_or_else(|| panic!("{place}: {product} at {at}"));
            let row = edition.row(None);
            assert!(told.differences(&row).is_empty(), "{place}: {product} at {at}: {told:?}");
        }
    }
}

#[test]
fn the_rest_of_a_log_tells_the_same_as_the_whole() {
    let given = std::env::var("DOORBUSTER_AUDIT_SEED").ok().and_then(|text| text.parse().ok());
    for _ in 0..12 {
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        eprintln!("seed {seed}; the same again: DOORBUSTER_AUDIT_SEED={seed}");
        let events = Sale::of(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let whole = told(&events, 1, 0);
        for _ in 0..4 {
            let first = dice.u64(2..=EVENTS as u64);
            check(&events, &whole, first, dice.u64(first - 1..=EVENTS as u64));
        }
    }
}
