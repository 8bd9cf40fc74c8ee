//! The seam to the world outside: dialling a core, and chance for handshakes.
//!
//! Two implementations: [`TcpNetwork`], and the simulator's, in which connections break as a seed
//! says. Everything else in this crate is a function of what comes through here, of tokio's clock,
//! and of the order in which tasks run.

use socket2::{SockRef, TcpKeepalive};
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A peer that acknowledges nothing for this long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// How cores are reached. Cheap to share; every call may come from any thread.
pub trait Network: Debug + Send + Sync {
    /// Connects to a core. Dropping the future gives the connection up.
    fn dial(&self, address: SocketAddr) -> Dialling<'_>;

    /// Bytes that nobody can foretell, for the handshake.
    fn nonce(&self) -> io::Result<[u8; 32]>;
}

/// A connection in the making.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// A connection: bytes in order, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {
    /// The address at the other end.
    fn peer_addr(&self) -> io::Result<SocketAddr>;
}

/// The sockets of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNetwork;

impl TcpNetwork {
    /// What configurations begin with.
    pub fn shared() -> Arc<dyn Network> {
        Arc::new(Self)
    }
}

impl Network for TcpNetwork {
    fn dial(&self, address: SocketAddr) -> Dialling<'_> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let socket = SockRef::from(&stream);
            socket.set_tcp_keepalive(
                &TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL),
            )?;
            socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn nonce(&self) -> io::Result<[u8; 32]> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        Ok(nonce)
    }
}

impl Stream for TcpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Self::peer_addr(self)
    }
}
