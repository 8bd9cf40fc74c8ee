//! What happens to shards by themselves: absences, failovers, moves of buckets.

use super::{LogKeeps, Shared};
use crate::chance::Chance;
use doorbuster_persistence::BucketSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// No run has more shards.
const SHARDS_MAX: usize = 4;

/// Lets all of it happen until the run is healed.
pub(super) async fn keep_failing(shared: &Shared, end_projector: &dyn Fn()) {
    let dials = &shared.world.dials().store;
    let chance = shared.chance.of("faults");
    tokio::join!(
        now_and_then(shared, dials.away_every, chance.of("absences"), go_away),
        now_and_then(shared, dials.rollback_every, chance.of("failovers"), |shared, chance| {
            fall_back(shared, chance, end_projector);
        }),
        now_and_then(shared, dials.move_every, chance.of("moves"), hand_over),
    );
}

async fn now_and_then(
    shared: &Shared,
    every: Option<Duration>,
    chance: Chance,
    what: impl Fn(&Shared, &Chance),
) {
    let Some(every) = every else { return };
    loop {
        sleep(every.mul_f64(chance.fraction() * 2.0)).await;
        if !shared.world.is_faulty() {
            return;
        }
        what(shared, &chance);
    }
}

/// A shard's number, and its name.
fn any_shard(shared: &Shared, chance: &Chance) -> usize {
    chance.below(shared.cluster().members.len() as u64) as usize
}

fn go_away(shared: &Shared, chance: &Chance) {
    let index = any_shard(shared, chance);
    let time = chance.delay(shared.world.dials().store.away_max);
    shared.cluster().members[index].away_until = Some(Instant::now() + time);
    shared.world.count("absences of a shard");
    shared.world.line("store", format_args!("shard-{index} goes away for {time:?}"));
}

fn fall_back(shared: &Shared, chance: &Chance, end_projector: &dyn Fn()) {
    let index = any_shard(shared, chance);
    let most = shared.cluster().lacking(index) as u64;
    let lost = shared.cluster().fall_back(index, chance.between(0, most) as usize);
    shared.world.count("failovers");
    if shared.cluster().keeps == LogKeeps::Unacknowledged {
        end_projector();
    }
    if lost > 0 {
        shared.world.count(match shared.cluster().keeps {
            LogKeeps::Everything => "failovers that lost transactions",
            LogKeeps::Unacknowledged => "failovers that lost transactions, logs trimmed",
        });
    }
    shared.world.line("store", format_args!("shard-{index} falls back by {lost} transactions"));
}

/// Some of a shard's buckets go to another, or to one that joins.
fn hand_over(shared: &Shared, chance: &Chance) {
    let mut cluster = shared.cluster();
    let from = chance.below(cluster.members.len() as u64) as usize;
    let joins = chance.below(3) == 0;
    let modulus = chance.between(1, 4) as u16;
    let rest = chance.below(4) as u16;
    let database = &cluster.members[from].database;
    // One stays: a shard that owns nothing is out of service, and nobody follows it.
    let moved: BucketSet = (database.buckets.iter().skip(1))
        .filter(|bucket| bucket % modulus == rest % modulus)
        .collect();
    if moved.is_empty() || database.identity.is_none() {
        return;
    }
    let others: Vec<usize> = (0..cluster.members.len())
        .filter(|to| *to != from && cluster.members[*to].database.identity.is_some())
        .collect();
    let to = if (joins || others.is_empty()) && cluster.members.len() < SHARDS_MAX {
        cluster.join()
    } else if others.is_empty() {
        return;
    } else {
        *chance.pick(&others)
    };
    cluster.hand_over(from, to, moved);
    drop(cluster);
    shared.world.count("moves of buckets");
    let count = moved.len();
    shared.world.line("store", format_args!("{count} buckets go from shard-{from} to shard-{to}"));
}
