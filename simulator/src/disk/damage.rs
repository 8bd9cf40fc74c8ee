//! Durable bytes that are not what was written: a bit that flipped, a block whose write was lost or
//! went to where another block stands.
//!
//! One damage at a time, and it is known: somebody can restore what was there, as from a backup.

use super::Platter;
use crate::chance::Chance;
use doorbuster_engine::log::LogIdentity;
use doorbuster_engine::log::inspect::Inspector;
use doorbuster_engine::storage::{Entry, Storage, run_immediate};
use doorbuster_protocol::Sequence;
use std::path::Path;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

/// Bytes of a file that are not what was written.
pub(super) struct Damage {
    platter: Platter,
    file: String,
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
    is_flip: bool,
}

impl Damage {
    /// A bit flips, anywhere.
    pub(super) fn flip(platter: &Platter, chance: &Chance) -> Option<Self> {
        let files = run_immediate(platter.memory.list()).expect("memory lists its files");
        let all: u64 = files.iter().map(|file| file.bytes).sum();
        let mut offset = chance.below(all);
        let file = files.into_iter().find(|file| {
            let is_here = offset < file.bytes;
            offset -= if is_here { 0 } else { file.bytes };
            is_here
        })?;
        // Files are mostly zeros; what is written stands in front.
        let content = platter.memory.content(&file.name);
        let used = content.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        if chance.hits(0.9) {
            offset = chance.below(used as u64);
        }
        // The sector around it says later whether it was written anew.
        let sector = offset as usize / SECTOR * SECTOR;
        let before = content[sector..(sector + SECTOR).min(content.len())].to_vec();
        let mut after = before.clone();
        after[offset as usize - sector] ^= 1 << chance.below(8);
        let what = "flipped bits";
        let flip = Self::strike(platter, what, &file, sector as u64, before, after);
        Some(Self { is_flip: true, ..flip })
    }

    /// A block of a frame that has another frame behind it was never written, or overwritten with
    /// another block.
    pub(super) fn stray(platter: &Platter, identity: LogIdentity, chance: &Chance) -> Option<Self> {
        let inspector = Inspector::of(platter.memory.clone(), identity);
        let mut frames: Vec<(String, u64)> = Vec::new();
        for event in inspector.events(Sequence::new(1)) {
            let event = event.ok()?;
            let name = event.file.file_name()?.to_string_lossy().into_owned();
            if frames.last().is_none_or(|last| (last.1, &last.0) != (event.offset, &name)) {
                frames.push((name, event.offset));
            }
        }
        let behind = frames.last()?.clone();
        let index = chance.below(frames.len() as u64 - 1) as usize;
        let [(name, offset), (next_name, next_offset)] = frames.get(index..index + 2)? else {
            return None;
        };
        let name = name.clone();
        let blocks = if name == *next_name { (next_offset - offset) / BLOCK as u64 } else { 1 };
        let offset = offset + chance.below(blocks) * BLOCK as u64;
        let content = platter.memory.content(&name);
        let before = content[offset as usize..offset as usize + BLOCK].to_vec();
        let (what, after) = match chance.hits(0.5) {
            true => ("lost writes", vec![0; BLOCK]),
            false => {
                let (other, at) = (platter.memory.content(&behind.0), behind.1 as usize);
                ("misdirected writes", other[at..at + BLOCK].to_vec())
            }
        };
        let bytes = content.len() as u64;
        let file = Entry { name, bytes };
        Some(Self::strike(platter, what, &file, offset, before, after))
    }

    fn strike(
        platter: &Platter,
        what: &'static str,
        file: &Entry,
        offset: u64,
        before: Vec<u8>,
        after: Vec<u8>,
    ) -> Self {
        platter.tell(what);
        platter.world.line(&platter.name, format_args!("{} at {offset}", file.name));
        let damage = Self {
            platter: platter.clone(),
            file: file.name.clone(),
            offset,
            before,
            after,
            is_flip: false,
        };
        damage.flip_all();
        damage
    }

    /// Whether it is what was found at this place. Where a block is missing, what follows it shows
    /// that, maybe in another file; a flipped bit shows in its file, at its frame or before.
    pub(super) fn explains(&self, platter: &Platter, file: &Path, offset: u64) -> bool {
        let differs = self.before.iter().zip(&self.after).position(|(one, other)| one != other);
        let byte = self.offset + differs.map_or(0, |byte| byte as u64);
        let is_there = file.file_name().is_some_and(|name| *name == *self.file) && offset <= byte;
        platter.name == self.platter.name && (is_there || !self.is_flip)
    }

    /// Makes of what was there what is there now, or the other way round, durable or not as it is.
    fn flip_all(&self) {
        for (offset, (one, other)) in (self.offset..).zip(self.before.iter().zip(&self.after)) {
            for bit in (0..8).filter(|bit| (one ^ other) >> bit & 1 == 1) {
                self.platter.memory.flip(&self.file, offset, bit);
            }
        }
    }

    /// Restores what was there, unless it was written anew or let go of since.
    pub(super) fn mend(&self) {
        let memory = &self.platter.memory;
        let files = run_immediate(memory.list()).expect("memory lists its files");
        if !files.iter().any(|file| file.name == self.file) {
            return;
        }
        let content = memory.content(&self.file);
        let range = self.offset as usize..self.offset as usize + self.after.len();
        if content.get(range) == Some(&self.after) {
            self.flip_all();
        }
    }
}
