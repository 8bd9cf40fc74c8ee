//! What a core of the simulated engine runs on.

use crate::chance::Chance;
use crate::clock::WallClock;
use crate::disk::SimDisk;
use crate::network::{SimListener, SimStream};
use crate::observer::Observer;
use crate::process::Process;
use doorbuster_engine::host::Host;
use doorbuster_engine::partition::{Batch, Partition};
use doorbuster_protocol::Timestamp;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// A process of the run, with the clock and the chance of its machine.
#[derive(Clone)]
pub struct SimHost(Rc<Parts>);

pub(super) struct Parts {
    pub(super) process: Process,
    pub(super) clock: WallClock,
    /// When the machine was switched on.
    pub(super) booted: Instant,
    pub(super) chance: Chance,
    pub(super) observer: Observer,
}

impl SimHost {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Rc::new(parts))
    }
}

impl Host for SimHost {
    type Disk = SimDisk;
    type Stream = SimStream;
    type Listener = SimListener;

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.process.spawn(task);
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    fn wall_clock(&self) -> Timestamp {
        self.0.clock.now()
    }
    fn monotonic(&self) -> Duration {
        self.0.booted.elapsed()
    }
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.chance.fill(bytes);
        Ok(())
    }
    fn watch_commit(&self, partition: &Partition, batch: &Batch, taken: Duration) {
        self.0.observer.committed(partition, batch, self.0.booted + taken);
    }
}
