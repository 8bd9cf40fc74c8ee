//! Many attackers of one kind at once, on a thread of their own, and what became of them.

use super::attackers::{self, Kind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// An attacker whose connection is closed comes back after so long, counted from its last coming.
const COME_BACK: Duration = Duration::from_secs(5);
/// Attackers come in such groups, so that the listeners' queues do not overflow.
const GROUP: usize = 50;
/// An address that attackers of each kind come from, forgers all of them, and honest buyers, too.
pub(crate) const SHARED_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 1);

/// What is attacked, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) http: SocketAddr,
    /// A good token: what is refused is not refused for the want of it.
    pub(crate) bearer: String,
    pub(crate) product: String,
    /// Between two bytes of those who dawdle.
    pub(crate) pause: Duration,
}

/// What became of the attackers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) opened: AtomicU64,
    pub(crate) held: AtomicU64,
    /// Connections that the server ended.
    pub(crate) closed: AtomicU64,
    /// Connections that could not be made.
    pub(crate) unmade: AtomicU64,
    /// Answers that were as they had to be.
    pub(crate) right: AtomicU64,
    /// What was not, in words.
    pub(crate) wrong: Mutex<Vec<String>>,
    /// How long those lived that the server ended.
    lifetimes: Mutex<Vec<Duration>>,
}

impl Tally {
    pub(crate) fn is_right(&self) {
        self.right.fetch_add(1, Relaxed);
    }

    pub(crate) fn is_wrong(&self, what: String) {
        self.wrong.lock().expect("nobody panics with it").push(what);
    }

    pub(crate) fn get(&self, of: fn(&Self) -> &AtomicU64) -> u64 {
        of(self).load(Relaxed)
    }

    /// The middle and the longest life of a connection that the server ended.
    pub(crate) fn lifetimes(&self) -> Option<(Duration, Duration)> {
        let mut all = self.lifetimes.lock().expect("nobody panics with it").clone();
        all.sort();
        Some((all[all.len().checked_sub(1)? / 2], *all.last()?))
    }
}

/// An attack that goes on until it is stopped.
pub(crate) struct Attack {
    pub(crate) tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// `count` attackers who each hold a connection, or as many connections in a second.
    pub(crate) fn start(kind: Kind, count: usize, target: &Target) -> Self {
        let tally = Arc::new(Tally::default());
        let (stop, stopping) = watch::channel(false);
        let (shared, target) = (Arc::clone(&tally), target.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(run(kind, count, target, shared, stopping));
        });
        Self { tally, stop, thread: Some(thread) }
    }

    /// Ends it, and closes what is open.
    pub(crate) fn stop(mut self) -> Arc<Tally> {
        self.stop.send_replace(true);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("attackers do not panic");
        let wrong = self.tally.wrong.lock().expect("nobody panics with it").clone();
        assert!(wrong.is_empty(), "{} wrong answers, such as {:?}", wrong.len(), &wrong[..1]);
        Arc::clone(&self.tally)
    }
}

impl Drop for Attack {
    /// Nobody is left behind by a test that failed.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(
    kind: Kind,
    count: usize,
    target: Target,
    tally: Arc<Tally>,
    mut stopping: watch::Receiver<bool>,
) {
    let target = Arc::new(target);
    let mut attackers = tokio::task::JoinSet::new();
    let come = async {
        for number in 0..count {
            let (target, tally) = (Arc::clone(&target), Arc::clone(&tally));
            if kind.is_held() {
                attackers.spawn(hold(kind, number, target, tally));
                if number % GROUP == GROUP - 1 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            } else if number % GROUP == 0 {
                // A few who share the rate between them.
                let share = GROUP.min(count - number);
                attackers.spawn(send(kind, number, share, target, tally));
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = stopping.wait_for(|stops| *stops) => {}
        () = come => {}
    }
    attackers.shutdown().await;
}

/// Holds a connection for as long as the server lets it, and comes back.
async fn hold(kind: Kind, number: usize, target: Arc<Target>, tally: Arc<Tally>) {
    loop {
        let began = Instant::now();
        if let Some(stream) = connect(kind, number, &target, &tally).await {
            let held = Held::new(&tally);
            attackers::hold(kind, stream, &target, &tally).await;
            drop(held);
            tally.closed.fetch_add(1, Relaxed);
            tally.lifetimes.lock().expect("nobody panics with it").push(began.elapsed());
        }
        tokio::time::sleep_until(began + COME_BACK).await;
    }
}

/// Comes so often in a second, each time with a new connection.
async fn send(kind: Kind, first: usize, rate: usize, target: Arc<Target>, tally: Arc<Tally>) {
    let mut clock = tokio::time::interval(Duration::from_secs(1) / rate as u32);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in first.. {
        clock.tick().await;
        if let Some(stream) = connect(kind, number, &target, &tally).await {
            attackers::send(kind, number, stream, &target, &tally).await;
        }
    }
}

async fn connect(kind: Kind, number: usize, target: &Target, tally: &Tally) -> Option<TcpStream> {
    let second = if kind == Kind::HalfOpen { 77 } else { SHARED_ADDRESS.octets()[1] };
    let source = match kind {
        // Tokens are counted by address.
        Kind::BadTokens => SHARED_ADDRESS,
        _ => Ipv4Addr::new(127, second, (number % 8) as u8, (number / 8 % 250 + 1) as u8),
    };
    let socket = TcpSocket::new_v4().ok()?;
    let made = async {
        socket.bind((source, 0).into())?;
        if kind == Kind::SlowReaders {
            socket.set_recv_buffer_size(4_096)?;
        }
        socket.connect(target.http).await
    };
    match tokio::time::timeout(Duration::from_secs(10), made).await {
        Ok(Ok(stream)) => {
            tally.opened.fetch_add(1, Relaxed);
            Some(stream)
        }
        _ => {
            tally.unmade.fetch_add(1, Relaxed);
            None
        }
    }
}

/// Counts a connection for as long as it is held.
struct Held<'a>(&'a Tally);

impl<'a> Held<'a> {
    fn new(tally: &'a Tally) -> Self {
        tally.held.fetch_add(1, Relaxed);
        Self(tally)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Relaxed);
    }
}
