//! Writes that a device says it has done, and that never arrive, or arrive somewhere else: found
//! whenever a later frame stands. Last frames that are lost, or written over with something else,
//! cannot be told from what was never written; everything else is refused or harmless.

use super::crew::{Counts, check_one, together};
use super::images::{Promise, recover, stands};
use super::regions;
use super::sale::{identity, logged};
use super::trace::{Op, Player, Remark, Stray};
use super::work::Work;
use doorbuster_engine::log::LogError;
use doorbuster_engine::log::inspect::Inspector;

const BLOCK: u64 = 4096;
const SECTOR: usize = 512;

/// Lets at least `wanted` writes go astray, one at a time.
pub(crate) fn strays(works: &[Work], wanted: usize) -> Counts {
    together(|number, threads, counts| {
        for seed in (number..wanted).step_by(threads) {
            check_one(&format!("stray:{seed}"), || stray(works, seed as u64, counts));
        }
    })
}

/// One stray write, by its name: `stray:17`.
pub(crate) fn one(works: &[Work], name: &str) -> Option<Counts> {
    let mut counts = Counts::default();
    stray(works, name.strip_prefix("stray:")?.parse().ok()?, &mut counts);
    Some(counts)
}

fn stray(works: &[Work], seed: u64, counts: &mut Counts) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let work = &works[random.usize(..works.len())];
    let is_write = |op: &Op| matches!(op, Op::Write { bytes, .. } if !bytes.is_empty());
    let made = work.ops.iter().position(|op| matches!(op, Op::Remark(Remark::Made)));
    let from = made.expect("a log is made");
    let writes: Vec<usize> =
        (from..work.ops.len()).filter(|index| is_write(&work.ops[*index])).collect();
    let at = writes[random.usize(..writes.len())];
    // Looked at soon after, later, or at the end.
    let until = match random.u8(..3) {
        0 => (at + 1 + random.usize(..12)).min(work.ops.len()),
        1 => random.usize(at + 1..=work.ops.len()),
        _ => work.ops.len(),
    };
    let mut player = Player::new();
    let mut promise = Promise::default();
    for (index, op) in work.ops[..until].iter().enumerate() {
        promise.note(op);
        if index == at {
            let stray = choose(&player, op, random);
            counts.count(match stray {
                Stray::Lost { .. } => "lost",
                Stray::Elsewhere { .. } => "misdirected",
            });
            player.play_stray(op, &stray);
        } else {
            player.play(op);
        }
    }
    counts.count("strays");
    let disk = player.disk.duplicate();
    match recover(&disk.duplicate()) {
        Err(LogError::Damaged { .. }) => counts.count("refused"),
        Err(error) => panic!("{error}"),
        Ok((log, state)) => {
            let whole = logged(&work.batches, state.sequence()).expect("whole batches");
            if whole >= promise.acknowledged {
                counts.count("harmless");
                stands(work, promise, &state);
                drop(log);
                // Recovery begins at what a snapshot covers. Whoever looks before it is told.
                if Inspector::of(disk, identity()).verify().is_err() {
                    counts.count("found by verify");
                }
            } else {
                let lost = work.batches[whole].first.get();
                let behind = regions::newest_frame(&disk);
                // The frame itself may stand where nobody reads: in a segment that snapshots cover.
                assert!(
                    behind <= lost,
                    "event {lost} is lost, and frame {behind} stands behind it"
                );
                counts.count("of last frames, which nobody can tell");
                let earlier = Promise { acknowledged: whole, ..promise };
                stands(work, earlier, &state);
            }
        }
    }
}

fn choose(player: &Player, op: &Op, random: &mut fastrand::Rng) -> Stray {
    let Op::Write { file, offset, bytes } = op else { panic!("{op} is no write") };
    if random.bool() {
        let (from, to) = match random.u8(..3) {
            0 => (0, bytes.len()),
            1 => piece(bytes.len(), BLOCK as usize, random),
            _ => piece(bytes.len(), SECTOR, random),
        };
        return Stray::Lost { from, to };
    }
    let files = player.files();
    let own = *offset..*offset + bytes.len() as u64;
    loop {
        let (number, size) = files[random.usize(..files.len())];
        let place = random.u64(..=size / BLOCK) * BLOCK;
        let overlaps = place < own.end && own.start < place + bytes.len() as u64;
        if number != *file || !overlaps {
            return Stray::Elsewhere { file: number, offset: place };
        }
    }
}

/// One of the pieces of a write.
fn piece(length: usize, unit: usize, random: &mut fastrand::Rng) -> (usize, usize) {
    let from = random.usize(..length.div_ceil(unit)) * unit;
    (from, (from + unit).min(length))
}
