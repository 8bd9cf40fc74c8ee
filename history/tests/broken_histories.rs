//! Whatever single thing goes wrong at random in a sale, it is found.

mod sale;

use doorbuster_history::answer::{Answer, Refusal};
use doorbuster_history::event::{Fact, Ordered};
use doorbuster_history::operation::Ask;
use doorbuster_history::{History, Kind, Verdict};
use sale::story::{insert_after, remove};

/// Plants one thing in a random sale at a time, and checks each; `None`: there was nothing to do.
fn plant(
    what: &str,
    plant: impl Fn(&mut fastrand::Rng, &mut History) -> Option<()>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let sale = sale::history(seed, 600);
        for _ in 0..3 {
            let mut history = sale.clone();
            if plant(&mut random, &mut history).is_none() {
                continue;
            }
            let verdict = doorbuster_history::check(&history, &sale::allowance());
            assert!(!verdict.is_clean(), "{what} was not found in sale {seed}");
            verdicts.push(verdict);
        }
    }
    assert!(verdicts.len() > 15, "{what} could be done {} times", verdicts.len());
    verdicts
}

fn all_have(verdicts: &[Verdict], kinds: &[Kind]) {
    for verdict in verdicts {
        let has = kinds.iter().any(|kind| verdict.count(*kind) > 0);
        assert!(has, "none of {kinds:?} in {verdict}");
    }
}

fn any_event(
    random: &mut fastrand::Rng,
    history: &History,
    is: impl Fn(&Fact) -> bool,
) -> Option<usize> {
    let those = (0..history.events.len()).filter(|at| is(&history.events[*at].fact));
    let those: Vec<usize> = those.collect();
    random.choice(those)
}

fn any_operation(
    random: &mut fastrand::Rng,
    history: &History,
    is: impl Fn(&Ask, &Answer) -> bool,
) -> Option<usize> {
    let those = (0..history.operations.len()).filter(|at| {
        let operation = &history.operations[*at];
        is(&operation.ask, &operation.answer)
    });
    let those: Vec<usize> = those.collect();
    random.choice(those)
}

fn is_acknowledgement(fact: &Fact) -> bool {
    matches!(fact, Fact::Acknowledged { .. })
}

#[test]
fn an_event_is_lost() {
    plant("an event that is lost", |random, history| {
        let at = any_event(random, history, |fact| !is_acknowledgement(fact))?;
        remove(history, at);
        Some(())
    });
}

#[test]
fn an_event_is_doubled() {
    plant("an event that is doubled", |random, history| {
        let at = any_event(random, history, |fact| {
            // To set what is set already changes nothing.
            !matches!(
                fact,
                Fact::Acknowledged { .. } | Fact::StateSet { .. } | Fact::Defined { .. }
            )
        })?;
        let fact = history.events[at].fact.clone();
        insert_after(history, at, fact);
        Some(())
    });
}

#[test]
fn a_partition_loses_its_end() {
    plant("a lost end", |random, history| {
        let partition = random.u16(..3);
        let of_it = |at: &usize| history.events[*at].position.partition == partition;
        let all: Vec<usize> = (0..history.events.len()).filter(of_it).collect();
        let last = all.iter().rposition(|at| !is_acknowledgement(&history.events[*at].fact))?;
        let count = all.len() - last.saturating_sub(random.usize(..4));
        for at in all.into_iter().rev().take(count) {
            history.events.remove(at);
        }
        Some(())
    });
}

#[test]
fn an_order_is_refused_that_stands() {
    let verdicts = plant("a refusal of an order that stands", |random, history| {
        let at = any_operation(random, history, |ask, answer| {
            matches!(ask, Ask::Place { .. })
                && matches!(answer, Answer::Order { replayed: false, .. })
        })?;
        history.operations[at].answer = Answer::Refused(Refusal::SoldOut);
        Some(())
    });
    // When nobody knows what became of another try with its key, the refusal must have been wrong.
    let tried_again = Kind::UnjustifiedRefusal;
    let kinds = [Kind::DoneThoughRefused, Kind::ChangedAnswer, tried_again, Kind::UnexplainedEvent];
    all_have(&verdicts, &kinds);
}

#[test]
fn an_order_is_told_that_does_not_stand() {
    let verdicts = plant("an order that does not stand", |random, history| {
        let refused = any_operation(random, history, |ask, answer| {
            matches!(ask, Ask::Place { .. }) && matches!(answer, Answer::Refused(_))
        })?;
        let placed = any_operation(random, history, |ask, answer| {
            matches!(ask, Ask::Place { .. }) && matches!(answer, Answer::Order { .. })
        })?;
        history.operations[refused].answer = history.operations[placed].answer.clone();
        Some(())
    });
    let kinds = [Kind::WrongAnswer, Kind::LostAcknowledgement, Kind::AcknowledgedTwice];
    all_have(&verdicts, &kinds);
}

#[test]
fn two_orders_of_the_waitlist_change_places() {
    let verdicts = plant("two who change places", |random, history| {
        let at = any_event(random, history, |fact| {
            fact.served().is_some_and(|served| served.orders.len() > 1)
        })?;
        let (Fact::Cancelled(released) | Fact::Expired(released)) = &mut history.events[at].fact
        else {
            return None;
        };
        released.served.orders.swap(0, 1);
        Some(())
    });
    all_have(&verdicts, &[Kind::JumpedWaitlist]);
}

#[test]
fn an_order_changes_hands() {
    plant("an order of somebody else", |random, history| {
        let at = any_event(random, history, |fact| matches!(fact, Fact::Ordered(_)))?;
        let Fact::Ordered(Ordered { buyer, .. }) = &mut history.events[at].fact else {
            return None;
        };
        *buyer = doorbuster_history::ids::BuyerId::new(buyer.get() ^ 1);
        Some(())
    });
}
