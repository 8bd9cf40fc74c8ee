//! One flipped bit, anywhere: what was acknowledged is refused with its place or is there, and
//! never something else.

use super::crew::{Counts, check_one, together};
use super::images::{Promise, recover, stands};
use super::making;
use super::regions::{Kind, Region, regions};
use super::sale::identity;
use super::trace::{Op, Player, Remark};
use super::work::Work;
use doorbuster_engine::directory::{DataDirectory, DirectoryError};
use doorbuster_engine::log::inspect::Inspector;
use doorbuster_engine::log::{DamageKind, LogError};
use doorbuster_engine::storage::{MemoryDisk, Storage, Survivors, run_immediate};
use doorbuster_protocol::Sequence;
use std::path::Path;

/// Logs of each work that bits are flipped in.
const BASES: usize = 10;

/// A log as some process left it.
pub(crate) struct Base<'a> {
    work: &'a Work,
    promise: Promise,
    disk: MemoryDisk,
    regions: Vec<Region>,
    /// Its batches, without a flipped bit.
    whole: usize,
    name: String,
}

/// Logs that ended with a clean stop, with a process that was killed, and with a crash.
pub(crate) fn bases(works: &[Work]) -> Vec<Base<'_>> {
    let mut bases = Vec::new();
    for (number, work) in works.iter().enumerate() {
        let mut player = Player::new();
        let mut promise = Promise::default();
        let mut random = fastrand::Rng::with_seed(number as u64);
        // The later half, where segments are used again.
        let late = work.ops.len() / 3;
        let step = (work.ops.len() - late) / BASES;
        let mut due = late;
        for (calls, op) in work.ops.iter().enumerate() {
            player.play(op);
            promise.note(op);
            let is_place = match bases.len() % 3 {
                0 => matches!(op, Op::Remark(Remark::Sealed)),
                1 => matches!(op, Op::Remark(Remark::Acknowledged(_))),
                _ => matches!(op, Op::Write { offset, .. } if *offset > 0),
            };
            if calls >= due && is_place {
                due = calls + step;
                let seed = random.u64(..);
                let (disk, _) = player.disk.crashed(Survivors::Seed(seed), 512);
                let name = format!("work {number}, {} calls, seed {seed}, last {op}", calls + 1);
                let (_, state) = recover(&disk.duplicate()).expect("a crash is repaired");
                let whole = stands(work, promise, &state);
                let regions = regions(&disk);
                bases.push(Base { work, promise, disk, regions, whole, name });
            }
        }
    }
    bases
}

/// Flips at least `wanted` bits, one at a time, in all bases.
pub(crate) fn flips(bases: &[Base<'_>], wanted: usize) -> Counts {
    let each = wanted.div_ceil(bases.len());
    together(|number, threads, counts| {
        for (index, base) in bases.iter().enumerate().filter(|(index, _)| index % threads == number)
        {
            let mut random = fastrand::Rng::with_seed(index as u64);
            for _ in 0..each {
                let (region, byte, bit) = base.place(&mut random);
                let what = format!("flip:{index}:{}:{byte}:{bit}", region.file);
                check_one(&what, || base.flip(region, byte, bit, counts));
            }
        }
    })
}

/// One flipped bit, by its name: `flip:3:00000000000000000001.log:4100:7`.
pub(crate) fn one(bases: &[Base<'_>], name: &str) -> Option<Counts> {
    let parts: Vec<&str> = name.split(':').collect();
    let ["flip", index, file, byte, bit] = parts[..] else { return None };
    let base = bases.get(index.parse::<usize>().ok()?)?;
    let (byte, bit) = (byte.parse().ok()?, bit.parse().ok()?);
    let holds = |region: &&Region| region.file == file && region.bytes.contains(&byte);
    let region = base.regions.iter().find(holds)?;
    println!("{name}: {} of {}", region.kind.name(), base.name);
    let mut counts = Counts::default();
    base.flip(region, byte, bit, &mut counts);
    Some(counts)
}

impl Base<'_> {
    /// Some place, as likely of one kind as of another, and twice as likely in a header.
    fn place(&self, random: &mut fastrand::Rng) -> (&Region, usize, u8) {
        let kind = self.regions[random.usize(..self.regions.len())].kind;
        let of_kind: Vec<_> = self.regions.iter().filter(|region| region.kind == kind).collect();
        let is_last = |region: &&Region| {
            matches!(region.kind, Kind::LastHeader | Kind::LastEvents | Kind::LastPadding)
        };
        let last: Vec<_> = self.regions.iter().filter(is_last).collect();
        let among = if random.u8(..3) == 0 && !last.is_empty() { last } else { of_kind };
        let region = among[random.usize(..among.len())];
        (region, random.usize(region.bytes.clone()), random.u8(..8))
    }

    fn flip(&self, region: &Region, byte: usize, bit: u8, counts: &mut Counts) {
        counts.count("flips");
        counts.count(region.kind.name());
        let disk = self.disk.duplicate();
        disk.flip(&region.file, byte as u64, bit);
        let before = contents(&disk);
        let recovered = recover(&disk);
        let (log, state) = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                counts.count("refused");
                assert!(contents(&disk) == before, "a refusal changes nothing");
                return self.is_named(region, byte, bit, &error);
            }
        };
        let whole = stands(self.work, self.promise, &state);
        assert_eq!(whole, self.whole, "some batches are there, and others are not");
        if region.kind == Kind::Snapshot {
            let unreadable = &log.recovery().unreadable_snapshots;
            let file = Path::new("memory").join(&region.file);
            let newest = self.regions.iter().rfind(|region| region.kind == Kind::Snapshot);
            let is_newest = newest.is_some_and(|newest| newest.file == region.file);
            assert_eq!(unreadable.contains(&file), is_newest, "it was taken for a snapshot");
            let verified = Inspector::of(disk, identity()).verify();
            self.is_named(region, byte, bit, &verified.expect_err("it is damaged"));
            counts.count("found, and done without");
        } else if region.kind.is_of_events() {
            // Recovery began behind it. Whoever reads it is told.
            counts.count("found when read");
            drop(log);
            let disk = self.disk.duplicate();
            disk.flip(&region.file, byte as u64, bit);
            let verified = Inspector::of(disk.clone(), identity()).verify();
            self.is_named(region, byte, bit, &verified.expect_err("it is damaged"));
            let (log, _) = recover(&disk).expect("as before");
            let read = run_immediate(log.read_from(Sequence::new(region.first), 1));
            self.is_named(region, byte, bit, &read.expect_err("it is damaged"));
        } else {
            counts.count("harmless");
        }
    }

    /// An error says where it is, and which bit, whenever a frame is whole but for that.
    fn is_named(&self, region: &Region, byte: usize, bit: u8, error: &LogError) {
        let LogError::Damaged { file, offset, sequence, kind } = error else {
            panic!("{error}");
        };
        assert_eq!(file, &Path::new("memory").join(&region.file), "{error}");
        if region.kind.is_of_events() {
            assert_eq!(sequence.get(), region.first, "{error}");
            assert!(*offset <= byte as u64, "{error}");
        }
        if let DamageKind::FlippedBit { byte: found, bit: which, .. } = kind {
            assert_eq!((*found, *which), (byte as u64, bit), "{error}");
        }
    }
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let entries = run_immediate(disk.list()).expect("a good disk");
    entries.into_iter().map(|entry| (entry.name.clone(), disk.content(&entry.name))).collect()
}

/// Every bit of a superblock.
pub(crate) fn superblocks() -> Counts {
    let mut counts = Counts::default();
    let disk = MemoryDisk::new();
    let sound = making::superblock(identity().directory);
    let made = DataDirectory::create_or_open_on(&disk, &sound).expect("a good disk");
    let name = "superblock.json";
    for place in 0..8 * disk.content(name).len() {
        let (byte, bit) = (place as u64 / 8, (place % 8) as u8);
        counts.count("flips");
        counts.count("in superblocks");
        disk.flip(name, byte, bit);
        match DataDirectory::create_or_open_on(&disk, &making::superblock(1)) {
            Ok(opened) => {
                counts.count("harmless");
                assert_eq!((opened.id(), opened.partitions()), (made.id(), made.partitions()));
            }
            Err(DirectoryError::Damaged { .. }) => counts.count("refused"),
            Err(error) => panic!("bit {bit} of byte {byte}: {error}"),
        }
        disk.flip(name, byte, bit);
    }
    counts
}
