//! A connection: a wire each way, and what each end knows of its end.
//!
//! It decides everything that can happen to a connection, at the time that it is told; who waits for
//! what is for the ends to see to.

use super::partitions::Partitions;
use super::wire::{Arrived, Wire};
use super::{Name, Shared};
use std::io::{self, ErrorKind};
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// The kernels of both ends probe a quiet connection; after this long without an answer they give
/// it up, as the options of the product's sockets say.
pub const PROBED_FOR: Duration = Duration::from_secs(20);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who has dialled.
    Dialler = 0,
    /// Who has accepted.
    Listener = 1,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Dialler, Self::Listener];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// What came of a try.
#[derive(Debug)]
pub(super) enum Attempt {
    Done(io::Result<usize>),
    /// Nothing now; to be tried again at that time, or when it is woken.
    Later(Option<Instant>),
}

#[derive(Debug, Default)]
struct End {
    is_closed: bool,
    /// It has shut both directions, and may still be in somebody's hands.
    is_shut: bool,
    /// When and how it learns that the connection is broken.
    breaks: Option<(Instant, ErrorKind)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn learn(&mut self, at: Instant, kind: ErrorKind) {
        self.breaks = match self.breaks {
            Some((sooner, kind)) if sooner <= at => Some((sooner, kind)),
            _ => Some((at, kind)),
        };
    }

    fn broken(&self, now: Instant) -> Option<io::Error> {
        self.breaks.filter(|(at, _)| *at <= now).map(|(_, kind)| kind.into())
    }
}

/// Both directions, and both ends.
#[derive(Debug)]
pub(super) struct Connection {
    names: [Name; 2],
    /// By the side that writes.
    wires: [Wire; 2],
    ends: [End; 2],
    is_news: bool,
}

impl Connection {
    /// Between a dialler and a listener, from now on.
    pub(super) fn new(names: [Name; 2]) -> Self {
        let now = Instant::now();
        let wires = [Wire::new(now), Wire::new(now)];
        Self { names, wires, ends: Default::default(), is_news: false }
    }

    /// Whether somebody who waits may go on now; asked once.
    pub(super) fn is_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Whether nobody holds an end.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.is_closed)
    }

    pub(super) fn take_wakers(&mut self, into: &mut Vec<Waker>) {
        for end in &mut self.ends {
            into.extend(end.reader.take().into_iter().chain(end.writer.take()));
        }
    }

    pub(super) fn wait_for_bytes(&mut self, side: Side, waker: Waker) {
        self.ends[side as usize].reader = Some(waker);
    }

    pub(super) fn wait_for_room(&mut self, side: Side, waker: Waker) {
        self.ends[side as usize].writer = Some(waker);
    }

    /// When both kernels give up, if nothing gets through until then.
    fn given_up(&self, partitions: &Partitions) -> Option<Instant> {
        let silent = self.wires.iter().map(|wire| wire.silent_since);
        let [a, b] = &self.names;
        let parted = [partitions.parted_since(a, b), partitions.parted_since(b, a)];
        silent.chain(parted).flatten().min().map(|since| since + PROBED_FOR)
    }

    pub(super) fn read(&mut self, side: Side, partitions: &Partitions, into: &mut [u8]) -> Attempt {
        let now = Instant::now();
        let end = &self.ends[side as usize];
        if end.is_shut {
            return Attempt::Done(Ok(0));
        }
        let breaks = end.breaks.map(|(at, _)| at);
        let writer = side.other() as usize;
        let mut later = None;
        if partitions.parted_since(&self.names[writer], &self.names[side as usize]).is_none() {
            // What would arrive after the break does not.
            let until = breaks.map_or(now, |breaks| breaks.min(now));
            match self.wires[writer].read(until, into) {
                Arrived::Bytes(count) => {
                    self.is_news = true;
                    return Attempt::Done(Ok(count));
                }
                Arrived::End => return Attempt::Done(Ok(0)),
                Arrived::Later(at) => later = at,
            }
        }
        self.wait_or_end(side, now, partitions, later)
    }

    /// Takes as many bytes as there is room for, or fewer; faults may happen to them.
    pub(super) fn write(
        &mut self,
        side: Side,
        partitions: &Partitions,
        shared: &Shared,
        bytes: &[u8],
    ) -> Attempt {
        let now = Instant::now();
        let end = &self.ends[side as usize];
        if end.is_shut {
            return Attempt::Done(Err(ErrorKind::BrokenPipe.into()));
        }
        if let Some(error) = end.broken(now) {
            return Attempt::Done(Err(error));
        }
        let dials = &shared.world.dials().network;
        let count = self.wires[side as usize].room(dials.buffer_bytes).min(bytes.len());
        if count == 0 {
            return self.wait_or_end(side, now, partitions, None);
        }
        let is_short = shared.chance.hits(dials.delayed / 4.0);
        let shorter = shared.chance.between(1, count as u64) as usize;
        let count = if is_short { shorter } else { count };
        self.send(side, now, shared, bytes[..count].to_vec());
        self.is_news = true;
        Attempt::Done(Ok(count))
    }

    fn wait_or_end(
        &self,
        side: Side,
        now: Instant,
        partitions: &Partitions,
        later: Option<Instant>,
    ) -> Attempt {
        let end = &self.ends[side as usize];
        if let Some(error) = end.broken(now) {
            return Attempt::Done(Err(error));
        }
        let given_up = self.given_up(partitions);
        if given_up.is_some_and(|at| at <= now) {
            return Attempt::Done(Err(ErrorKind::TimedOut.into()));
        }
        let later = later.filter(|at| *at > now);
        Attempt::Later([later, end.breaks.map(|(at, _)| at), given_up].into_iter().flatten().min())
    }

    fn send(&mut self, side: Side, now: Instant, shared: &Shared, mut bytes: Vec<u8>) {
        let dials = &shared.world.dials().network;
        let place = shared.chance.below(bytes.len() as u64) as usize;
        let bits = shared.chance.between(1, 255) as u8;
        let delay = shared.delay();
        if shared.fails(dials.corrupted) {
            bytes[place] ^= bits;
            shared.world.count("bytes changed");
            shared.line(format_args!("{}: byte {place} is changed", self.between(side)));
        }
        if shared.fails(dials.silent) {
            self.wires[side as usize].fall_silent(now, now + delay);
            if bits.is_multiple_of(2) {
                self.wires[side.other() as usize].fall_silent(now, now + delay);
            }
            shared.world.count("connections gone silent");
            shared.line(format_args!("{}: gone silent", self.between(side)));
        }
        let is_cut = shared.fails(dials.cut);
        if is_cut {
            bytes.truncate(place);
            shared.world.count("connections cut");
            shared.line(format_args!("{}: cut after {place} bytes", self.between(side)));
        }
        shared.world.mix(&bytes);
        let wire = &mut self.wires[side as usize];
        wire.send(bytes, now + delay);
        if is_cut {
            self.cut(now, shared);
        } else if self.ends[side.other() as usize].is_closed {
            // The peer's kernel knows of no such connection.
            self.ends[side as usize].learn(now + delay, ErrorKind::ConnectionReset);
        }
    }

    /// Breaks it; each end hears of that at a time of its own: at once, or after all that was on its
    /// way, which is then what an old connection still brings when a new one is up.
    fn cut(&mut self, now: Instant, shared: &Shared) {
        self.wires.iter_mut().for_each(Wire::cut);
        for side in Side::BOTH {
            let delay = shared.delay();
            let at = match shared.chance.below(3) {
                0 => now,
                1 => now + delay,
                _ => self.wires[side.other() as usize].last_arrives().max(now) + delay,
            };
            self.ends[side as usize].learn(at, ErrorKind::ConnectionReset);
        }
        self.is_news = true;
    }

    /// Its process shuts both directions, and may go on holding it.
    pub(super) fn shut(&mut self, side: Side, shared: &Shared) {
        if !std::mem::replace(&mut self.ends[side as usize].is_shut, true) {
            self.finish(side, shared);
            self.wires[side.other() as usize].drain();
        }
    }

    /// Its process writes no more.
    pub(super) fn finish(&mut self, side: Side, shared: &Shared) {
        self.wires[side as usize].end(Instant::now() + shared.delay());
        self.is_news = true;
    }

    /// Its process lets go of it, or has died.
    pub(super) fn close(&mut self, side: Side, shared: &Shared, is_killed: bool) {
        let now = Instant::now();
        let delay = shared.delay();
        let takes_machine_along = shared.fails(shared.world.dials().network.silent * 20.0);
        self.ends[side as usize].is_closed = true;
        self.is_news = true;
        if is_killed && takes_machine_along {
            self.die(side, shared);
        } else if self.wires[side.other() as usize].has_unread(now) {
            // Whoever closes on unread bytes says so, and what the peer has not read yet is lost.
            self.ends[side.other() as usize].learn(now + delay, ErrorKind::ConnectionReset);
        } else {
            self.finish(side, shared);
        }
        self.wires[side.other() as usize].drain();
    }

    /// The machine of a process has lost its power.
    pub(super) fn unplug(&mut self, name: &str, shared: &Shared) {
        for side in Side::BOTH {
            if &*self.names[side as usize] == name {
                self.die(side, shared);
            }
        }
    }

    fn die(&mut self, side: Side, shared: &Shared) {
        let now = Instant::now();
        self.wires.iter_mut().for_each(|wire| wire.fall_silent(now, now));
        self.ends[side as usize].learn(now, ErrorKind::ConnectionAborted);
        // When it is up again in time, it knows of no connection, and says so when it is asked.
        let answers = now + PROBED_FOR.mul_f64(shared.chance.fraction() * 2.0);
        self.ends[side.other() as usize].learn(answers, ErrorKind::ConnectionReset);
    }

    fn between(&self, writer: Side) -> String {
        format!("{} to {}", self.names[writer as usize], self.names[writer.other() as usize])
    }
}
