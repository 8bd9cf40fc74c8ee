//! An engine that answers by a script, over the real protocol: what it is asked can be looked at,
//! and it can be silent, hang up, and push stock levels.

use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::outcome::{Outcome, Reply};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, ServerSession, StockLevel};
use doorbuster_protocol::{Epoch, Request};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Partitions of the fake; those with an even number are core 0's.
pub(crate) const PARTITIONS: u16 = 4;
const CORES: u16 = 2;

/// What the script does with a request.
pub(crate) enum Reaction {
    Answer(Outcome),
    Silence,
    HangUp,
}

type Script = Box<dyn FnMut(&Request) -> Reaction + Send>;

struct Connection {
    core: u16,
    session: ServerSession,
    stream: TcpStream,
    watches: bool,
    /// Requests of the frames that were just read; empty in between, and kept for its room.
    requests: Vec<(u64, Request)>,
}

impl Connection {
    fn write(&mut self) {
        let output = self.session.output();
        // A peer that is gone is noticed by the reader.
        let _ = self.stream.write_all(output);
        output.clear();
    }
}

struct Shared {
    key: PreSharedKey,
    map: PartitionMap,
    script: Mutex<Script>,
    asked: Mutex<Vec<Request>>,
    changed: Condvar,
    connections: Mutex<Vec<Arc<Mutex<Connection>>>>,
    is_closed: AtomicBool,
}

/// A running fake; it ends when this is dropped.
pub(crate) struct FakeEngine {
    shared: Arc<Shared>,
}

impl FakeEngine {
    pub(crate) fn start(script: impl FnMut(&Request) -> Reaction + Send + 'static) -> Self {
        let listeners: Vec<TcpListener> =
            (0..CORES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let map = PartitionMap {
            directory: 7,
            epoch: Epoch::FIRST,
            partitions: PartitionCount::new(PARTITIONS).unwrap(),
            self_core: 0,
            cores: listeners.iter().map(|listener| listener.local_addr().unwrap()).collect(),
            owners: (0..PARTITIONS).map(|partition| partition % CORES).collect(),
        };
        let shared = Arc::new(Shared {
            key: key(),
            map,
            script: Mutex::new(Box::new(script)),
            asked: Mutex::default(),
            changed: Condvar::new(),
            connections: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        for (core, listener) in listeners.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if shared.is_closed.load(SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || shared.serve(core as u16, stream));
                }
            });
        }
        Self { shared }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.map.cores.clone()
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Waits until that many requests have come.
    pub(crate) fn wait_asked(&self, count: usize) -> Vec<Request> {
        let asked = self.shared.asked.lock().unwrap();
        let (asked, timeout) = self
            .shared
            .changed
            .wait_timeout_while(asked, PATIENCE, |asked| asked.len() < count)
            .unwrap();
        assert!(!timeout.timed_out(), "{} of {count} requests came", asked.len());
        asked.clone()
    }

    pub(crate) fn script(&self, script: impl FnMut(&Request) -> Reaction + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Pushes a level from the core that owns the product, once it is watched.
    pub(crate) fn push(&self, level: StockLevel) {
        let partition = self.shared.map.partitions.partition_of(level.product);
        let owner = self.shared.map.owner_of(partition).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            for connection in self.shared.connections.lock().unwrap().iter() {
                let mut connection = connection.lock().unwrap();
                if connection.core == owner && connection.watches {
                    connection.session.levels(&[level]);
                    connection.write();
                    return;
                }
            }
            assert!(Instant::now() < until, "nobody watches stock");
            std::thread::yield_now();
        }
    }

    /// Cuts all connections of a core; new ones are accepted.
    pub(crate) fn cut(&self, core: u16) {
        for connection in self.shared.connections.lock().unwrap().iter() {
            let connection = connection.lock().unwrap();
            if connection.core == core {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Cuts all connections and accepts no more.
    pub(crate) fn close(&self) {
        self.shared.is_closed.store(true, SeqCst);
        for address in &self.shared.map.cores {
            // Wakes the listener, which then ends.
            drop(TcpStream::connect(address));
        }
        (0..CORES).for_each(|core| self.cut(core));
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn key() -> PreSharedKey {
    PreSharedKey::new([5; 32])
}

impl Shared {
    fn serve(&self, core: u16, stream: TcpStream) {
        let nonce = std::array::from_fn(|index| {
            (std::process::id() as usize + index + stream.peer_addr().unwrap().port() as usize)
                as u8
        });
        let map = PartitionMap { self_core: core, ..self.map.clone() };
        let mut reader = stream.try_clone().unwrap();
        let connection = Arc::new(Mutex::new(Connection {
            core,
            session: ServerSession::new(&self.key, nonce, map),
            stream,
            watches: false,
            requests: Vec::new(),
        }));
        self.connections.lock().unwrap().push(Arc::clone(&connection));
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
            if !self.receive(&mut connection.lock().unwrap(), &bytes[..count]) {
                break;
            }
        }
        let _ = reader.shutdown(Shutdown::Both);
        self.connections.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &connection));
    }

    /// `false`: hang up.
    fn receive(&self, connection: &mut Connection, bytes: &[u8]) -> bool {
        connection.session.receive(bytes);
        let mut requests = std::mem::take(&mut connection.requests);
        loop {
            match connection.session.poll() {
                Ok(Some(ClientMessage::Requests(frame))) => {
                    requests.extend(frame.map(|(id, request)| (id, request.unwrap())));
                }
                Ok(Some(ClientMessage::WatchStock)) => connection.watches = true,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    connection.write();
                    return false;
                }
            }
        }
        for (correlation, request) in requests.drain(..) {
            let reaction = (self.script.lock().unwrap())(&request);
            self.asked.lock().unwrap().push(request);
            self.changed.notify_all();
            match reaction {
                Reaction::Answer(outcome) => {
                    connection.session.reply(&Reply { correlation, outcome });
                }
                Reaction::Silence => {}
                Reaction::HangUp => return false,
            }
        }
        connection.requests = requests;
        connection.write();
        true
    }
}
