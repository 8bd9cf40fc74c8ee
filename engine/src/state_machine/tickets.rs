//! Exact places on a waitlist whose members leave from anywhere.
//!
//! Who queues up draws the next ticket. One bit per ticket says whether its holder still stands,
//! and a place is the number of standing tickets before it: a count of bits over at most
//! [`WORDS_MAX`] words (about a microsecond), whatever has come and gone. When a head that stays
//! and members that leave have spread the tickets too far, the waitlist deals them anew.

use doorbuster_protocol::limits;
use std::collections::VecDeque;

/// Words of 64 tickets, past which the waitlist deals anew. Half of it holds a full waitlist, so
/// that dealing is paid for by as many departures.
const WORDS_MAX: usize = 2 * limits::WAITLIST_MAX as usize / 64;

/// Which tickets still stand.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    words: VecDeque<u64>,
    /// The ticket of the lowest bit of the first word.
    base: u64,
    next: u64,
}

impl Tickets {
    /// Whether tickets should be dealt anew before the next is drawn.
    pub(super) fn are_spread(&self) -> bool {
        self.words.len() >= WORDS_MAX
    }

    /// The next ticket, standing.
    pub(super) fn draw(&mut self) -> u64 {
        let ticket = self.next;
        let place = ticket - self.base;
        if place == 64 * self.words.len() as u64 {
            self.words.push_back(0);
        }
        self.words[(place / 64) as usize] |= 1 << (place % 64);
        self.next += 1;
        ticket
    }

    /// A standing ticket leaves.
    pub(super) fn retire(&mut self, ticket: u64) {
        let place = ticket - self.base;
        let word = &mut self.words[(place / 64) as usize];
        assert!(*word & 1 << (place % 64) != 0, "only a standing ticket leaves");
        *word &= !(1 << (place % 64));
        while self.words.front() == Some(&0) && self.base + 64 <= self.next {
            self.words.pop_front();
            self.base += 64;
        }
    }

    /// The place of a standing ticket, from 1.
    pub(super) fn position(&self, ticket: u64) -> u32 {
        let place = ticket - self.base;
        let word = (place / 64) as usize;
        let before: u32 = self.words.iter().take(word).map(|word| word.count_ones()).sum();
        before + (self.words[word] & ((1 << (place % 64)) - 1)).count_ones() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::Tickets;

    #[test]
    fn a_place_counts_who_still_stands() {
        let mut tickets = Tickets::default();
        let mut standing: Vec<u64> = Vec::new();
        // A fixed pattern of comings and goings that crosses many words, with a head that stays.
        for round in 0..2_000_usize {
            standing.push(tickets.draw());
            if round % 3 != 0 && standing.len() > 1 {
                let leaves = standing.remove(1 + round * 7 % (standing.len() - 1));
                tickets.retire(leaves);
            }
            for (index, ticket) in standing.iter().enumerate().step_by(17) {
                assert_eq!(tickets.position(*ticket), index as u32 + 1, "round {round}");
            }
        }
        for ticket in standing {
            assert_eq!(tickets.position(ticket), 1);
            tickets.retire(ticket);
        }
        assert!(tickets.words.len() <= 1, "words of departed tickets are given back");
    }
}
