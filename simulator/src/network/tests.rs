//! What holds of every connection, and that each fault does what it says.

use super::*;
use crate::dials::{Dials, Group, NetworkDials};
use doorbuster_client::Network;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

const AN_HOUR: Duration = Duration::from_secs(3_600);

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7000))
}

fn quiet() -> NetworkDials {
    NetworkDials { delayed: 0.0, ..NetworkDials::quiet() }
}

fn world(seed: u64, network: NetworkDials) -> World {
    let mut dials = Dials::draw(&Chance::new(seed));
    Group::ALL.into_iter().for_each(|group| dials.quiet(group));
    dials.network = network;
    World::new(seed, dials, false)
}

/// Runs a story on a network, on one thread, in simulated time.
fn on_network<T>(
    seed: u64,
    dials: NetworkDials,
    story: impl AsyncFnOnce(World, SimNetwork) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let world = world(seed, dials);
        let network = SimNetwork::new(world.clone());
        story(world, network).await
    })
}

/// A dialler and a listener with a connection between them.
struct Pair {
    buyer: Process,
    engine: Process,
    dialled: Box<dyn doorbuster_client::Stream>,
    accepted: SimStream,
    listener: SimListener,
}

async fn pair(network: &SimNetwork) -> Pair {
    let (buyer, engine) = (Process::new("buyer"), Process::new("engine"));
    let listener = network.of(&engine).listen(address()).expect("the address is free");
    let interface = network.of(&buyer);
    let (dialled, accepted) = tokio::join!(interface.dial(address()), listener.accept());
    let (dialled, accepted) = (dialled.expect("it is there"), accepted.expect("it lives"));
    Pair { buyer, engine, dialled, accepted, listener }
}

/// Bytes of which each tells its place.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place % 251) as u8).collect()
}

/// Everything until the end or an error.
async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> (Vec<u8>, Option<io::ErrorKind>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 777]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return (all, None),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

#[test]
fn bytes_arrive_in_order_through_a_bounded_buffer_however_late() {
    for seed in 0..30 {
        let delay_max = Duration::from_millis(500);
        let dials = NetworkDials { delayed: 0.8, delay_max, buffer_bytes: 1_000, ..quiet() };
        on_network(seed, dials, async |_, network| {
            let Pair { mut dialled, mut accepted, .. } = pair(&network).await;
            let sent = bytes(20_000);
            let write = async {
                dialled.write_all(&sent).await.expect("nothing breaks");
                drop(dialled);
            };
            let ((), (read, error)) = tokio::join!(write, read_all(&mut accepted));
            assert_eq!((read == sent, error), (true, None), "seed {seed}");
            drop(accepted);
            assert_eq!(network.connections(), 0);
        });
    }
}

#[test]
fn a_writer_waits_when_nobody_reads() {
    on_network(1, NetworkDials { buffer_bytes: 1_000, ..quiet() }, async |_, network| {
        let Pair { mut dialled, mut accepted, .. } = pair(&network).await;
        let mut written = 0;
        while let Ok(count) = timeout(AN_HOUR, dialled.write(&bytes(300))).await {
            written += count.expect("nothing breaks");
        }
        assert_eq!(written, 1_000);
        accepted.read_exact(&mut [0; 10]).await.expect("it is there");
        assert_eq!(dialled.write(&bytes(300)).await.expect("nothing breaks"), 10);
    });
}

#[test]
fn a_connection_is_cut_at_any_byte_and_each_end_hears_of_it_when_it_does() {
    let (mut lengths, mut late) = (Vec::new(), 0);
    for seed in 0..200 {
        let delay_max = Duration::from_millis(100);
        let dials = NetworkDials { delayed: 0.5, delay_max, cut: 0.1, ..quiet() };
        let (read, is_late) = on_network(seed, dials, async |_, network| {
            let Pair { mut dialled, mut accepted, .. } = pair(&network).await;
            let sent = bytes(100_000);
            let write = async {
                for piece in sent.chunks(1_000) {
                    if dialled.write_all(piece).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(10)).await;
                }
                Instant::now()
            };
            let read = async {
                let read = read_all(&mut accepted).await;
                (read, Instant::now())
            };
            let (given_up, ((read, error), over)) = tokio::join!(write, read);
            assert_eq!(error, Some(io::ErrorKind::ConnectionReset), "seed {seed}");
            assert!(sent.starts_with(&read), "seed {seed}: what comes is what was sent");
            (read.len(), over > given_up)
        });
        lengths.push(read);
        late += u32::from(is_late);
    }
    assert!(lengths.iter().any(|length| length % 1_000 != 0), "also within a piece");
    assert!((20..180).contains(&late), "{late} times old bytes came after the writer knew");
}

#[test]
fn silence_is_heard_by_the_kernels_alone() {
    on_network(3, NetworkDials { silent: 1.0, ..quiet() }, async |_, network| {
        let Pair { mut dialled, mut accepted, .. } = pair(&network).await;
        let began = Instant::now();
        dialled.write_all(&bytes(10)).await.expect("nobody tells");
        let (read, error) = read_all(&mut accepted).await;
        assert_eq!((read.len(), error), (0, Some(io::ErrorKind::TimedOut)));
        assert_eq!(began.elapsed().as_secs(), 20);
        assert_eq!(read_all(&mut dialled).await.1, Some(io::ErrorKind::TimedOut));
    });
}

#[test]
fn a_partition_holds_bytes_back_and_keeps_dialling_from_getting_through() {
    on_network(4, quiet(), async |_, network| {
        let Pair { buyer, mut dialled, mut accepted, engine: _engine, listener: _listener } =
            pair(&network).await;
        let names = [Name::from("buyer"), Name::from("engine")];
        network.0.change(|state, _| state.partitions.part(&names[0], &names[1]));
        dialled.write_all(b"held").await.expect("nobody tells");
        accepted.write_all(b"through").await.expect("the other way is open");
        let mut through = [0; 7];
        dialled.read_exact(&mut through).await.expect("the other way is open");
        let mut held = [0; 4];
        let ten = Duration::from_secs(10);
        assert!(timeout(ten, accepted.read_exact(&mut held)).await.is_err());
        let interface = network.of(&buyer);
        assert!(timeout(ten / 2, interface.dial(address())).await.is_err());
        network.rejoin();
        accepted.read_exact(&mut held).await.expect("it arrives");
        assert_eq!((&held, &through), (b"held", b"through"));
        interface.dial(address()).await.expect("it is heard");
    });
}

#[test]
fn a_frozen_process_reads_nothing_and_loses_nothing() {
    on_network(5, quiet(), async |_, network| {
        let Pair { engine, mut dialled, mut accepted, .. } = pair(&network).await;
        engine.freeze();
        dialled.write_all(&bytes(100)).await.expect("the kernel takes it");
        let mut read = [0; 100];
        assert!(timeout(AN_HOUR, accepted.read_exact(&mut read)).await.is_err());
        engine.thaw();
        accepted.read_exact(&mut read).await.expect("it is there");
        assert_eq!(read[..], bytes(100));
    });
}

#[test]
fn the_dead_let_go_and_their_addresses_are_free() {
    on_network(6, quiet(), async |_, network| {
        let engine = Process::new("engine");
        let interface = network.of(&engine);
        let (accepted, waits) = tokio::sync::oneshot::channel();
        engine.spawn(async move {
            let listener = interface.listen(address()).expect("the address is free");
            let mut stream = listener.accept().await.expect("it lives");
            stream.write_all(&bytes(50)).await.expect("nothing breaks");
            let _ = accepted.send(());
            let _never = listener.accept().await;
        });
        sleep(Duration::from_millis(1)).await;
        let buyer = network.of(&Process::new("buyer"));
        let mut dialled = buyer.dial(address()).await.expect("it is there");
        waits.await.expect("it accepts");
        engine.kill();
        let (read, error) = read_all(&mut dialled).await;
        assert_eq!((read, error), (bytes(50), None), "what its kernel had still comes");
        dialled.write_all(b"hello?").await.expect("nobody has told");
        assert_eq!(dialled.write(b"?").await.expect_err("it is gone").kind(), RESET);
        assert_eq!(buyer.dial(address()).await.expect_err("nobody listens").kind(), REFUSED);
        let again = network.of(&Process::new("engine")).listen(address());
        again.expect("the address is free");
    });
}

const RESET: io::ErrorKind = io::ErrorKind::ConnectionReset;
const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;

#[test]
fn a_machine_without_power_tells_nobody() {
    on_network(7, quiet(), async |_, network| {
        let Pair { engine, mut dialled, mut accepted, .. } = pair(&network).await;
        accepted.write_all(&bytes(10)).await.expect("nothing breaks");
        dialled.read_exact(&mut [0; 10]).await.expect("it is there");
        let began = Instant::now();
        network.unplug("engine");
        engine.kill();
        drop(accepted);
        let (read, error) = read_all(&mut dialled).await;
        assert_eq!(read.len(), 0);
        assert!(error.is_some() && began.elapsed() > Duration::ZERO, "{error:?}");
    });
}

/// A crowd that dials, talks and gives up on a network with every fault; what was heard.
fn crowd(seed: u64) -> (u64, u64, Vec<usize>) {
    let dials = NetworkDials {
        delayed: 0.5,
        delay_max: Duration::from_millis(200),
        refused: 0.1,
        unheard: 0.1,
        cut: 0.02,
        silent: 0.01,
        corrupted: 0.02,
        partition_every: Some(Duration::from_secs(3)),
        buffer_bytes: 5_000,
    };
    on_network(seed, dials, async |world, network| {
        tokio::task::spawn_local(network.clone().keep_parting());
        let engine = Process::new("engine");
        let interface = network.of(&engine);
        let (process, heard) = (engine.clone(), std::rc::Rc::new(std::cell::RefCell::default()));
        let hears = std::rc::Rc::clone(&heard);
        engine.spawn(async move {
            let listener = interface.listen(address()).expect("the address is free");
            while let Ok(mut stream) = listener.accept().await {
                let hears = std::rc::Rc::clone(&hears);
                process.spawn(async move {
                    let (read, _) = read_all(&mut stream).await;
                    let hears: &std::cell::RefCell<Vec<usize>> = &hears;
                    hears.borrow_mut().push(read.len());
                });
            }
        });
        let buyers: Vec<_> =
            (0..4).map(|number| Process::new(&format!("buyer-{number}"))).collect();
        for buyer in &buyers {
            let interface = network.of(buyer);
            buyer.spawn(async move {
                loop {
                    let dialled = timeout(Duration::from_secs(5), interface.dial(address())).await;
                    if let Ok(Ok(mut stream)) = dialled {
                        let _ =
                            timeout(Duration::from_secs(1), stream.write_all(&bytes(9_000))).await;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            });
        }
        sleep(Duration::from_secs(60)).await;
        world.heal();
        network.rejoin();
        (world.trace().hash(), world.trace().lines(), heard.take())
    })
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..5 {
        let run = crowd(seed);
        assert_eq!(run, crowd(seed), "seed {seed}");
        assert_ne!(run.0, crowd(seed + 100).0, "another seed is another run");
        assert!(run.2.len() > 100, "{} connections", run.2.len());
    }
}
