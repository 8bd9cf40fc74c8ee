//! One process of the engine, from its start to its end: what `engine::Engine` does with threads and
//! sockets.

use super::host::{Parts, SimHost};
use super::{ENGINE, Machine, Running, addresses};
use crate::chance::Chance;
use crate::process::Process;
use doorbuster_engine::engine::EngineError;
use doorbuster_engine::log::{LogConfig, SnapshotHandle, SnapshotJob};
use doorbuster_engine::metrics::EngineMetrics;
use doorbuster_engine::node::{CoreConfig, CoreParts, Stopper, partition_map};
use doorbuster_protocol::handshake::PartitionMap;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// The longest time that a snapshot job waits for its thread.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often a process is killed while it takes a snapshot.
const KILLED_AT_SNAPSHOT: f64 = 0.05;

/// The sizes of the logs.
pub(super) fn log_config(segment_bytes: u64, chance: &Chance) -> LogConfig {
    LogConfig {
        segment_bytes,
        first_fill_bytes: segment_bytes.min(64 << 10),
        fill_ahead_bytes: segment_bytes.clamp(64 << 10, 2 << 20),
        spares_max: chance.below(3) as usize,
        snapshot_segments: chance.between(1, 4) as usize,
        snapshots: None,
    }
}

/// What a core tells the process's main task.
enum News {
    Recovered,
    Ended(Result<(), EngineError>),
}

/// Starts a process. Its end is told; nothing is when it is killed.
pub(super) fn start(
    machine: &Rc<Machine>,
    cores: u16,
) -> (Running, oneshot::Receiver<Result<(), EngineError>>) {
    let process = Process::new(ENGINE);
    let stopper = Stopper::default();
    let is_serving = Rc::new(Cell::new(false));
    machine.world.line(ENGINE, format_args!("starts with {cores} core(s)"));
    let (snapshots, jobs) = mpsc::unbounded_channel();
    process.spawn(take_snapshots(Rc::downgrade(machine), jobs));
    let handle = SnapshotHandle::new(move |job| drop(snapshots.send(job)));
    let config = Arc::new(CoreConfig {
        key: machine.key.clone(),
        log: LogConfig { snapshots: Some(handle), ..machine.log.clone() },
        high_water_bytes: machine.world.dials().size.high_water_bytes,
    });
    let partitions = machine.partitions;
    let metrics = Arc::new(EngineMetrics::new(usize::from(cores), usize::from(partitions.get())));
    let map = partition_map(machine.directory, partitions, addresses(cores).collect());
    let host = SimHost::new(Parts {
        process: process.clone(),
        clock: machine.clock.clone(),
        booted: machine.world.began(),
        chance: machine.chance.clone(),
        observer: machine.observer.clone(),
    });
    let (news, told) = mpsc::unbounded_channel();
    let interface = machine.network.of(&process);
    machine.observer.begin();
    machine.disks.process_begins();
    for (core, address) in (0..cores).zip(addresses(cores)) {
        let listener = interface.listen(address).expect("the process before has let go of it");
        let parts = CoreParts {
            host: host.clone(),
            map: PartitionMap { self_core: core, ..map.clone() },
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
            stopper: stopper.clone(),
        };
        let (machine, news) = (Rc::clone(machine), news.clone());
        process.spawn(async move {
            let disks = machine.disks.clone();
            let recovered = parts.recover(|id| disks.disk(id)).await;
            let ended = match recovered {
                Ok(recovered) => {
                    recovered.inspect(|state| {
                        let id = state.partition();
                        let (disk, identity) = (disks.memory(id), machine.identity(id));
                        machine.observer.recovered(state, &disk, identity);
                    });
                    let _ = news.send(News::Recovered);
                    recovered.run(listener).await
                }
                Err(error) => Err(error),
            };
            let _ = news.send(News::Ended(ended));
        });
    }
    let (tell, ended) = oneshot::channel();
    process.spawn({
        let (stopper, is_serving) = (stopper.clone(), Rc::clone(&is_serving));
        let world = machine.world.clone();
        async move {
            let told = watch(told, usize::from(cores), &stopper, || {
                world.line(ENGINE, format_args!("serves"));
                is_serving.set(true);
            });
            let _ = tell.send(told.await);
        }
    });
    (Running { process, stopper, is_serving }, ended)
}

/// Waits for all cores to end; one that fails ends the others.
async fn watch(
    mut told: mpsc::UnboundedReceiver<News>,
    cores: usize,
    stopper: &Stopper,
    serves: impl Fn(),
) -> Result<(), EngineError> {
    let (mut recovered, mut ended, mut first) = (0, 0, None);
    while ended < cores {
        match told.recv().await {
            Some(News::Recovered) => {
                recovered += 1;
                if recovered == cores {
                    serves();
                }
            }
            Some(News::Ended(end)) => {
                ended += 1;
                if let Err(error) = end {
                    stopper.stop();
                    first.get_or_insert(error);
                }
            }
            None => break,
        }
    }
    match stopper.take_failure().or(first) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The snapshot thread: one job after the other, whole; or until the process ends in the middle of
/// one.
async fn take_snapshots(machine: Weak<Machine>, mut jobs: mpsc::UnboundedReceiver<SnapshotJob>) {
    while let Some(job) = jobs.recv().await {
        let Some(machine) = machine.upgrade() else { return };
        sleep(machine.chance.delay(SNAPSHOT_WAIT_MAX)).await;
        machine.take_snapshot(job);
    }
}

impl Machine {
    fn take_snapshot(&self, job: SnapshotJob) {
        let partition = job.identity().partition;
        let disk = self.disks.snapshot_disk(partition);
        let dials = &self.world.dials().process;
        let is_killed = self.chance.hits(KILLED_AT_SNAPSHOT)
            && dials.engine_kill_every.is_some()
            && self.world.is_faulty();
        if is_killed {
            disk.end_after(self.chance.between(1, 30));
        }
        match job.run(&disk) {
            Ok(taken) => {
                self.world.count("snapshots");
                self.world.line(ENGINE, format_args!("snapshot of {partition}: {}", taken.newest));
            }
            Err(error) => {
                self.world.line(ENGINE, format_args!("no snapshot of {partition}: {error}"));
            }
        }
        if disk.has_ended() {
            self.world.count("kills of the engine in a snapshot");
            self.kill(self.chance.hits(dials.power_loss));
        }
    }
}
