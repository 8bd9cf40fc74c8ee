//! What one lane does with one piece of work: sends it, judges the answer, and asks for what
//! follows from it (the second send of a duplicate, a retry, a payment, a cancel, a look).

use crate::answer::{Answer, Class};
use crate::attempt::{Attempt, Attempts, Duplicate, Then};
use crate::books::Books;
use crate::gate::{Gate, Side, Work};
use crate::journal::Pen;
use crate::lane::{Lane, Wares};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::retry::Retries;
use crate::told;
use crate::twin::{Seen, Twin};
use doorbuster_history::answer::OrderSeen;
use doorbuster_history::journal::Called;
use doorbuster_history::operation::Ask;
use doorbuster_protocol::OrderId;
use doorbuster_protocol::outcome::OrderStatus;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something that an earlier answer asked for.
#[derive(Debug)]
pub(crate) enum Job {
    /// Send an attempt again: the duplicate, or a retry.
    Send(Sending),
    /// Do something with an order.
    Act(Acting),
}

/// An attempt on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    attempt: Attempt,
    /// From when its latency counts, retries included.
    due: Instant,
    tries: u32,
    is_second: bool,
    twin: Option<Rc<Twin>>,
}

/// An order and what is to be done with it.
#[derive(Clone, Debug)]
pub(crate) struct Acting {
    act: Act,
    attempt: Attempt,
    order: OrderId,
    due: Instant,
    tries: u32,
}

/// What can be done with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pay,
    Cancel,
    Look,
}

impl Act {
    const fn class(self) -> Class {
        match self {
            Self::Pay => Class::Pay,
            Self::Cancel => Class::Cancel,
            Self::Look => Class::Look,
        }
    }
}

/// What all lanes of one worker share.
pub(crate) struct Errands {
    pub(crate) plan: Arc<Plan>,
    pub(crate) wares: Wares,
    pub(crate) gate: Gate<Job>,
    pub(crate) retries: Retries,
    pub(crate) books: Rc<Books>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) journal: Option<Pen>,
    /// When a look found all slots taken for the first time: patience counts from then.
    pub(crate) looking_since: Cell<Option<Instant>>,
}

impl Errands {
    /// Does one piece of work with one lane.
    pub(crate) async fn run(&self, lane: &mut Lane, work: Work<Job>) {
        match work {
            Work::Slot { number, due } => {
                let attempt = self.wares.attempts.attempt(number);
                self.progress.add_attempts(1);
                self.retries.earn();
                let twin = (attempt.duplicate != Duplicate::No)
                    .then(|| Rc::new(Twin::new(attempt.duplicate == Duplicate::Parallel)));
                let sending = Sending { attempt, due, tries: 0, is_second: false, twin };
                self.books.attempted(due, Instant::now());
                if attempt.duplicate == Duplicate::Parallel {
                    self.push_second(&sending);
                }
                self.send(lane, sending).await;
            }
            Work::Job(Job::Send(sending)) => self.send(lane, sending).await,
            Work::Job(Job::Act(acting)) => self.act(lane, acting).await,
        }
    }

    fn push_second(&self, first: &Sending) {
        let now = Instant::now();
        let second = Sending { due: now, tries: 0, is_second: true, ..first.clone() };
        self.gate.push(Job::Send(second), now, Side::Main);
    }

    async fn send(&self, lane: &mut Lane, sending: Sending) {
        let mut evidence = Vec::new();
        let is_wanted = sending.twin.is_some() || self.journal.is_some();
        let wanted = is_wanted.then_some(&mut evidence);
        let number = self.write_sent(&sending.attempt, || self.placing(&sending.attempt));
        let sent = Instant::now();
        self.books.flow().order_sent(sent);
        let answer = lane.place(&self.wares, &sending.attempt, wanted).await;
        let answered = Instant::now();
        self.write_answered(number, &answer, || lane.seen(&evidence));
        if let Some(stages) = &mut self.books.flow().stages {
            stages.order(&answer, sent, answered);
        }
        let Sending { attempt, due, tries, .. } = sending;
        if let Some(wait) = self.wait_to_retry(&answer, (attempt.number, due), tries, true) {
            let again = Sending { tries: tries + 1, ..sending };
            return self.gate.push(Job::Send(again), answered + wait, Side::Main);
        }
        self.record(&answer, [due, sent, answered]);
        self.follow(&sending, &answer, answered);
        if let Some(twin) = &sending.twin
            && let Some(disagreement) = twin.judge(Seen { answer, evidence })
        {
            self.progress.add_violations(1);
            self.books
                .tally(due)
                .violated(|| format!("attempt {}: {}", attempt.number, disagreement.describe()));
        }
    }

    /// Counts an answer to an attempt to buy.
    fn record(&self, answer: &Answer, times: [Instant; 3]) {
        let class = answer.class();
        self.books.answered(class, times);
        let tally = &mut *self.books.tally(times[0]);
        self.progress.add_answers(1);
        match class {
            Class::Accepted => self.progress.add_accepted(1),
            Class::Replayed => self.progress.add_replayed(1),
            Class::Queued => self.progress.add_queued(1),
            Class::SoldOut => self.progress.add_sold_out(1),
            Class::Limit => self.progress.add_limit(1),
            _ => {}
        }
        match answer {
            Answer::Refused(code) if class == Class::Refused => {
                self.progress.add_refused(1);
                tally.refused(code);
            }
            Answer::Failed(failure) => {
                self.progress.add_failed(1);
                tally.failed(&failure.code);
                tally.disconnects += u64::from(failure.is_disconnect);
                tally.ended(times[2]);
            }
            _ => {}
        }
    }

    /// What follows from the first answer to an attempt.
    fn follow(&self, sending: &Sending, answer: &Answer, answered: Instant) {
        let Answer::Order { order, status, .. } = *answer else {
            // A refusal is not remembered, so asking again is as good as the first time.
            if !sending.is_second
                && matches!(answer, Answer::Refused(_))
                && sending.attempt.duplicate == Duplicate::After
            {
                self.push_second(sending);
            }
            return;
        };
        if sending.is_second {
            return;
        }
        if status == OrderStatus::Queued {
            if let Some(follow) = self.plan.follow_queued {
                self.push_act(Act::Look, sending.attempt, order, answered + follow.every);
            }
        } else {
            self.books.tally(sending.due).won(answered);
            self.push_then(sending.attempt, order, answered);
        }
        if sending.attempt.duplicate == Duplicate::After {
            self.push_second(sending);
        }
    }

    /// A hold was won: what the buyer does with it.
    fn push_then(&self, attempt: Attempt, order: OrderId, now: Instant) {
        let due = now + self.plan.think_time;
        match attempt.then {
            Then::Leave => {}
            Then::Pay => self.push_act(Act::Pay, attempt, order, due),
            Then::Cancel => self.push_act(Act::Cancel, attempt, order, due),
        }
    }

    fn push_act(&self, act: Act, attempt: Attempt, order: OrderId, due: Instant) {
        let acting = Acting { act, attempt, order, due, tries: 0 };
        self.gate.push(Job::Act(acting), due, self.side_of_acts());
    }

    async fn act(&self, lane: &mut Lane, acting: Acting) {
        let Acting { act, attempt, order, due, tries } = acting;
        let mut evidence = Vec::new();
        let wanted = self.journal.is_some().then_some(&mut evidence);
        let number = self.write_sent(&attempt, || acting.ask());
        let sent = Instant::now();
        self.books.flow().requests += 1;
        let answer = lane.act(&self.wares, (act, attempt.buyer), order, wanted).await;
        let answered = Instant::now();
        self.write_answered(number, &answer, || lane.seen(&evidence));
        let times = [due, sent, answered];
        let wait = self.wait_to_retry(&answer, (attempt.number, due), tries, false);
        if act != Act::Look
            && let Some(stages) = &mut self.books.flow().stages
        {
            stages.act(&answer, tries, wait.is_none(), times);
        }
        if let Some(wait) = wait {
            let again = Job::Act(Acting { tries: tries + 1, ..acting });
            return self.gate.push(again, answered + wait, self.side_of_acts());
        }
        match &answer {
            Answer::Failed(failure) => {
                self.books.answered(Class::Failed, times);
                let tally = &mut *self.books.tally(due);
                tally.failed(&failure.code);
                tally.disconnects += u64::from(failure.is_disconnect);
                self.progress.add_failed(1);
                return;
            }
            Answer::Refused(code) => {
                self.books.answered(act.class(), times);
                self.books.tally(due).refused(&format!("{}: {code}", act.class().name()));
                self.progress.add_refused(1);
                return;
            }
            Answer::Order { .. } => self.books.answered(act.class(), times),
        }
        let Answer::Order { status, .. } = answer else { return };
        match (act, status) {
            (Act::Pay, OrderStatus::Paid) => {
                self.books.tally(due).paid += 1;
                self.progress.add_paid(1);
            }
            (Act::Cancel, OrderStatus::Cancelled) => {
                self.books.tally(due).cancelled += 1;
                self.progress.add_cancelled(1);
            }
            (Act::Look, OrderStatus::Pending) => {
                self.books.tally(due).promoted += 1;
                self.progress.add_promoted(1);
                self.push_then(attempt, order, answered);
            }
            (Act::Look, OrderStatus::Queued) => self.look_again(attempt, order, answered),
            (Act::Look, _) => {}
            (Act::Pay | Act::Cancel, other) => self.books.tally(due).violated(|| {
                let name = act.class().name();
                format!("attempt {}: {name} left the order {}", attempt.number, other.as_str())
            }),
        }
    }

    fn look_again(&self, attempt: Attempt, order: OrderId, now: Instant) {
        let Some(follow) = self.plan.follow_queued else { return };
        if self.gate.slots_are_taken() {
            let since = self.looking_since.get().unwrap_or(now);
            self.looking_since.set(Some(since));
            if now.saturating_duration_since(since) >= follow.patience {
                return;
            }
        }
        self.push_act(Act::Look, attempt, order, now + follow.every);
    }

    /// Lanes of their own do what is not an order, where the plan has such.
    fn side_of_acts(&self) -> Side {
        if self.plan.acting_concurrency > 0 { Side::Apart } else { Side::Main }
    }

    /// How long to wait before it is sent again; `None`: this answer stands.
    fn wait_to_retry(
        &self,
        answer: &Answer,
        (attempt, due): (u64, Instant),
        tries: u32,
        is_on_budget: bool,
    ) -> Option<Duration> {
        let Answer::Failed(failure) = answer else { return None };
        if self.progress.is_stopped() {
            return None;
        }
        let wait = self.retries.wait(failure, attempt, tries, is_on_budget)?;
        let tally = &mut *self.books.tally(due);
        tally.retries += 1;
        tally.disconnects += u64::from(failure.is_disconnect);
        Some(wait)
    }

    /// An attempt, as a journal has it.
    fn placing(&self, attempt: &Attempt) -> Ask {
        let buyer = Attempts::buyer_id(attempt.buyer);
        Ask::Place {
            product: told::product(self.wares.attempts.product(attempt.product).1),
            buyer: told::buyer(buyer),
            key: told::key(self.wares.attempts.key_hash(attempt, buyer)),
            quantity: self.wares.quantity,
            waitlist: self.wares.waitlist,
        }
    }

    /// Writes down what is about to be sent; the number to answer it under.
    fn write_sent(&self, attempt: &Attempt, ask: impl FnOnce() -> Ask) -> Option<u64> {
        let called = || Called {
            attempt: attempt.number,
            buyer: Attempts::buyer_name(attempt.buyer),
            product: self.wares.attempts.product(attempt.product).0.to_owned(),
            key: self.wares.attempts.key(attempt.number),
        };
        self.journal.as_ref().map(|journal| journal.sent(ask(), called()))
    }

    fn write_answered(
        &self,
        number: Option<u64>,
        answer: &Answer,
        seen: impl FnOnce() -> Option<OrderSeen>,
    ) {
        let (Some(journal), Some(number)) = (&self.journal, number) else { return };
        let is_order = matches!(answer, Answer::Order { .. });
        let seen = if is_order { seen() } else { None };
        journal.answered(number, told::answer(answer, seen));
    }
}

impl Acting {
    /// The same, as a journal has it.
    fn ask(&self) -> Ask {
        let order = told::order(self.order);
        let buyer = Some(told::buyer(Attempts::buyer_id(self.attempt.buyer)));
        match self.act {
            Act::Pay => Ask::Pay { order },
            Act::Cancel => Ask::Cancel { order, buyer },
            Act::Look => Ask::LookAtOrder { order, buyer },
        }
    }
}
