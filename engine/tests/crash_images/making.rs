//! What a crash leaves of a data directory that is being made, down to the first events of its
//! first log: a later start makes it or finds it, and what was acknowledged is there.

use super::crew::{Counts, check_one, together};
use super::images::{Promise, stands};
use super::recorder::{Recorder, drive};
use super::sale::{self, identity};
use super::trace::{Op, Player, Remark};
use super::work::Work;
use doorbuster_engine::directory::{DataDirectory, DirectoryError, Superblock};
use doorbuster_engine::log::{Log, LogConfig, LogIdentity};
use doorbuster_engine::storage::{Failure, Fault, MemoryDisk, Survivors, Tree, run_immediate};
use doorbuster_protocol::routing::PartitionCount;

/// Where the data directory goes: into a directory that is new as well.
const PATH: [&str; 2] = ["deep", "data"];
const PARTITIONS: u16 = 2;
const SECTORS: [usize; 2] = [512, 4096];

pub(crate) fn superblock(directory: u64) -> Superblock {
    let partitions = PartitionCount::new(PARTITIONS).expect("in range");
    Superblock { directory, partitions, created: 1_700_000_000 }
}

fn data<T: Tree>(disk: &T) -> T {
    PATH.iter().fold(disk.clone(), |directory, name| directory.directory(name))
}

/// Makes the data directory if it is not there, as a start does.
fn start<T: Tree>(disk: &T, new: &Superblock) -> Result<DataDirectory, DirectoryError> {
    let mut directory = disk.clone();
    for name in PATH {
        directory = directory.directory(name);
        let refused = |source| DirectoryError::Io {
            doing: "make",
            path: directory.path().to_owned(),
            source,
        };
        if directory.names().map_err(refused)?.is_none() {
            directory.make().map_err(refused)?;
        }
    }
    DataDirectory::create_or_open_on(&directory, new)
}

/// Makes one, and logs some batches in its first partition.
pub(crate) fn work() -> Work {
    let batches = sale::batches(5, 3, 20);
    let recorder = Recorder::new(MemoryDisk::new(), 5);
    start(&recorder, &superblock(identity().directory)).expect("a good disk");
    recorder.remark(Remark::Made);
    let partition = DataDirectory::partition_on(&data(&recorder), identity().partition);
    let recovered = drive(Log::recover(partition, identity(), LogConfig::default()));
    let (log, _) = recovered.expect("a new log");
    for (index, batch) in batches.iter().enumerate() {
        recorder.remark(Remark::Begun(index));
        drive(log.append(batch.first, batch.count, &batch.events)).expect("a good disk");
        recorder.remark(Remark::Acknowledged(index));
    }
    drop(log);
    let ops = std::mem::take(&mut recorder.trace.borrow_mut().ops);
    Work { seed: 0, ops, batches, full: 0, snapshots: 0, trimmed: 0, in_flight: 0 }
}

/// Each call fails in turn; says how many there were. The next start makes up for it.
pub(crate) fn failing_calls() -> Counts {
    let mut counts = Counts::default();
    let disk = MemoryDisk::new();
    start(&disk, &superblock(1)).expect("a good disk");
    let failures = [Failure::Broken, Failure::Full, Failure::Short];
    for (call, failure) in (1..=disk.calls()).flat_map(|call| failures.map(|it| (call, it))) {
        counts.count("calls");
        let disk = MemoryDisk::new();
        disk.inject(Fault::Call(call, failure));
        let first = start(&disk, &superblock(1));
        counts.count(if first.is_ok() { "that did no harm" } else { "that were told" });
        disk.restart();
        let what = |error| panic!("{failure:?} in call {call}, restarted: {error}");
        let second = start(&disk, &superblock(2)).unwrap_or_else(what);
        assert!(first.is_err() || second.id() == 1, "{failure:?} in call {call}: made twice");
        disk.crash(call);
        let third = start(&disk, &superblock(3)).unwrap_or_else(what);
        assert_eq!(third.id(), second.id(), "{failure:?} in call {call}: made, and lost");
    }
    counts
}

/// Checks images at every call, `subsets` for each sector size.
pub(crate) fn images(work: &Work, subsets: u64) -> Counts {
    together(|number, threads, counts| {
        let mut player = Player::new();
        let mut promise = Promise::default();
        for (calls, op) in work.ops.iter().enumerate() {
            player.play(op);
            promise.note(op);
            if calls % threads != number || matches!(op, Op::Remark(_)) {
                continue;
            }
            for (sector, seed) in SECTORS.iter().flat_map(|s| (0..subsets).map(move |n| (*s, n))) {
                let what = format!("directory:{}:{sector}:s{seed}", calls + 1);
                check_one(&what, || image(work, &player, promise, (calls, sector, seed), counts));
            }
        }
    })
}

/// One image, by its name: `directory:20:512:s7`.
pub(crate) fn one(work: &Work, name: &str) -> Option<Counts> {
    let parts: Vec<&str> = name.split(':').collect();
    let ["directory", calls, sector, seed] = parts[..] else { return None };
    let calls = calls.parse::<usize>().ok()?.checked_sub(1)?;
    let (sector, seed) = (sector.parse().ok()?, seed.strip_prefix('s')?.parse().ok()?);
    let mut player = Player::new();
    let mut promise = Promise::default();
    for op in work.ops.get(..=calls)? {
        println!("  {op}");
        player.play(op);
        promise.note(op);
    }
    let mut counts = Counts::default();
    image(work, &player, promise, (calls, sector, seed), &mut counts);
    Some(counts)
}

fn image(
    work: &Work,
    player: &Player,
    promise: Promise,
    (calls, sector, seed): (usize, usize, u64),
    counts: &mut Counts,
) {
    let (disk, _) = player.disk.crashed(Survivors::Seed(seed), sector);
    let again = disk.duplicate();
    check(work, promise, &disk, counts);
    crashes_again(work, promise, &again, seed ^ calls as u64, counts);
}

fn check(work: &Work, promise: Promise, disk: &MemoryDisk, counts: &mut Counts) {
    counts.count("images of a directory in the making");
    let directory = start(disk, &superblock(7)).unwrap_or_else(|error| panic!("refused: {error}"));
    if promise.is_made {
        assert_eq!(directory.id(), identity().directory, "it was made, and is another one");
    }
    assert_eq!(directory.partitions().get(), PARTITIONS);
    for partition in directory.partitions().all() {
        let storage = DataDirectory::partition_on(&data(disk), partition);
        let identity = LogIdentity { directory: directory.id(), partition, ..identity() };
        let recovered = run_immediate(Log::recover(storage, identity, LogConfig::default()));
        let (log, state) = recovered.unwrap_or_else(|error| panic!("{partition}: {error}"));
        let promise = if partition.get() == 0 { promise } else { Promise::default() };
        let whole = stands(work, promise, &state);
        if partition.get() == 0
            && let Some(batch) = work.batches.get(whole)
        {
            let appended = log.append(batch.first, batch.count, &batch.events);
            run_immediate(appended).expect("it goes on");
        }
    }
}

/// The power goes out once more, while it is made again.
fn crashes_again(work: &Work, promise: Promise, disk: &MemoryDisk, seed: u64, counts: &mut Counts) {
    disk.inject(Fault::Power(1 + seed % 30));
    let made = start(disk, &superblock(6)).is_ok();
    disk.crash(seed);
    let directory = start(disk, &superblock(8)).unwrap_or_else(|error| panic!("again: {error}"));
    if promise.is_made {
        assert_eq!(directory.id(), identity().directory, "it was made, and is another one");
    } else if made {
        assert_ne!(directory.id(), 8, "it was made, and is another one");
    }
    check(work, promise, disk, counts);
}
