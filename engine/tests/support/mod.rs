//! A blocking client over the protocol's session, and engines that listen on free ports.

use doorbuster_engine::engine::{Engine, EngineConfig, EngineError, Stopper};
use doorbuster_engine::log::LogConfig;
use doorbuster_protocol::command::{Ask, Command, Define, Place, Read, Request};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::session::{ClientSession, ServerMessage, SessionError, StockLevel};
use doorbuster_protocol::{
    BuyerId, Event, IdempotencyKey, OrderId, Outcome, PartitionId, ProductId, Quantity, Sequence,
    Timestamp,
};
use socket2::{Domain, Socket, Type};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

pub(crate) fn key() -> PreSharedKey {
    PreSharedKey::new([7; 32])
}

pub(crate) fn config(data: &Path, cores: usize) -> EngineConfig {
    EngineConfig {
        cores,
        segment_bytes: LogConfig::SEGMENT_BYTES_MIN,
        ..EngineConfig::new(data.to_owned(), key())
    }
}

/// An engine that is drained when the test is done with it.
pub(crate) struct Running {
    engine: Option<Engine>,
    stopper: Stopper,
}

impl Running {
    pub(crate) fn start(config: EngineConfig) -> Self {
        let engine = Engine::start(config).expect("the engine starts");
        let stopper = engine.stopper();
        Self { engine: Some(engine), stopper }
    }
    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it runs")
    }
    pub(crate) fn address(&self) -> SocketAddr {
        self.engine().addresses()[0]
    }
    /// Waits for its end without asking for it.
    pub(crate) fn wait(mut self) -> Result<(), EngineError> {
        self.engine.take().expect("it runs").join()
    }
    pub(crate) fn stop(mut self) {
        self.stopper.stop();
        self.engine.take().expect("it runs").join().expect("it drains");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(engine) = self.engine.take() {
            let _ = engine.join();
        }
    }
}

/// What a feed delivered.
#[derive(Default)]
pub(crate) struct Feed {
    pub(crate) events: Vec<(PartitionId, Sequence, Event)>,
    pub(crate) gone: Option<(PartitionId, Sequence)>,
}

/// One connection to one core.
pub(crate) struct Client {
    stream: TcpStream,
    session: ClientSession,
    pub(crate) answers: HashMap<u64, Outcome>,
    pub(crate) feed: Feed,
    pub(crate) levels: BTreeMap<ProductId, StockLevel>,
    pub(crate) goodbye: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &key()).expect("the handshake succeeds")
    }

    pub(crate) fn connect_with(
        address: SocketAddr,
        key: &PreSharedKey,
    ) -> Result<Self, SessionError> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        // Small windows and segments, so that what a client does not read waits in the engine.
        socket.set_recv_buffer_size(4 << 10).expect("a socket option");
        socket.set_tcp_mss(536).expect("a socket option");
        socket.connect(&address.into()).expect("the core listens");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("a socket option");
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).expect("randomness");
        let mut client = Self {
            stream,
            session: ClientSession::new(key, nonce),
            answers: HashMap::new(),
            feed: Feed::default(),
            levels: BTreeMap::new(),
            goodbye: false,
        };
        client.send();
        while client.session.map().is_none() {
            client.receive()?;
            client.send();
        }
        Ok(client)
    }

    pub(crate) fn map(&self) -> PartitionMap {
        self.session.map().expect("it is welcomed").clone()
    }
    pub(crate) fn session(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// Writes whatever the session puts out. A closed socket shows when reading.
    pub(crate) fn send(&mut self) {
        self.session.flush();
        let output = std::mem::take(self.session.output());
        let _ = self.stream.write_all(&output);
    }

    /// Sends what the session puts out with `bytes` right behind it, in one write.
    pub(crate) fn send_with(&mut self, bytes: &[u8]) {
        let mut output = std::mem::take(self.session.output());
        output.extend_from_slice(bytes);
        let _ = self.stream.write_all(&output);
    }

    /// Reads until the core closes the connection, whatever it says until then.
    pub(crate) fn wait_for_close(mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }

    /// Blocks for more bytes and takes all messages in them. Panics when the connection ends.
    pub(crate) fn receive(&mut self) -> Result<(), SessionError> {
        let mut bytes = vec![0; 64 << 10];
        let read = self.stream.read(&mut bytes).expect("the core answers");
        if read == 0 {
            self.goodbye = true;
            return Err(SessionError::WrongKey);
        }
        self.session.receive(&bytes[..read]);
        while let Some(message) = self.session.poll()? {
            match message {
                ServerMessage::Welcomed => {}
                ServerMessage::Replies(replies) => {
                    for reply in replies {
                        let reply = reply.expect("a well-formed reply");
                        self.answers.insert(reply.correlation, reply.outcome);
                    }
                }
                ServerMessage::Batch(batch) => {
                    for item in &batch {
                        let (sequence, event) = item.expect("a well-formed event");
                        self.feed.events.push((batch.partition, sequence, event));
                    }
                }
                ServerMessage::Levels(levels) => {
                    for level in levels {
                        let level = level.expect("a well-formed level");
                        self.levels.insert(level.product, level);
                    }
                }
                ServerMessage::FeedGone { partition, first } => {
                    self.feed.gone = Some((partition, first));
                }
                ServerMessage::Goodbye => self.goodbye = true,
            }
        }
        Ok(())
    }

    pub(crate) fn receive_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            self.receive().expect("the session holds");
        }
    }

    fn request(&mut self, partition: PartitionId, ask: Ask) -> u64 {
        self.session.request(&Request { partition, deadline: Timestamp::NONE, ask })
    }

    pub(crate) fn enqueue_read(&mut self, product: ProductId) -> u64 {
        let partition = self.map().partitions.partition_of(product);
        self.request(partition, Ask::Read(Read::Product { product }))
    }

    pub(crate) fn enqueue(&mut self, product: ProductId, command: Command) -> u64 {
        let partition = self.map().partitions.partition_of(product);
        self.request(partition, Ask::Command(command))
    }

    fn answer_to(&mut self, correlation: u64) -> Outcome {
        self.send();
        self.receive_until(|client| client.answers.contains_key(&correlation));
        self.answers.remove(&correlation).expect("it was received")
    }

    pub(crate) fn ask(&mut self, product: ProductId, command: Command) -> Outcome {
        let correlation = self.enqueue(product, command);
        self.answer_to(correlation)
    }

    pub(crate) fn ask_order(&mut self, order: OrderId, command: Command) -> Outcome {
        let correlation = self.request(order.partition(), Ask::Command(command));
        self.answer_to(correlation)
    }

    pub(crate) fn read_order(&mut self, order: OrderId) -> Outcome {
        let ask = Ask::Read(Read::Order { order, buyer: None });
        let correlation = self.request(order.partition(), ask);
        self.answer_to(correlation)
    }

    pub(crate) fn read_product(&mut self, product: ProductId) -> Outcome {
        let correlation = self.enqueue_read(product);
        self.answer_to(correlation)
    }
}

pub(crate) fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a name")
}

pub(crate) fn buyer(number: u32) -> BuyerId {
    BuyerId::parse(&format!("buyer-{number}")).expect("a name")
}

pub(crate) fn define(name: &str, stock: u32) -> Define {
    Define { price: Some(1_999), stock: Some(stock), ..Define::new(product(name)) }
}

pub(crate) fn place(name: &str, number: u32, key: Option<&str>) -> Command {
    let (product, buyer) = (product(name), buyer(number));
    Command::Place(Place {
        product,
        buyer,
        key: key.map_or(IdempotencyKey::NONE, |key| {
            IdempotencyKey::new(buyer, product, key.as_bytes())
        }),
        quantity: Quantity::ONE,
        waitlist: false,
    })
}
