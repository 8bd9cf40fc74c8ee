//! Orders without a key that nobody was told of: each comes from an operation of its own, of unknown
//! fate, that asked for exactly that.

use super::Case;
use super::explained::unexplained;
use crate::answer::Answer;
use crate::event::{Event, Ordered};
use crate::ids::{BuyerId, ProductId};
use crate::operation::{Ask, Operation};
use crate::verdict::Findings;
use std::collections::BTreeMap;

/// What was asked for: attempts that agree in it cannot be told apart.
type Body = (BuyerId, ProductId, u32, bool);

/// Orders that nobody was told of.
#[derive(Default)]
pub(super) struct Unclaimed<'a>(BTreeMap<Body, Vec<(&'a Event, &'a Ordered)>>);

impl<'a> Unclaimed<'a> {
    pub(super) fn add(&mut self, event: &'a Event, ordered: &'a Ordered) {
        let body = (ordered.buyer, ordered.product, ordered.quantity, ordered.waitlist);
        self.0.entry(body).or_default().push((event, ordered));
    }

    pub(super) fn check(mut self, case: Case<'_>, found: &mut Findings) {
        if self.0.is_empty() {
            return;
        }
        let mut asked: BTreeMap<Body, Vec<&Operation>> = BTreeMap::new();
        for operation in case.operations {
            if let Ask::Place { product, buyer, key: None, quantity, waitlist } = operation.ask {
                let body = (buyer, product, quantity, waitlist);
                if self.0.contains_key(&body) {
                    asked.entry(body).or_default().push(operation);
                }
            }
        }
        for (body, orders) in &mut self.0 {
            let same = asked.remove(body).unwrap_or_default();
            let mut sent: Vec<u64> = same
                .iter()
                .filter(|operation| operation.answer == Answer::Unknown)
                .map(|operation| operation.sent_us)
                .collect();
            sent.sort_unstable();
            orders.sort_by_key(|(event, _)| event.at_us);
            // The first order needs one that was sent by then, the second one more, and so on.
            let mut left = sent.into_iter();
            for (event, ordered) in orders {
                let latest_us = event.at_us.saturating_add(case.allowance.engine_skew_us);
                if left.next().is_none_or(|sent_us| sent_us > latest_us) {
                    let refused = |operation: &&&Operation| {
                        matches!(operation.answer, Answer::Refused(_) | Answer::NotDone(_))
                    };
                    let refused: Vec<&Operation> = same.iter().filter(refused).copied().collect();
                    unexplained(event, &format!("order {}", ordered.order), &refused, found);
                }
            }
        }
    }
}
