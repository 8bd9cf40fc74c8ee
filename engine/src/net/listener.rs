//! Listening sockets: bound by the caller's thread, so that a busy port is an error before anything
//! starts, and handed to the executor of the core that accepts on them.

use glommio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::time::Duration;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// A connection without traffic is probed after this long, and then at intervals.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// A bound and listening socket that no executor owns yet.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: Socket,
    /// Where it listens; the port is the real one, also when port 0 was asked for.
    pub(crate) address: SocketAddr,
}

/// Binds and listens. No SO_REUSEPORT: a port that is in use is an error.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Bound> {
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
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    #[test]
    fn accepted_sockets_notice_that_their_peer_is_gone() {
        let bound = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let _client = TcpStream::connect(bound.address).expect("it listens");
        let (accepted, _) = bound.socket.accept().expect("a connection");
        assert!(accepted.keepalive().expect("an option"));
        assert_eq!(accepted.tcp_keepalive_time().expect("an option"), KEEPALIVE_IDLE);
    }
}
