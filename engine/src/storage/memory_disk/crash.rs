//! The power goes out: what was synced stays, and of the rest an arbitrary part.

use super::model::{Change, Content, Disk, SECTOR};

/// A small generator (SplitMix64), so that a seed names a crash.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

/// What of the unsynced changes a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Whatever this seed chooses: all of them, none, or each with some probability, and names in
    /// another order.
    Seed(u64),
    /// The first change when the lowest bit is set, the second one when the next one is, and so on.
    Exactly(u64),
}

/// What a crash made of the unsynced changes: sectors, lengths, names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed {
    /// How many there were.
    pub unsynced: u32,
    /// How many of them are gone.
    pub lost: u32,
}

/// Asks of each unsynced change whether it survives.
struct Lot {
    dice: Dice,
    /// How many of eight survive.
    eighths: u64,
    exactly: Option<u64>,
    asked: u32,
    lost: u32,
}

impl Lot {
    fn new(survivors: Survivors) -> Self {
        let (seed, exactly) = match survivors {
            Survivors::Seed(seed) => (seed, None),
            Survivors::Exactly(bits) => (0, Some(bits)),
        };
        let mut dice = Dice(seed);
        let eighths = [8, 0, 1, 7, 2, 6, 4, 4][(dice.roll() % 8) as usize];
        Self { dice, eighths, exactly, asked: 0, lost: 0 }
    }
    fn survives(&mut self) -> bool {
        let place = self.asked;
        self.asked += 1;
        let survives = match self.exactly {
            Some(bits) => bits.checked_shr(place).unwrap_or(0) & 1 == 1,
            None => self.dice.roll() % 8 < self.eighths,
        };
        self.lost += u32::from(!survives);
        survives
    }
    /// Changes of names may reach the disk in another order than they were made.
    fn reorder(&mut self, changes: &mut [Change]) {
        if self.exactly.is_none() && self.dice.roll() & 1 == 1 {
            for last in (1..changes.len()).rev() {
                changes.swap(last, (self.dice.roll() % (last as u64 + 1)) as usize);
            }
        }
    }
}

impl Disk {
    /// The power goes out: what was synced stays, and of the rest the survivors, in sectors of
    /// `sector_bytes`. The power is back afterwards, and nothing is planned to fail.
    pub(super) fn crash(&mut self, survivors: Survivors, sector_bytes: usize) -> Crashed {
        assert!(sector_bytes.is_multiple_of(SECTOR), "a device's sector is some of ours");
        let mut lot = Lot::new(survivors);
        for directory in self.directories.values_mut() {
            let mut names = std::mem::take(&mut directory.durable);
            let mut changes = std::mem::take(&mut directory.unsynced);
            changes.retain(|_| lot.survives());
            lot.reorder(&mut changes);
            changes.iter().for_each(|change| change.apply(&mut names));
            directory.names.clone_from(&names);
            directory.durable = names;
            directory.sync_failed = false;
        }
        self.sweep();
        for content in self.files.values_mut() {
            *content = crashed(content, &mut lot, sector_bytes / SECTOR);
        }
        self.faults = super::fault::Faults::default();
        self.powered_off = false;
        Crashed { unsynced: lot.asked, lost: lot.lost }
    }
}

/// What is left of a file, when a device writes so many sectors whole or not at all.
fn crashed(content: &mut Content, lot: &mut Lot, at_once: usize) -> Content {
    let mut image = std::mem::take(&mut content.durable);
    if content.length_is_dirty && lot.survives() {
        image.resize(content.written.len(), 0);
    }
    let mut unit = None;
    for sector in content.dirty.union(&content.lost) {
        let (before, survives) = unit.unwrap_or((usize::MAX, false));
        let survives = if before == sector / at_once { survives } else { lot.survives() };
        unit = Some((sector / at_once, survives));
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(content.written.len());
        if start < end && survives {
            if image.len() < end {
                image.resize(end, 0);
            }
            image[start..end].copy_from_slice(&content.written[start..end]);
        }
    }
    Content::durable(image)
}
