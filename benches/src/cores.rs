//! Two cores, next to one. The load is made in process: each core's executor runs the clients that
//! load it as more tasks, over pipes in memory. So a core does the whole work of an order,
//! asking included, on its own CPU, and the comparison is fair on a machine without a third one:
//! in both cases every CPU that serves also makes its own load, and no other CPU does anything. The
//! load is the same one: as many orders in flight of the same products, on the same partitions, which
//! two cores share.
//!
//! With few in flight each of two cores has half as many for a commit, and pays for as many commits.
//! So there is a second load, with enough of them that a core never waits for its disk nor is made
//! busy by it: that one shows what a second core adds, and is judged.

use crate::figures::{Figures, count, ratios};
use crate::goals;
use crate::in_process::{self, InProcess, Sockets};
use crate::machine;
use crate::options::Options;
use crate::pipe::{self, End, Ends};
use crate::pipeline::{self, Wanted};
use crate::server;
use crate::unsynced::Syncing;
use anyhow::{Context, anyhow, bail};
use doorbuster_engine::host::Stream;
use doorbuster_protocol::command::Ask;
use doorbuster_protocol::handshake::PartitionMap;
use doorbuster_protocol::session::{ClientSession, ServerMessage};
use doorbuster_protocol::{Outcome, ProductId, Request, Timestamp, limits};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const SECONDS: u32 = 2;
/// So many times `--in-flight` are in flight when no core lacks work.
const ENOUGH: u32 = 4;
/// Connections of each core: what one has in flight is bounded.
const CONNECTIONS: usize = 4;
const WARM_UP: Duration = Duration::from_millis(500);
/// Enough to touch every partition.
const PRODUCTS: usize = 64;
/// Time between two looks at whether orders may begin.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Longer than any sound round goes on after its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The load of each core, made on its own executor.
#[derive(Clone)]
struct OwnLoad {
    /// Orders of each connection.
    in_flight: u32,
    time: Duration,
    /// Whether orders may begin.
    begin: Arc<AtomicBool>,
    found: mpsc::Sender<anyhow::Result<u64>>,
}

impl Sockets for OwnLoad {
    type Stream = End;
    type Listener = Ends;

    fn listen(&self, map: &PartitionMap) -> io::Result<Ends> {
        let ends = (0..CONNECTIONS).map(|_| {
            let (near, far) = pipe::connection();
            let (load, products) = (self.clone(), products_of(map));
            glommio::spawn_local(async move {
                let answered = match products {
                    Ok(products) => load.generate(near, &products).await,
                    Err(error) => Err(error),
                };
                let _ = load.found.send(answered);
            })
            .detach();
            far
        });
        Ok(Ends(RefCell::new(ends.collect())))
    }
}

/// The products that live on the core of this map.
fn products_of(map: &PartitionMap) -> anyhow::Result<Vec<ProductId>> {
    let mut products = pipeline::products(PRODUCTS)?;
    products.retain(|product| {
        map.owners[map.partitions.partition_of(*product).index()] == map.self_core
    });
    Ok(products)
}

impl OwnLoad {
    /// Keeps so many orders in flight until the time is over, and says how many were answered in
    /// it.
    async fn generate(&self, mut end: End, products: &[ProductId]) -> anyhow::Result<u64> {
        let mut session = ClientSession::new(&in_process::key(), [9; 32]);
        let mut bytes = vec![0; 256 << 10];
        while session.map().is_none() {
            exchange(&mut end, &mut session, &mut bytes).await?;
            while session.poll()?.is_some() {}
        }
        let partitions = session.map().context("it was just there")?.partitions;
        for product in products {
            session.request(&Request {
                partition: partitions.partition_of(*product),
                deadline: Timestamp::NONE,
                ask: Ask::Command(pipeline::definition(*product, limits::STOCK_MAX)),
            });
        }
        let mut missing = products.len();
        while missing > 0 {
            exchange(&mut end, &mut session, &mut bytes).await?;
            missing -= replies(&mut session, |outcome| match outcome {
                Outcome::Product(_) => Ok(()),
                other => bail!("the product was not defined: {other:?}"),
            })?;
        }

        while !self.begin.load(Relaxed) {
            glommio::timer::sleep(LOOK_EVERY).await;
        }
        let mut random = fastrand::Rng::new();
        let begin = Instant::now() + WARM_UP;
        let stop = begin + self.time;
        let (mut wanted, mut in_flight, mut answered) = (self.in_flight as usize, 0, 0u64);
        loop {
            let now = Instant::now();
            if now < stop {
                for _ in 0..wanted {
                    session.request(&pipeline::order(products, partitions, &mut random));
                }
                in_flight += wanted;
            } else if in_flight == 0 {
                return Ok(answered);
            }
            exchange(&mut end, &mut session, &mut bytes).await?;
            wanted = replies(&mut session, |outcome| Wanted::Placed.check(outcome))?;
            in_flight -= wanted;
            if now >= begin && now < stop {
                answered += wanted as u64;
            }
        }
    }
}

/// Sends what is to be sent, and waits for something to come.
async fn exchange(
    end: &mut End,
    session: &mut ClientSession,
    bytes: &mut [u8],
) -> anyhow::Result<()> {
    let output = session.output();
    let mut sent = 0;
    while sent < output.len() {
        sent += poll_fn(|cx| end.poll_write(cx, &output[sent..])).await?;
    }
    output.clear();
    let count = poll_fn(|cx| end.poll_read(cx, bytes)).await?;
    anyhow::ensure!(count > 0, "the core closed the connection");
    session.receive(&bytes[..count]);
    Ok(())
}

/// Checks the answers that came, and counts them.
fn replies(
    session: &mut ClientSession,
    check: impl Fn(&Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut count = 0;
    while let Some(message) = session.poll()? {
        let ServerMessage::Replies(replies) = message else { continue };
        for reply in replies {
            check(&reply?.outcome)?;
            count += 1;
        }
    }
    Ok(count)
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let cpus = machine::cpus();
    let mut figures = Figures::new("Two cores, next to one, load made in their own threads");
    figures.note(machine::describe());
    let [first, second, ..] = cpus[..] else {
        figures.not_measured(&goals::TWO_CORES_TO_ONE, "this machine has one CPU");
        return Ok(figures);
    };
    let (rounds, seconds) = (options.rounds.min(3), options.seconds.unwrap_or(SECONDS));
    figures.note(format!(
        "an engine in this process, its core on CPU {first}, or two on CPUs {first} and {second}, its \
         other threads there, too; each core's clients are {CONNECTIONS} tasks of its executor and \
         ask through memory; so many in flight over {PRODUCTS} products in all, which two cores share; \
         every commit synced; {rounds} rounds of {seconds} s each, in turns",
    ));
    for in_flight in [options.in_flight, options.in_flight * ENOUGH] {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            one.push(round(options, &[first], in_flight, seconds)?);
            two.push(round(options, &[first, second], in_flight, seconds)?);
        }
        let ratio = ratios(&two, &one);
        let name = format!("{} in flight", count(in_flight.into()));
        figures.row(format!("{name}, one core"), "orders/s", &one);
        figures.row(format!("{name}, two cores"), "orders/s", &two);
        figures.row(format!("{name}, two cores, to one"), "×", &ratio);
        if in_flight > options.in_flight {
            figures.judge_with(&goals::TWO_CORES_TO_ONE, &ratio, Some((&two, "/s")));
        }
    }
    Ok(figures)
}

/// Orders per second of one core on each of `cpus`.
fn round(options: &Options, cpus: &[usize], in_flight: u32, seconds: u32) -> anyhow::Result<f64> {
    let scratch = options.scratch()?;
    let (found, answered) = mpsc::channel();
    let time = Duration::from_secs(seconds.into());
    let connections = cpus.len() * CONNECTIONS;
    let in_flight = in_flight.div_ceil(connections as u32);
    let begin = Arc::new(AtomicBool::new(false));
    let load = OwnLoad { in_flight, time, begin: Arc::clone(&begin), found };
    // Nobody connects there: the map needs addresses.
    let addresses = cpus.iter().map(|_| server::free_address()).collect::<Result<_, _>>()?;
    let engine =
        InProcess::start(&scratch.path().join("data"), Syncing::On, cpus, addresses, &load)?;
    drop(load);
    engine.wait_for_reserve()?;
    begin.store(true, Relaxed);
    let mut orders = 0;
    for _ in 0..connections {
        let connection = answered.recv_timeout(WARM_UP + time + PATIENCE);
        orders += connection.map_err(|_| anyhow!("a core does not come to an end"))??;
    }
    engine.stop()?;
    Ok(orders as f64 / time.as_secs_f64())
}
