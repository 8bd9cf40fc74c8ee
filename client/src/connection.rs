//! Dialling a core: the handshake within a time, and the map it brings.

use crate::ClientError;
use crate::network::{Network, Stream};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::session::{ClientSession, ServerMessage, SessionError};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Room that a read finds in the session's buffer.
const READ_BYTES: usize = 64 << 10;

/// A connection whose handshake is done.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) session: ClientSession,
    /// The server's map; where a core listens on every address, that of this connection is put in.
    pub(crate) map: PartitionMap,
}

impl Connection {
    /// Dials `address` and shakes hands, within `timeout` altogether.
    pub(crate) async fn open(
        network: &dyn Network,
        address: SocketAddr,
        key: &PreSharedKey,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        tokio::time::timeout(timeout, Self::open_in_time(network, address, key))
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    async fn open_in_time(
        network: &dyn Network,
        address: SocketAddr,
        key: &PreSharedKey,
    ) -> Result<Self, ClientError> {
        let mut stream = network.dial(address).await?;
        let mut session = ClientSession::new(key, network.nonce()?);
        loop {
            match session.poll()? {
                Some(ServerMessage::Welcomed) => break,
                Some(_) => return Err(SessionError::OutOfOrder.into()),
                None => {}
            }
            stream.write_all(session.output()).await?;
            session.output().clear();
            let read = poll_fn(|context| poll_receive(&mut stream, &mut session, context)).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        let map = session.map().ok_or(SessionError::OutOfOrder)?;
        let map = with_peer_address(map.clone(), stream.peer_addr()?);
        Ok(Self { stream, session, map })
    }
}

fn with_peer_address(mut map: PartitionMap, peer: SocketAddr) -> PartitionMap {
    for core in map.cores.iter_mut().filter(|core| core.ip().is_unspecified()) {
        core.set_ip(peer.ip());
    }
    map
}

/// Reads from the socket straight into the session's buffer; 0 bytes are the end.
pub(crate) fn poll_receive(
    stream: &mut (impl AsyncRead + Unpin),
    session: &mut ClientSession,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let buffer = session.input();
    buffer.reserve(READ_BYTES);
    // The future is dropped when it is not ready; it has read nothing then.
    pin!(stream.read_buf(buffer)).poll(context)
}
