//! Decisions that are read off an input, front to back, so that a fuzzer's bytes steer a scenario.
//!
//! When the bytes run out, every further decision is 0: each prefix of an input is one, too.

/// The rest of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// All decisions of `input`.
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next `N` bytes; zeros stand for those that are not there.
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        array[..taken.len()].copy_from_slice(taken);
        self.0 = rest;
        array
    }

    /// A byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number of 16 bits.
    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number of 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of 64 bits.
    pub(crate) fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `bound`, which is at least 1: from one byte where that is enough.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        match bound {
            0..=0x100 => usize::from(self.byte()) % bound,
            0x101..=0x1_0000 => usize::from(self.short()) % bound,
            _ => self.word() as usize % bound,
        }
    }

    /// Bytes, their number in front: fewer than 256, and at most `most`.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let wanted = usize::from(self.byte()).min(most).min(self.0.len());
        let (taken, rest) = self.0.split_at(wanted);
        self.0 = rest;
        taken
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
