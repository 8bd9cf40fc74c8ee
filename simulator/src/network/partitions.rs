//! Which processes cannot reach each other. What is on its way between them waits.

use super::{Name, Shared};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a partition lasts at the most: short ones are noticed by nobody, long ones by all.
const LONGEST: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_secs(3),
    Duration::from_secs(12),
    Duration::from_secs(40),
];

/// Ways that are blocked, from whom to whom, and since when.
#[derive(Debug, Default)]
pub(super) struct Partitions(BTreeMap<(Name, Name), Instant>);

impl Partitions {
    /// Since when nothing gets from one process to the other.
    pub(super) fn parted_since(&self, from: &Name, to: &Name) -> Option<Instant> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(Arc::clone(from), Arc::clone(to))).copied()
    }

    pub(super) fn part(&mut self, from: &Name, to: &Name) {
        self.0.entry((Arc::clone(from), Arc::clone(to))).or_insert_with(Instant::now);
    }
}

impl Shared {
    pub(super) fn rejoin_all(&self) {
        self.change(|state, shared| {
            if !std::mem::take(&mut state.partitions.0).is_empty() {
                shared.line(format_args!("whole again"));
            }
        });
    }

    /// Parts one process from another, or from all, one way or both.
    fn part_some(&self) {
        let names: Vec<Name> = self.state().names.iter().cloned().collect();
        if names.len() < 2 {
            return;
        }
        let one = self.chance.pick(&names).clone();
        let others: Vec<Name> = names.into_iter().filter(|name| *name != one).collect();
        let other = self.chance.pick(&others).clone();
        let is_from_all = self.chance.below(3) == 0;
        let ways = self.chance.below(4);
        self.change(|state, shared| {
            for name in others.iter().filter(|name| is_from_all || **name == other) {
                if ways != 0 {
                    state.partitions.part(&one, name);
                }
                if ways != 1 {
                    state.partitions.part(name, &one);
                }
                shared.line(format_args!("{one} and {name} are parted, way {ways}"));
            }
        });
        self.world.count("partitions of the network");
    }
}

/// Parts and rejoins until the run is healed.
pub(super) async fn keep_parting(shared: &Shared) {
    let Some(every) = shared.world.dials().network.partition_every else { return };
    loop {
        sleep(every.mul_f64(shared.chance.fraction() * 2.0)).await;
        if !shared.world.is_faulty() {
            return;
        }
        shared.part_some();
        sleep(shared.chance.delay(*shared.chance.pick(&LONGEST))).await;
        shared.rejoin_all();
    }
}
