//! Who waits for a turn: in the order in which they came, each to be called or sent away.
//!
//! A place is a number that its owner holds; who goes away leaves a gap that closes when it comes to
//! either end. So nothing is searched, and a wait allocates nothing once the line has been as long
//! before.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// A place in the line. Its owner asks with it until it is called or sent away, or leaves it.
#[derive(Debug)]
pub(super) struct Place(u32);

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has a turn.
    Called,
    /// It gets none.
    SentAway,
}

#[derive(Debug)]
enum Seat {
    Free,
    Waiting {
        since: Instant,
        waker: Option<Waker>,
    },
    Told(Word),
    /// Its owner has left; it still stands in the line.
    Left,
}

/// Which end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Oldest,
    Newest,
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Seats by when they were taken, the oldest first.
    order: VecDeque<u32>,
    seats: Vec<Seat>,
    free: Vec<u32>,
    waiting: usize,
}

impl Line {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Takes a place behind all others.
    pub(super) fn join(&mut self, now: Instant) -> Place {
        let seat = self.free.pop().unwrap_or_else(|| {
            self.seats.push(Seat::Free);
            (self.seats.len() - 1) as u32
        });
        self.seats[seat as usize] = Seat::Waiting { since: now, waker: None };
        self.order.push_back(seat);
        self.waiting += 1;
        Place(seat)
    }

    /// Since when the one at this end waits.
    pub(super) fn since(&mut self, end: End) -> Option<Instant> {
        self.close_gaps(end);
        let seat = *self.at(end)?;
        match self.seats[seat as usize] {
            Seat::Waiting { since, .. } => Some(since),
            _ => unreachable!("gaps were closed, and who was told has left the line"),
        }
    }

    /// Tells the one at this end, and wakes it. Nothing happens when nobody waits.
    pub(super) fn tell(&mut self, end: End, word: Word) {
        self.close_gaps(end);
        let seat = match end {
            End::Oldest => self.order.pop_front(),
            End::Newest => self.order.pop_back(),
        };
        let Some(seat) = seat else { return };
        self.waiting -= 1;
        let told = std::mem::replace(&mut self.seats[seat as usize], Seat::Told(word));
        if let Seat::Waiting { waker: Some(waker), .. } = told {
            waker.wake();
        }
    }

    /// What a place was told; the place is free after that.
    pub(super) fn poll(&mut self, place: &Place, context: &mut Context<'_>) -> Poll<Word> {
        match &mut self.seats[place.0 as usize] {
            Seat::Waiting { waker, .. } => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Seat::Told(word) => {
                let word = *word;
                self.release(place.0);
                Poll::Ready(word)
            }
            Seat::Free | Seat::Left => unreachable!("a place is asked by its one owner"),
        }
    }

    /// Its owner goes away before it has read what it was told. Says what that was.
    pub(super) fn leave(&mut self, place: &Place) -> Option<Word> {
        match &mut self.seats[place.0 as usize] {
            waiting @ Seat::Waiting { .. } => {
                *waiting = Seat::Left;
                self.waiting -= 1;
                None
            }
            Seat::Told(word) => {
                let word = *word;
                self.release(place.0);
                Some(word)
            }
            Seat::Free | Seat::Left => unreachable!("a place is left by its one owner"),
        }
    }

    fn at(&self, end: End) -> Option<&u32> {
        match end {
            End::Oldest => self.order.front(),
            End::Newest => self.order.back(),
        }
    }

    fn close_gaps(&mut self, end: End) {
        while let Some(&seat) = self.at(end)
            && matches!(self.seats[seat as usize], Seat::Left)
        {
            match end {
                End::Oldest => self.order.pop_front(),
                End::Newest => self.order.pop_back(),
            };
            self.release(seat);
        }
    }

    fn release(&mut self, seat: u32) {
        self.seats[seat as usize] = Seat::Free;
        self.free.push(seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn ask(line: &mut Line, place: &Place) -> Poll<Word> {
        line.poll(place, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn both_ends_are_served_in_their_order() {
        let (mut line, now) = (Line::default(), Instant::now());
        let places: Vec<Place> = (0..5).map(|_| line.join(now)).collect();
        line.tell(End::Oldest, Word::SentAway);
        line.tell(End::Newest, Word::Called);
        assert_eq!(line.leave(&places[3]), None);
        line.tell(End::Newest, Word::Called);
        let told: Vec<Poll<Word>> = [0, 1, 2, 4].map(|place| ask(&mut line, &places[place])).into();
        let called = Poll::Ready(Word::Called);
        assert_eq!(told, [Poll::Ready(Word::SentAway), Poll::Pending, called, called]);
        assert_eq!(line.len(), 1);
        line.tell(End::Oldest, Word::Called);
        assert_eq!(line.leave(&places[1]), Some(Word::Called), "who leaves gives its turn back");
        assert!(line.is_empty());
        line.tell(End::Oldest, Word::Called);
        assert_eq!(line.since(End::Oldest), None);
    }

    /// Against a list of names: random joins, leaves and calls at both ends.
    #[test]
    fn it_is_a_list_without_those_who_left() {
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (mut line, start) = (Line::default(), Instant::now());
        let mut twin: VecDeque<(Instant, Place)> = VecDeque::new();
        let mut longest = 0;
        for step in 0..50_000 {
            let now = start + std::time::Duration::from_micros(step);
            let end = if random(2) == 0 { End::Oldest } else { End::Newest };
            match random(4) {
                0 | 1 if twin.len() < 100 => twin.push_back((now, line.join(now))),
                2 if !twin.is_empty() => {
                    let (_, place) = twin.remove(random(twin.len())).expect("one of them");
                    assert_eq!(line.leave(&place), None);
                }
                _ => {
                    let expected = match end {
                        End::Oldest => twin.pop_front(),
                        End::Newest => twin.pop_back(),
                    };
                    assert_eq!(line.since(end), expected.as_ref().map(|(since, _)| *since));
                    line.tell(end, Word::Called);
                    if let Some((_, place)) = expected {
                        assert_eq!(ask(&mut line, &place), Poll::Ready(Word::Called));
                    }
                }
            }
            assert_eq!(line.len(), twin.len());
            longest = longest.max(line.order.len());
        }
        assert!(longest <= 1_000, "gaps close: {longest} places for 100 who wait");
    }
}
