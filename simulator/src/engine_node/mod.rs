//! The engine's machine: its disks, its clock, and one process after another that runs the engine's
//! cores on them.
//!
//! A supervisor does what systemd does: whenever the process has ended, it starts the next one,
//! maybe with another number of cores. An engine that refuses to start because of damage may do so
//! only when what it names is damaged; then somebody restores the files, and it starts.
//!
//! `start` has the life of one process, [`SimHost`] is what its cores run on.

mod host;
mod start;

pub use host::SimHost;

use crate::chance::Chance;
use crate::clock::WallClock;
use crate::disk::Disks;
use crate::network::SimNetwork;
use crate::observer::Observer;
use crate::process::Process;
use crate::world::World;
use doorbuster_engine::engine::EngineError;
use doorbuster_engine::log::inspect::Inspector;
use doorbuster_engine::log::{LogConfig, LogError, LogIdentity};
use doorbuster_engine::node::Stopper;
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{Epoch, PartitionId};
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// The name of the engine's processes.
pub const ENGINE: &str = "engine";
/// How many cores an engine may have.
const CORES_MAX: u16 = 3;
/// The port of the first core.
const PORT: u16 = 7000;
/// The longest time between the end of a process and the start of the next.
const RESTART_MAX: Duration = Duration::from_secs(1);

/// The engine's machine. A clone is another handle of the same one.
#[derive(Clone)]
pub struct EngineNode(Rc<Machine>);

struct Machine {
    world: World,
    network: SimNetwork,
    key: PreSharedKey,
    directory: u64,
    partitions: PartitionCount,
    disks: Disks,
    clock: WallClock,
    observer: Observer,
    chance: Chance,
    log: LogConfig,
    running: RefCell<Option<Running>>,
    /// The process that ends next takes the power with it.
    is_power_lost: Cell<bool>,
    /// No other process is wanted when this one has drained.
    is_last: Cell<bool>,
    has_ended: Cell<bool>,
    changed: Notify,
}

/// A process that has not ended.
#[derive(Clone)]
struct Running {
    process: Process,
    stopper: Stopper,
    is_serving: Rc<Cell<bool>>,
}

impl EngineNode {
    /// A machine with an empty data directory. Its first process starts at once.
    pub fn start(world: &World, network: &SimNetwork, key: PreSharedKey) -> Self {
        let chance = world.chance("engine");
        let size = &world.dials().size;
        let partitions = PartitionCount::new(size.partitions).expect("partitions in range");
        let log = start::log_config(size.segment_bytes, &chance);
        let clock = &world.dials().clock;
        let offset_us = chance.below(2 * clock.offset_us_max + 1) as i64;
        let drift_ppm = chance.below(2 * clock.drift_ppm_max + 1) as i64;
        let node = Self(Rc::new(Machine {
            disks: Disks::new(world, partitions, &log),
            observer: Observer::new(world, partitions),
            clock: WallClock::new(
                offset_us - clock.offset_us_max as i64,
                drift_ppm - clock.drift_ppm_max as i64,
            ),
            network: network.clone(),
            key,
            directory: chance.below(u64::MAX),
            partitions,
            log,
            running: RefCell::default(),
            is_power_lost: Cell::new(false),
            is_last: Cell::new(false),
            has_ended: Cell::new(false),
            changed: Notify::new(),
            world: world.clone(),
            chance,
        }));
        tokio::task::spawn_local(node.clone().supervise());
        tokio::task::spawn_local(node.clone().keep_disks());
        node
    }

    /// Where its cores listen, as far as there are so many in the process that runs.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses(CORES_MAX.min(self.0.partitions.get())).collect()
    }
    /// Its wall clock.
    pub fn clock(&self) -> &WallClock {
        &self.0.clock
    }
    /// Who knows every event that became durable.
    pub fn observer(&self) -> &Observer {
        &self.0.observer
    }
    /// How many partitions there are.
    pub fn partitions(&self) -> PartitionCount {
        self.0.partitions
    }
    /// Whether its process has recovered and serves.
    pub fn is_serving(&self) -> bool {
        self.0.running.borrow().as_ref().is_some_and(|running| running.is_serving.get())
    }

    /// The process is killed; with the power gone, what was not synced may be lost, and nobody hears
    /// of its end.
    pub fn kill(&self, is_power_lost: bool) {
        self.0.kill(is_power_lost);
    }
    /// The process is told to stop; the next one starts when it has drained.
    pub fn restart(&self) {
        self.0.world.line(ENGINE, format_args!("is told to stop"));
        self.0.world.count("restarts of the engine");
        self.stop_running();
    }
    /// The process stands still.
    pub fn freeze(&self) {
        if let Some(running) = &*self.0.running.borrow() {
            self.0.world.line(ENGINE, format_args!("stands still"));
            running.process.freeze();
        }
    }
    /// The process goes on.
    pub fn thaw(&self) {
        if let Some(running) = &*self.0.running.borrow() {
            self.0.world.line(ENGINE, format_args!("goes on"));
            running.process.thaw();
        }
    }

    /// Ends the engine for good: waits until a process has drained and checks what it leaves behind.
    pub async fn shut_down(&self) {
        self.0.is_last.set(true);
        self.stop_running();
        while !self.0.has_ended.get() {
            self.0.changed.notified().await;
        }
        self.0.disks.mend();
        for id in self.0.partitions.all() {
            self.check_log(id);
        }
    }

    fn check_log(&self, id: PartitionId) {
        let (disk, identity) = (self.0.disks.memory(id), self.0.identity(id));
        let broken = |why: String| self.0.world.broken(format!("partition {id}: {why}"));
        let durable = self.0.observer.durable(id);
        match Inspector::of(disk.clone(), identity).verify() {
            Ok(report) if report.last != durable => {
                broken(format!("the log ends at {}, and {durable} was durable", report.last));
            }
            Ok(report) => {
                // Without room for the mark a log is as good.
                self.0.world.add("logs sealed", u64::from(report.is_sealed));
                self.0.observer.audit(&disk, identity);
            }
            Err(error) => broken(format!("the log does not hold: {error}")),
        }
    }

    fn stop_running(&self) {
        if let Some(running) = &*self.0.running.borrow() {
            running.stopper.stop();
        }
    }

    async fn supervise(self) {
        let machine = &self.0;
        let mut cores = machine.world.dials().size.cores as u16;
        loop {
            let (running, ended) = start::start(machine, cores);
            if machine.is_last.get() {
                running.stopper.stop();
            }
            let process = running.process.clone();
            *machine.running.borrow_mut() = Some(running);
            let end = ended.await.ok();
            machine.running.borrow_mut().take();
            process.kill();
            let is_power_lost = machine.is_power_lost.replace(false) || self.takes_power(&end);
            machine.disks.process_ended(is_power_lost);
            if self.has_ended(end) {
                machine.has_ended.set(true);
                machine.changed.notify_waiters();
                return;
            }
            machine.disks.rot(|id| machine.identity(id));
            sleep(machine.chance.delay(RESTART_MAX)).await;
            let most = u64::from(CORES_MAX.min(machine.partitions.get()));
            cores = machine.chance.between(1, most) as u16;
        }
    }

    /// Whether a process that failed takes the power with it: who finds a machine whose disk has
    /// failed, switches it off and on.
    fn takes_power(&self, end: &Option<Result<(), EngineError>>) -> bool {
        let Machine { world, chance, .. } = &*self.0;
        let power_loss = world.dials().process.power_loss;
        matches!(end, Some(Err(_))) && chance.hits(power_loss) && world.is_faulty()
    }

    /// What the end of a process means: whether it was the last one.
    fn has_ended(&self, end: Option<Result<(), EngineError>>) -> bool {
        let machine = &self.0;
        if !matches!(end, Some(Ok(()))) {
            machine.world.count("ends of the engine");
        }
        let Some(end) = end else { return false };
        let Err(error) = end else {
            machine.world.line(ENGINE, format_args!("has drained"));
            return machine.is_last.get();
        };
        machine.world.line(ENGINE, format_args!("ends: {error}"));
        match error {
            EngineError::Log { partition, source: LogError::Damaged { ref file, offset, .. } }
                if machine.disks.is_damaged(partition, file, offset) =>
            {
                machine.world.count("refusals of damage");
                machine.disks.mend();
            }
            EngineError::Log { source: LogError::Io { .. } | LogError::Poisoned(_), .. }
                if machine.disks.has_failed() =>
            {
                machine.world.count("failures of the engine");
            }
            error => machine.world.broken(format!("the engine ended for no reason: {error}")),
        }
        false
    }

    /// Lets the disks fill up now and then, and puts them in order when the run heals.
    async fn keep_disks(self) {
        let Machine { world, disks, chance, .. } = &*self.0;
        let chance = chance.of("room");
        while world.is_faulty() {
            sleep(Duration::from_millis(chance.between(100, 5_000))).await;
            if world.dials().disk.full && world.is_faulty() {
                disks.fill_up();
                sleep(Duration::from_millis(chance.between(100, 3_000))).await;
                disks.make_room();
            }
        }
        disks.mend();
    }
}

impl Machine {
    fn kill(&self, is_power_lost: bool) {
        let running = self.running.borrow().clone();
        let Some(running) = running else { return };
        self.world.count("kills of the engine");
        let word = if is_power_lost { "loses its power" } else { "is killed" };
        self.world.line(ENGINE, format_args!("{word}"));
        self.is_power_lost.set(is_power_lost);
        if is_power_lost {
            // Before the process goes: nothing that it closes is heard of.
            self.network.unplug(ENGINE);
        }
        running.process.kill();
    }

    fn identity(&self, partition: PartitionId) -> LogIdentity {
        LogIdentity { directory: self.directory, partition, epoch: Epoch::FIRST }
    }
}

fn addresses(cores: u16) -> impl Iterator<Item = SocketAddr> {
    (0..cores).map(|core| SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), PORT + core)))
}
