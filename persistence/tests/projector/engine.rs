//! An engine as the projector sees one: it serves feeds of logs that are there from the start, and
//! misbehaves as told. At every acknowledgement it checks that the store has what is acknowledged.

use doorbuster_persistence::Store;
use doorbuster_persistence::conformance::checkpoints;
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, FeedBatch, ServerSession};
use doorbuster_protocol::{Epoch, Event, PartitionId, Sequence, Timestamp};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const KEY: [u8; 32] = [4; 32];
pub(crate) const DIRECTORY: u64 = 77;

/// How the engine misbehaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Faults {
    /// Not at all.
    None,
    /// Breaks connections off at random bytes and sends events twice.
    Random(u64),
    /// Has trimmed the first events.
    Trimmed,
    /// Sends events whose framing is broken.
    Torn,
    /// Leaves the first event out.
    Skipping,
}

/// Encoded events by partition, and the order in which they were made.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    partitions: Vec<Vec<Vec<u8>>>,
    order: Vec<PartitionId>,
}

impl Logs {
    pub(crate) fn new(partitions: u16) -> Self {
        Self { partitions: vec![Vec::new(); usize::from(partitions)], order: Vec::new() }
    }

    pub(crate) fn push(&mut self, partition: PartitionId, event: &Event) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.push_bytes(partition, bytes);
    }

    fn push_bytes(&mut self, partition: PartitionId, bytes: Vec<u8>) {
        self.partitions[partition.index()].push(bytes);
        self.order.push(partition);
    }

    /// Adds what is framed as an event and is none; returns its sequence.
    pub(crate) fn push_archive(&mut self, partition: u16, archive: &[u8]) -> u64 {
        let partition = PartitionId::new(partition).expect("in range");
        let mut bytes = (archive.len() as u32).to_le_bytes().to_vec();
        bytes.extend(archive);
        self.push_bytes(partition, bytes);
        self.partitions[partition.index()].len() as u64
    }

    pub(crate) fn last_sequences(&self) -> Vec<u64> {
        self.partitions.iter().map(|log| log.len() as u64).collect()
    }

    /// All events in the order in which they were made.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (PartitionId, Vec<u8>)> {
        let mut taken = vec![0; self.partitions.len()];
        self.order.iter().map(move |partition| {
            let index = &mut taken[partition.index()];
            *index += 1;
            (*partition, self.partitions[partition.index()][*index - 1].clone())
        })
    }
}

pub(crate) struct Engine {
    pub(crate) addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    cores: JoinSet<()>,
}

struct Shared {
    faults: Faults,
    map: PartitionMap,
    store: Arc<dyn Store>,
    logs: Mutex<Logs>,
    random: Mutex<fastrand::Rng>,
    /// Changes with every event that is added.
    grown: watch::Sender<()>,
    acknowledged: watch::Sender<Vec<u64>>,
}

impl Engine {
    pub(crate) async fn start(
        logs: Logs,
        cores: u16,
        faults: Faults,
        store: Arc<dyn Store>,
    ) -> Self {
        let any = vec![SocketAddr::from(([127, 0, 0, 1], 0)); usize::from(cores)];
        Self::start_at(&any, logs, faults, store).await
    }

    pub(crate) async fn start_at(
        addresses: &[SocketAddr],
        logs: Logs,
        faults: Faults,
        store: Arc<dyn Store>,
    ) -> Self {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(TcpListener::bind(address).await.expect("the address is free"));
        }
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().expect("it is bound")).collect();
        let count = logs.partitions.len() as u16;
        let map = PartitionMap {
            directory: DIRECTORY,
            epoch: Epoch::FIRST,
            partitions: PartitionCount::new(count).expect("in range"),
            self_core: 0,
            cores: addresses.clone(),
            owners: (0..count).map(|partition| partition % addresses.len() as u16).collect(),
        };
        let seed = if let Faults::Random(seed) = faults { seed } else { 0 };
        let shared = Arc::new(Shared {
            faults,
            map,
            store,
            acknowledged: watch::Sender::new(vec![0; logs.partitions.len()]),
            logs: Mutex::new(logs),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            grown: watch::Sender::new(()),
        });
        let mut cores = JoinSet::new();
        for (core, listener) in (0..).zip(listeners) {
            cores.spawn(serve(Arc::clone(&shared), core, listener));
        }
        Self { addresses, shared, cores }
    }

    /// Ends all connections and frees the addresses.
    pub(crate) async fn stop(mut self) -> Vec<SocketAddr> {
        self.cores.shutdown().await;
        self.addresses
    }

    pub(crate) fn append(&self, partition: PartitionId, event: Vec<u8>) {
        self.shared.logs.lock().expect("no panic").push_bytes(partition, event);
        self.shared.grown.send_replace(());
    }

    pub(crate) fn acknowledged_sum(&self) -> u64 {
        self.shared.acknowledged.borrow().iter().sum()
    }

    /// Waits until `sum` events, or all, are acknowledged; says whether all are.
    pub(crate) async fn reached(&self, sum: u64) -> bool {
        let all: u64 = self.shared.logs.lock().expect("no panic").last_sequences().iter().sum();
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let reached = |now: &Vec<u64>| now.iter().sum::<u64>() >= sum.min(all);
        acknowledged.wait_for(reached).await.expect("the engine is there");
        self.acknowledged_sum() == all
    }
}

async fn serve(shared: Arc<Shared>, core: u16, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("it listens");
        let feed = Feed::new(Arc::clone(&shared), core);
        connections.spawn(feed.run(stream));
    }
}

/// One connection.
struct Feed {
    shared: Arc<Shared>,
    session: ServerSession,
    /// The next sequence for each partition that is subscribed to.
    next: Vec<Option<u64>>,
    turns_left: u64,
}

impl Feed {
    fn new(shared: Arc<Shared>, core: u16) -> Self {
        let mut nonce = [0; 32];
        fastrand::fill(&mut nonce);
        let map = PartitionMap { self_core: core, ..shared.map.clone() };
        let turns_left = match shared.faults {
            Faults::Random(_) => shared.random.lock().expect("no panic").u64(..60),
            _ => u64::MAX,
        };
        let session = ServerSession::new(&PreSharedKey::new(KEY), nonce, map);
        Self { next: vec![None; shared.map.owners.len()], shared, session, turns_left }
    }

    async fn run(mut self, mut stream: TcpStream) {
        let mut grown = self.shared.grown.subscribe();
        loop {
            let is_whole = self.turns_left > 0;
            self.turns_left = self.turns_left.saturating_sub(1);
            let more = self.feed();
            let output = std::mem::take(self.session.output());
            let cut = if is_whole { output.len() } else { fastrand::usize(..=output.len()) };
            if stream.write_all(&output[..cut]).await.is_err() || !is_whole {
                return;
            }
            let mut buffer = [0; 4_096];
            tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        self.session.receive(&buffer[..count]);
                        if !self.answer().await {
                            let _ = stream.write_all(self.session.output()).await;
                            return;
                        }
                    }
                },
                _ = grown.changed(), if !more => {}
                () = std::future::ready(()), if more => {}
            }
        }
    }

    /// Takes messages; `false` when the session has failed.
    async fn answer(&mut self) -> bool {
        let mut acknowledged = Vec::new();
        loop {
            match self.session.poll() {
                Ok(Some(ClientMessage::Subscribe { partition, consumer, from })) => {
                    assert_eq!(consumer, 0);
                    self.next[partition.index()] = Some(from.get());
                    // An empty batch first, as the engine sends it.
                    self.send(partition, from.get(), &[]);
                }
                Ok(Some(ClientMessage::Acknowledge { partition, through, .. })) => {
                    acknowledged.push((partition, through));
                }
                Ok(Some(ClientMessage::Welcomed)) => {}
                Ok(Some(other)) => panic!("a projector does not send {other:?}"),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        if acknowledged.is_empty() {
            return true;
        }
        let stored = checkpoints(&*self.shared.store).await.expect("the store answers");
        for (partition, through) in acknowledged {
            let stored = stored[partition.index()].sequence;
            assert!(through <= stored, "{through} is acknowledged, {stored} is committed");
            self.shared.acknowledged.send_modify(|acknowledged| {
                let known = &mut acknowledged[partition.index()];
                *known = through.get().max(*known);
            });
        }
        true
    }

    /// Puts a batch of one partition into the output; says whether there are more.
    fn feed(&mut self) -> bool {
        let logs = self.shared.logs.lock().expect("no panic");
        let mut random = self.shared.random.lock().expect("no panic");
        let waiting: Vec<_> = (self.next.iter().enumerate())
            .filter_map(|(index, next)| next.map(|next| (index, next as usize)))
            .filter(|(index, next)| *next <= logs.partitions[*index].len())
            .collect();
        let chosen = match self.shared.faults {
            Faults::Random(_) => random.choice(&waiting),
            _ => waiting.first(),
        };
        let Some(&(index, next)) = chosen else { return false };
        let partition = PartitionId::new(index as u16).expect("in range");
        let log = &logs.partitions[index];
        let (mut first, mut last) = (next, log.len().min(next + random.usize(..200)));
        match self.shared.faults {
            Faults::Trimmed => {
                self.session.feed_gone(partition, Sequence::new(3));
                self.next[index] = None;
                return true;
            }
            Faults::Random(_) if random.u32(..5) == 0 => first -= random.usize(..first.min(50)),
            Faults::Skipping => {
                first += 1;
                last = log.len();
            }
            _ => {}
        }
        let mut events: Vec<Vec<u8>> = log[first - 1..last].to_vec();
        drop((logs, random));
        if let (Faults::Torn, Some(torn)) = (self.shared.faults, events.last_mut()) {
            torn.pop();
        }
        self.send(partition, first as u64, &events);
        self.next[index] = Some(last as u64 + 1);
        true
    }

    fn send(&mut self, partition: PartitionId, first: u64, events: &[Vec<u8>]) {
        let durable =
            self.shared.logs.lock().expect("no panic").partitions[partition.index()].len();
        self.session.batch(&FeedBatch {
            partition,
            epoch: Epoch::FIRST,
            first: Sequence::new(first),
            count: events.len() as u32,
            durable: Sequence::new(durable as u64),
            durable_at: Timestamp::NONE,
            events: &events.concat(),
        });
    }
}
