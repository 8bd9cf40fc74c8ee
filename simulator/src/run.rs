//! One run: sets the shop up, lets things go wrong, heals, waits until everything has come to its
//! end, and judges.

use crate::chance::Chance;
use crate::clock::WallClock;
use crate::dials::Dials;
use crate::engine_node::EngineNode;
use crate::judge;
use crate::nemesis::Nemesis;
use crate::network::SimNetwork;
use crate::panics::Watch;
use crate::process::Process;
use crate::projector_node::ProjectorNode;
use crate::report::{RunReport, Verdict};
use crate::store::{LogKeeps, SimStore};
use crate::workload::Workload;
use crate::world::World;
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::{PartitionId, Sequence};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::sleep;

/// How often it is looked at whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When the faults are over, everything has to come to its end within this time: holds, backoffs and
/// lost connections take their time, a lost wake-up takes for ever.
const SETTLED_WITHIN: Duration = Duration::from_secs(900);

/// Runs one seed on this thread.
pub fn run(seed: u64, dials: &Dials, is_printed: bool) -> RunReport {
    fastrand::seed(seed);
    let watch = Watch::begin();
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let world = {
        let _guard = runtime.enter();
        World::new(seed, dials.clone(), is_printed)
    };
    let local = LocalSet::new();
    let came = catch_unwind(AssertUnwindSafe(|| {
        local.block_on(&runtime, sell(&world, &watch));
    }));
    let simulated = runtime.block_on(async { world.began().elapsed() });
    // What is dropped at the end of a broken run may panic again, and tells nothing new.
    let _ = catch_unwind(AssertUnwindSafe(|| drop((local, runtime))));
    let broken = watch.seen().or_else(|| world.is_broken());
    let broken = broken.or_else(|| came.err().map(|_| "panicked without a word".to_owned()));
    let verdict = match broken {
        None => Verdict::Sound,
        Some(why) => Verdict::Broken { why, trace: world.trace().last() },
    };
    RunReport {
        seed,
        hash: world.trace().hash(),
        lines: world.trace().lines(),
        simulated,
        counts: world.counts(),
        verdict,
    }
}

/// Everything that is on the stage.
struct Shop {
    network: SimNetwork,
    engine: EngineNode,
    projector: ProjectorNode,
    store: SimStore,
    workload: Workload,
}

async fn sell(world: &World, watch: &Watch) {
    let network = SimNetwork::new(world.clone());
    let key = PreSharedKey::new([7; 32]);
    let engine = EngineNode::start(world, &network, key.clone());
    let store = SimStore::new(world.clone(), log_keeps(world.dials()));
    let projector = ProjectorNode::new(
        world.clone(),
        network.clone(),
        store.clone(),
        WallClock::draw(&world.dials().clock, &world.chance("projector's clock")),
        engine.addresses(),
        key.clone(),
    );
    tokio::task::spawn_local(projector.clone().keep_running());
    engine.observer().tell_acknowledgements({
        let store = store.clone();
        move |partition, through| store.acknowledged(partition, through)
    });
    let workload = Workload::new(world, engine.addresses(), key);
    workload.start(&network);
    let shop = Rc::new(Shop { network, engine, projector, store, workload });
    let is_over = || world.is_broken().is_some() || watch.seen().is_some();

    harm(world, &shop);
    while world.began().elapsed() < world.dials().size.faulty_for {
        sleep(LOOK_EVERY).await;
        if is_over() {
            return;
        }
    }
    heal(world, &shop);
    let healed = tokio::time::Instant::now();
    while !shop.is_settled() {
        sleep(LOOK_EVERY).await;
        if is_over() {
            return;
        }
        if healed.elapsed() > SETTLED_WITHIN {
            return world.broken(shop.unsettled());
        }
    }
    // Before anything else happens: a hold may run out while the engine drains, and then nobody
    // reads the feed any more.
    judge::compare_store(world, &shop.engine, &shop.store);
    shop.engine.shut_down().await;
    if !is_over() {
        judge::check_history(world, &shop.engine, &shop.workload);
    }
}

/// A shard may fall back behind what the engine was told only in runs whose log is never trimmed.
fn log_keeps(dials: &Dials) -> LogKeeps {
    match dials.store.rolls_back_acknowledged {
        true => LogKeeps::Everything,
        false => LogKeeps::Unacknowledged,
    }
}

/// Kills, freezes and steps of clocks. What a disk, a network and a store do, they do themselves.
fn harm(world: &World, shop: &Rc<Shop>) {
    let nemesis = Nemesis::new(world);
    let dials = world.dials().clone();
    tokio::task::spawn_local(shop.network.clone().keep_parting());
    tokio::task::spawn_local({
        let (store, shop) = (shop.store.clone(), Rc::clone(shop));
        store.keep_failing(move || {
            if let Some(process) = shop.projector.process() {
                process.kill();
            }
        })
    });
    nemesis.ends(&shop.engine);
    nemesis.strikes("client kills", dials.process.client_kill_every, {
        let (shop, world) = (Rc::clone(shop), world.clone());
        async move |chance: &Chance| {
            world.count("kills of a client");
            chance.pick(&shop.workload.clients()).process().kill();
        }
    });
    nemesis.strikes("freezes", dials.process.freeze_every, {
        let (shop, world, longest) = (Rc::clone(shop), world.clone(), dials.process.freeze_max);
        async move |chance: &Chance| {
            let time = chance.delay(longest);
            match chance.below(3) {
                0 => {
                    world.count("freezes of the engine");
                    shop.engine.freeze();
                    sleep(time).await;
                    shop.engine.thaw();
                }
                1 => {
                    if let Some(process) = shop.projector.process() {
                        world.count("freezes of the projector");
                        stand_still(&process, time).await;
                    }
                }
                _ => {
                    world.count("freezes of a client");
                    stand_still(&chance.pick(&shop.workload.clients()).process(), time).await;
                }
            }
        }
    });
    nemesis.strikes("clock steps", dials.clock.step_every, {
        let (shop, world, most) = (Rc::clone(shop), world.clone(), dials.clock.step_us_max);
        async move |chance: &Chance| {
            let by_us = chance.between(0, 2 * most) as i64 - most as i64;
            let (what, clock) = match chance.below(4) {
                0..2 => ("clock steps of the engine", shop.engine.clock().clone()),
                2 => ("clock steps of the projector", shop.projector.clock().clone()),
                _ => {
                    let client = chance.pick(&shop.workload.clients()).clone();
                    ("clock steps of a client", client.clock().clone())
                }
            };
            world.count(what);
            world.line("world", format_args!("{what}: {by_us} us"));
            clock.step(by_us);
        }
    });
}

async fn stand_still(process: &Process, time: Duration) {
    process.freeze();
    sleep(time).await;
    process.thaw();
}

fn heal(world: &World, shop: &Shop) {
    world.heal();
    shop.network.rejoin();
    shop.engine.thaw();
    if let Some(process) = shop.projector.process() {
        process.thaw();
    }
    shop.workload.wind_up();
    shop.engine.clock().set_right(world.began());
    shop.projector.clock().set_right(world.began());
    for client in shop.workload.clients() {
        client.process().thaw();
        client.clock().set_right(world.began());
    }
}

impl Shop {
    /// Whether every client is answered and every shard has every event.
    fn is_settled(&self) -> bool {
        self.workload.is_done() && self.engine.is_serving() && self.missing().next().is_none()
    }

    /// Partitions of which some shard lacks events: how far it is, and how far the log.
    fn missing(&self) -> impl Iterator<Item = (PartitionId, Sequence, Sequence)> {
        let observer = self.engine.observer();
        let of = |id| (id, self.store.reached(id), observer.durable(id));
        self.engine.partitions().all().map(of).filter(|(_, reached, durable)| reached < durable)
    }

    fn unsettled(&self) -> String {
        format!(
            "not at its end {SETTLED_WITHIN:?} after the last fault: clients done: {}, engine serves: \
             {}, the store lacks (partition, has, should): {:?}",
            self.workload.is_done(),
            self.engine.is_serving(),
            self.missing().collect::<Vec<_>>(),
        )
    }
}
