//! Every event comes from an operation: from one that was told so, or from one whose fate nobody
//! knows. What a client was told had not been done is not done by that operation.

use super::administration::would_do;
use super::orders_without_key::Unclaimed;
use super::{Case, Pins};
use crate::answer::Answer;
use crate::books::order::OrderBook;
use crate::event::{Event, Fact, Ordered, Released};
use crate::history::Others;
use crate::ids::{BuyerId, KeyId, OrderId, Position, ProductId};
use crate::operation::{Ask, Operation};
use crate::verdict::{Findings, Kind};
use std::collections::{HashMap, HashSet};

/// Operations by what they are about.
struct Asked<'a> {
    case: Case<'a>,
    pinned: HashSet<Position>,
    by_key: HashMap<KeyId, Vec<usize>>,
    by_order: HashMap<OrderId, Vec<usize>>,
    by_product: HashMap<ProductId, Vec<usize>>,
    buyers: HashSet<BuyerId>,
    /// Operations of administrators that explain an event already.
    used: HashSet<usize>,
}

pub(super) fn check<'a>(case: Case<'a>, events: &'a [Event], pins: &Pins, found: &mut Findings) {
    if !case.allowance.operations_are_complete {
        return;
    }
    let mut asked = Asked::new(case, pins);
    let mut unclaimed = Unclaimed::default();
    for event in events {
        if asked.pinned.contains(&event.position) {
            continue;
        }
        match &event.fact {
            Fact::Ordered(ordered) => asked.ordered(event, ordered, &mut unclaimed, found),
            Fact::Paid { order, .. } => {
                asked.ended(event, *order, |ask| matches!(ask, Ask::Pay { .. }), found);
            }
            Fact::Cancelled(Released { order, .. }) => {
                asked.ended(event, *order, |ask| matches!(ask, Ask::Cancel { .. }), found);
            }
            Fact::Defined { product, .. }
            | Fact::Restocked { product, .. }
            | Fact::Withdrawn { product, .. }
            | Fact::StateSet { product, .. } => asked.administered(event, *product, found),
            // Nobody asks for these.
            Fact::Expired(_) | Fact::Acknowledged { .. } => {}
        }
    }
    unclaimed.check(case, found);
}

impl<'a> Asked<'a> {
    fn new(case: Case<'a>, pins: &Pins) -> Self {
        let mut asked = Self {
            case,
            pinned: pins.iter().flatten().copied().collect(),
            by_key: HashMap::new(),
            by_order: HashMap::new(),
            by_product: HashMap::new(),
            buyers: HashSet::new(),
            used: HashSet::new(),
        };
        for (index, operation) in case.operations.iter().enumerate() {
            match &operation.ask {
                Ask::Place { buyer, key, .. } => {
                    asked.buyers.insert(*buyer);
                    if let Some(key) = key {
                        asked.by_key.entry(*key).or_default().push(index);
                    }
                }
                Ask::Pay { order } | Ask::Cancel { order, .. } => {
                    asked.by_order.entry(*order).or_default().push(index);
                }
                ask => {
                    if let Some(product) = ask.product().filter(|_| ask.is_administration()) {
                        asked.by_product.entry(product).or_default().push(index);
                    }
                }
            }
        }
        let of_administrators = pins.iter().enumerate().filter(|(index, pin)| {
            pin.is_some() && case.operations[*index].ask.is_administration()
        });
        asked.used = of_administrators.map(|(index, _)| index).collect();
        asked
    }

    fn is_closed_to_strangers(&self) -> bool {
        self.case.allowance.others == Others::Nobody
    }

    /// Whether an operation of unknown fate was sent early enough for an event.
    fn may_have_done(&self, operation: &Operation, at_us: u64) -> bool {
        let latest_us = at_us.saturating_add(self.case.allowance.engine_skew_us);
        operation.answer == Answer::Unknown && operation.sent_us <= latest_us
    }

    fn ordered(
        &self,
        event: &'a Event,
        ordered: &'a Ordered,
        unclaimed: &mut Unclaimed<'a>,
        found: &mut Findings,
    ) {
        if !self.is_closed_to_strangers() && !self.buyers.contains(&ordered.buyer) {
            return;
        }
        let Some(key) = ordered.key else { return unclaimed.add(event, ordered) };
        let operations = self.operations(self.by_key.get(&key));
        let is_it = |operation: &&Operation| match operation.ask {
            Ask::Place { product, buyer, quantity, waitlist, .. } => {
                (product, buyer, quantity, waitlist)
                    == (ordered.product, ordered.buyer, ordered.quantity, ordered.waitlist)
            }
            _ => false,
        };
        let same: Vec<&Operation> = operations.into_iter().filter(is_it).collect();
        if same.iter().any(|operation| self.may_have_done(operation, event.at_us)) {
            return;
        }
        // One that was answered with this order, in words that were found wrong.
        let names_it = |operation: &&Operation| {
            matches!(&operation.answer, Answer::Order { seen, replayed: false }
                if seen.order == ordered.order)
        };
        if same.iter().any(names_it) {
            return;
        }
        unexplained(event, &format!("order {}", ordered.order), &same, found);
    }

    fn ended(
        &self,
        event: &Event,
        order: OrderId,
        is_kind: impl Fn(&Ask) -> bool,
        found: &mut Findings,
    ) {
        let book = self.case.books.order(order);
        let is_known = |book: &OrderBook| self.buyers.contains(&book.buyer);
        if !self.is_closed_to_strangers() && !book.is_some_and(is_known) {
            return;
        }
        let owner = book.map(|book| book.buyer);
        let operations = self.operations(self.by_order.get(&order)).into_iter();
        let same: Vec<&Operation> = operations
            .filter(|operation| is_kind(&operation.ask))
            .filter(|operation| match operation.ask {
                Ask::Cancel { buyer: Some(buyer), .. } => Some(buyer) == owner,
                _ => true,
            })
            .collect();
        if same.iter().any(|operation| self.may_have_done(operation, event.at_us)) {
            return;
        }
        if same.iter().any(|operation| matches!(operation.answer, Answer::Order { .. })) {
            return;
        }
        unexplained(event, &format!("order {order}"), &same, found);
    }

    fn administered(&mut self, event: &Event, product: ProductId, found: &mut Findings) {
        let indexes = self.by_product.get(&product);
        if !self.is_closed_to_strangers() && indexes.is_none() {
            return;
        }
        let Some(book) = self.case.books.product(product) else { return };
        let Some(index) = book.edition_at(event.position.sequence) else { return };
        let indexes = indexes.map_or(&[][..], Vec::as_slice);
        let latest_us = event.at_us.saturating_add(self.case.allowance.engine_skew_us);
        let explains = |at: &&usize| {
            let operation = &self.case.operations[**at];
            // One that was answered may have made it, or have found it done: nobody knows which.
            let is_open = matches!(operation.answer, Answer::Unknown | Answer::Product(_));
            !self.used.contains(*at)
                && is_open
                && operation.sent_us <= latest_us
                && would_do(book, index, &operation.ask)
        };
        match indexes.iter().find(explains) {
            Some(at) => _ = self.used.insert(*at),
            None => unexplained(event, &format!("product {product}"), &[], found),
        }
    }

    fn operations(&self, indexes: Option<&Vec<usize>>) -> Vec<&'a Operation> {
        let indexes = indexes.map_or(&[][..], Vec::as_slice);
        indexes.iter().map(|index| &self.case.operations[*index]).collect()
    }
}

/// Says that nobody asked for an event, or that all who did were told that it was not done.
pub(super) fn unexplained(event: &Event, about: &str, asked: &[&Operation], found: &mut Findings) {
    let position = event.position;
    let what = format!("event {position} says that {about} is {}", event.fact.word());
    let numbers: Vec<u64> = asked.iter().map(|operation| operation.number).collect();
    let is_refusal = |operation: &&&Operation| {
        matches!(operation.answer, Answer::Refused(_) | Answer::NotDone(_))
    };
    if let Some(refused) = asked.iter().find(is_refusal) {
        let why = format!("operation {} was told that it was not done", refused.number);
        found.add(Kind::DoneThoughRefused, &numbers, &[position], (what, why));
    } else if asked.is_empty() {
        let why = "no operation asked for it".to_owned();
        found.add(Kind::UnexplainedEvent, &numbers, &[position], (what, why));
    } else {
        let why = "every operation that asked for it was told that another had done it".to_owned();
        found.add(Kind::UnexplainedEvent, &numbers, &[position], (what, why));
    }
}
