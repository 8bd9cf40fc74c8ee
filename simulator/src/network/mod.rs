//! The network between all processes: listeners by address, connections whose bytes come late,
//! never, changed, or after the connection has been given up.
//!
//! | module | what it owns |
//! |---|---|
//! | `wire` | one direction of a connection: bytes on their way, in order |
//! | `connection` | both directions, what each end knows of its end, and what faults do to it |
//! | `stream` | an end in the hands of a process: reading, writing, closing |
//! | `listener` | accepting, and the queue before it |
//! | `interface` | the network as one process sees it: dialling, listening |
//! | `partitions` | which processes cannot reach each other, and for how long |
//!
//! What holds of a connection is what TCP promises: bytes arrive in the order in which they were
//! written, each once or not at all, with none left out before one that arrives. Everything else is
//! chance: how they are cut into pieces, how late each is, where the connection breaks, which end
//! hears of that when. One promise is broken on purpose: now and then a byte is changed, as the sums
//! of TCP let pass; those of the frames must not.
//!
//! A process that stands still accepts connections and bytes, as its kernel does, and reads none of
//! them. One that dies leaves its connections to the kernel, which ends them, or takes the machine
//! along, and then nobody is told.

mod connection;
mod interface;
mod listener;
mod partitions;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

pub use connection::PROBED_FOR;
pub use interface::Interface;
pub use listener::SimListener;
pub use stream::SimStream;

use crate::chance::Chance;
use crate::process::{Life, Process};
use crate::world::World;
use connection::{Connection, Side};
use listener::Queue;
use partitions::Partitions;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Which process an end belongs to; a restarted one has the name of the one before.
type Name = Arc<str>;

/// A delay that is counted: others are not out of the ordinary.
const LATE: Duration = Duration::from_millis(50);

/// The network of one run. A clone is another handle of the same one.
#[derive(Clone)]
pub struct SimNetwork(Arc<Shared>);

struct Shared {
    world: World,
    chance: Chance,
    /// Locked because streams have to be `Send`; one thread runs it all.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Everybody who ever was on the network.
    names: BTreeSet<Name>,
    listeners: BTreeMap<SocketAddr, Queue>,
    connections: BTreeMap<u64, Connection>,
    opened: u64,
    partitions: Partitions,
}

impl std::fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimNetwork")
    }
}

impl SimNetwork {
    /// A network with the faults of the world's dials.
    pub fn new(world: World) -> Self {
        let chance = world.chance("network");
        Self(Arc::new(Shared { world, chance, state: Mutex::default() }))
    }

    /// The network as `process` sees it.
    pub fn of(&self, process: &Process) -> Interface {
        self.interface(process.name(), process.life().clone())
    }

    fn interface(&self, name: &str, life: Life) -> Interface {
        let name = Name::from(name);
        self.0.state().names.insert(Arc::clone(&name));
        let nonces = self.0.chance.of(&format!("nonces of {name}"));
        Interface { network: self.clone(), name, life, nonces }
    }

    /// The power of a machine is gone: whoever talks to it hears nothing any more, not even an end.
    /// What it had not sent is lost.
    pub fn unplug(&self, name: &str) {
        self.0.change(|state, shared| {
            for connection in state.connections.values_mut() {
                connection.unplug(name, shared);
            }
        });
    }

    /// Lets partitions of the network come and go until the run is healed.
    pub async fn keep_parting(self) {
        partitions::keep_parting(&self.0).await;
    }

    /// Ends every partition. Bytes that waited for that arrive.
    pub fn rejoin(&self) {
        self.0.rejoin_all();
    }

    /// How many connections have an end in somebody's hands.
    pub fn connections(&self) -> usize {
        self.0.state().connections.len()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes anything, and wakes everybody whose turn may have come.
    fn change<T>(&self, change: impl FnOnce(&mut State, &Self) -> T) -> T {
        let mut wakers = Vec::new();
        let mut state = self.state();
        let changed = change(&mut state, self);
        for connection in state.connections.values_mut() {
            connection.take_wakers(&mut wakers);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        changed
    }

    /// Changes one connection, and wakes who waits at its ends. `None` when it is gone.
    fn change_one<T>(
        &self,
        id: u64,
        change: impl FnOnce(&mut Connection, &Partitions, &Self) -> T,
    ) -> Option<T> {
        let mut wakers = Vec::new();
        let mut guard = self.state();
        let state = &mut *guard;
        let connection = state.connections.get_mut(&id)?;
        let changed = change(connection, &state.partitions, self);
        if connection.is_news() {
            connection.take_wakers(&mut wakers);
        }
        if connection.is_over() {
            state.connections.remove(&id);
        }
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        Some(changed)
    }

    /// How long a piece of a stream takes.
    fn delay(&self) -> Duration {
        let dials = &self.world.dials().network;
        let delay = self.chance.delay(dials.delay_max);
        if !self.chance.hits(dials.delayed) {
            return Duration::ZERO;
        }
        self.world.add("pieces delayed by 50 ms or more", u64::from(delay >= LATE));
        delay
    }

    /// Whether a fault of this probability happens now.
    fn fails(&self, probability: f64) -> bool {
        self.chance.hits(probability) && self.world.is_faulty()
    }

    fn line(&self, what: std::fmt::Arguments<'_>) {
        self.world.line("network", what);
    }
}

impl State {
    /// A connection between two processes; its number.
    fn open(&mut self, dialler: Name, listener: Name) -> u64 {
        self.opened += 1;
        self.connections.insert(self.opened, Connection::new([dialler, listener]));
        self.opened
    }
}

/// The end of a process that has dialled, and that of one that listens.
const DIALLER: Side = Side::Dialler;
const LISTENER: Side = Side::Listener;
