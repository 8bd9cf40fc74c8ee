//! How much of everything a run has: sizes, and the probability of each fault, drawn from its seed.
//!
//! Each group of faults is off in a third of the runs, because some bugs show only when something
//! else does not go wrong; when it is on, it is mostly mild and sometimes extreme.

use crate::chance::Chance;
use std::time::Duration;

/// All dials of a run.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
    /// Operations of all clients together, after which they stop asking for new ones.
    pub operations: u64,
    /// How long faults happen at the most; then everything heals.
    pub faulty_for: Duration,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of a partition's log that may wait for the store.
    pub high_water_bytes: u64,
}

/// Faults of the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskDials {
    /// How often a call waits at all, and how long at the most.
    pub delayed: f64,
    /// The longest usual delay.
    pub delay_max: Duration,
    /// How often a sync takes very long, and how long.
    pub slow_sync: f64,
    /// The longest slow sync.
    pub slow_sync_max: Duration,
    /// A read or write that fails with EIO.
    pub error: f64,
    /// A write that takes only a part.
    pub short_write: f64,
    /// A sync that fails, once; what it should have made durable may be lost.
    pub sync_error: f64,
    /// Whether the disk is nearly full for a while.
    pub full: bool,
    /// At a crash: a durable bit flips.
    pub bit_rot: f64,
    /// At a crash: a durable block that was followed by others turns out to be elsewhere, or stale.
    pub misdirected: f64,
}

/// Faults of the network.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessDials {
    /// Mean time between kills of the engine; `None`: there are none.
    pub engine_kill_every: Option<Duration>,
    /// Whether a kill of the engine takes the power with it: what was not synced may be lost.
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
#[derive(Clone, Debug, PartialEq)]
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
    /// Mean time between moves of buckets from one shard to another.
    pub move_every: Option<Duration>,
    /// One order in this many can never be written; 0: all can.
    pub poisoned_one_in: u64,
}

/// A segment that no run fills: its log is never trimmed.
const SEGMENT_BYTES_ENDLESS: u64 = 64 << 20;

/// How strong a group of faults is: 0 is off.
fn strength(chance: &Chance) -> f64 {
    match chance.below(12) {
        0..4 => 0.0,
        4..8 => 0.1,
        8..11 => 0.4,
        _ => 1.0,
    }
}

/// One fault of a group: off in a third of the runs in which the group is on.
fn share(chance: &Chance, strength: f64, at_most: f64) -> f64 {
    let drawn = chance.fraction() * strength * at_most;
    if chance.below(3) == 0 { 0.0 } else { drawn }
}

fn every(chance: &Chance, strength: f64, at_least: Duration) -> Option<Duration> {
    let factor = 1.0 + chance.fraction() * 4.0;
    let is_off = chance.below(3) == 0 || strength == 0.0;
    (!is_off).then(|| at_least.mul_f64(factor / strength.max(0.2)))
}

impl Dials {
    /// The dials of a run.
    pub fn draw(chance: &Chance) -> Self {
        let store = StoreDials::draw(&chance.of("store"));
        let mut size = SizeDials::draw(&chance.of("size"));
        if store.rollback_every.is_some() {
            // A shard can fall back behind what it has acknowledged only where the log still is.
            size.segment_bytes = SEGMENT_BYTES_ENDLESS;
        }
        Self {
            size,
            disk: DiskDials::draw(&chance.of("disk")),
            network: NetworkDials::draw(&chance.of("network")),
            clock: ClockDials::draw(&chance.of("clock")),
            process: ProcessDials::draw(&chance.of("process")),
            store,
        }
    }

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

impl SizeDials {
    fn draw(chance: &Chance) -> Self {
        let partitions = chance.between(1, 6) as u16;
        Self {
            partitions,
            cores: chance.between(1, 3.min(u64::from(partitions))) as usize,
            shards: chance.between(1, 3) as usize,
            clients: chance.between(1, 5) as usize,
            products: chance.between(1, 8) as usize,
            operations: *chance.pick(&[50, 200, 500, 1_000]),
            faulty_for: Duration::from_secs(chance.between(5, 60)),
            segment_bytes: *chance.pick(&[16 << 10, 64 << 10, 256 << 10]),
            high_water_bytes: *chance.pick(&[64 << 10, 512 << 10, 1 << 30]),
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
            short_write: 0.0,
            sync_error: 0.0,
            full: false,
            bit_rot: 0.0,
            misdirected: 0.0,
        }
    }

    fn draw(chance: &Chance) -> Self {
        let (delays, errors) = (strength(chance), strength(chance));
        let rot = if chance.below(8) == 0 { 1.0 } else { 0.0 };
        Self {
            delayed: chance.fraction(),
            delay_max: Duration::from_millis(1 + (delays * 40.0) as u64),
            slow_sync: share(chance, delays, 0.05),
            slow_sync_max: Duration::from_secs(3),
            error: share(chance, errors, 0.002),
            short_write: share(chance, errors, 0.002),
            sync_error: share(chance, errors, 0.002),
            full: share(chance, errors, 1.0) > 0.03,
            bit_rot: share(chance, rot, 0.5),
            misdirected: share(chance, rot, 0.5),
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

    fn draw(chance: &Chance) -> Self {
        let (delays, breaks) = (strength(chance), strength(chance));
        Self {
            delayed: chance.fraction(),
            delay_max: Duration::from_millis(1 + (delays * 500.0) as u64),
            refused: share(chance, breaks, 0.5),
            unheard: share(chance, breaks, 0.3),
            cut: share(chance, breaks, 0.02),
            silent: share(chance, breaks, 0.005),
            corrupted: share(chance, breaks, 0.01),
            partition_every: every(chance, breaks, Duration::from_secs(5)),
            buffer_bytes: *chance.pick(&[1 << 10, 64 << 10, 1 << 20]),
        }
    }
}

impl ClockDials {
    /// Without faults.
    pub const fn quiet() -> Self {
        Self { offset_us_max: 0, drift_ppm_max: 0, step_every: None, step_us_max: 0 }
    }

    fn draw(chance: &Chance) -> Self {
        let strength = strength(chance);
        Self {
            offset_us_max: (strength * 2_000_000.0) as u64,
            drift_ppm_max: (strength * 500.0) as u64,
            step_every: every(chance, strength, Duration::from_secs(5)),
            step_us_max: *chance.pick(&[10_000, 5_000_000, 3_600_000_000]),
        }
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

    fn draw(chance: &Chance) -> Self {
        let (kills, freezes) = (strength(chance), strength(chance));
        Self {
            engine_kill_every: every(chance, kills, Duration::from_secs(3)),
            power_loss: *chance.pick(&[0.0, 0.5, 1.0]),
            engine_restart_every: every(chance, kills, Duration::from_secs(5)),
            projector_kill_every: every(chance, kills, Duration::from_secs(2)),
            client_kill_every: every(chance, kills, Duration::from_secs(5)),
            freeze_every: every(chance, freezes, Duration::from_secs(3)),
            freeze_max: Duration::from_secs(*chance.pick(&[1, 5, 20])),
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
            move_every: None,
            poisoned_one_in: 0,
        }
    }

    fn draw(chance: &Chance) -> Self {
        let (delays, errors) = (strength(chance), strength(chance));
        Self {
            delayed: chance.fraction(),
            delay_max: Duration::from_millis(1 + (delays * 300.0) as u64),
            busy: share(chance, errors, 0.2),
            lost_reply: share(chance, errors, 0.2),
            away_every: every(chance, errors, Duration::from_secs(4)),
            away_max: Duration::from_secs(10),
            rollback_every: every(chance, errors, Duration::from_secs(8)),
            rollback_max: Duration::from_secs(3),
            move_every: every(chance, errors, Duration::from_secs(6)),
            poisoned_one_in: if errors > 0.0 { *chance.pick(&[0, 0, 7, 50]) } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_dials_and_every_fault_is_on_and_off_in_some_runs() {
        let draw = |seed| Dials::draw(&Chance::new(seed));
        assert_eq!(draw(3), draw(3));
        let all: Vec<Dials> = (0..400).map(draw).collect();
        let check = |name: &str, is_on: &dyn Fn(&Dials) -> bool| {
            let on = all.iter().filter(|dials| is_on(dials)).count();
            assert!((5..395).contains(&on), "{name} is on in {on} of 400 runs");
        };
        check("disk errors", &|dials| dials.disk.error > 0.0);
        check("sync errors", &|dials| dials.disk.sync_error > 0.0);
        check("a full disk", &|dials| dials.disk.full);
        check("bit rot", &|dials| dials.disk.bit_rot > 0.0);
        check("misdirected writes", &|dials| dials.disk.misdirected > 0.0);
        check("cuts", &|dials| dials.network.cut > 0.0);
        check("partitions", &|dials| dials.network.partition_every.is_some());
        check("clock steps", &|dials| dials.clock.step_every.is_some());
        check("kills", &|dials| dials.process.engine_kill_every.is_some());
        check("freezes", &|dials| dials.process.freeze_every.is_some());
        check("lost replies", &|dials| dials.store.lost_reply > 0.0);
        check("rollbacks", &|dials| dials.store.rollback_every.is_some());
    }
}
