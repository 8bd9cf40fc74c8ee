//! Whether two answers to one idempotency key agree.
//!
//! The contract: same key, same body, the first answer again, marked as such. An acceptance is
//! remembered; a refusal is not, so a refusal may be followed by an acceptance, but never an
//! acceptance by a refusal. What has no clear answer proves nothing.

use crate::answer::Answer;
use std::cell::RefCell;

/// The two sends of one attempt.
#[derive(Debug)]
pub(crate) struct Twin {
    /// Whether both were on their way at the same time: then the second may be decided first.
    in_parallel: bool,
    first_seen: RefCell<Option<Seen>>,
}

/// One of the two answers.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) answer: Answer,
    /// What the server said about the order, byte by byte; empty when nothing.
    pub(crate) evidence: Vec<u8>,
}

/// How two answers to one key disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// Two orders for one key.
    TwoOrders,
    /// An order, and afterwards a refusal.
    Forgotten,
    /// The same order in other words.
    OtherWords,
    /// Both answers say that they are the first.
    BothFirst,
}

impl Disagreement {
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::TwoOrders => "two orders for one key",
            Self::Forgotten => "a key that was accepted was refused afterwards",
            Self::OtherWords => "the second answer is worded differently from the first",
            Self::BothFirst => "the second answer is not marked as a replay",
        }
    }
}

impl Twin {
    pub(crate) fn new(in_parallel: bool) -> Self {
        Self { in_parallel, first_seen: RefCell::new(None) }
    }

    /// Takes one answer; with the second, says whether the two disagree.
    pub(crate) fn judge(&self, seen: Seen) -> Option<Disagreement> {
        let mut first_seen = self.first_seen.borrow_mut();
        match first_seen.take() {
            Some(first) => disagreement(self.in_parallel, &first, &seen),
            None => {
                *first_seen = Some(seen);
                None
            }
        }
    }
}

/// `first` was seen before `second`; when they were sent in parallel that says nothing about which
/// was decided first.
fn disagreement(in_parallel: bool, first: &Seen, second: &Seen) -> Option<Disagreement> {
    match (&first.answer, &second.answer) {
        (
            Answer::Order { order: one, replayed: one_replayed, .. },
            Answer::Order { order: two, replayed: two_replayed, .. },
        ) => {
            if one != two {
                Some(Disagreement::TwoOrders)
            } else if !one_replayed && !two_replayed {
                Some(Disagreement::BothFirst)
            } else if first.evidence != second.evidence {
                Some(Disagreement::OtherWords)
            } else {
                None
            }
        }
        (Answer::Order { .. }, Answer::Refused(_)) if !in_parallel => Some(Disagreement::Forgotten),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Failure;
    use doorbuster_protocol::outcome::OrderStatus;
    use doorbuster_protocol::{BuyerId, OrderId, PartitionId, Sequence, Timestamp};

    fn order(number: u64, replayed: bool) -> Answer {
        let order = OrderId::new(
            Timestamp::from_micros(1_700_000_000_000_000),
            PartitionId::new(3).expect("in range"),
            BuyerId::from_bytes([1; 16]),
            Sequence::new(number),
        );
        Answer::Order { order, status: OrderStatus::Pending, replayed }
    }

    #[test]
    fn answers_agree_or_not() {
        fn check(in_parallel: bool, pair: &[Answer; 2], want: Option<Disagreement>) {
            let [one, two] = pair;
            let twin = Twin::new(in_parallel);
            let seen = |answer| Seen { answer, evidence: b"same".to_vec() };
            assert_eq!(twin.judge(seen(one.clone())), None);
            assert_eq!(twin.judge(seen(two.clone())), want, "{in_parallel} {one:?} {two:?}");
        }
        let sold_out = || Answer::Refused("sold-out".into());
        let lost = || Answer::Failed(Failure::DISCONNECTED);
        for in_parallel in [false, true] {
            check(in_parallel, &[order(1, false), order(1, true)], None);
            check(in_parallel, &[order(1, true), order(1, false)], None);
            check(in_parallel, &[order(1, true), order(1, true)], None);
            check(in_parallel, &[order(1, false), order(1, false)], Some(Disagreement::BothFirst));
            check(in_parallel, &[order(1, false), order(2, true)], Some(Disagreement::TwoOrders));
            check(in_parallel, &[sold_out(), order(1, false)], None);
            check(in_parallel, &[sold_out(), sold_out()], None);
            check(in_parallel, &[lost(), order(1, true)], None);
            check(in_parallel, &[order(1, false), lost()], None);
        }
        check(false, &[order(1, false), sold_out()], Some(Disagreement::Forgotten));
        check(true, &[order(1, false), sold_out()], None);
    }

    #[test]
    fn the_words_must_be_the_same() {
        let twin = Twin::new(false);
        let seen = |answer, evidence: &[u8]| Seen { answer, evidence: evidence.to_vec() };
        assert_eq!(twin.judge(seen(order(1, false), b"one")), None);
        assert_eq!(twin.judge(seen(order(1, true), b"two")), Some(Disagreement::OtherWords));
    }
}
