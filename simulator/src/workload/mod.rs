//! What clients do: a crowd that buys, pays, gives back, looks and asks again, and an administrator
//! who changes the sale under its feet.
//!
//! Everything goes through the production client, and is written down when it is sent and when it
//! is answered; the pages outlive a client that is killed.
//!
//! | module | what it owns |
//! |---|---|
//! | `wares` | the products, and what is asked of them |
//! | `caller` | one request: sent, written down, answered or not |
//! | `memory` | what a buyer remembers, whatever becomes of the client |
//! | `buyer` | what one buyer does |
//! | `administrator` | what the administrator does |

mod administrator;
mod buyer;
mod caller;
mod memory;
mod wares;

use crate::chance::Chance;
use crate::clock::WallClock;
use crate::network::{Interface, SimNetwork};
use crate::process::Process;
use crate::world::World;
use caller::Caller;
use doorbuster_client::{ClientOptions, EngineClient};
use doorbuster_history::journal::Recorder;
use doorbuster_protocol::OrderId;
use doorbuster_protocol::handshake::PreSharedKey;
use memory::Memory;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use wares::Wares;

/// Buyers who use one client at the same time.
const BUYERS_PER_CLIENT: u64 = 4;
/// Orders that are talked about.
const TALKED_ABOUT_MAX: usize = 64;
/// The pause between two tries to reach the engine for the first time.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Operations that are still begun when the faults are over.
const OPERATIONS_AFTER: u64 = 50;

/// One client: number 0 is the administrator. A clone is another handle of the same one.
#[derive(Clone)]
pub struct Client {
    number: usize,
    name: Rc<str>,
    clock: WallClock,
    process: Rc<RefCell<Process>>,
}

impl Client {
    fn new(workload: &Workload, number: usize) -> Self {
        let name: Rc<str> = format!("client {number}").into();
        let chance = workload.0.chance.of(&format!("clock of {name}"));
        let clock = WallClock::draw(&workload.0.world.dials().clock, &chance);
        let process = Rc::new(RefCell::new(Process::new(&name)));
        Self { number, name, clock, process }
    }
    /// The process that runs it now, or ran it last.
    pub fn process(&self) -> Process {
        self.process.borrow().clone()
    }
    /// Its machine's clock.
    pub fn clock(&self) -> &WallClock {
        &self.clock
    }
}

/// All clients of a run. A clone is another handle of the same one.
#[derive(Clone)]
pub struct Workload(Rc<Inner>);

struct Inner {
    world: World,
    chance: Chance,
    wares: Wares,
    engine: Vec<SocketAddr>,
    key: PreSharedKey,
    recorder: RefCell<Recorder>,
    /// People that there are. With few, one person has several devices.
    people: u64,
    /// What each of them remembers.
    memories: RefCell<BTreeMap<u64, Memory>>,
    /// Orders that somebody has heard of, the latest ones.
    talked_about: RefCell<VecDeque<OrderId>>,
    /// Operations that may be begun now.
    left: Cell<u64>,
    /// Whether no more of them will come.
    is_winding_up: Cell<bool>,
    more: Notify,
    clients: RefCell<Vec<Client>>,
    /// Clients that have something left to do.
    running: Cell<usize>,
}

impl Workload {
    /// Clients of the engine whose cores listen at `engine`.
    pub fn new(world: &World, engine: Vec<SocketAddr>, key: PreSharedKey) -> Self {
        let chance = world.chance("workload");
        let wares = Wares::draw(world.dials().size.products, &chance.of("wares"));
        let devices = world.dials().size.clients as u64 * BUYERS_PER_CLIENT;
        let people = *chance.of("people").pick(&[1, devices.div_ceil(2), devices]);
        Self(Rc::new(Inner {
            world: world.clone(),
            chance,
            wares,
            engine,
            key,
            recorder: RefCell::default(),
            people,
            memories: RefCell::default(),
            talked_about: RefCell::default(),
            left: Cell::new(0),
            is_winding_up: Cell::new(false),
            more: Notify::new(),
            clients: RefCell::default(),
            running: Cell::new(0),
        }))
    }

    /// Starts all clients, and starts again those that are killed, until nothing is left to do.
    pub fn start(&self, network: &SimNetwork) {
        for number in 0..=self.0.world.dials().size.clients {
            let client = Client::new(self, number);
            self.0.clients.borrow_mut().push(client.clone());
            tokio::task::spawn_local(self.clone().keep_running(client, network.clone()));
        }
        tokio::task::spawn_local(self.clone().come_in_waves());
    }

    /// Lets the operations be begun, wave after wave, for as long as faults happen. The crowd comes
    /// at once, but something is asked until the end, or nothing would be there to be harmed.
    async fn come_in_waves(self) {
        let Inner { world, chance, .. } = &*self.0;
        let (size, chance) = (&world.dials().size, chance.of("waves"));
        let every = size.faulty_for.div_f64(size.waves as f64);
        for wave in 0..size.waves {
            if self.0.is_winding_up.get() {
                return;
            }
            let through = size.operations * (wave + 1) / size.waves;
            let before = size.operations * wave / size.waves;
            self.0.left.set(self.0.left.get() + through - before);
            self.0.more.notify_waiters();
            sleep(every.mul_f64(0.5 + chance.fraction() / 2.0)).await;
        }
    }

    async fn keep_running(self, client: Client, network: SimNetwork) {
        let chance = self.0.chance.of(&client.name);
        self.0.running.set(self.0.running.get() + 1);
        loop {
            let process = Process::new(&client.name);
            *client.process.borrow_mut() = process.clone();
            let (done, is_done) = oneshot::channel();
            process.spawn({
                let (workload, client) = (self.clone(), client.clone());
                let interface = network.of(&process);
                async move {
                    workload.run(&client, interface).await;
                    let _ = done.send(());
                }
            });
            let has_finished = is_done.await.is_ok();
            process.kill();
            if has_finished {
                break;
            }
            sleep(chance.delay(Duration::from_secs(1))).await;
        }
        self.0.running.set(self.0.running.get() - 1);
    }

    /// The clients, for whoever means them harm.
    pub fn clients(&self) -> Vec<Client> {
        self.0.clients.borrow().clone()
    }
    /// Whether every client has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.0.running.get() == 0
    }
    /// Lets the clients come to their end soon.
    pub fn wind_up(&self) {
        self.0.is_winding_up.set(true);
        self.0.left.set(self.0.left.get().min(OPERATIONS_AFTER));
        self.0.more.notify_waiters();
    }

    async fn run(&self, client: &Client, network: Interface) {
        let process = client.process.borrow().clone();
        let Inner { world, chance, .. } = &*self.0;
        let options = ClientOptions {
            in_flight_per_core_max: *chance.pick(&[4, 64, 4_096]),
            watch_stock: true,
            network: Arc::new(network),
            ..ClientOptions::default()
        };
        let connected = loop {
            match EngineClient::connect(&self.0.engine, &self.0.key, options.clone()).await {
                Ok(connected) => break connected,
                Err(error) => {
                    world.line(process.name(), format_args!("not connected: {error}"));
                    sleep(CONNECT_PAUSE).await;
                }
            }
        };
        // After a restart everybody goes on with other choices.
        let life = world.began().elapsed();
        let clock = client.clock.clone();
        let caller = Caller::new(self.clone(), client.number as u32, connected, clock);
        if client.number == 0 {
            let chance = chance.of(&format!("administrator after {life:?}"));
            return administrator::run(&caller, &chance).await;
        }
        let mut buyers = Vec::new();
        for buyer in 0..BUYERS_PER_CLIENT {
            let device = client.number as u64 * BUYERS_PER_CLIENT + buyer;
            let person = device % self.0.people;
            let caller = caller.clone();
            let chance = chance.of(&format!("device {device} after {life:?}"));
            let (done, is_done) = oneshot::channel();
            buyers.push(is_done);
            process.spawn(async move {
                buyer::run(&caller, person, &chance).await;
                let _ = done.send(());
            });
        }
        for buyer in buyers {
            let _ = buyer.await;
        }
    }

    fn wares(&self) -> &Wares {
        &self.0.wares
    }

    fn count(&self, what: &'static str, times: usize) {
        self.0.world.add(what, times as u64);
    }

    /// What a person remembers.
    fn memory(&self, person: u64) -> RefMut<'_, Memory> {
        RefMut::map(self.0.memories.borrow_mut(), |all| all.entry(person).or_default())
    }

    /// An order is talked about from now on.
    fn hears_of(&self, order: OrderId) {
        let mut orders = self.0.talked_about.borrow_mut();
        if orders.len() == TALKED_ABOUT_MAX {
            orders.pop_front();
        }
        orders.push_back(order);
    }

    /// One of the orders that are talked about.
    fn some_order(&self, chance: &Chance) -> Option<OrderId> {
        let orders = self.0.talked_about.borrow();
        orders.get(chance.below(orders.len() as u64) as usize).copied()
    }

    /// Takes one of the operations that may be begun; `false` when no more will come.
    async fn take(&self) -> bool {
        loop {
            let more = self.0.more.notified();
            let left = self.0.left.get();
            if left > 0 {
                self.0.left.set(left - 1);
                return true;
            }
            if self.0.is_winding_up.get() {
                return false;
            }
            more.await;
        }
    }
    /// Whether no operation is left to begin, now or later.
    fn is_used_up(&self) -> bool {
        self.0.left.get() == 0 && self.0.is_winding_up.get()
    }
    /// Everything that was asked and answered.
    pub fn recorder(&self) -> Recorder {
        self.0.recorder.borrow().clone()
    }
}
