//! The engine's disk: one directory for each partition, with every fault that a disk can have.
//!
//! | module | what it owns |
//! |---|---|
//! | `faulty` | a directory in the hands of a process: delays, errors, short writes |
//! | `immediate` | the same directory for snapshot jobs, which do not wait |
//! | `damage` | durable bytes that are not what was written: rot, and writes that went elsewhere |
//!
//! What is written and what is durable is the business of the engine's own [`MemoryDisk`]; this
//! adds when things go wrong. A disk outlives the processes that use it.

mod damage;
mod faulty;
mod immediate;

#[cfg(test)]
mod tests;

pub use faulty::{SimDisk, SimFile};
pub use immediate::SnapshotDisk;

use crate::chance::Chance;
use crate::world::World;
use damage::Damage;
use doorbuster_engine::log::{self, LogConfig, LogIdentity};
use doorbuster_engine::storage::{MemoryDisk, run_immediate};
use doorbuster_protocol::PartitionId;
use doorbuster_protocol::routing::PartitionCount;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

/// The disks of a machine. A clone is another handle of the same ones.
#[derive(Clone)]
pub struct Disks {
    world: World,
    platters: Rc<[Platter]>,
    chance: Chance,
    damage: Rc<RefCell<Option<Damage>>>,
    /// What was restored while the process ran, which may have read it before.
    mended: Rc<RefCell<Option<Damage>>>,
}

/// The directory of one partition.
#[derive(Clone)]
struct Platter {
    world: World,
    name: Rc<str>,
    memory: MemoryDisk,
    chance: Chance,
    /// Whether there is next to no room.
    is_full: Rc<Cell<bool>>,
    /// Whether the process that runs was given a wrong bit.
    was_misread: Rc<Cell<bool>>,
    /// Whether a call of the process that runs has failed.
    has_failed: Rc<Cell<bool>>,
    /// Syncs of the directory that failed since that process began. The kernel tells everybody who
    /// has it open, not only who asked first.
    failed_directory_syncs: Rc<Cell<u64>>,
}

/// What a process does with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Whatever lists, opens, makes, removes or measures.
    Other,
    Read,
    Rename,
    Write,
    Sync,
    SyncDirectory,
}

impl Disks {
    /// A data directory with empty logs.
    pub fn new(world: &World, partitions: PartitionCount, config: &LogConfig) -> Self {
        let chance = world.chance("disks");
        let platter = |id: PartitionId| {
            let name = format!("disk {id}");
            let memory = MemoryDisk::new();
            run_immediate(log::create(&memory, config)).expect("memory takes it");
            let (name, chance) = (Rc::from(name.as_str()), chance.of(&name));
            Platter {
                world: world.clone(),
                name,
                memory,
                chance,
                is_full: Rc::default(),
                was_misread: Rc::default(),
                has_failed: Rc::default(),
                failed_directory_syncs: Rc::default(),
            }
        };
        let platters = partitions.all().map(platter).collect();
        let (damage, mended) = (Rc::default(), Rc::default());
        Self { world: world.clone(), platters, chance, damage, mended }
    }

    /// The directory of a partition, for a process.
    pub fn disk(&self, partition: PartitionId) -> SimDisk {
        SimDisk::new(self.platters[partition.index()].clone())
    }
    /// The same for a snapshot job.
    pub fn snapshot_disk(&self, partition: PartitionId) -> SnapshotDisk {
        SnapshotDisk::new(self.platters[partition.index()].clone())
    }
    /// The same without faults and delays, for whoever checks the run.
    pub fn memory(&self, partition: PartitionId) -> MemoryDisk {
        self.platters[partition.index()].memory.clone()
    }

    /// The process that used the disks has ended. With the power gone, what was not synced is lost,
    /// or not.
    pub fn process_ended(&self, is_power_lost: bool) {
        for platter in self.platters.iter() {
            if is_power_lost {
                let crashed = platter.memory.crash(platter.chance.below(u64::MAX));
                let is_torn = 0 < crashed.lost && crashed.lost < crashed.unsynced;
                self.world.add("power losses that took something", u64::from(crashed.lost > 0));
                self.world.add("power losses that tore something", u64::from(is_torn));
            } else {
                platter.memory.restart();
            }
        }
        if is_power_lost {
            self.world.count("power losses");
            self.world.line("disks", format_args!("the power was lost"));
        }
    }

    /// A process begins to use the disks: what it meets is its own.
    pub fn process_begins(&self) {
        for platter in self.platters.iter() {
            platter.was_misread.set(false);
            platter.has_failed.set(false);
            platter.failed_directory_syncs.set(0);
        }
        self.mended.take();
    }
    /// Whether a call has failed since the last process began.
    pub fn has_failed(&self) -> bool {
        self.platters.iter().any(|platter| platter.has_failed.get())
    }

    /// While nobody uses the disks, some durable bytes may turn out to be others than were written.
    /// Whatever was damaged before is whole again.
    pub fn rot(&self, identity: impl Fn(PartitionId) -> LogIdentity) {
        self.mend();
        let partition = self.chance.below(self.platters.len() as u64) as u16;
        let platter = &self.platters[usize::from(partition)];
        let dials = &self.world.dials().disk;
        let (rots, strays) = (self.fails(dials.bit_rot), self.fails(dials.misdirected));
        let damage = match () {
            () if rots => Damage::flip(platter, &self.chance),
            () if strays => {
                let identity = identity(PartitionId::new(partition).expect("in range"));
                Damage::stray(platter, identity, &self.chance)
            }
            () => None,
        };
        *self.damage.borrow_mut() = damage;
    }
    /// Whether durable bytes are not what was written, or were read as others since the process
    /// began, so that an engine may refuse to start because of what it finds there.
    pub fn is_damaged(&self, partition: PartitionId, file: &Path, offset: u64) -> bool {
        let platter = &self.platters[partition.index()];
        let explains = |damage: &RefCell<Option<Damage>>| {
            let damage = damage.borrow();
            damage.as_ref().is_some_and(|damage| damage.explains(platter, file, offset))
        };
        platter.was_misread.get() || explains(&self.damage) || explains(&self.mended)
    }
    /// Somebody restores what was damaged.
    pub fn mend(&self) {
        if let Some(damage) = self.damage.borrow_mut().take() {
            damage.mend();
            *self.mended.borrow_mut() = Some(damage);
        }
    }

    /// Some directory has next to no room left.
    pub fn fill_up(&self) {
        let platter = self.chance.pick(&self.platters);
        let room = self.chance.below(256 << 10);
        platter.memory.set_space(Some(platter.memory.used() + room));
        platter.is_full.set(true);
        self.world.count("full disks");
        self.world.line(&platter.name, format_args!("{room} bytes of room are left"));
    }
    /// Somebody makes room.
    pub fn make_room(&self) {
        for platter in self.platters.iter().filter(|platter| platter.is_full.replace(false)) {
            platter.memory.set_space(None);
            self.world.line(&platter.name, format_args!("there is room again"));
        }
    }

    fn fails(&self, probability: f64) -> bool {
        self.chance.hits(probability) && self.world.is_faulty()
    }
}
