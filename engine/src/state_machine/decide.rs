//! The rules: what a command is answered, and what happens because of it.
//!
//! Deciding reads and never changes, and is total: every command has an outcome, in every state. An
//! outcome of a change is true once its event is applied and durable. Where several refusals would
//! be right, the first in the order of the code is given.

mod place;
mod settle;
mod stock;

use super::state::State;
use doorbuster_protocol::event::{Event, Fact};
use doorbuster_protocol::{Command, Outcome, Sequence, Timestamp, limits};

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer, to be given once the event is durable.
    ///
    /// Internal commands have nobody to answer: [`Command::Expire`] says the order that it ends, or
    /// [`Outcome::OrderNotFound`]; [`Command::Acknowledge`] always says the latter.
    pub outcome: Outcome,
    /// What happens, to be applied before anything else is decided; `None` when nothing changes.
    pub event: Option<Event>,
}

impl Decision {
    /// Nothing changes.
    fn answer(outcome: Outcome) -> Self {
        Self { outcome, event: None }
    }

    /// Something happens at `at`.
    fn happens(outcome: Outcome, at: Timestamp, fact: Fact) -> Self {
        Self { outcome, event: Some(Event { at, fact }) }
    }
}

/// Decides `command` at `now`. A time before that of the last event counts as the latter.
///
/// Panics on a definition that its own [`check`](doorbuster_protocol::command::Define::check)
/// refuses; whoever decodes commands has checked it.
pub fn decide(state: &State, command: &Command, now: Timestamp) -> Decision {
    let now = now.max(state.last_at);
    match command {
        Command::Place(wanted) => place::place(state, wanted, now),
        Command::Confirm { order } => settle::confirm(state, *order, now),
        Command::Cancel { order, buyer } => settle::cancel(state, *order, *buyer, now),
        Command::Define(define) => stock::define(state, define, now),
        Command::Restock { product, units } => stock::restock(state, *product, *units, now),
        Command::Withdraw { product, units } => stock::withdraw(state, *product, *units, now),
        Command::SetState { product, state: wanted } => {
            stock::set_state(state, *product, *wanted, now)
        }
        Command::Expire => settle::expire(state, now),
        Command::Acknowledge { consumer, through } => acknowledge(state, *consumer, *through, now),
    }
}

/// An acknowledgement is worth an event when it covers a fact that the one before did not, or when
/// there is something left to let go. Acknowledgements of acknowledgements are not, so an idle
/// partition comes to rest. What a consumer cannot have is ignored.
fn acknowledge(state: &State, consumer: u8, through: Sequence, now: Timestamp) -> Decision {
    let before = state.acknowledged_by(consumer);
    let is_possible = consumer < limits::CONSUMERS_MAX
        && before <= through
        && Sequence::ZERO < through
        && through <= state.sequence;
    let is_news = before < through && before < state.last_fact;
    if !is_possible || !(is_news || state.has_releasable_at(now)) {
        return Decision::answer(Outcome::OrderNotFound);
    }
    Decision::happens(Outcome::OrderNotFound, now, Fact::Acknowledged { consumer, through })
}

#[cfg(test)]
#[path = "decide/acknowledge_test.rs"]
mod tests;
