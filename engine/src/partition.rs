//! One partition: its state, the batch that gathers, and the answers that wait for the disk.
//!
//! It does no I/O and knows no clock, no log and no socket. The core's tasks (`core`) tell it what
//! time it is, how much the log can take, and when a batch is durable; it says what to write and
//! whom to answer. So the whole rule "nothing leaves before it is durable" stands in this file, and
//! can be run without a disk.
//!
//! Every answer waits for a sequence: an acceptance for its own event, a refusal or a read for the
//! last event that it saw. What waited for something durable already is answered at once. Stock
//! levels, which nobody asks for, are those of what is durable.

use crate::clock::Moment;
use crate::levels::DurableLevels;
use crate::state_machine::{Level, State, apply, decide};
use doorbuster_protocol::command::{Ask, Command, Read, Request};
use doorbuster_protocol::{Outcome, PartitionId, Sequence, Timestamp, limits};
use std::collections::VecDeque;

/// Where an answer goes. The partition only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The connection, by its number in the core.
    pub connection: u64,
    /// The request on it.
    pub correlation: u64,
}

/// Events that go to the log in one frame.
#[derive(Debug, Default)]
pub struct Batch {
    /// Sequence of the first event.
    pub first: Sequence,
    /// How many.
    pub count: u32,
    /// The encoded events.
    pub events: Vec<u8>,
}

impl Batch {
    /// Sequence of the last event. Of an empty batch: the one before the first.
    pub fn last(&self) -> Sequence {
        Sequence::new(self.first.get() + u64::from(self.count) - 1)
    }
}

#[derive(Debug)]
struct Waiting {
    until: Sequence,
    to: ReplyTo,
    outcome: Outcome,
}

/// How the log stands, as far as it matters for taking new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRoom {
    /// Bytes of events that the open batch may reach.
    pub batch_bytes: usize,
    /// Whether waiting will not make more room: what does not fit is refused.
    pub disk_full: bool,
    /// Whether more of the log than allowed waits for its consumers.
    pub above_high_water: bool,
}

/// One partition, without its log.
#[derive(Debug)]
pub struct Partition {
    state: State,
    open: Batch,
    durable: Sequence,
    waiting: VecDeque<Waiting>,
    levels: DurableLevels,
    room: LogRoom,
    draining: bool,
    /// The last event that a consumer could be interested in; acknowledging acknowledgements would
    /// never end.
    last_fact: Sequence,
    acknowledged_by_consumers: [Sequence; limits::CONSUMERS_MAX as usize],
}

impl Partition {
    /// A partition whose state was recovered from its log: all of it is durable.
    pub fn new(mut state: State) -> Self {
        let durable = state.sequence();
        let open = Batch { first: durable.next(), ..Batch::default() };
        Self {
            open,
            durable,
            last_fact: durable,
            waiting: VecDeque::new(),
            levels: DurableLevels::new(&mut state),
            room: LogRoom { batch_bytes: 0, disk_full: false, above_high_water: false },
            draining: false,
            acknowledged_by_consumers: [Sequence::ZERO; limits::CONSUMERS_MAX as usize],
            state,
        }
    }

    /// Which partition this is.
    pub fn id(&self) -> PartitionId {
        self.state.partition()
    }
    /// What it holds. Changes only by [`Partition::ask`] and its kin.
    pub fn state(&self) -> &State {
        &self.state
    }
    /// The stock level of every product, as it is on disk.
    pub fn levels(&self) -> impl Iterator<Item = Level> {
        self.levels.all()
    }
    /// The levels that changed on disk since the last call.
    pub fn take_changed_levels(&mut self) -> Vec<Level> {
        self.levels.take_changed()
    }
    /// Units of all products that can be ordered, as it is on disk.
    pub fn available_units(&self) -> u64 {
        self.levels.available()
    }
    /// The last event that is on disk.
    pub fn durable(&self) -> Sequence {
        self.durable
    }
    /// Answers that wait for the disk.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
    /// Tells how much the log can take.
    ///
    /// While a batch is being written the log does not know yet what that one leaves, and may be
    /// about to go to its next file: what was known when the batch was taken stays.
    pub fn set_room(&mut self, room: LogRoom) {
        let batch_bytes = if self.is_writing() { self.room.batch_bytes } else { room.batch_bytes };
        self.room = LogRoom { batch_bytes, ..room };
    }
    /// Whether a batch was taken that is not durable yet.
    fn is_writing(&self) -> bool {
        self.open.first > self.durable.next()
    }
    /// From now on nothing but reads is answered; what was taken is finished.
    pub fn drain(&mut self) {
        self.draining = true;
    }
    /// Whether everything that was taken is durable and answered.
    pub fn is_drained(&self) -> bool {
        self.draining && !self.is_writing() && !self.has_open_batch() && self.waiting.is_empty()
    }

    /// Time never goes back: what the clock says, or the time of the last event.
    fn now(&self, clock: Timestamp) -> Timestamp {
        clock.max(self.state.last_at())
    }

    /// Takes a request. `Some` is an answer for now; `None` means that [`Partition::committed`]
    /// will hand it out.
    pub fn ask(&mut self, request: &Request, to: ReplyTo, at: Moment) -> Option<Outcome> {
        let now = self.now(at.now);
        // The wall clock, not `now`: a deadline is the asker's, not the log's.
        if request.deadline.some().is_some_and(|deadline| deadline < at.wall) {
            return Some(Outcome::DeadlinePassed);
        }
        let outcome = match &request.ask {
            Ask::Read(Read::Order { order, buyer }) => self.state.order(*order, *buyer),
            Ask::Read(Read::Product { product }) => self.state.product(*product),
            Ask::Command(command) => {
                if self.draining {
                    return Some(Outcome::Unavailable);
                }
                match self.execute(command, now) {
                    Some(outcome) => outcome,
                    None => return Some(Outcome::Overloaded),
                }
            }
        };
        let until = self.state.sequence();
        if until <= self.durable {
            return Some(outcome);
        }
        self.waiting.push_back(Waiting { until, to, outcome });
        None
    }

    /// Decides and applies; `None` when the log has no room for the event, and nothing happened.
    /// What makes no event needs no room: a key gets its first answer even then.
    fn execute(&mut self, command: &Command, now: Timestamp) -> Option<Outcome> {
        let decision = decide(&self.state, command, now);
        if let Some(event) = decision.event {
            let is_new_order = matches!(command, Command::Place(_));
            if self.room.above_high_water && is_new_order {
                return None;
            }
            // What is sold can be paid for, and what is held comes back, also after the disk filled.
            let is_last_room = self.room.disk_full && is_new_order;
            let kept = if is_last_room { limits::ROOM_KEPT_FROM_NEW_ORDERS } else { 0 };
            let mark = self.open.events.len();
            event.encode(&mut self.open.events);
            if self.open.events.len() + kept > self.room.batch_bytes {
                self.open.events.truncate(mark);
                return None;
            }
            apply(&mut self.state, &event);
            self.open.count += 1;
            assert_eq!(
                self.state.sequence(),
                self.open.last(),
                "events and sequences march together"
            );
            if !matches!(command, Command::Acknowledge { .. }) {
                self.last_fact = self.state.sequence();
            }
        }
        Some(decision.outcome)
    }

    /// Lets overdue holds run out, at most `most` of them; how many did.
    pub fn expire(&mut self, clock: Timestamp, most: usize) -> usize {
        let now = self.now(clock);
        let mut expired = 0;
        while expired < most && self.state.next_expiry().is_some_and(|deadline| deadline <= now) {
            let before = self.state.sequence();
            if self.execute(&Command::Expire, now).is_none() || self.state.sequence() == before {
                break;
            }
            expired += 1;
        }
        expired
    }

    /// A consumer has events up to `through`. Kept until [`Partition::log_acknowledgements`].
    /// False when it claims events that it cannot have seen.
    pub fn acknowledge(&mut self, consumer: u8, through: Sequence) -> bool {
        let Some(known) = self.acknowledged_by_consumers.get_mut(usize::from(consumer)) else {
            return false;
        };
        if through > self.durable {
            return false;
        }
        *known = through.max(*known);
        true
    }

    /// Writes what consumers acknowledged into the log, when it moves them past something that is
    /// more than an acknowledgement. Called now and then, not for every batch of a consumer.
    pub fn log_acknowledgements(&mut self, clock: Timestamp) {
        self.state.settle_receipts();
        /// One event releases a bounded number of orders; this many events follow each other.
        const EVENTS_PER_TURN_MAX: usize = 4;
        let now = self.now(clock);
        for consumer in 0..limits::CONSUMERS_MAX {
            let through = self.acknowledged_by_consumers[usize::from(consumer)];
            let logged = self.state.acknowledged_by(consumer);
            if through < logged || (through == logged && !self.state.has_releasable()) {
                continue;
            }
            if through > logged && logged >= self.last_fact {
                continue;
            }
            for _ in 0..EVENTS_PER_TURN_MAX {
                let command = Command::Acknowledge { consumer, through };
                if self.execute(&command, now).is_none() || !self.state.has_releasable() {
                    break;
                }
            }
        }
    }

    /// Whether taking more should wait for the disk: for the batch that is being written, or for
    /// space that is being made ready. A full disk makes nobody wait, it refuses.
    pub fn is_full(&self) -> bool {
        !self.room.disk_full
            && self.open.events.len() + limits::EVENT_BYTES_MAX > self.room.batch_bytes
    }
    /// Whether there is something to write.
    pub fn has_open_batch(&self) -> bool {
        self.open.count > 0
    }

    /// Takes the gathered batch for writing; the next one begins. One batch is written at a time.
    pub fn take_batch(&mut self, spare: Vec<u8>) -> Batch {
        assert!(self.open.count > 0, "a batch is taken when there is one");
        assert!(!self.is_writing(), "one batch is written at a time");
        let first = self.open.last().next();
        // What this batch takes of the log's room is gone for the next one, until the log says
        // what is left.
        let taken = crate::log::frame::frame_bytes(self.open.events.len()) as usize;
        self.room.batch_bytes = self.room.batch_bytes.saturating_sub(taken);
        self.levels.batch_taken(&mut self.state);
        std::mem::replace(&mut self.open, Batch { first, count: 0, events: spare })
    }

    /// Events up to `through` are on disk: hands out every answer that waited for them.
    pub fn committed(&mut self, through: Sequence, mut answer: impl FnMut(ReplyTo, Outcome)) {
        assert!(through > self.durable, "durability only grows");
        assert!(through <= self.state.sequence(), "nothing is durable that did not happen");
        self.durable = through;
        if !self.is_writing() {
            self.levels.batch_durable();
        }
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.until <= through) {
            answer(waiting.to, waiting.outcome);
        }
    }
}

#[cfg(test)]
#[path = "partition_test.rs"]
mod tests;
