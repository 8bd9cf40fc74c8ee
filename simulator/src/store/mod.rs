//! The store of results: shards in memory that keep the promises of every store, behind a network
//! and a machine that keep none.
//!
//! | module | what it owns |
//! |---|---|
//! | `database` | the tables of a shard, and what a transaction makes of them |
//! | `cluster` | all shards with their replicas; what must hold after every transaction |
//! | `session` | a call on its way to a shard and back, and what happens to it there |
//! | `faults` | shards that go away, fall back to an older state, or hand buckets on |
//! | `shard`, `view` | the traits of persistence, as one process sees the store |
//! | `comparison` | the rows of all shards against the events of the log, once all is quiet |
//!
//! A write that has left its process is the database's: it is committed or not whatever becomes of
//! the process, now or a moment later, and whoever asks is told or not.

mod cluster;
mod comparison;
mod database;
mod faults;
mod session;
mod shard;
mod view;

#[cfg(test)]
mod tests;

pub use comparison::{compare, rows};
pub use view::StoreView;

use crate::chance::Chance;
use crate::process::Life;
use crate::world::World;
use cluster::Cluster;
use doorbuster_protocol::{PartitionId, Sequence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The store of one run. A clone is another handle of the same one.
#[derive(Clone)]
pub struct SimStore(Arc<Shared>);

/// What sessions share.
pub(crate) struct Shared {
    world: World,
    chance: Chance,
    /// Locked because stores have to be `Sync`; one thread runs it all.
    cluster: Mutex<Cluster>,
}

/// How far a shard may fall back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKeeps {
    /// The engine lets go of what it was told that all shards have: no shard falls behind that. As
    /// a projector believes for a while what a shard has told it, and acknowledges that, it goes
    /// down together with a shard that falls.
    Unacknowledged,
    /// The log of this run is never trimmed.
    Everything,
}

impl SimStore {
    /// Empty shards, as many as the dials say, with the faults that they say.
    pub fn new(world: World, keeps: LogKeeps) -> Self {
        let chance = world.chance("store");
        let dials = world.dials();
        let poisoned_one_in = dials.store.poisoned_one_in;
        let cluster = Cluster::new(dials.size.shards, poisoned_one_in, keeps, world.clone());
        Self(Arc::new(Shared { world, chance, cluster: Mutex::new(cluster) }))
    }

    /// The store as the process with this life sees it, from now on.
    pub fn view(&self, life: Life) -> StoreView {
        StoreView::new(Arc::clone(&self.0), life)
    }

    /// Lets shards go away, fall back and hand buckets on until the run is healed. A shard that falls
    /// may `end_projector`, whose machine is its own.
    pub async fn keep_failing(self, end_projector: impl Fn()) {
        faults::keep_failing(&self.0, &end_projector).await;
    }

    /// The engine was told that every shard has the events of a partition up to `through`: so it
    /// must be, or have been before a shard fell back.
    pub fn acknowledged(&self, partition: PartitionId, through: Sequence) {
        self.0.cluster().acknowledged(partition, through);
    }

    /// The least of all shards' checkpoints of a partition.
    pub fn reached(&self, partition: PartitionId) -> Sequence {
        self.0.cluster().reached(partition)
    }
}

impl Shared {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a fault of this probability happens now.
    fn fails(&self, probability: f64) -> bool {
        self.chance.hits(probability) && self.world.is_faulty()
    }
}
