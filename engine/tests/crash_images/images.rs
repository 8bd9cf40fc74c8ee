//! What a crash at any moment leaves of a log: for each call of a recorded work, the disk after it
//! with subsets of what was unsynced. Every one recovers to what was acknowledged, or to more of
//! what was written, and goes on.

use super::crew::{Counts, check_one, together};
use super::sale::{identity, logged};
use super::trace::{Op, Player, Remark};
use super::work::{Work, config, work};
use doorbuster_engine::log::inspect::Inspector;
use doorbuster_engine::log::{Log, LogError};
use doorbuster_engine::state_machine::State;
use doorbuster_engine::storage::{Fault, MemoryDisk, Survivors, run_immediate};
use std::fmt;

/// Sectors of devices.
const SECTORS: [usize; 2] = [512, 4096];
/// So many unsynced changes have all their subsets materialised.
const SUBSETS_OF_MAX: u32 = 4;
/// Calls before an image that are shown with it.
const CALLS_SHOWN: usize = 24;
/// Random subsets of more changes, in each pass.
const SUBSETS: u64 = 4;

/// Which image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) work: u64,
    /// Calls that were made.
    pub(crate) calls: usize,
    pub(crate) sector: usize,
    pub(crate) survivors: Survivors,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, calls, sector, survivors } = self;
        match survivors {
            Survivors::Seed(seed) => write!(f, "log:{work}:{calls}:{sector}:s{seed}"),
            Survivors::Exactly(bits) => write!(f, "log:{work}:{calls}:{sector}:x{bits}"),
        }
    }
}

impl Image {
    /// By its name: `log:1:200:512:s7`.
    fn named(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split(':').collect();
        let ["log", work, calls, sector, survivors] = parts[..] else { return None };
        let survivors = match survivors.split_at_checked(1)? {
            ("s", seed) => Survivors::Seed(seed.parse().ok()?),
            ("x", bits) => Survivors::Exactly(bits.parse().ok()?),
            _ => return None,
        };
        let (work, calls) = (work.parse().ok()?, calls.parse().ok()?);
        Some(Self { work, calls, sector: sector.parse().ok()?, survivors })
    }
}

/// What must hold of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Whether there is a log at all.
    pub(crate) is_made: bool,
    /// Batches that were acknowledged, and that were begun.
    pub(crate) acknowledged: usize,
    pub(crate) begun: usize,
}

impl Promise {
    pub(crate) fn note(&mut self, op: &Op) {
        match op {
            Op::Remark(Remark::Made) => self.is_made = true,
            Op::Remark(Remark::Begun(index)) => self.begun = index + 1,
            Op::Remark(Remark::Acknowledged(index)) => self.acknowledged = index + 1,
            _ => {}
        }
    }
}

/// Materialises and checks the images of all `works` once. A later pass has other random subsets.
pub(crate) fn pass(works: &[Work], pass: u64) -> Counts {
    together(|number, threads, counts| {
        for work in works {
            let mut player = Player::new();
            let mut promise = Promise::default();
            for (calls, op) in work.ops.iter().enumerate() {
                player.play(op);
                promise.note(op);
                if calls % threads == number && promise.is_made && !matches!(op, Op::Remark(_)) {
                    let image = |sector, survivors| Image {
                        work: work.seed,
                        calls: calls + 1,
                        sector,
                        survivors,
                    };
                    at(&player.disk, op, pass, &image, &mut |image, disk| {
                        check(image, work, promise, disk, counts);
                    });
                }
            }
        }
    })
}

/// Every image of one place.
fn at(
    disk: &MemoryDisk,
    op: &Op,
    pass: u64,
    image: &dyn Fn(usize, Survivors) -> Image,
    check: &mut dyn FnMut(Image, &MemoryDisk),
) {
    let mut all = |sector: usize, chosen: &mut dyn Iterator<Item = Survivors>| {
        for survivors in chosen {
            check(image(sector, survivors), &disk.crashed(survivors, sector).0);
        }
    };
    for sector in SECTORS {
        let (_, unsynced) = disk.crashed(Survivors::Exactly(u64::MAX), sector);
        let subsets = 1u64 << unsynced.min(SUBSETS_OF_MAX);
        match unsynced {
            // Nothing is left to chance: once is enough, and where something was just synced.
            0 if pass == 0 && sector == SECTORS[0] && matches!(op, Op::Sync { .. }) => {
                all(sector, &mut (0..1).map(Survivors::Exactly));
            }
            0 => {}
            1..=SUBSETS_OF_MAX if pass == 0 => {
                all(sector, &mut (0..subsets).map(Survivors::Exactly));
            }
            1..=SUBSETS_OF_MAX => {}
            _ => {
                let seeds = pass * SUBSETS..(pass + 1) * SUBSETS;
                all(sector, &mut seeds.map(Survivors::Seed));
            }
        }
    }
}

/// One image, by its name.
pub(crate) fn one(name: &str) -> Option<Counts> {
    let image = Image::named(name)?;
    let work = &work(image.work);
    let mut player = Player::new();
    let mut promise = Promise::default();
    for op in work.ops.get(..image.calls)? {
        player.play(op);
        promise.note(op);
    }
    let from = image.calls.saturating_sub(CALLS_SHOWN);
    println!("{image}: the last calls were");
    for op in &work.ops[from..image.calls] {
        println!("  {op}");
    }
    let mut counts = Counts::default();
    let disk = player.disk.crashed(image.survivors, image.sector).0;
    check(image, work, promise, &disk, &mut counts);
    Some(counts)
}

fn check(image: Image, work: &Work, promise: Promise, disk: &MemoryDisk, counts: &mut Counts) {
    check_one(&image.to_string(), || {
        counts.count("images");
        counts.count(if image.sector == 512 { "of 512 B" } else { "of 4 KiB" });
        counts.count(match &work.ops[image.calls - 1] {
            Op::Write { .. } => "in writes",
            Op::Sync { .. } | Op::SyncDirectory { .. } => "at syncs",
            _ => "in changes of names",
        });
        let again = disk.duplicate();
        let whole = recovers(work, promise, disk, counts);
        if let Survivors::Seed(seed) | Survivors::Exactly(seed) = image.survivors
            && (seed + image.calls as u64).is_multiple_of(3)
        {
            crashes_again(work, Promise { acknowledged: whole, ..promise }, &again, seed, counts);
        }
    });
}

pub(crate) fn recover(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, State), LogError> {
    run_immediate(Log::recover(disk.clone(), identity(), config()))
}

/// Recovers, goes on, and recovers again. Says how many batches there were.
fn recovers(work: &Work, promise: Promise, disk: &MemoryDisk, counts: &mut Counts) -> usize {
    let (log, state) = recover(disk).unwrap_or_else(|error| panic!("refused: {error}"));
    let whole = stands(work, promise, &state);
    if log.recovery().torn.is_some() {
        counts.count("torn tails");
    }
    if whole > promise.acknowledged {
        counts.count("with more than was acknowledged");
    }
    let unreadable = &log.recovery().unreadable_snapshots;
    assert!(unreadable.is_empty(), "a snapshot has its name when it is whole: {unreadable:?}");
    let more = (whole + 2).min(work.batches.len());
    for batch in &work.batches[whole..more] {
        run_immediate(log.prepare()).expect("a good disk");
        run_immediate(log.append(batch.first, batch.count, &batch.events)).expect("it goes on");
    }
    drop(log);
    let (_, state) = recover(disk).unwrap_or_else(|error| panic!("refused later: {error}"));
    let expected = Promise { acknowledged: more, begun: more, ..promise };
    assert_eq!(stands(work, expected, &state), more);
    let report = Inspector::of(disk.clone(), identity()).verify();
    let report = report.unwrap_or_else(|error| panic!("not sound: {error}"));
    assert_eq!(report.digest, state.digest());
    whole
}

/// Checks a state against what was promised: as many batches as it has.
pub(crate) fn stands(work: &Work, promise: Promise, state: &State) -> usize {
    let last = state.sequence();
    let whole = logged(&work.batches, last).unwrap_or_else(|| panic!("{last} ends no batch"));
    let Promise { acknowledged, begun, .. } = promise;
    assert!(whole >= acknowledged, "{acknowledged} batches were acknowledged, {whole} are there");
    assert!(whole <= begun, "{begun} batches were begun, {whole} are there");
    if let Some(newest) = whole.checked_sub(1) {
        assert_eq!(state.digest(), work.batches[newest].digest, "the state is another one");
    }
    whole
}

/// The power goes out again, in the recovery or in what comes soon after it.
fn crashes_again(work: &Work, promise: Promise, disk: &MemoryDisk, seed: u64, counts: &mut Counts) {
    counts.count("images");
    counts.count("in recoveries");
    disk.reset();
    disk.inject(Fault::Power(1 + seed % 11));
    let mut promise = Promise { begun: promise.begun.max(promise.acknowledged), ..promise };
    if let Ok((log, _)) = recover(disk) {
        for batch in &work.batches[promise.acknowledged..] {
            promise.begun += 1;
            let done = run_immediate(log.append(batch.first, batch.count, &batch.events));
            if done.and_then(|()| run_immediate(log.prepare())).is_err() {
                break;
            }
            promise.acknowledged += 1;
        }
    }
    disk.crash(seed ^ 0x5EED);
    recovers(work, promise, disk, counts);
}
