//! Requests in flight on one link: who waits for which correlation id.
//!
//! Correlation ids are dense, so a queue of slot numbers finds the waiter of an answer without a
//! hash, and slots are reused, so that a request in flight costs no allocation. A waiter that goes
//! away leaves its slot until the answer comes: it still counts, because the engine still works.

use crate::ClientError;
use doorbuster_protocol::Outcome;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

const ANSWERED: u32 = u32::MAX;
/// How far the newest request may be ahead of the oldest unanswered one, in bounds of in-flight.
const SPREAD: usize = 8;

#[derive(Debug)]
enum Slot {
    Free,
    Waiting(Option<Waker>),
    Done(Outcome),
    Lost,
    Abandoned,
}

#[derive(Debug)]
pub(crate) struct Pending {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The slot of each correlation id from `base` on.
    queue: VecDeque<u32>,
    base: u64,
    in_flight: usize,
    in_flight_max: usize,
}

impl Pending {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            base: 1,
            in_flight: 0,
            in_flight_max,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether one more request may be sent that leaves so much room for others.
    pub(crate) fn has_room(&self, kept: usize) -> bool {
        self.in_flight + kept < self.in_flight_max && self.queue.len() < self.in_flight_max * SPREAD
    }

    /// Takes a slot for the request with this correlation id, the one after the last.
    pub(crate) fn begin(&mut self, correlation: u64) -> u32 {
        assert_eq!(correlation, self.base + self.queue.len() as u64, "correlation ids are dense");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Slot::Waiting(None);
        self.queue.push_back(slot);
        self.in_flight += 1;
        slot
    }

    /// Files an answer. `Err` when nothing waits for it: the peer has answered twice. The waker is
    /// for the caller to call, once nothing is borrowed.
    pub(crate) fn answer(
        &mut self,
        correlation: u64,
        outcome: Outcome,
    ) -> Result<Option<Waker>, ()> {
        let index = correlation.checked_sub(self.base).ok_or(())?;
        let entry = usize::try_from(index).ok().and_then(|index| self.queue.get_mut(index));
        let slot = std::mem::replace(entry.ok_or(())?, ANSWERED);
        if slot == ANSWERED {
            return Err(());
        }
        while self.queue.front() == Some(&ANSWERED) {
            self.queue.pop_front();
            self.base += 1;
        }
        self.in_flight -= 1;
        match std::mem::replace(&mut self.slots[slot as usize], Slot::Done(outcome)) {
            Slot::Waiting(waker) => Ok(waker),
            Slot::Abandoned => {
                self.release(slot);
                Ok(None)
            }
            Slot::Free | Slot::Done(_) | Slot::Lost => unreachable!("a queued slot waits"),
        }
    }

    /// The connection is gone: nothing in flight will be answered, and correlation ids start anew.
    pub(crate) fn lose_all(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for slot in std::mem::take(&mut self.queue) {
            if slot == ANSWERED {
                continue;
            }
            match std::mem::replace(&mut self.slots[slot as usize], Slot::Lost) {
                Slot::Waiting(waker) => wakers.extend(waker),
                Slot::Abandoned => self.release(slot),
                Slot::Free | Slot::Done(_) | Slot::Lost => unreachable!("a queued slot waits"),
            }
        }
        self.base = 1;
        self.in_flight = 0;
        wakers
    }

    /// The answer of a slot; frees it. Not to be asked again after that.
    pub(crate) fn poll(
        &mut self,
        slot: u32,
        context: &mut Context<'_>,
    ) -> Poll<Result<Outcome, ClientError>> {
        let answer = match &mut self.slots[slot as usize] {
            Slot::Waiting(Some(waker)) => {
                waker.clone_from(context.waker());
                return Poll::Pending;
            }
            Slot::Waiting(none) => {
                *none = Some(context.waker().clone());
                return Poll::Pending;
            }
            Slot::Done(outcome) => Ok(*outcome),
            Slot::Lost => Err(ClientError::Lost),
            Slot::Free | Slot::Abandoned => unreachable!("a slot is asked by its one owner"),
        };
        self.release(slot);
        Poll::Ready(answer)
    }

    /// Its owner goes away before it has the answer.
    pub(crate) fn abandon(&mut self, slot: u32) {
        match &mut self.slots[slot as usize] {
            waiting @ Slot::Waiting(_) => *waiting = Slot::Abandoned,
            _ => self.release(slot),
        }
    }

    fn release(&mut self, slot: u32) {
        self.slots[slot as usize] = Slot::Free;
        self.free.push(slot);
    }
}
