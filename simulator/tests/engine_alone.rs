//! The engine alone on its simulated machine: buyers and a consumer of the feeds talk to it while it
//! is killed, loses its power, stands still, and its disks fail. What was answered stays, what is fed
//! is what became durable, and when all heals everything gets done.
//!
//! `DOORBUSTER_SEEDS=N` runs more seeds, `DOORBUSTER_SEED=S` only one, with its trace.

use doorbuster_client::feed_client::{FeedClient, FeedItem};
use doorbuster_client::{ClientOptions, EngineClient};
use doorbuster_protocol::command::{Ask, Command, Define, Place, Read, Request};
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::{
    BuyerId, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Quantity, Sequence,
    Timestamp,
};
use doorbuster_simulator::chance::Chance;
use doorbuster_simulator::dials::{Dials, Group};
use doorbuster_simulator::engine_node::EngineNode;
use doorbuster_simulator::nemesis::Nemesis;
use doorbuster_simulator::network::{Interface, SimNetwork};
use doorbuster_simulator::process::Process;
use doorbuster_simulator::world::World;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    hash: u64,
    counts: BTreeMap<&'static str, u64>,
    broken: Option<String>,
}

/// After this time without faults something hangs.
const PATIENCE: Duration = Duration::from_secs(600);

fn dials(seed: u64) -> Dials {
    let mut dials = Dials::draw(&Chance::new(seed));
    dials.quiet(Group::Store);
    // The consumer here is quick; a store that is not is another test's business.
    dials.size.high_water_bytes = 1 << 40;
    dials.size.operations = dials.size.operations.min(300);
    dials.size.faulty_for = dials.size.faulty_for.min(Duration::from_secs(20));
    if seed.is_multiple_of(3) {
        dials.quiet(Group::Network);
    }
    dials
}

fn run(seed: u64, is_printed: bool) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, story(seed, is_printed))
}

async fn story(seed: u64, is_printed: bool) -> Told {
    let world = World::new(seed, dials(seed), is_printed);
    let network = SimNetwork::new(world.clone());
    let key = PreSharedKey::new([7; 32]);
    let node = EngineNode::start(&world, &network, key.clone());
    let shop = Shop {
        world: world.clone(),
        key,
        node: node.clone(),
        placed: Rc::default(),
        next: Rc::default(),
    };
    misfortunes(&world, &node);
    let consumer = Process::new("projector");
    for core in 0..node.addresses().len() {
        consumer.spawn(shop.clone().consume(network.of(&consumer), core));
    }
    let size = &world.dials().size;
    let busy = Rc::new(Cell::new(size.clients));
    for number in 0..size.clients {
        let process = Process::new(&format!("buyer {number}"));
        let (shop, busy) = (shop.clone(), Rc::clone(&busy));
        let interface = network.of(&process);
        process.spawn(async move {
            shop.buy(interface, number as u64).await;
            busy.set(busy.get() - 1);
        });
    }
    sleep(size.faulty_for).await;
    world.heal();
    node.thaw();
    network.rejoin();
    let all_done = async {
        while busy.get() > 0 && world.is_broken().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        shop.consumed().await;
        node.shut_down().await;
    };
    if timeout(PATIENCE, all_done).await.is_err() {
        world.broken("something is not done long after all had healed".to_owned());
    }
    shop.check();
    Told { hash: world.trace().hash(), counts: world.counts(), broken: world.is_broken() }
}

/// Kills, restarts, freezes and clocks that are set, until the run heals.
fn misfortunes(world: &World, node: &EngineNode) {
    let nemesis = Nemesis::new(world);
    let (process, clock) = (&world.dials().process, &world.dials().clock);
    nemesis.ends(node);
    nemesis.strikes("freezes", process.freeze_every, {
        let (node, freeze_max) = (node.clone(), process.freeze_max);
        async move |chance: &Chance| {
            node.freeze();
            sleep(chance.delay(freeze_max)).await;
            node.thaw();
        }
    });
    nemesis.strikes("clock steps", clock.step_every, {
        let (node, most) = (node.clone(), clock.step_us_max);
        async move |chance: &Chance| {
            node.clock().step(chance.between(0, 2 * most) as i64 - most as i64);
        }
    });
}

/// What buyers and consumers share.
#[derive(Clone)]
struct Shop {
    world: World,
    key: PreSharedKey,
    node: EngineNode,
    /// Orders that were answered, with their keys.
    placed: Rc<RefCell<BTreeMap<IdempotencyKeyBytes, OrderId>>>,
    /// The next event of each partition to be consumed, from whichever core has it.
    next: Rc<RefCell<BTreeMap<PartitionId, Sequence>>>,
}

type IdempotencyKeyBytes = [u8; 16];

impl Shop {
    async fn client(&self, interface: &Interface) -> EngineClient {
        let network: Arc<dyn doorbuster_client::Network> = Arc::new(interface.clone());
        let options = ClientOptions { network, ..ClientOptions::default() };
        let seeds = self.node.addresses();
        loop {
            match EngineClient::connect(&seeds, &self.key, options.clone()).await {
                Ok(client) => return client,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Asks until there is an outcome.
    async fn ask(&self, client: &EngineClient, partition: PartitionId, ask: Ask) -> Outcome {
        loop {
            let request = Request { partition, deadline: Timestamp::NONE, ask };
            match client.submit(request).await {
                Ok(Outcome::Overloaded | Outcome::Unavailable) | Err(_) => {
                    sleep(Duration::from_millis(20)).await;
                }
                Ok(outcome) => return outcome,
            }
        }
    }

    async fn buy(self, interface: Interface, number: u64) {
        let chance = self.world.chance(&format!("buyer {number}"));
        let client = self.client(&interface).await;
        let size = &self.world.dials().size;
        let product = |index: u64| ProductId::parse(&format!("p{index}")).expect("a name");
        let partition = |product| client.partitions().partition_of(product);
        for index in 0..size.products as u64 {
            let define = Define {
                price: Some(100),
                stock: Some(5 + 5 * index as u32),
                hold_seconds: Some(1 + 20 * index as u32),
                waitlist_capacity: Some(20),
                ..Define::new(product(index))
            };
            let ask = Ask::Command(Command::Define(define));
            self.ask(&client, partition(product(index)), ask).await;
        }
        let mut orders = Vec::new();
        for operation in 0..size.operations / size.clients as u64 {
            let product = product(chance.below(size.products as u64));
            let buyer = BuyerId::parse(&format!("b{}", chance.below(50))).expect("a name");
            let key =
                IdempotencyKey::new(buyer, product, format!("{number}.{operation}").as_bytes());
            let some_order = |chance: &Chance, orders: &[OrderId]| {
                orders.get(chance.below(orders.len() as u64) as usize).copied()
            };
            let command = match (chance.below(10), some_order(&chance, &orders)) {
                (0..2, Some(order)) => Command::Confirm { order },
                (2..4, Some(order)) => Command::Cancel { order, buyer: None },
                (4, _) => Command::Restock { product, units: 1 },
                _ => Command::Place(Place {
                    product,
                    buyer,
                    key,
                    quantity: Quantity::new(1 + chance.below(3) as u32).expect("in range"),
                    waitlist: chance.hits(0.5),
                }),
            };
            let partition = match command {
                Command::Confirm { order } | Command::Cancel { order, .. } => order.partition(),
                _ => partition(product),
            };
            let outcome = self.ask(&client, partition, Ask::Command(command)).await;
            self.world.count("operations");
            self.world.line(&format!("buyer {number}"), format_args!("{operation} {outcome:?}"));
            match outcome {
                Outcome::Placed(view) | Outcome::Queued(view) | Outcome::Replayed(view) => {
                    orders.push(view.order);
                    let key = *key.as_bytes();
                    if let Some(other) = self.placed.borrow_mut().insert(key, view.order) {
                        assert_eq!(other, view.order, "one key, one order");
                    }
                }
                Outcome::OrderNotFound if matches!(command, Command::Confirm { .. }) => {
                    // The consumer has it, so the engine may have let it go: it was final then.
                }
                _ => {}
            }
            if chance.hits(0.2) {
                let read = Ask::Read(Read::Product { product });
                let outcome = self.ask(&client, client.partitions().partition_of(product), read);
                assert!(matches!(outcome.await, Outcome::Product(_)), "it was defined");
            }
            sleep(chance.delay(Duration::from_millis(200))).await;
        }
    }

    /// Reads the feeds of a core, again and again, and compares them with what became durable.
    async fn consume(self, interface: Interface, core: usize) {
        let address = self.node.addresses()[core];
        loop {
            let _ = self.consume_once(&interface, address).await;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn consume_once(
        &self,
        interface: &Interface,
        address: std::net::SocketAddr,
    ) -> Result<(), doorbuster_client::ClientError> {
        let connect = FeedClient::connect_over(interface, address, &self.key);
        let Ok(connected) = timeout(Duration::from_secs(5), connect).await else { return Ok(()) };
        let mut client = connected?;
        let map = client.map().clone();
        for partition in map.partitions.all() {
            if map.owner_of(partition) == Some(map.self_core) {
                let mut next = self.next.borrow_mut();
                let from = *next.entry(partition).or_insert(Sequence::new(1));
                client.subscribe(partition, 0, from);
            }
        }
        loop {
            let Ok(item) = timeout(Duration::from_secs(10), client.next()).await else {
                return Ok(());
            };
            let item = item?;
            let FeedItem::Batch { partition, epoch, count, .. } = item else {
                self.world.broken(format!("the feed goes on elsewhere: {item:?}"));
                return Ok(());
            };
            let durable = self.node.observer().events(partition);
            let mut next = self.next.borrow()[&partition];
            for event in item.events() {
                let (sequence, event) = event.expect("its frame was checked");
                if durable.get(sequence.get() as usize - 1) != Some(&event) {
                    let why = format!("{partition} feeds {sequence}, which is not durable");
                    self.world.broken(why);
                }
                // What an old connection still brings may have come over another one before.
                assert!(sequence <= next, "the feed leaves nothing out");
                next = next.max(sequence.next());
            }
            self.next.borrow_mut().insert(partition, next);
            if count > 0 {
                let through = Sequence::new(next.get() - 1);
                client.acknowledge(partition, 0, epoch, through);
                client.flush().await?;
            }
        }
    }

    /// Waits until the engine knows of everything but acknowledgements that it was consumed.
    async fn consumed(&self) {
        let is_known = |partition: PartitionId| {
            let events = self.node.observer().events(partition);
            let is_fact = |fact: &Fact| !matches!(fact, Fact::Acknowledged { .. });
            let last = events.iter().rposition(|event| is_fact(&event.fact));
            let acknowledged = events.iter().rev().find_map(|event| match event.fact {
                Fact::Acknowledged { through, .. } => Some(through.get()),
                _ => None,
            });
            last.is_none_or(|last| acknowledged.unwrap_or(0) > last as u64)
        };
        while !self.node.partitions().all().all(is_known) {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every order that was answered is in the log, once.
    fn check(&self) {
        let mut logged: BTreeMap<OrderId, u32> = BTreeMap::new();
        for partition in self.node.partitions().all() {
            for event in self.node.observer().events(partition) {
                match event.fact {
                    Fact::Placed(placed) => *logged.entry(placed.order).or_default() += 1,
                    Fact::Queued(queued) => *logged.entry(queued.order).or_default() += 1,
                    _ => {}
                }
            }
        }
        for order in self.placed.borrow().values() {
            if logged.get(order) != Some(&1) {
                self.world.broken(format!("{order} was answered and is not logged once"));
            }
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs seeds on all cores; the counts of all, and what is broken.
fn run_all(first: u64, count: u64) -> (BTreeMap<&'static str, u64>, Vec<String>) {
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return (counts, broken);
            }
            let told = run(seed, false);
            told.counts.iter().for_each(|(name, count)| *counts.entry(name).or_default() += count);
            broken.extend(told.broken.map(|why| {
                format!("{why}\nagain: DOORBUSTER_SEED={seed} cargo nextest run engine_alone")
            }));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = (BTreeMap::new(), Vec::new());
        for worker in workers {
            let (counts, broken) = worker.join().expect("runs do not panic");
            for (name, count) in counts {
                *all.0.entry(name).or_default() += count;
            }
            all.1.extend(broken);
        }
        all
    })
}

#[test]
fn an_engine_keeps_its_word_whatever_becomes_of_its_machine() {
    if let Some(seed) = variable("DOORBUSTER_SEED") {
        assert_eq!(run(seed, true).broken, None);
        return;
    }
    let (counts, broken) = run_all(0, variable("DOORBUSTER_SEEDS").unwrap_or(200));
    println!("{counts:#?}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    for what in
        ["kills of the engine", "power losses", "syncs failed", "snapshots", "refusals of damage"]
    {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "no run came to {what}");
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..20 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}
