//! Orders over the binary protocol as fast as a core takes them: a few connections, each with its
//! share of the requests in flight, a new one for every answer.

use crate::machine;
use anyhow::{Context, bail};
use doorbuster_protocol::command::{Ask, Define, Place};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientSession, ServerMessage};
use doorbuster_protocol::{
    BuyerId, Command, IdempotencyKey, Outcome, ProductId, Quantity, Request,
};
use doorbuster_protocol::{Timestamp, limits};
use hdrhistogram::Histogram;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Connections, when there are as many requests; each has a thread of its own, all on one CPU.
const CONNECTIONS: u32 = 4;
/// Answers that may overtake each other by this much, in multiples of a connection's share.
const OVERTAKING_MAX: usize = 64;
/// Definitions in flight.
const DEFINED_AT_ONCE: usize = 1_000;
/// A server that says nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) key: &'a PreSharedKey,
    /// Orders are spread over these evenly.
    pub(crate) products: &'a [ProductId],
    pub(crate) in_flight: u32,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// The CPU of the client.
    pub(crate) cpu: usize,
    /// What every answer has to be.
    pub(crate) wanted: Wanted,
}

/// The answer that every order has to get; another one fails the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Placed,
    SoldOut,
}

impl Wanted {
    pub(crate) fn check(self, outcome: &Outcome) -> anyhow::Result<()> {
        match (self, outcome) {
            (Self::Placed, Outcome::Placed(_)) | (Self::SoldOut, Outcome::SoldOut) => Ok(()),
            _ => bail!("{self:?} was wanted, and the answer is {outcome:?}"),
        }
    }
}

/// What came back.
pub(crate) struct Flow {
    /// Orders answered in the measured time.
    pub(crate) orders: u64,
    /// Orders answered at any time.
    pub(crate) answered: u64,
    /// From the send of a request to its answer, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
    /// CPU time of the client for each order, in microseconds.
    pub(crate) client_cpu_us: f64,
}

/// One connection to an engine.
pub(crate) struct Connection {
    stream: TcpStream,
    session: ClientSession,
    partitions: PartitionCount,
}

impl Connection {
    /// Connects, and is through with the handshake: the engine serves.
    pub(crate) fn open(address: SocketAddr, key: &PreSharedKey) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut nonce = [0; 32];
        nonce[..16].copy_from_slice(&fastrand::u128(..).to_le_bytes());
        nonce[16..].copy_from_slice(&fastrand::u128(..).to_le_bytes());
        let mut session = ClientSession::new(key, nonce);
        let mut bytes = [0; 4 << 10];
        while session.map().is_none() {
            write(&mut stream, &mut session)?;
            let count = stream.read(&mut bytes)?;
            if count == 0 {
                bail!("the engine closed the connection");
            }
            session.receive(&bytes[..count]);
            while session.poll()?.is_some() {}
        }
        let partitions = session.map().context("it was just there")?.partitions;
        Ok(Self { stream, session, partitions })
    }

    /// Where each of the engine's cores listens.
    pub(crate) fn cores(&self) -> &[SocketAddr] {
        self.session.map().map_or(&[], |map| &map.cores)
    }

    /// Sends commands about products all at once, and checks each answer.
    fn ask_all(
        &mut self,
        commands: &[(ProductId, Command)],
        check: impl Fn(&Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for (product, command) in commands {
            self.session.request(&Request {
                partition: self.partitions.partition_of(*product),
                deadline: Timestamp::NONE,
                ask: Ask::Command(*command),
            });
        }
        write(&mut self.stream, &mut self.session)?;
        let mut bytes = vec![0; 64 << 10];
        let mut missing = commands.len();
        while missing > 0 {
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                bail!("the engine closed the connection");
            }
            self.session.receive(&bytes[..count]);
            while let Some(message) = self.session.poll()? {
                let ServerMessage::Replies(replies) = message else { continue };
                for reply in replies {
                    check(&reply?.outcome)?;
                    missing -= 1;
                }
            }
        }
        Ok(())
    }
}

fn write(stream: &mut TcpStream, session: &mut ClientSession) -> std::io::Result<()> {
    let output = session.output();
    stream.write_all(output)?;
    output.clear();
    Ok(())
}

/// Puts more units of each product on sale than a round can sell.
pub(crate) fn define(
    address: SocketAddr,
    key: &PreSharedKey,
    products: &[ProductId],
) -> anyhow::Result<()> {
    define_with(address, key, products, limits::STOCK_MAX)
}

/// Puts `stock` units of each product on sale.
pub(crate) fn define_with(
    address: SocketAddr,
    key: &PreSharedKey,
    products: &[ProductId],
    stock: u32,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address, key)?;
    for products in products.chunks(DEFINED_AT_ONCE) {
        let commands = products.iter().map(|product| (*product, definition(*product, stock)));
        let commands: Vec<_> = commands.collect();
        connection.ask_all(&commands, |outcome| match outcome {
            Outcome::Product(_) => Ok(()),
            other => bail!("the product was not defined: {other:?}"),
        })?;
    }
    Ok(())
}

/// A product of which each buyer may have one, and whose holds outlast any run.
pub(crate) fn definition(product: ProductId, stock: u32) -> Command {
    Command::Define(Define {
        price: Some(1_999),
        stock: Some(stock),
        limit_per_buyer: Some(1),
        hold_seconds: Some(3_600),
        ..Define::new(product)
    })
}

/// Products with names of their own.
pub(crate) fn products(count: usize) -> anyhow::Result<Vec<ProductId>> {
    let named = (0..count).map(|number| ProductId::parse(&format!("bench-{number}")));
    Ok(named.collect::<Result<_, _>>()?)
}

/// Runs the load, and counts what is answered after the warm-up.
pub(crate) fn run(load: Load<'_>) -> anyhow::Result<Flow> {
    let connections = CONNECTIONS.min(load.in_flight);
    let share = load.in_flight.div_ceil(connections);
    let start = Instant::now();
    let flows = thread::scope(|scope| {
        let running: Vec<_> =
            (0..connections).map(|_| scope.spawn(move || pump(load, share, start))).collect();
        let joined = running.into_iter().map(|one| one.join().expect("a client does not panic"));
        joined.collect::<anyhow::Result<Vec<Flow>>>()
    })?;
    let mut all = Flow { orders: 0, answered: 0, latency_us: histogram(), client_cpu_us: 0.0 };
    for flow in flows {
        all.orders += flow.orders;
        all.answered += flow.answered;
        all.latency_us.add(&flow.latency_us)?;
        all.client_cpu_us += flow.client_cpu_us / f64::from(connections);
    }
    Ok(all)
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// One connection: keeps `share` requests in flight until the time is over.
fn pump(load: Load<'_>, share: u32, start: Instant) -> anyhow::Result<Flow> {
    machine::sit_on(load.cpu);
    let mut connection = Connection::open(load.address, load.key)?;
    let mut random = fastrand::Rng::new();
    let (begin, end) = (start + load.warm_up, start + load.warm_up + load.time);
    let mut flow = Flow { orders: 0, answered: 0, latency_us: histogram(), client_cpu_us: 0.0 };
    let cpu_before = machine::thread_cpu_seconds();
    // Correlation ids are dense, so a ring says when each request was sent.
    let mut sent_us = vec![0u64; (share as usize * OVERTAKING_MAX).next_power_of_two()];
    let mut wanted = share;
    let mut in_flight = 0u32;
    let mut bytes = vec![0; 256 << 10];
    loop {
        let now = Instant::now();
        let now_us = now.saturating_duration_since(start).as_micros() as u64;
        if now < end {
            for _ in 0..wanted {
                let correlation = connection.session.request(&order(
                    load.products,
                    connection.partitions,
                    &mut random,
                ));
                let at = correlation as usize & (sent_us.len() - 1);
                sent_us[at] = now_us;
            }
            in_flight += wanted;
            write(&mut connection.stream, &mut connection.session)?;
        } else if in_flight == 0 {
            let cpu = machine::thread_cpu_seconds() - cpu_before;
            flow.client_cpu_us = cpu * 1e6 / (flow.answered as f64).max(1.0);
            return Ok(flow);
        }
        wanted = 0;
        let count = connection.stream.read(&mut bytes)?;
        if count == 0 {
            bail!("the engine closed the connection");
        }
        connection.session.receive(&bytes[..count]);
        let now = Instant::now();
        let now_us = now.saturating_duration_since(start).as_micros() as u64;
        let counts = now >= begin && now < end;
        while let Some(message) = connection.session.poll()? {
            let ServerMessage::Replies(replies) = message else { continue };
            for reply in replies {
                let reply = reply?;
                load.wanted.check(&reply.outcome)?;
                wanted += 1;
                if counts {
                    let at = reply.correlation as usize & (sent_us.len() - 1);
                    flow.orders += 1;
                    flow.latency_us.record(now_us.saturating_sub(sent_us[at]))?;
                }
            }
        }
        in_flight -= wanted;
        flow.answered += u64::from(wanted);
    }
}

/// An order of a buyer that never came before, under a key of its own.
pub(crate) fn order(
    products: &[ProductId],
    partitions: PartitionCount,
    random: &mut fastrand::Rng,
) -> Request {
    let product = products[random.usize(..products.len())];
    Request {
        partition: partitions.partition_of(product),
        deadline: Timestamp::NONE,
        ask: Ask::Command(Command::Place(Place {
            product,
            buyer: BuyerId::from_bytes(random.u128(..).to_be_bytes()),
            key: IdempotencyKey::from_bytes(random.u128(1..).to_be_bytes()),
            quantity: Quantity::ONE,
            waitlist: false,
        })),
    }
}
