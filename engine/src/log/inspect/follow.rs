//! Going along with a log: every event once, and waiting where the writer is at work.

use super::{ATTEMPTS_MAX, Inspector, LoggedEvent, logged_events};
use crate::log::error::LogError;
use crate::log::segments::Named;
use crate::log::walk::{Step, Walk};
use crate::storage::{Immediate, run_immediate};
use doorbuster_protocol::Sequence;
use std::vec;

/// Follows a log as it grows.
pub struct LogTail<S: Immediate> {
    inspector: Inspector<S>,
    walk: Option<Walk<S>>,
    next: Sequence,
}

impl<S: Immediate> LogTail<S> {
    pub(super) fn new(inspector: Inspector<S>, from: Sequence) -> Self {
        Self { inspector, walk: None, next: from.max(Sequence::new(1)) }
    }

    /// The sequence of the event that comes next.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// The events of the next frame that was written in full; empty when there is none yet.
    ///
    /// Polling again after an empty answer looks again: the caller paces itself.
    pub fn poll(&mut self) -> Result<Vec<LoggedEvent>, LogError> {
        let mut attempts = 0;
        loop {
            let error = match self.poll_once() {
                Ok(events) => return Ok(events),
                Err(error) => error,
            };
            // What we read was perhaps recycled underneath: go on with what is retained now.
            let listing = self.inspector.list()?;
            let current = self.walk.take().map(|walk| walk.segment().sequence);
            let is_retained =
                listing.segments.iter().any(|segment| Some(segment.sequence) == current);
            attempts += 1;
            if attempts == ATTEMPTS_MAX || (current.is_some() && is_retained) {
                return Err(error);
            }
        }
    }

    fn poll_once(&mut self) -> Result<Vec<LoggedEvent>, LogError> {
        if self.walk.is_none() {
            let listing = self.inspector.list()?;
            let from = listing.segment_of(self.next).unwrap_or(0);
            let segments = listing.segments[from..].to_vec();
            let Inspector { storage, identity } = self.inspector.clone();
            let walk = self.walk.insert(Walk::new(storage, identity, segments, None));
            walk.follow();
        }
        let walk = self.walk.as_mut().expect("a walk was begun");
        loop {
            match run_immediate(walk.step())? {
                Step::Frame if walk.header().end() > self.next => {
                    let mut events = logged_events(walk)?;
                    events.retain(|logged| logged.sequence >= self.next);
                    self.next = walk.header().end();
                    return Ok(events);
                }
                Step::Frame => {}
                Step::End(_) => {
                    let listing = self.inspector.list()?;
                    let expected = walk.expected();
                    let is_new = |named: &Named| named.sequence > walk.segment().sequence;
                    let newer: Vec<Named> =
                        listing.segments.iter().filter(|named| is_new(named)).cloned().collect();
                    if newer.first().is_none_or(|named| named.sequence < expected) {
                        return Ok(Vec::new());
                    }
                    walk.extend(newer);
                }
            }
        }
    }
}

/// The retained events of a log, in order, each with its place. Ends at the log's end.
pub struct LoggedEvents<S: Immediate> {
    tail: LogTail<S>,
    ready: vec::IntoIter<LoggedEvent>,
    is_done: bool,
}

impl<S: Immediate> LoggedEvents<S> {
    pub(super) fn new(tail: LogTail<S>) -> Self {
        Self { tail, ready: Vec::new().into_iter(), is_done: false }
    }
}

impl<S: Immediate> Iterator for LoggedEvents<S> {
    type Item = Result<LoggedEvent, LogError>;

    /// Ends after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(logged) = self.ready.next() {
            return Some(Ok(logged));
        }
        if self.is_done {
            return None;
        }
        match self.tail.poll() {
            Ok(events) => {
                self.is_done = events.is_empty();
                self.ready = events.into_iter();
                self.ready.next().map(Ok)
            }
            Err(error) => {
                self.is_done = true;
                Some(Err(error))
            }
        }
    }
}
