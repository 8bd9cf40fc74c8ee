//! How much of everything a run has: sizes, and the probability of each fault.
//!
//! They are drawn from the run's seed (`draw`), or kept in a file beside the seed that found a bug,
//! so that other dials do not lose it. A fault that a file does not name is off.

mod draw;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// All dials of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dials {
    /// Sizes.
    pub size: SizeDials,
    /// The engine's disk.
    pub disk: DiskDials,
    /// The network between all processes.
    pub network: NetworkDials,
    /// Wall clocks.
    pub clock: ClockDials,
    /// Kills and freezes.
    pub process: ProcessDials,
    /// The shards of the store.
    pub store: StoreDials,
}

/// A group of faults that can be switched off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// [`DiskDials`].
    Disk,
    /// [`NetworkDials`].
    Network,
    /// [`ClockDials`].
    Clock,
    /// [`ProcessDials`].
    Process,
    /// [`StoreDials`].
    Store,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 5] = [Self::Disk, Self::Network, Self::Clock, Self::Process, Self::Store];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Clock => "clock",
            Self::Process => "process",
            Self::Store => "store",
        }
    }
    /// The group of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// Sizes of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeDials {
    /// Partitions of the data directory, 1 to 6.
    pub partitions: u16,
    /// Cores of the engine, 1 to 3 and at most the partitions. Other restarts may have others.
    pub cores: usize,
    /// Shards of the store, 1 to 3.
    pub shards: usize,
    /// Buying clients, each a process with several buyers, 1 to 5.
    pub clients: usize,
    /// Products.
    pub products: usize,
    /// Operations of all clients together, come in waves as long as faults happen.
    pub operations: u64,
    /// The waves.
    pub waves: u64,
    /// How long faults happen; then everything heals.
    pub faulty_for: Duration,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of a partition's log that may wait for the store.
    pub high_water_bytes: u64,
}

/// Faults of the disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "DiskDials::quiet")]
pub struct DiskDials {
    /// How often a call waits at all, and how long at the most.
    pub delayed: f64,
    /// The longest usual delay.
    pub delay_max: Duration,
    /// How often a sync takes very long, and how long.
    pub slow_sync: f64,
    /// The longest slow sync.
    pub slow_sync_max: Duration,
    /// A call that fails with EIO, other than those below.
    pub error: f64,
    /// A write that fails with EIO, after a part of it.
    pub write_error: f64,
    /// A write that takes only a part.
    pub short_write: f64,
    /// A sync of a file that fails, once; what it should have made durable may be lost.
    pub sync_error: f64,
    /// A sync of the directory that fails, once; names may be lost.
    pub directory_sync_error: f64,
    /// A rename that fails with EIO.
    pub rename_error: f64,
    /// A read that gives back one wrong bit, once.
    pub misread: f64,
    /// Whether the disk is nearly full now and then.
    pub full: bool,
    /// When a process has ended: a durable bit flips.
    pub bit_rot: f64,
    /// When a process has ended: a durable block that was followed by others turns out to be
    /// elsewhere, or stale.
    pub misdirected: f64,
}

/// Faults of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "NetworkDials::quiet")]
pub struct NetworkDials {
    /// How often a piece of a stream is delayed, and how long at the most.
    pub delayed: f64,
    /// The longest delay.
    pub delay_max: Duration,
    /// A dial that is refused, and one that hears nothing.
    pub refused: f64,
    /// A dial that hears nothing until it gives up.
    pub unheard: f64,
    /// Per piece: the stream is cut, both ends see a reset.
    pub cut: f64,
    /// Per piece: the stream goes silent, nobody is told.
    pub silent: f64,
    /// Per piece: a byte is changed.
    pub corrupted: f64,
    /// Mean time between partitions of the network that last a while; `None`: there are none.
    pub partition_every: Option<Duration>,
    /// Bytes that a direction of a stream holds before its writer has to wait.
    pub buffer_bytes: usize,
}

/// Faults of clocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "ClockDials::quiet")]
pub struct ClockDials {
    /// How far a clock is off at first, in microseconds.
    pub offset_us_max: u64,
    /// How fast it drifts, in parts per million.
    pub drift_ppm_max: u64,
    /// Mean time between steps; `None`: there are none.
    pub step_every: Option<Duration>,
    /// The largest step, either way.
    pub step_us_max: u64,
}

/// Kills and freezes of processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "ProcessDials::quiet")]
pub struct ProcessDials {
    /// Mean time between kills of the engine; `None`: there are none.
    pub engine_kill_every: Option<Duration>,
    /// How often an end of the engine takes the power with it: what was not synced may be lost.
    pub power_loss: f64,
    /// Mean time between clean restarts of the engine, maybe with other cores.
    pub engine_restart_every: Option<Duration>,
    /// Mean time between kills of the projector.
    pub projector_kill_every: Option<Duration>,
    /// Mean time between kills of a client.
    pub client_kill_every: Option<Duration>,
    /// Mean time between freezes of any process.
    pub freeze_every: Option<Duration>,
    /// The longest freeze.
    pub freeze_max: Duration,
}

/// Faults of the store's shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "StoreDials::quiet")]
pub struct StoreDials {
    /// How often a call waits, and how long at the most.
    pub delayed: f64,
    /// The longest delay.
    pub delay_max: Duration,
    /// A call that fails and may be tried again, before anything was done.
    pub busy: f64,
    /// A write that is committed, and whose answer is lost.
    pub lost_reply: f64,
    /// Mean time between absences of a shard.
    pub away_every: Option<Duration>,
    /// The longest absence.
    pub away_max: Duration,
    /// Mean time between falls back to an older state.
    pub rollback_every: Option<Duration>,
    /// How far it may fall back.
    pub rollback_max: Duration,
    /// Whether it may fall behind what the engine was told that it has. Then no log of the run is
    /// trimmed; otherwise logs are, and no shard falls behind that.
    pub rolls_back_acknowledged: bool,
    /// Mean time between moves of buckets from one shard to another.
    pub move_every: Option<Duration>,
    /// One order in this many can never be written; 0: all can.
    pub poisoned_one_in: u64,
}

impl Dials {
    /// Switches the faults of a group off; what is left is a good disk, a quick network, and so on.
    pub fn quiet(&mut self, group: Group) {
        match group {
            Group::Disk => self.disk = DiskDials::quiet(),
            Group::Network => self.network = NetworkDials::quiet(),
            Group::Clock => self.clock = ClockDials::quiet(),
            Group::Process => self.process = ProcessDials::quiet(),
            Group::Store => self.store = StoreDials::quiet(),
        }
    }
    /// Whether a group has any faults.
    pub fn is_quiet(&self, group: Group) -> bool {
        match group {
            Group::Disk => self.disk == DiskDials::quiet(),
            Group::Network => self.network == NetworkDials::quiet(),
            Group::Clock => self.clock == ClockDials::quiet(),
            Group::Process => self.process == ProcessDials::quiet(),
            Group::Store => self.store == StoreDials::quiet(),
        }
    }
}

impl DiskDials {
    /// Without faults.
    pub const fn quiet() -> Self {
        Self {
            delayed: 0.5,
            delay_max: Duration::from_millis(1),
            slow_sync: 0.0,
            slow_sync_max: Duration::ZERO,
            error: 0.0,
            write_error: 0.0,
            short_write: 0.0,
            sync_error: 0.0,
            directory_sync_error: 0.0,
            rename_error: 0.0,
            misread: 0.0,
            full: false,
            bit_rot: 0.0,
            misdirected: 0.0,
        }
    }
}

impl NetworkDials {
    /// Without faults.
    pub const fn quiet() -> Self {
        Self {
            delayed: 0.5,
            delay_max: Duration::from_millis(1),
            refused: 0.0,
            unheard: 0.0,
            cut: 0.0,
            silent: 0.0,
            corrupted: 0.0,
            partition_every: None,
            buffer_bytes: 64 << 10,
        }
    }
}

impl ClockDials {
    /// Without faults.
    pub const fn quiet() -> Self {
        Self { offset_us_max: 0, drift_ppm_max: 0, step_every: None, step_us_max: 0 }
    }
}

impl ProcessDials {
    /// Without faults.
    pub const fn quiet() -> Self {
        Self {
            engine_kill_every: None,
            power_loss: 0.0,
            engine_restart_every: None,
            projector_kill_every: None,
            client_kill_every: None,
            freeze_every: None,
            freeze_max: Duration::ZERO,
        }
    }
}

impl StoreDials {
    /// Without faults.
    pub const fn quiet() -> Self {
        Self {
            delayed: 0.5,
            delay_max: Duration::from_millis(1),
            busy: 0.0,
            lost_reply: 0.0,
            away_every: None,
            away_max: Duration::ZERO,
            rollback_every: None,
            rollback_max: Duration::ZERO,
            rolls_back_acknowledged: false,
            move_every: None,
            poisoned_one_in: 0,
        }
    }
}
