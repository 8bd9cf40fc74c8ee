//! The dials of a seed.
//!
//! Each group of faults is off in a quarter of the runs, and each fault of a group that is on in a
//! third, because some bugs show only when something else does not go wrong; what is on is often
//! mild and sometimes extreme. What happens by itself, like a kill, happens so many times in a run,
//! however long that is.

use super::{ClockDials, Dials, DiskDials, NetworkDials, ProcessDials, SizeDials, StoreDials};
use crate::chance::Chance;
use std::time::Duration;

/// A segment that no run fills: its log is never trimmed.
const SEGMENT_BYTES_ENDLESS: u64 = 64 << 20;

/// How strong a group of faults is: 0 is off.
fn strength(chance: &Chance) -> f64 {
    match chance.below(12) {
        0..3 => 0.0,
        3..7 => 0.15,
        7..10 => 0.5,
        _ => 1.0,
    }
}

/// One fault of a group: off in a third of the runs in which the group is on.
fn share(chance: &Chance, strength: f64, at_most: f64) -> f64 {
    let drawn = chance.fraction() * strength * at_most;
    if chance.below(3) == 0 { 0.0 } else { drawn }
}

/// The faulty time of a run, which what happens by itself is spread over.
#[derive(Clone, Copy)]
struct Window(Duration);

impl Window {
    /// The mean time between two of what happens up to `most` times; off as in [`share`].
    fn times(self, chance: &Chance, strength: f64, most: f64) -> Option<Duration> {
        let times = 1.5 + chance.fraction() * strength * most;
        let is_off = chance.below(3) == 0 || strength == 0.0;
        (!is_off).then(|| self.0.div_f64(times))
    }
}

impl Dials {
    /// The dials of a run.
    pub fn draw(chance: &Chance) -> Self {
        let mut size = SizeDials::draw(&chance.of("size"));
        let window = Window(size.faulty_for);
        let store = StoreDials::draw(&chance.of("store"), window);
        if store.rolls_back_acknowledged {
            // A shard can fall back behind what it has acknowledged only where the log still is.
            size.segment_bytes = SEGMENT_BYTES_ENDLESS;
        }
        Self {
            size,
            disk: DiskDials::draw(&chance.of("disk")),
            network: NetworkDials::draw(&chance.of("network"), window),
            clock: ClockDials::draw(&chance.of("clock"), window),
            process: ProcessDials::draw(&chance.of("process"), window),
            store,
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
            operations: *chance.pick(&[50, 200, 1_000, 2_000]),
            waves: chance.between(1, 12),
            faulty_for: Duration::from_secs(chance.between(5, 60)),
            segment_bytes: *chance.pick(&[16 << 10, 64 << 10, 256 << 10]),
            high_water_bytes: *chance.pick(&[64 << 10, 512 << 10, 1 << 30]),
        }
    }
}

impl DiskDials {
    fn draw(chance: &Chance) -> Self {
        let (delays, errors) = (strength(chance), strength(chance));
        let rot = if chance.below(3) == 0 { 1.0 } else { 0.0 };
        Self {
            delayed: chance.fraction(),
            delay_max: Duration::from_millis(1 + (delays * 40.0) as u64),
            slow_sync: share(chance, delays, 0.05),
            slow_sync_max: Duration::from_secs(3),
            // A start makes some thirty of these calls for each partition, and has to succeed.
            error: share(chance, errors, 0.005),
            write_error: share(chance, errors, 0.03),
            short_write: share(chance, errors, 0.03),
            sync_error: share(chance, errors, 0.03),
            directory_sync_error: share(chance, errors, 0.1),
            rename_error: share(chance, errors, 0.2),
            full: chance.below(3) == 0,
            misread: share(chance, rot, 0.02),
            bit_rot: share(chance, rot, 0.5),
            misdirected: share(chance, rot, 0.5),
        }
    }
}

impl NetworkDials {
    fn draw(chance: &Chance, window: Window) -> Self {
        let (delays, breaks) = (strength(chance), strength(chance));
        Self {
            delayed: chance.fraction(),
            delay_max: Duration::from_millis(1 + (delays * 500.0) as u64),
            refused: share(chance, breaks, 0.5),
            unheard: share(chance, breaks, 0.3),
            cut: share(chance, breaks, 0.02),
            silent: share(chance, breaks, 0.005),
            corrupted: share(chance, breaks, 0.01),
            partition_every: window.times(chance, breaks, 6.0),
            buffer_bytes: *chance.pick(&[1 << 10, 64 << 10, 1 << 20]),
        }
    }
}

impl ClockDials {
    fn draw(chance: &Chance, window: Window) -> Self {
        let strength = strength(chance);
        Self {
            offset_us_max: (strength * 2_000_000.0) as u64,
            drift_ppm_max: (strength * 500.0) as u64,
            step_every: window.times(chance, strength, 8.0),
            step_us_max: *chance.pick(&[10_000, 5_000_000, 3_600_000_000]),
        }
    }
}

impl ProcessDials {
    fn draw(chance: &Chance, window: Window) -> Self {
        let (kills, freezes) = (strength(chance), strength(chance));
        Self {
            engine_kill_every: window.times(chance, kills, 12.0),
            power_loss: *chance.pick(&[0.0, 0.3, 0.6, 1.0]),
            engine_restart_every: window.times(chance, kills, 4.0),
            projector_kill_every: window.times(chance, kills, 12.0),
            client_kill_every: window.times(chance, kills, 8.0),
            freeze_every: window.times(chance, freezes, 8.0),
            freeze_max: Duration::from_secs(*chance.pick(&[1, 5, 20])),
        }
    }
}

impl StoreDials {
    fn draw(chance: &Chance, window: Window) -> Self {
        let (delays, errors) = (strength(chance), strength(chance));
        let rollback_every = window.times(chance, errors, 5.0);
        Self {
            delayed: chance.fraction(),
            delay_max: Duration::from_millis(1 + (delays * 300.0) as u64),
            busy: share(chance, errors, 0.2),
            lost_reply: share(chance, errors, 0.2),
            away_every: window.times(chance, errors, 6.0),
            away_max: Duration::from_secs(10),
            rollback_every,
            rollback_max: Duration::from_secs(3),
            rolls_back_acknowledged: chance.hits(0.5) && rollback_every.is_some(),
            move_every: window.times(chance, errors, 6.0),
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
        check("write errors", &|dials| dials.disk.write_error > 0.0);
        check("sync errors", &|dials| dials.disk.sync_error > 0.0);
        check("errors of directories", &|dials| dials.disk.directory_sync_error > 0.0);
        check("errors of renames", &|dials| dials.disk.rename_error > 0.0);
        check("misread bits", &|dials| dials.disk.misread > 0.0);
        check("a full disk", &|dials| dials.disk.full);
        check("bit rot", &|dials| dials.disk.bit_rot > 0.0);
        check("misdirected writes", &|dials| dials.disk.misdirected > 0.0);
        check("cuts", &|dials| dials.network.cut > 0.0);
        check("partitions", &|dials| dials.network.partition_every.is_some());
        check("clock steps", &|dials| dials.clock.step_every.is_some());
        check("kills", &|dials| dials.process.engine_kill_every.is_some());
        check("freezes", &|dials| dials.process.freeze_every.is_some());
        check("lost replies", &|dials| dials.store.lost_reply > 0.0);
        check("rollbacks on logs that are trimmed", &|dials| {
            dials.store.rollback_every.is_some() && !dials.store.rolls_back_acknowledged
        });
        check("rollbacks of what was acknowledged", &|dials| dials.store.rolls_back_acknowledged);
        check("moves", &|dials| dials.store.move_every.is_some());
    }
}
