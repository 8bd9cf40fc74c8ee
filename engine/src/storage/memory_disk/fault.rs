//! What goes wrong on a [`MemoryDisk`](super::MemoryDisk), and when.

use std::io;

/// Something that goes wrong. Counted over the whole disk, from 1, since the last reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The nth write fails with EIO after an arbitrary part of it.
    Write(u64),
    /// The nth write takes only half of what it is given.
    ShortWrite(u64),
    /// The nth sync, of a file or a directory, fails with EIO.
    Sync(u64),
    /// The nth rename fails with EIO.
    Rename(u64),
    /// The nth read gives back one wrong bit: this one, counted over the bytes that it gives up to the
    /// last that is not zero, again and again.
    Misread(u64, u64),
    /// The power goes out in the nth change of any kind: it and everything after it fails.
    Power(u64),
    /// The nth call of any kind, reads and listings included, fails.
    Call(u64, Failure),
    /// The nth call of any kind and every one after it fails.
    CallsFrom(u64, Failure),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With EIO; of a write, after an arbitrary part of it.
    Broken,
    /// With ENOSPC, where a call can need space: of the others, not at all.
    Full,
    /// A write takes only half of what it is given; other calls do not fail.
    Short,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Broken => libc::EIO,
            Self::Full | Self::Short => libc::ENOSPC,
        })
    }
}

/// The faults that are to come, and how far the counts are.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    pub(super) calls: u64,
    pub(super) changes: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) renames: u64,
    pub(super) reads: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    fn hits(&self, fault: Fault) -> bool {
        self.planned.contains(&fault)
    }

    pub(super) fn call(&mut self) -> Option<Failure> {
        self.calls += 1;
        self.planned.iter().find_map(|fault| match *fault {
            Fault::Call(nth, failure) if nth == self.calls => Some(failure),
            Fault::CallsFrom(nth, failure) if nth <= self.calls => Some(failure),
            _ => None,
        })
    }
    pub(super) fn change(&mut self) -> bool {
        self.changes += 1;
        self.hits(Fault::Power(self.changes))
    }
    pub(super) fn write(&mut self) -> Option<Failure> {
        self.writes += 1;
        let fails = self.hits(Fault::Write(self.writes)).then_some(Failure::Broken);
        fails.or_else(|| self.hits(Fault::ShortWrite(self.writes)).then_some(Failure::Short))
    }
    /// Counts a read, which gives back `bytes`.
    pub(super) fn read(&mut self, bytes: &mut [u8]) {
        self.reads += 1;
        let bit = self.planned.iter().find_map(|fault| match *fault {
            Fault::Misread(nth, bit) if nth == self.reads => Some(bit),
            _ => None,
        });
        if let (Some(bit), Some(last)) = (bit, bytes.iter().rposition(|byte| *byte != 0)) {
            let bit = bit % (8 * (last as u64 + 1));
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
        }
    }
    pub(super) fn sync(&mut self) -> Option<Failure> {
        self.syncs += 1;
        self.hits(Fault::Sync(self.syncs)).then_some(Failure::Broken)
    }
    pub(super) fn rename(&mut self) -> Option<Failure> {
        self.renames += 1;
        self.hits(Fault::Rename(self.renames)).then_some(Failure::Broken)
    }
}
