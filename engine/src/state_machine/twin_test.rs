//! The state machine against its naive twin: the same decisions, events and views after every step,
//! whatever the step, with snapshots and replays in between.
//!
//! The long run prints its seed; `DOORBUSTER_SEED=… DOORBUSTER_STEPS=…` runs it again, or longer.

use super::fixture::{SECOND, START, partition};
use super::twin::Twin;
use super::{State, apply, decide, snapshot};
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::event::Event;
use doorbuster_protocol::{
    BuyerId, Command, Currency, IdempotencyKey, OrderId, Outcome, ProductId, Quantity, Sequence,
    Timestamp, limits,
};
use proptest::prelude::*;

/// One step of a story, as bytes: what a shrinker can shrink.
type Step = [u8; 8];

fn product(byte: u8) -> ProductId {
    ProductId::from_bytes([byte % 3; 16])
}

/// Both machines, side by side.
struct Story {
    state: State,
    twin: Twin,
    now: Timestamp,
    events: Vec<Event>,
    /// Every order that ever was, to ask about.
    known: Vec<OrderId>,
    /// What has come up at least once: a story that never shows a rule proves nothing about it.
    seen: std::collections::BTreeSet<String>,
}

impl Story {
    fn new() -> Self {
        Self {
            state: State::new(partition()),
            twin: Twin::new(partition()),
            now: START,
            events: Vec::new(),
            known: Vec::new(),
            seen: std::collections::BTreeSet::new(),
        }
    }

    /// One of a handful of buyers. New ones come as time goes by, or all would be at their limit.
    fn buyer(&self, byte: u8) -> BuyerId {
        let mut id = [byte % 6; 16];
        id[..4].copy_from_slice(&self.era().to_le_bytes());
        BuyerId::from_bytes(id)
    }
    fn key(&self, byte: u8) -> IdempotencyKey {
        let mut id = [(byte % 64) | 1; 16];
        id[..4].copy_from_slice(&self.era().to_le_bytes());
        IdempotencyKey::from_bytes(id)
    }
    fn era(&self) -> u32 {
        self.events.len() as u32 / 128
    }

    fn step(&mut self, step: Step) {
        let [kind, a, b, c, d, e, f, _] = step;
        match kind {
            0..120 => self.run(&Command::Place(Place {
                product: product(a),
                buyer: self.buyer(b),
                key: match c % 3 {
                    0 => IdempotencyKey::NONE,
                    _ => self.key(d),
                },
                quantity: Quantity::new(u32::from(1 + e % 4)).expect("in range"),
                waitlist: f % 3 != 0,
            })),
            120..145 => {
                let order = self.some_order(a, b);
                self.run(&Command::Confirm { order });
            }
            145..185 => {
                let order = self.some_order(a, b);
                let buyer = (c % 4 == 0).then(|| self.buyer(d));
                self.run(&Command::Cancel { order, buyer });
            }
            185..195 => self.define(a, b, [c, d, e, f]),
            195..205 => {
                self.run(&Command::Restock { product: product(a), units: u32::from(1 + b % 5) });
            }
            205..211 => {
                self.run(&Command::Withdraw { product: product(a), units: u32::from(1 + b % 4) });
            }
            211..216 => {
                let state = if b % 3 == 0 { SaleState::Paused } else { SaleState::Open };
                self.run(&Command::SetState { product: product(a), state });
            }
            216..228 => {
                let newest = self.state.sequence().get();
                let through = Sequence::new(newest.saturating_sub(u64::from(b % 16)));
                self.run(&Command::Acknowledge { consumer: a % 16 / 7, through });
            }
            228..230 => self.restore(),
            230 => self.now = self.now.plus_seconds(u32::from(a) * 600),
            231..238 => {
                // A clock that steps back: the state machine does not care.
                let back = u64::from(a) * SECOND;
                self.now = Timestamp::from_micros(self.now.micros() - back);
            }
            238.. => {
                // Half seconds, so that time meets deadlines on the microsecond.
                self.now = self.now.plus_micros(u64::from(a % 32) * SECOND / 2);
                for _ in 0..=b % 4 {
                    self.run(&Command::Expire);
                }
            }
        }
    }

    fn define(&mut self, a: u8, b: u8, [c, d, e, f]: [u8; 4]) {
        let has = |bit: u8| b & (1 << bit) != 0;
        let window = |byte: u8| match byte % 4 {
            0 => self.now.plus_seconds(u32::from(byte)),
            _ => Timestamp::NONE,
        };
        let currency = if c % 8 == 0 { Currency::parse("EUR") } else { Some(Currency::USD) };
        let committed = match self.state.product(product(a)) {
            Outcome::Product(view) => view.held + view.sold,
            _ => 0,
        };
        let define = Define {
            product: product(a),
            price: has(0).then_some(u64::from(c)),
            currency: currency.filter(|_| has(1)),
            stock: (has(2) || has(0)).then_some((committed + u32::from(d % 8)).saturating_sub(1)),
            opens_at: has(3).then(|| window(e)),
            closes_at: has(4).then(|| window(f)),
            limit_per_buyer: has(5).then_some(u32::from(c % 8)),
            hold_seconds: has(6).then_some(u32::from(1 + d % 30)),
            waitlist_capacity: has(7).then_some(u32::from(e % 12)),
        };
        self.run(&Command::Define(define));
    }

    /// Mostly a late one, for those still live.
    fn some_order(&self, a: u8, b: u8) -> OrderId {
        let back = if b.is_multiple_of(4) { usize::from(a) } else { usize::from(a % 12) };
        let index = self.known.len().checked_sub(1 + back % self.known.len().max(1));
        match index {
            Some(index) => self.known[index],
            None => OrderId::new(self.now, partition(), self.buyer(a), Sequence::new(1)),
        }
    }

    fn run(&mut self, command: &Command) {
        let decision = decide(&self.state, command, self.now);
        let expected = self.twin.decide(command, self.now);
        assert_eq!(decision, expected, "{command:?}");
        if decision.event.is_none() {
            let outcome = format!("{:?}", decision.outcome);
            self.seen.insert(outcome.split([' ', '(']).next().unwrap_or_default().to_owned());
        }
        let Some(event) = decision.event else { return };
        let fact = format!("{:?}", event.fact);
        self.seen.insert(fact.split([' ', '(']).next().unwrap_or_default().to_owned());
        apply(&mut self.state, &event);
        self.twin.apply(&event);
        self.events.push(event);
        if let Outcome::Placed(view) | Outcome::Queued(view) = decision.outcome {
            self.known.push(view.order);
        }
        self.compare();
    }

    fn compare(&self) {
        self.twin.compare(&self.state);
        for number in 0..3 {
            assert_eq!(self.state.product(product(number)), self.twin.product(product(number)));
        }
        for id in self.known.iter().rev().take(40) {
            let someone = Some(self.buyer(id.as_bytes()[15]));
            assert_eq!(self.state.order(*id, None), self.twin.order(*id, None));
            assert_eq!(self.state.order(*id, someone), self.twin.order(*id, someone));
        }
    }

    /// The state goes through its bytes, and the story goes on with what comes out.
    fn restore(&mut self) {
        self.seen.insert("restored".to_owned());
        let mut bytes = Vec::new();
        snapshot::write(&self.state, &mut bytes).expect("memory takes it");
        let restored = snapshot::read(&mut bytes.as_slice(), partition()).expect("sound bytes");
        assert_eq!(restored.digest(), self.state.digest());
        self.state = restored;
        self.state.check_invariants();
        self.compare();
    }

    /// Replay from the start gives the live digest.
    fn finish(&self) {
        self.state.check_invariants();
        let mut replayed = State::new(partition());
        for event in &self.events {
            apply(&mut replayed, event);
        }
        assert_eq!(replayed.digest(), self.state.digest());
        let mut judge = Twin::new(partition());
        for (sequence, event) in (1..).map(Sequence::new).zip(&self.events) {
            judge.replay(sequence, event).expect("every event is one that the twin makes");
        }
        judge.compare(&self.state);
    }
}

/// Three products, so that most stories have something to sell.
fn opening() -> impl Iterator<Item = Step> {
    (0..3).map(|number| [190, number, 0b1100_0101, 5, 9, 11, 1, 0])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: variable("PROPTEST_CASES").unwrap_or(96) as u32,
        ..ProptestConfig::default()
    })]
    #[test]
    fn any_story_is_told_alike(steps in proptest::collection::vec(any::<Step>(), 1..160)) {
        let mut story = Story::new();
        opening().chain(steps).for_each(|step| story.step(step));
        story.finish();
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn a_long_story_is_told_alike() {
    let seed = variable("DOORBUSTER_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = variable("DOORBUSTER_STEPS").unwrap_or(20_000);
    println!(
        "replay: DOORBUSTER_SEED={seed} DOORBUSTER_STEPS={steps} cargo nextest run long_story"
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let mut story = Story::new();
    opening().for_each(|step| story.step(step));
    for number in 0..steps {
        story.step(random.u64(..).to_le_bytes());
        if number % 512 == 0 {
            story.state.check_invariants();
        }
        if number % 1_024 == 0 {
            // Keys grow old, so that memory of them comes and goes.
            story.now = story.now.plus_micros(limits::KEY_RETENTION_US);
        }
    }
    story.finish();
    if steps >= 20_000 {
        for rule in [
            "Placed",
            "Queued",
            "Paid",
            "Cancelled",
            "Expired",
            "Defined",
            "Restocked",
            "Withdrawn",
            "StateSet",
            "Acknowledged",
            "Replayed",
            "KeyMismatch",
            "SoldOut",
            "LimitExceeded",
            "NotOpen",
            "Paused",
            "Ended",
            "OrderNotFound",
            "OrderFinal",
            "NotPayable",
            "StockCommitted",
            "CurrencyFixed",
            "WindowReversed",
            "Product",
            "restored",
        ] {
            assert!(story.seen.contains(rule), "the story never came to {rule}");
        }
    }
}

#[test]
fn a_judge_of_events_finds_those_that_nothing_leads_to() {
    let mut story = Story::new();
    opening().for_each(|step| story.step(step));
    for buyer in 0..9 {
        story.step([0, 1, buyer, 0, 0, 0, 1, 0]);
    }
    story.finish();
    let is_refused = |changed: &[Event]| {
        let mut judge = Twin::new(partition());
        let mut numbered = (1..).map(Sequence::new).zip(changed);
        numbered.find_map(|(sequence, event)| judge.replay(sequence, event).err()).is_some()
    };
    assert!(!is_refused(&story.events));
    let last = story.events.len() - 1;
    for changed in 1..=last {
        let mut early = story.events.clone();
        early[changed].at = Timestamp::from_micros(early[changed].at.micros() - 1);
        assert!(is_refused(&early), "event {changed} goes back in time");
        let mut twice = story.events.clone();
        twice.insert(changed, twice[changed].clone());
        assert!(is_refused(&twice), "event {changed} happens twice");
        if changed > 2 {
            let mut missing = story.events.clone();
            missing.remove(changed - 1);
            assert!(is_refused(&missing), "event {changed} is missing");
        }
    }
}
