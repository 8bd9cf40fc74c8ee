//! Listening sockets: bound by the caller's thread, so that a busy port is an error before anything
//! starts, and handed to the executor of the core that accepts on them.

use glommio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// A connection without traffic is probed after this long, and then at intervals.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// How long an address that is in use is waited for, and how often it is tried.
const IN_USE_PATIENCE: Duration = Duration::from_secs(3);
const TRY_EVERY: Duration = Duration::from_millis(10);

/// A bound and listening socket that no executor owns yet.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: Socket,
    /// Where it listens; the port is the real one, also when port 0 was asked for.
    pub(crate) address: SocketAddr,
}

/// Binds and listens. No SO_REUSEPORT: a port that stays in use is an error.
///
/// It may be in use for a moment by nobody: a killed process leaves its rings to a worker of the
/// kernel, and with them, until the worker has come to it, the socket that they accept on. On a
/// machine that is busy, that can be later than the next start. The kernel tells nobody when a port
/// gets free, so it is tried again and again. Nothing runs yet that the wait could hold up.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Bound> {
    bind_telling(address, || {
        tracing::info!(
            %address,
            "the address is in use; a killed engine may not have let go of it yet, so it is tried \
             for {} s",
            IN_USE_PATIENCE.as_secs()
        );
    })
}

/// The same; `tell` hears that it has to wait.
fn bind_telling(address: SocketAddr, tell: impl FnOnce()) -> io::Result<Bound> {
    let is_in_use = |tried: &io::Result<Bound>| {
        tried.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let begun = Instant::now();
    let mut tried = bind_now(address);
    if is_in_use(&tried) {
        tell();
    }
    while is_in_use(&tried) && begun.elapsed() < IN_USE_PATIENCE {
        thread::sleep(TRY_EVERY);
        tried = bind_now(address);
    }
    tried
}

fn bind_now(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit this: a client that vanished without a word gives its place back. No
    // user timeout, which would also cut off a consumer that is alive and reads nothing for a while.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let address = socket.local_addr()?.as_socket().ok_or_else(|| {
        io::Error::new(io::ErrorKind::AddrNotAvailable, "the socket has no internet address")
    })?;
    Ok(Bound { socket, address })
}

impl Bound {
    /// Hands the socket to the executor of this thread.
    ///
    /// glommio's own `bind` always sets SO_REUSEPORT, which would let a second engine share the
    /// port in silence; a raw descriptor is its only other way in.
    #[allow(unsafe_code)]
    pub(crate) fn into_listener(self) -> TcpListener {
        let descriptor = self.socket.into_raw_fd();
        // SAFETY: `into_raw_fd` gave up ownership of an open, listening TCP socket, and this is the
        // only place that takes it; from here on the listener owns and closes it.
        unsafe { TcpListener::from_raw_fd(descriptor) }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEEPALIVE_IDLE, bind, bind_telling};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn an_address_that_becomes_free_is_waited_for() {
        let before = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = before.local_addr().expect("it listens");
        let bound = bind_telling(address, || drop(before)).expect("it is free now");
        assert_eq!(bound.address, address);
    }

    #[test]
    fn accepted_sockets_notice_that_their_peer_is_gone() {
        let bound = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let _client = TcpStream::connect(bound.address).expect("it listens");
        let (accepted, _) = bound.socket.accept().expect("a connection");
        assert!(accepted.keepalive().expect("an option"));
        assert_eq!(accepted.tcp_keepalive_time().expect("an option"), KEEPALIVE_IDLE);
    }
}
