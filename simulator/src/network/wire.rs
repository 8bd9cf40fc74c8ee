//! One direction of a connection: pieces on their way, in order, and how many may be.

use std::collections::VecDeque;
use tokio::time::Instant;

/// Bytes that travel together.
#[derive(Debug)]
struct Piece {
    arrives: Instant,
    bytes: Vec<u8>,
    /// Bytes of it that were read.
    read: usize,
}

/// Bytes from one end to the other.
#[derive(Debug)]
pub(super) struct Wire {
    pieces: VecDeque<Piece>,
    /// Bytes written and not read.
    held: usize,
    /// When the last piece arrives; none arrives before it.
    last_arrives: Instant,
    /// When the end of the stream arrives, after everything else.
    ends: Option<Instant>,
    /// Since when nothing that is written gets anywhere.
    pub(super) silent_since: Option<Instant>,
    /// Whether it is broken: what is on its way may arrive, what is written now does not.
    is_cut: bool,
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Bytes(usize),
    /// Everything was read, and nothing will follow.
    End,
    /// Nothing now; something at that time, if nothing happens before.
    Later(Option<Instant>),
}

impl Wire {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pieces: VecDeque::new(),
            held: 0,
            last_arrives: now,
            ends: None,
            silent_since: None,
            is_cut: false,
        }
    }

    /// How many bytes may be written.
    pub(super) fn room(&self, buffer_bytes: usize) -> usize {
        buffer_bytes.saturating_sub(self.held)
    }

    /// Sends bytes that arrive at `arrives`, or when the piece before them does.
    pub(super) fn send(&mut self, bytes: Vec<u8>, arrives: Instant) {
        self.held += bytes.len();
        if self.is_cut || self.silent_since.is_some() || bytes.is_empty() {
            return;
        }
        self.last_arrives = self.last_arrives.max(arrives);
        self.pieces.push_back(Piece { arrives: self.last_arrives, bytes, read: 0 });
    }

    /// Nothing is written any more; the other end learns of it at `arrives` or after the last byte.
    pub(super) fn end(&mut self, arrives: Instant) {
        if !self.is_cut && self.silent_since.is_none() && self.ends.is_none() {
            self.last_arrives = self.last_arrives.max(arrives);
            self.ends = Some(self.last_arrives);
        }
    }

    /// What was written from now on, and what would arrive after `until`, never does.
    pub(super) fn fall_silent(&mut self, now: Instant, until: Instant) {
        self.silent_since.get_or_insert(now);
        while self.pieces.back().is_some_and(|piece| piece.arrives > until) {
            self.pieces.pop_back();
        }
        self.ends = self.ends.filter(|ends| *ends <= until);
    }

    /// Nothing that is written from now on arrives.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// When the last piece arrives.
    pub(super) fn last_arrives(&self) -> Instant {
        self.last_arrives
    }

    /// Whether bytes have arrived that nobody has read.
    pub(super) fn has_unread(&self, now: Instant) -> bool {
        self.pieces.front().is_some_and(|piece| piece.arrives <= now)
    }

    /// Reads from the first piece, if it has arrived.
    pub(super) fn read(&mut self, now: Instant, into: &mut [u8]) -> Arrived {
        let Some(piece) = self.pieces.front_mut() else {
            return match self.ends {
                Some(ends) if ends <= now => Arrived::End,
                ends => Arrived::Later(ends),
            };
        };
        if piece.arrives > now {
            return Arrived::Later(Some(piece.arrives));
        }
        let rest = &piece.bytes[piece.read..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        piece.read += count;
        if piece.read == piece.bytes.len() {
            self.pieces.pop_front();
        }
        self.held -= count;
        Arrived::Bytes(count)
    }

    /// Nobody reads any more: what is on its way is lost, and what follows meets no resistance.
    pub(super) fn drain(&mut self) {
        self.pieces.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn pieces_never_overtake_each_other() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut wire = Wire::new(now);
        wire.send(b"late".to_vec(), after(9));
        wire.send(b"soon".to_vec(), after(1));
        wire.end(after(2));
        assert_eq!(wire.room(10), 2);
        let mut into = [0; 3];
        assert_eq!(wire.read(after(8), &mut into), Arrived::Later(Some(after(9))));
        for (bytes, left) in [(&b"lat"[..], 5), (b"e", 6), (b"soo", 9), (b"n", 10)] {
            assert_eq!(wire.read(after(9), &mut into), Arrived::Bytes(bytes.len()));
            assert_eq!((&into[..bytes.len()], wire.room(10)), (bytes, left));
        }
        assert_eq!(wire.read(after(9), &mut into), Arrived::End);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_swallows_what_follows_and_takes_room_all_the_same() {
        let now = Instant::now();
        let mut wire = Wire::new(now);
        wire.send(vec![1; 4], now);
        wire.send(vec![2; 4], now + Duration::from_millis(5));
        wire.fall_silent(now, now);
        wire.send(vec![3; 4], now);
        wire.end(now);
        assert_eq!(wire.room(12), 0);
        let mut into = [0; 16];
        assert_eq!(wire.read(now, &mut into), Arrived::Bytes(4));
        assert_eq!(wire.read(now + Duration::from_secs(9), &mut into), Arrived::Later(None));
    }
}
