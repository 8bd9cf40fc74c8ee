//! The projector through every fault of network, store and its own process, from an engine that only
//! has a log.

use super::*;
use crate::chance::Chance;
use crate::dials::{Dials, Group, NetworkDials, ProcessDials, StoreDials};
use crate::network::{SimListener, SimStream};
use crate::store::{LogKeeps, compare};
use doorbuster_persistence::conformance::{History, Step};
use doorbuster_protocol::handshake::PartitionMap;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, FeedBatch, ServerSession};
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::Instant;

const CORES: u16 = 2;
const PARTITIONS: u16 = 3;

/// An engine that has a log and feeds it.
struct Engine {
    steps: RefCell<Vec<Step>>,
    grown: Notify,
    store: SimStore,
    chance: Chance,
    map: PartitionMap,
}

fn key() -> PreSharedKey {
    PreSharedKey::new([7; 32])
}

fn addresses() -> Vec<SocketAddr> {
    (0..CORES).map(|core| SocketAddr::from(([10, 0, 0, 1], 7000 + core))).collect()
}

impl Engine {
    fn new(world: &World, store: SimStore) -> Rc<Self> {
        let map = PartitionMap {
            directory: 3,
            epoch: Epoch::FIRST,
            partitions: PartitionCount::new(PARTITIONS).expect("in range"),
            self_core: 0,
            cores: addresses(),
            owners: (0..PARTITIONS).map(|partition| partition % CORES).collect(),
        };
        let chance = world.chance("engine");
        let (steps, grown) = (RefCell::default(), Notify::new());
        Rc::new(Self { steps, grown, store, chance, map })
    }

    fn append(&self, step: Step) {
        self.steps.borrow_mut().push(step);
        self.grown.notify_waiters();
    }

    fn end_of(&self, partition: PartitionId) -> Sequence {
        let steps = self.steps.borrow();
        let last = steps.iter().rfind(|step| step.partition == partition);
        last.map_or(Sequence::ZERO, |step| step.sequence)
    }

    fn start(self: &Rc<Self>, network: &SimNetwork) -> Process {
        let process = Process::new("engine");
        for (core, address) in (0..).zip(addresses()) {
            let listener = network.of(&process).listen(address).expect("the address is free");
            process.spawn(Rc::clone(self).serve(process.clone(), core, listener));
        }
        process
    }

    async fn serve(self: Rc<Self>, process: Process, core: u16, listener: SimListener) {
        while let Ok(stream) = listener.accept().await {
            let mut nonce = [0; 32];
            self.chance.fill(&mut nonce);
            let map = PartitionMap { self_core: core, ..self.map.clone() };
            let session = ServerSession::new(&key(), nonce, map);
            let next = vec![None; usize::from(PARTITIONS)];
            let feed = Feed { engine: Rc::clone(&self), session, next };
            process.spawn(feed.run(stream));
        }
    }
}

/// One connection.
struct Feed {
    engine: Rc<Engine>,
    session: ServerSession,
    next: Vec<Option<Sequence>>,
}

impl Feed {
    async fn run(mut self, mut stream: SimStream) {
        let engine = Rc::clone(&self.engine);
        let mut buffer = [0; 4_096];
        loop {
            let grown = engine.grown.notified();
            let has_more = self.feed();
            let output = std::mem::take(self.session.output());
            if stream.write_all(&output).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        self.session.receive(&buffer[..count]);
                        if !self.listen() {
                            let _ = stream.write_all(self.session.output()).await;
                            return;
                        }
                    }
                },
                () = grown, if !has_more => {}
                () = std::future::ready(()), if has_more => {}
            }
        }
    }

    /// Takes messages; `false` when the session has failed.
    fn listen(&mut self) -> bool {
        loop {
            match self.session.poll() {
                Ok(Some(ClientMessage::Subscribe { partition, from, .. })) => {
                    self.next[partition.index()] = Some(from);
                    self.send(partition, from, 0);
                }
                Ok(Some(ClientMessage::Acknowledge { partition, through, .. })) => {
                    self.engine.store.acknowledged(partition, through);
                }
                Ok(Some(ClientMessage::Welcomed)) => {}
                Ok(Some(other)) => panic!("a projector does not send {other:?}"),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Puts some events of one partition into the output; says whether there are more of any.
    fn feed(&mut self) -> bool {
        let waiting: Vec<_> = (self.engine.map.partitions.all())
            .filter_map(|id| Some((id, self.next[id.index()]?)))
            .filter(|(id, next)| *next <= self.engine.end_of(*id))
            .collect();
        let Some(&(partition, next)) = waiting.first() else { return false };
        let count = self.engine.chance.between(1, 60);
        let sent = self.send(partition, next, count);
        self.next[partition.index()] = Some(Sequence::new(next.get() + u64::from(sent)));
        true
    }

    fn send(&mut self, partition: PartitionId, first: Sequence, count: u64) -> u32 {
        let steps = self.engine.steps.borrow();
        let is_asked = |step: &&Step| {
            let place = step.sequence.get();
            step.partition == partition && place >= first.get() && place < first.get() + count
        };
        let (mut events, mut sent) = (Vec::new(), 0);
        for step in steps.iter().filter(is_asked) {
            step.event.encode(&mut events);
            sent += 1;
        }
        drop(steps);
        self.session.batch(&FeedBatch {
            partition,
            epoch: Epoch::FIRST,
            first,
            count: sent,
            durable: self.engine.end_of(partition),
            durable_at: Timestamp::NONE,
            events: &events,
        });
        sent
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    broken: Option<String>,
    differences: Vec<String>,
    hash: u64,
    counts: String,
}

/// A run of a seed; what is wrong, and its trace.
fn run(seed: u64, dials: Dials, is_printed: bool) -> Told {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let world = World::new(seed, dials, is_printed);
        let network = SimNetwork::new(world.clone());
        let store = SimStore::new(world.clone(), LogKeeps::Everything);
        let clock = WallClock::new(0, 0);
        let node = ProjectorNode::new(
            world.clone(),
            network.clone(),
            store.clone(),
            clock,
            addresses(),
            key(),
        );
        let engine = Engine::new(&world, store.clone());
        let mut process = engine.start(&network);
        tokio::task::spawn_local(network.clone().keep_parting());
        tokio::task::spawn_local(store.clone().keep_failing(|| {}));
        tokio::task::spawn_local(node.clone().keep_running());

        let chance = world.chance("story");
        let mut history = History::new(seed, PARTITIONS);
        for _ in 0..chance.between(100, 500) {
            for _ in 0..chance.below(4) {
                engine.append(history.step());
            }
            sleep(chance.delay(Duration::from_millis(400))).await;
            match chance.below(60) {
                0 if world.dials().process.engine_kill_every.is_some() => {
                    process.kill();
                    sleep(chance.delay(Duration::from_secs(5))).await;
                    process = engine.start(&network);
                }
                1 if world.dials().process.freeze_every.is_some() => {
                    let frozen = node.process().expect("it was started");
                    frozen.freeze();
                    sleep(chance.delay(world.dials().process.freeze_max)).await;
                    frozen.thaw();
                }
                _ => {}
            }
            if world.is_broken().is_some() {
                break;
            }
        }
        world.heal();
        network.rejoin();
        let began = Instant::now();
        let is_complete = || {
            let mut all = engine.map.partitions.all();
            all.all(|partition| store.reached(partition) == engine.end_of(partition))
        };
        while !is_complete() && began.elapsed() < Duration::from_secs(300) {
            sleep(Duration::from_millis(100)).await;
        }
        if !is_complete() {
            world.broken("the store does not catch up when all is well".to_owned());
        }
        // What was given up may still be done.
        sleep(Duration::from_secs(10)).await;
        let steps = engine.steps.borrow();
        let events = steps.iter().map(|step| (step.partition, step.sequence, &step.event));
        Told {
            broken: world.is_broken(),
            differences: compare(&store, events),
            hash: world.trace().hash(),
            counts: format!("{:?}", world.counts()),
        }
    })
}

fn drawn(seed: u64) -> Dials {
    Dials::draw(&Chance::new(seed))
}

/// Nothing but what a test switches on.
fn quiet(seed: u64) -> Dials {
    let mut dials = drawn(seed);
    Group::ALL.into_iter().for_each(|group| dials.quiet(group));
    dials
}

fn check(seed: u64, dials: Dials) {
    let is_printed = std::env::var("DOORBUSTER_SIM_TRACE").is_ok();
    let Told { broken, differences, counts, .. } = run(seed, dials, is_printed);
    println!("seed {seed}: {counts}");
    assert_eq!(broken, None, "seed {seed}: {counts}");
    assert_eq!(differences, [""; 0], "seed {seed}: {counts}");
}

/// The seeds to run: some, as many as `DOORBUSTER_SEEDS` says, or the one in `DOORBUSTER_SEED`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| -> Option<u64> {
        std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
    };
    match number("DOORBUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DOORBUSTER_SEEDS").unwrap_or(count),
    }
}

#[test]
fn rows_are_those_of_the_log_whatever_happens() {
    for seed in seeds(60) {
        check(seed, drawn(seed));
    }
}

/// Everything that can go wrong, and often.
fn wild(seed: u64) -> Dials {
    let mut dials = quiet(seed);
    dials.network = NetworkDials {
        delayed: 0.5,
        delay_max: Duration::from_millis(200),
        refused: 0.1,
        unheard: 0.1,
        cut: 0.01,
        silent: 0.002,
        corrupted: 0.005,
        partition_every: Some(Duration::from_secs(10)),
        buffer_bytes: 4_000,
    };
    dials.store = StoreDials {
        delayed: 0.5,
        delay_max: Duration::from_millis(200),
        busy: 0.05,
        lost_reply: 0.05,
        away_every: Some(Duration::from_secs(20)),
        away_max: Duration::from_secs(10),
        rollback_every: Some(Duration::from_secs(10)),
        rollback_max: Duration::from_secs(5),
        rolls_back_acknowledged: true,
        move_every: Some(Duration::from_secs(10)),
        poisoned_one_in: 20,
    };
    dials.process = ProcessDials {
        engine_kill_every: Some(Duration::from_secs(1)),
        projector_kill_every: Some(Duration::from_secs(5)),
        freeze_every: Some(Duration::from_secs(1)),
        freeze_max: Duration::from_secs(10),
        ..ProcessDials::quiet()
    };
    dials
}

#[test]
fn rows_are_those_of_the_log_when_everything_happens_at_once() {
    for seed in seeds(20) {
        check(seed, wild(seed));
    }
}

/// A shard that fell back just before all went quiet was not noticed: nothing was left to be refused.
#[test]
fn a_seed_that_once_failed() {
    check(813, wild(813));
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..6 {
        let told = run(seed, drawn(seed), false);
        assert_eq!(told, run(seed, drawn(seed), false), "seed {seed}");
        assert_ne!(told.hash, run(seed + 100, drawn(seed + 100), false).hash);
    }
}
