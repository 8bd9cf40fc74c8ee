//! The projector as a process: the production code over the simulated network and store, killed,
//! stopped and started again at any moment, as an init system would.
//!
//! It owns the process and nothing of what the projector does. What must hold of it is asserted where
//! it shows: in the store, whenever something is committed, and when the engine is told.

use crate::chance::Chance;
use crate::clock::WallClock;
use crate::network::SimNetwork;
use crate::process::Process;
use crate::store::SimStore;
use crate::world::World;
use doorbuster_persistence::Store;
use doorbuster_persistence::projector::{self, ProjectorConfig, ProjectorMetrics};
use doorbuster_protocol::handshake::PreSharedKey;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

/// Its name on the network.
pub const NAME: &str = "projector";
/// How long an init system waits before it starts it again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// By then it has stopped when it was told to: it gives up no batch that a shard may take.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// What a projector is made of, again and again.
#[derive(Clone)]
pub struct ProjectorNode {
    world: World,
    chance: Chance,
    network: SimNetwork,
    store: SimStore,
    clock: WallClock,
    /// Some core of the engine, or all.
    engine: Vec<SocketAddr>,
    key: PreSharedKey,
    /// The process that runs now.
    process: Rc<RefCell<Option<Process>>>,
}

/// A projector that runs.
struct Running {
    process: Process,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<(), String>>,
}

/// Why it does not run any more.
enum End {
    Killed,
    Stopped,
    /// It has given up, for this reason.
    Failed(String),
}

impl ProjectorNode {
    /// A projector that follows the engine at these addresses into the store; it does not run yet.
    pub fn new(
        world: World,
        network: SimNetwork,
        store: SimStore,
        clock: WallClock,
        engine: Vec<SocketAddr>,
        key: PreSharedKey,
    ) -> Self {
        let chance = world.chance(NAME);
        let process = Rc::default();
        Self { world, chance, network, store, clock, engine, key, process }
    }

    /// The process that runs now, to be frozen or killed.
    pub fn process(&self) -> Option<Process> {
        self.process.borrow().clone()
    }

    /// Its machine's clock.
    pub fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// Runs it for ever. While faults happen it is killed and stopped now and then.
    pub async fn keep_running(self) {
        loop {
            let mut running = self.start();
            let end = self.wait_for_end(&mut running).await;
            running.process.kill();
            match end {
                End::Killed => self.line("killed"),
                End::Stopped => self.line("stopped"),
                End::Failed(why) => {
                    self.world.count("failures of the projector");
                    self.line(&format!("failed: {why}"));
                    self.world.broken(format!("the projector has given up: {why}"));
                }
            }
            sleep(self.chance.delay(RESTART_PAUSE)).await;
        }
    }

    fn start(&self) -> Running {
        let process = Process::new(NAME);
        self.process.replace(Some(process.clone()));
        let mut config = ProjectorConfig::new(self.engine.clone(), self.key.clone());
        config.network = Arc::new(self.network.of(&process));
        config.batch_rows_max = *self.chance.pick(&[1, 7, 200, 10_000]);
        config.batch_delay = Duration::from_millis(*self.chance.pick(&[1, 10, 50]));
        config.look_every = Duration::from_secs(*self.chance.pick(&[1, 5]));
        let clock = self.clock.clone();
        let clock = projector::WallClock::new(move || clock.now());
        let metrics = Arc::new(ProjectorMetrics::with_clock(clock));
        let store = Arc::new(self.store.view(process.life().clone())) as Arc<dyn Store>;
        let (stop, stopping) = watch::channel(false);
        let (ends, ended) = oneshot::channel();
        self.line("starts");
        process.spawn(async move {
            let end = projector::run(config, store, metrics, stopping).await;
            // Nobody listens when it is killed in this very moment.
            let _ = ends.send(end.map_err(|error| error.to_string()));
        });
        Running { process, stop, ended }
    }

    /// Waits until it has ended, by itself or by what happens to it.
    async fn wait_for_end(&self, running: &mut Running) -> End {
        let every = self.world.dials().process.projector_kill_every;
        let lives_for = every.map(|every| every.mul_f64(self.chance.fraction() * 2.0));
        let is_stopped = self.chance.below(3) == 0;
        let of = |ended: Result<Result<(), String>, _>| match ended {
            Ok(Ok(())) => End::Failed("it ended without being told to".to_owned()),
            Ok(Err(why)) => End::Failed(why),
            Err(_) => End::Killed,
        };
        let Some(lives_for) = lives_for else { return of((&mut running.ended).await) };
        if let Ok(ended) = timeout(lives_for, &mut running.ended).await {
            return of(ended);
        }
        if !self.world.is_faulty() {
            return of((&mut running.ended).await);
        }
        if !is_stopped {
            self.world.count("kills of the projector");
            return End::Killed;
        }
        running.stop.send_replace(true);
        // A process that stands still does not hear that.
        running.process.life().thawed().await;
        match timeout(STOPS_WITHIN, &mut running.ended).await {
            Ok(Ok(Ok(()))) => {
                self.world.count("stops of the projector");
                End::Stopped
            }
            Ok(Ok(Err(why))) => End::Failed(why),
            Ok(Err(_)) => End::Killed,
            Err(_) if running.process.life().is_frozen() => End::Killed,
            Err(_) => End::Failed("it was told to stop and does not".to_owned()),
        }
    }

    fn line(&self, what: &str) {
        self.world.line(NAME, format_args!("{what}"));
    }
}

#[cfg(test)]
#[path = "projector_node_test.rs"]
mod tests;
