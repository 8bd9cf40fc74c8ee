//! The threads of an edge: each with a listener, a runtime, a worker; started and stopped together.

use crate::config::EdgeConfig;
use crate::connection::{self, ConnectionState};
use crate::metrics::{EdgeMetrics, Rejected};
use crate::middleware::rate_limit::RateLimits;
use crate::token::{TokenError, Verifier};
use crate::worker::Worker;
use doorbuster_persistence::Store;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

/// Connections that wait to be accepted, per listener.
const BACKLOG: i32 = 4_096;
/// The pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

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
            config: Arc::new(config),
            store,
            metrics: Arc::clone(&edge.metrics),
            stopping,
        };
        for (thread, listener) in listeners.into_iter().enumerate() {
            let shared = shared.clone();
            let handle = std::thread::Builder::new()
                .name(format!("edge-{thread}"))
                .spawn(move || shared.run(thread, listener))
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

/// What every thread is started with.
#[derive(Clone)]
struct Shared {
    config: Arc<EdgeConfig>,
    store: Arc<dyn Store>,
    metrics: Arc<EdgeMetrics>,
    rate_limits: Arc<RateLimits>,
    stopping: watch::Receiver<bool>,
}

impl Shared {
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
        let drain_timeout = self.config.drain_timeout;
        let worker =
            Worker::new(self.config, self.store, self.metrics, self.rate_limits, thread, prefix)?;
        let worker = Rc::new(worker);
        loop {
            tokio::select! {
                biased;
                // An edge that was dropped without a stop stops as well.
                _ = self.stopping.wait_for(|is_stopping| *is_stopping) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => accept(&worker, stream, peer.ip()),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        worker.is_stopping.set(true);
        if tokio::time::timeout(drain_timeout, worker.connections.drain()).await.is_err() {
            let open = worker.connections.len();
            tracing::warn!(open, "connections did not end in time and are closed");
        }
        Ok(())
    }
}

fn accept(worker: &Rc<Worker>, stream: TcpStream, peer: IpAddr) {
    if worker.connections.len() >= worker.config.connections_per_thread_max {
        worker.metrics.rejected(Rejected::Connections);
        turn_away(&stream);
        return;
    }
    // Without this a small answer may wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let state = Rc::new(ConnectionState::new(worker, peer));
    let number = worker.connections.add(Rc::clone(&state));
    worker.metrics.set_connections(worker.connections.len());
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        connection::serve(stream, state, Rc::clone(&worker)).await;
        worker.connections.remove(number);
        worker.metrics.set_connections(worker.connections.len());
    });
}

/// Says that there are too many connections, as far as the socket takes it at once.
fn turn_away(stream: &TcpStream) {
    const BODY: &str = concat!(
        r#"{"type":"urn:doorbuster:problem:overloaded","title":"Too busy to take this now","#,
        r#""status":503,"detail":"Too many connections are open. Try again, or reuse one","#,
        r#""code":"overloaded","requestId":""}"#
    );
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    // The client finds a closed connection if this does not fit; there is nobody to tell.
    let _ = SockRef::from(stream).send(answer.as_bytes());
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
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = StdTcpListener::from(socket);
        bound = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}
