//! Inputs made of other inputs by chance: what a coverage-guided fuzzer does, without the guide.
//!
//! A seed names everything that is made: the same seed over the same corpus gives the same inputs.

use fastrand::Rng;

/// Numbers at which programs change their mind.
const EDGES: [u64; 16] = [
    0,
    1,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x1_0000_0000,
    u64::MAX >> 1,
    u64::MAX,
];
/// Bytes of an input at the most.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    words: &'a [&'a str],
    dice: Rng,
}

impl<'a> Mutator<'a> {
    /// A mutator over `corpus`, which may be empty. `words` are put in as they are.
    pub fn new(corpus: &'a [Vec<u8>], words: &'a [&'a str], seed: u64) -> Self {
        Self { corpus, words, dice: Rng::with_seed(seed) }
    }

    /// The next input: one of the corpus with one to eight changes, rarely one of chance alone.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = match self.corpus.len() {
            0 => Vec::new(),
            files => self.corpus[self.dice.usize(..files)].clone(),
        };
        if input.is_empty() || self.dice.u8(..64) == 0 {
            input = vec![0; self.dice.usize(..512)];
            self.dice.fill(&mut input);
        }
        // Mostly few changes: one is what finds the place that nobody checks.
        let changes = 1 + self.dice.usize(..8).min(self.dice.usize(..8));
        for _ in 0..changes {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            input.push(self.dice.u8(..));
        }
        let at = self.dice.usize(..input.len());
        match self.dice.u8(..11) {
            0 => input[at] ^= 1 << self.dice.u8(..8),
            1 => input[at] = self.dice.u8(..),
            2 => input[at] = input[at].wrapping_add(self.dice.u8(..16)).wrapping_sub(8),
            3 => self.put_number(input, at),
            4 => {
                input.drain(self.range(input.len(), at));
            }
            5 => {
                let piece = input[self.range(input.len(), at)].to_vec();
                insert(input, at, &piece);
            }
            6 => {
                let piece = input[self.range(input.len(), at)].to_vec();
                let to = self.dice.usize(..input.len());
                overwrite(input, to, &piece);
            }
            7 => {
                let mut piece = vec![0; 1 + self.dice.usize(..16)];
                self.dice.fill(&mut piece);
                insert(input, at, &piece);
            }
            8 => input.truncate(at),
            9 => self.put_word(input, at),
            _ => self.splice(input, at),
        }
    }

    /// From `at` on, mostly short.
    fn range(&mut self, length: usize, at: usize) -> std::ops::Range<usize> {
        let longest = length - at;
        let bytes = if self.dice.bool() { longest.min(16) } else { longest };
        at..at + 1 + self.dice.usize(..bytes)
    }

    fn put_number(&mut self, input: &mut [u8], at: usize) {
        let number = EDGES[self.dice.usize(..EDGES.len())];
        let width = 1 << self.dice.usize(..4);
        let bytes = match self.dice.bool() {
            true => number.to_le_bytes(),
            false => number.to_be_bytes(),
        };
        let bytes = if self.dice.bool() { &bytes[..width] } else { &bytes[8 - width..] };
        overwrite(input, at, bytes);
    }

    fn put_word(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(count) = self.words.len().checked_sub(1) else { return };
        let word = self.words[self.dice.usize(..=count)].as_bytes();
        match self.dice.bool() {
            true => insert(input, at, word),
            false => overwrite(input, at, word),
        }
    }

    /// The front of this input, and the end of another.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(last) = self.corpus.len().checked_sub(1) else { return };
        let other = &self.corpus[self.dice.usize(..=last)];
        if !other.is_empty() {
            input.truncate(at);
            input.extend_from_slice(&other[self.dice.usize(..other.len())..]);
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if input.len() + piece.len() <= INPUT_BYTES_MAX {
        input.splice(at..at, piece.iter().copied());
    }
}

fn overwrite(input: &mut [u8], at: usize, piece: &[u8]) {
    let bytes = piece.len().min(input.len() - at);
    input[at..at + bytes].copy_from_slice(&piece[..bytes]);
}
