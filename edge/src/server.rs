//! The threads of an edge: each with a listener, a runtime, a worker; started and stopped together.

use crate::addresses::Addresses;
use crate::config::EdgeConfig;
use crate::limits::{BACKLOG, SEND_BUFFER_BYTES};
use crate::metrics::EdgeMetrics;
use crate::middleware::rate_limit::RateLimits;
use crate::token::{TokenError, Verifier};
use crate::worker::{Shared, Worker};
use crate::{admission, descriptors};
use doorbuster_persistence::Store;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;

/// When the kernel asks whether a silent client is still there, how often, and how many times: one
/// that vanished is found within a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
/// How long sent bytes may stay unacknowledged, or the client's window shut, also after the
/// connection was closed here.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// The pause after an accepted connection while the thread has more than it will get through. The
/// kernel keeps the others waiting meanwhile, and past its bound their clients' kernels try again.
const PRESSED_PAUSE: Duration = Duration::from_millis(1);

/// Why an edge did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// No address of the engine was given.
    #[error("no address of an engine core was given: name at least one")]
    NoEngine,
    /// Tokens cannot be verified.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}. Is another process there? Choose another address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start an edge thread: {0}")]
    Thread(#[source] io::Error),
    /// A thread panicked, which is a bug.
    #[error("an edge thread panicked: please report the message above")]
    Panicked,
}

impl EdgeError {
    /// Whether another process has the address.
    pub fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    address: SocketAddr,
    metrics: Arc<EdgeMetrics>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<Result<(), EdgeError>>>,
}

impl Edge {
    /// Checks that tokens work, binds the sockets, starts the threads. The engine need not be there
    /// yet: until it is, `/ready` and orders are answered 503.
    pub fn start(config: EdgeConfig, store: Arc<dyn Store>) -> Result<Self, EdgeError> {
        if config.engine.is_empty() {
            return Err(EdgeError::NoEngine);
        }
        Verifier::new(&config.tokens)?;
        let threads = config.threads.max(1);
        let bind = |source| EdgeError::Bind { address: config.http, source };
        let listeners = listen(config.http, threads).map_err(bind)?;
        let address = listeners[0].local_addr().map_err(bind)?;
        let metrics = Arc::new(EdgeMetrics::new(threads));
        let (stop, stopping) = watch::channel(false);
        let mut edge = Self { address, metrics, stop, threads: Vec::new() };
        let shared = Shared {
            rate_limits: Arc::new(RateLimits::new(&config)),
            addresses: Addresses::new(config.connections_per_address),
            connections_max: descriptors::connections_per_thread(&config),
            config: Arc::new(config),
            store,
            edge: Arc::clone(&edge.metrics),
        };
        let start = Start { shared, stopping };
        for (thread, listener) in listeners.into_iter().enumerate() {
            let start = start.clone();
            let handle = std::thread::Builder::new()
                .name(format!("edge-{thread}"))
                .spawn(move || start.run(thread, listener))
                .map_err(EdgeError::Thread)?;
            edge.threads.push(handle);
        }
        Ok(edge)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counters.
    pub fn metrics(&self) -> Arc<EdgeMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Whether orders can be taken: every thread is connected to every core. A tenth of a second
    /// late at the most.
    pub fn is_ready(&self) -> bool {
        !*self.stop.borrow() && self.metrics.is_ready()
    }

    /// Begins to drain: no new connections, requests in flight are answered. Returns at once.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops, waits until all threads have ended, and gives the first error.
    pub fn join(mut self) -> Result<(), EdgeError> {
        self.stop();
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or(Err(EdgeError::Panicked));
            result = result.and(ended);
        }
        result
    }
}

/// What a thread is started with.
#[derive(Clone)]
struct Start {
    shared: Shared,
    stopping: watch::Receiver<bool>,
}

impl Start {
    fn run(self, thread: usize, listener: StdTcpListener) -> Result<(), EdgeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EdgeError::Thread)?;
        LocalSet::new().block_on(&runtime, self.serve(thread, listener))
    }

    async fn serve(mut self, thread: usize, listener: StdTcpListener) -> Result<(), EdgeError> {
        let listener = TcpListener::from_std(listener).map_err(EdgeError::Thread)?;
        let mut prefix = [0; 8];
        getrandom::fill(&mut prefix)
            .map_err(|error| EdgeError::Thread(io::Error::other(error.to_string())))?;
        let prefix = u64::from_le_bytes(prefix);
        let worker = Rc::new(Worker::new(self.shared, thread, prefix)?);
        loop {
            tokio::select! {
                biased;
                // An edge that was dropped without a stop stops as well.
                _ = self.stopping.wait_for(|is_stopping| *is_stopping) => break,
                accepted = admission::accept(&worker, &listener) => match accepted {
                    Ok((stream, peer)) => {
                        admission::admit(&worker, stream, peer.ip()).await;
                        if worker.turns.are_pressed() {
                            tokio::time::sleep(PRESSED_PAUSE).await;
                        }
                    }
                    Err(error) => admission::not_accepted(&worker, &error).await,
                },
            }
        }
        drop(listener);
        worker.is_stopping.set(true);
        let drain_timeout = worker.config.drain_timeout;
        if tokio::time::timeout(drain_timeout, worker.connections.drain()).await.is_err() {
            let open = worker.connections.len();
            tracing::warn!(open, "connections did not end in time and are closed");
        }
        Ok(())
    }
}

/// One listening socket per thread on one address; the kernel spreads connections over them.
fn listen(address: SocketAddr, threads: usize) -> io::Result<Vec<StdTcpListener>> {
    if address.port() != 0 {
        // Sockets that share a port would share it with another edge too, which would then take
        // half of the connections. A socket that does not share it finds out.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
    }
    let mut bound = address;
    let mut listeners = Vec::with_capacity(threads);
    for _ in 0..threads {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        inherit(&socket)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = StdTcpListener::from(socket);
        bound = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Sets what every connection takes over from its listener, without a call for each.
fn inherit(listener: &Socket) -> io::Result<()> {
    // Without this a small answer may wait for the acknowledgement of the one before.
    listener.set_tcp_nodelay(true)?;
    listener.set_tcp_keepalive(&KEEPALIVE)?;
    listener.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    listener.set_send_buffer_size(SEND_BUFFER_BYTES)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn connections_take_over_what_their_listener_was_told() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
        assert_eq!(accepted.send_buffer_size().unwrap(), 2 * SEND_BUFFER_BYTES);
    }
}
