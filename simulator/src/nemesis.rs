//! The nemesis: things that happen to a run at times that chance decides, until it heals.
//!
//! Each kind of misfortune is a task of its own with its own chance, so that switching one off
//! leaves the times of the others as they were.

use crate::chance::Chance;
use crate::engine_node::EngineNode;
use crate::world::World;
use std::time::Duration;

/// Misfortunes of a run.
pub struct Nemesis<'a> {
    world: &'a World,
}

impl<'a> Nemesis<'a> {
    /// Nothing happens yet.
    pub fn new(world: &'a World) -> Self {
        Self { world }
    }

    /// Kills the engine's process, with the power or without, and restarts it.
    pub fn ends(&self, engine: &EngineNode) {
        let process = &self.world.dials().process;
        self.strikes("engine kills", process.engine_kill_every, {
            let (engine, power_loss) = (engine.clone(), process.power_loss);
            async move |chance: &Chance| engine.kill(chance.hits(power_loss))
        });
        self.strikes("engine restarts", process.engine_restart_every, {
            let engine = engine.clone();
            async move |_: &Chance| engine.restart()
        });
    }

    /// Has something happen again and again, `every` so often on average; never when that is
    /// `None`.
    pub fn strikes(
        &self,
        name: &'static str,
        every: Option<Duration>,
        mut strike: impl AsyncFnMut(&Chance) + 'static,
    ) {
        let Some(every) = every else { return };
        let (world, chance) = (self.world.clone(), self.world.chance(name));
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(pause(&chance, every)).await;
                if !world.is_faulty() {
                    return;
                }
                strike(&chance).await;
            }
        });
    }
}

/// An exponentially distributed pause, so that strikes come in bursts, too.
fn pause(chance: &Chance, mean: Duration) -> Duration {
    let pause = mean.mul_f64(-(1.0 - chance.fraction()).ln());
    pause.max(Duration::from_millis(1))
}
