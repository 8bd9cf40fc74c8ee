//! A short sale told request by request, and what is found when something in it is made wrong.

use super::engine::{Engine, partition_of};
use super::{BEGIN_US, allowance, buyer, product};
use doorbuster_history::answer::{Answer, OrderSeen, ProductSeen};
use doorbuster_history::event::{Event, Fact, Ordered};
use doorbuster_history::ids::{KeyId, OrderId};
use doorbuster_history::operation::{Ask, Change, Operation};
use doorbuster_history::{History, Kind, Verdict};

/// Time between two requests, and from each to its answer.
const PACE_US: u64 = 1_000;

/// The one product of most stories.
pub const LAMP: u128 = 1;
pub const ANN: u128 = 1;
pub const BOB: u128 = 2;
pub const CAT: u128 = 3;

/// A sale so far.
pub struct Story {
    pub engine: Engine,
    pub operations: Vec<Operation>,
    pub now_us: u64,
}

impl Story {
    /// A lamp of which there are some, without limit, window or waitlist, held for ten seconds.
    pub fn of_lamps(stock: u32, change: impl FnOnce(&mut Change)) -> Self {
        let mut story =
            Self { engine: Engine::default(), operations: Vec::new(), now_us: BEGIN_US };
        let mut terms = Change {
            price: Some(500),
            stock: Some(stock),
            hold_seconds: Some(10),
            ..Change::default()
        };
        change(&mut terms);
        story.ask(Ask::Define { product: product(LAMP), change: terms });
        story
    }

    /// Asks, and is answered; the index of the operation.
    pub fn ask(&mut self, ask: Ask) -> usize {
        self.send(ask, true)
    }

    /// Asks, it is done, and nobody hears of it.
    pub fn ask_unheard(&mut self, ask: Ask) -> usize {
        self.send(ask, false)
    }

    fn send(&mut self, ask: Ask, is_heard: bool) -> usize {
        self.now_us += PACE_US;
        let sent_us = self.now_us;
        self.now_us += PACE_US;
        let answer = self.engine.ask(&ask, self.now_us);
        self.now_us += PACE_US;
        let (answered_us, answer) =
            if is_heard { (Some(self.now_us), answer) } else { (None, Answer::Unknown) };
        let number = self.operations.len() as u64;
        let operation = Operation { number, client: 0, sent_us, ask, answered_us, answer };
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// Some seconds pass, and holds run out.
    pub fn wait(&mut self, seconds: u64) {
        self.now_us += seconds * 1_000_000;
        self.engine.expire(self.now_us);
    }

    /// The store has everything of the lamp's partition.
    pub fn store(&mut self) {
        self.engine.acknowledge(partition_of(product(LAMP)), self.now_us);
    }

    /// The order that an operation was told.
    pub fn order(&self, index: usize) -> OrderId {
        match &self.operations[index].answer {
            Answer::Order { seen, .. } => seen.order,
            other => panic!("operation {index} was told {other:?}"),
        }
    }

    /// The order that an event made, whoever was told.
    pub fn last_order(&self) -> OrderId {
        let made = self.engine.events.iter().rev().find_map(|event| match event.fact {
            Fact::Ordered(Ordered { order, .. }) => Some(order),
            _ => None,
        });
        made.expect("there is an order")
    }

    pub fn history(self) -> History {
        let rows = Some(self.engine.rows());
        History { operations: self.operations, events: self.engine.events, rows }
    }
}

/// One lamp, with a key.
pub const fn buy(who: u128, key: u128) -> Ask {
    buy_many(who, key, 1, false)
}

/// Lamps, with a key.
pub const fn buy_many(who: u128, key: u128, quantity: u32, waitlist: bool) -> Ask {
    let (product, buyer, key) = (product(LAMP), buyer(who), Some(KeyId::new(key)));
    Ask::Place { product, buyer, key, quantity, waitlist }
}

/// One lamp or a place on the waitlist, with a key.
pub const fn queue(who: u128, key: u128) -> Ask {
    buy_many(who, key, 1, true)
}

/// Does something wrong to a correct story, which must be found as this kind, with these words.
#[track_caller]
pub fn broken<T>(
    kind: Kind,
    words: &str,
    story: impl FnOnce() -> (Story, T),
    plant: impl FnOnce(&mut History, T),
) -> Verdict {
    let (story, marks) = story();
    let mut history = story.history();
    let verdict = doorbuster_history::check(&history, &allowance());
    assert!(verdict.is_clean(), "before anything is wrong: {verdict}");
    plant(&mut history, marks);
    let verdict = doorbuster_history::check(&history, &allowance());
    let is_it = |text: &str| text.contains(words);
    let found = verdict
        .violations
        .iter()
        .find(|found| found.kind == kind && (is_it(&found.what) || is_it(&found.why)));
    assert!(found.is_some(), "{kind:?} with `{words}` was not found: {verdict}");
    verdict
}

/// Removes an event, and numbers those after it anew.
pub fn remove(history: &mut History, index: usize) -> Event {
    let event = history.events.remove(index);
    renumber(history, event.position.partition);
    event
}

/// Adds a fact after event `index`, at the same time, and numbers those after it anew.
pub fn insert_after(history: &mut History, index: usize, fact: Fact) {
    let Event { position, at_us, .. } = history.events[index];
    history.events.insert(index + 1, Event { position, at_us, fact });
    renumber(history, position.partition);
}

fn renumber(history: &mut History, partition: u16) {
    let mut next = 1;
    for event in &mut history.events {
        if event.position.partition == partition {
            event.position.sequence = next;
            next += 1;
        }
        if let Fact::Acknowledged { through, .. } = &mut event.fact {
            *through = (*through).min(event.position.sequence.saturating_sub(1));
        }
    }
}

/// The last event of a kind.
pub fn last(history: &History, word: &str) -> usize {
    let found = history.events.iter().rposition(|event| event.fact.word() == word);
    found.unwrap_or_else(|| panic!("there is no event `{word}`"))
}

/// What an operation was told of an order, to be changed.
pub fn told(history: &mut History, index: usize) -> &mut OrderSeen {
    match &mut history.operations[index].answer {
        Answer::Order { seen, .. } => seen,
        other => panic!("operation {index} was told {other:?}"),
    }
}

/// What an operation was told of a product, to be changed.
pub fn told_product(history: &mut History, index: usize) -> &mut ProductSeen {
    match &mut history.operations[index].answer {
        Answer::Product(seen) => seen,
        other => panic!("operation {index} was told {other:?}"),
    }
}

/// The new order of an event, to be changed.
pub fn ordered(history: &mut History, index: usize) -> &mut Ordered {
    match &mut history.events[index].fact {
        Fact::Ordered(ordered) => ordered,
        other => panic!("event {index} is {other:?}"),
    }
}
