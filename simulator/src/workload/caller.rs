//! One request of a client: sent, written down, answered or not.
//!
//! What is written down is true simulated time, whatever the client's own clock says; that one
//! stamps the deadlines.

use super::Workload;
use crate::clock::{START_US, WallClock};
use crate::history_of;
use doorbuster_client::EngineClient;
use doorbuster_history::answer::{Answer, Refusal};
use doorbuster_protocol::command::{Ask, Command, Place, Read, Request};
use doorbuster_protocol::{Outcome, Timestamp};
use std::time::Duration;

/// How a client asks.
#[derive(Clone)]
pub(super) struct Caller {
    workload: Workload,
    number: u32,
    client: EngineClient,
    clock: WallClock,
}

/// What became of a request.
pub(super) enum Came {
    /// It was answered.
    Outcome(Outcome),
    /// It was certainly not done.
    NotDone,
    /// It may have been done, or may be yet.
    Unknown,
}

impl Caller {
    pub(super) fn new(
        workload: Workload,
        number: u32,
        client: EngineClient,
        clock: WallClock,
    ) -> Self {
        Self { workload, number, client, clock }
    }

    pub(super) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The true time, which nobody in the run knows.
    pub(super) fn now_us(&self) -> u64 {
        START_US + self.workload.0.world.began().elapsed().as_micros() as u64
    }

    /// Asks for an order, by way of what is known of the stock, as an edge does it.
    pub(super) async fn place(&self, place: Place, patience: Option<Duration>) -> Came {
        let ask = Ask::Command(Command::Place(place));
        if self.client.answers_sold_out(&place) {
            let mut recorder = self.workload.0.recorder.borrow_mut();
            let now_us = self.now_us();
            let number = recorder.sent(self.number, now_us, history_of::ask(&ask));
            recorder.answered(number, now_us, Answer::Refused(Refusal::SoldOut));
            self.workload.0.world.count("operations");
            self.workload.0.world.count("refused from levels");
            return Came::Outcome(Outcome::SoldOut);
        }
        self.ask(ask, patience).await
    }

    /// Sends a request and waits for its answer; with `patience` no longer than that, which the
    /// engine is told as well.
    pub(super) async fn ask(&self, ask: Ask, patience: Option<Duration>) -> Came {
        let world = &self.workload.0.world;
        let deadline = patience.map_or(Timestamp::NONE, |patience| {
            self.clock.now().plus_micros(patience.as_micros() as u64)
        });
        let partitions = self.client.partitions();
        let partition = match &ask {
            Ask::Command(Command::Place(place)) => partitions.partition_of(place.product),
            Ask::Command(Command::Define(define)) => partitions.partition_of(define.product),
            Ask::Command(
                Command::Restock { product, .. }
                | Command::Withdraw { product, .. }
                | Command::SetState { product, .. },
            )
            | Ask::Read(Read::Product { product }) => partitions.partition_of(*product),
            Ask::Command(Command::Confirm { order } | Command::Cancel { order, .. })
            | Ask::Read(Read::Order { order, .. }) => order.partition(),
            Ask::Command(Command::Expire | Command::Acknowledge { .. }) => {
                unreachable!("clients do not ask for it")
            }
        };
        let asked = history_of::ask(&ask);
        let number = self.workload.0.recorder.borrow_mut().sent(self.number, self.now_us(), asked);
        world.count("operations");
        let answer = self.client.submit(Request { partition, deadline, ask });
        let answered = match patience {
            Some(patience) => tokio::time::timeout(patience, answer).await,
            None => Ok(answer.await),
        };
        let (came, answer) = match answered {
            Ok(Ok(outcome)) => {
                let answer = history_of::answer(&outcome);
                match &answer {
                    Answer::NotDone(_) => (Came::NotDone, answer),
                    _ => (Came::Outcome(outcome), answer),
                }
            }
            Ok(Err(error)) if error.nothing_was_done() => {
                (Came::NotDone, Answer::NotDone(error.to_string()))
            }
            Ok(Err(_)) | Err(_) => (Came::Unknown, Answer::Unknown),
        };
        let name = match &answer {
            Answer::Unknown => "unknown answers",
            Answer::NotDone(_) => "not done",
            Answer::Refused(refusal) => {
                world.count(history_of::counted_as(refusal));
                "refused"
            }
            Answer::Order { .. } | Answer::Product(_) => "answered",
        };
        world.count(name);
        world.line("client", format_args!("{} #{number}: {answer:?}", self.number));
        // A request of unknown fate has no answer: it may still be done.
        if !matches!(answer, Answer::Unknown) {
            self.workload.0.recorder.borrow_mut().answered(number, self.now_us(), answer);
        }
        came
    }
}
