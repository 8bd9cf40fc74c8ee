//! An end of a connection in the hands of a process.

use super::connection::{Attempt, Connection, Side};
use super::{Shared, partitions::Partitions};
use crate::process::Life;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// One end of a connection. Dropping it closes it.
pub struct SimStream {
    shared: Arc<Shared>,
    id: u64,
    side: Side,
    life: Life,
    peer: SocketAddr,
    read_again: Alarm,
    write_again: Alarm,
}

/// Wakes a task at a time.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn set(&mut self, at: Instant, context: &mut Context<'_>) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        sleep.as_mut().reset(at);
        if sleep.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }
}

impl std::fmt::Debug for SimStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimStream({}, {:?})", self.id, self.side)
    }
}

impl SimStream {
    pub(super) fn new(
        shared: &Arc<Shared>,
        id: u64,
        side: Side,
        life: Life,
        peer: SocketAddr,
    ) -> Self {
        let shared = Arc::clone(shared);
        let (read_again, write_again) = Default::default();
        Self { shared, id, side, life, peer, read_again, write_again }
    }

    /// Tries something, unless the process of this end stands still or is dead; registers with
    /// `wait` when it is to be tried again.
    fn attempt(
        &mut self,
        context: &mut Context<'_>,
        attempt: impl FnOnce(&mut Connection, &Partitions, &Shared) -> Attempt,
        wait: fn(&mut Connection, Side, Waker),
        alarm: fn(&mut Self) -> &mut Alarm,
    ) -> Poll<io::Result<usize>> {
        if self.life.is_dead() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        if self.life.poll_thawed(context).is_pending() {
            return Poll::Pending;
        }
        let side = self.side;
        let attempted = self.shared.change_one(self.id, |connection, partitions, shared| {
            let attempted = attempt(connection, partitions, shared);
            if matches!(attempted, Attempt::Later(_)) {
                wait(connection, side, context.waker().clone());
            }
            attempted
        });
        match attempted.expect("a connection is there for as long as an end of it is") {
            Attempt::Done(done) => Poll::Ready(done),
            Attempt::Later(None) => Poll::Pending,
            Attempt::Later(Some(at)) => {
                alarm(self).set(at, context);
                Poll::Pending
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let side = self.side;
        self.attempt(
            context,
            |connection, partitions, _| connection.read(side, partitions, into),
            Connection::wait_for_bytes,
            |stream| &mut stream.read_again,
        )
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let side = self.side;
        self.attempt(
            context,
            |connection, partitions, shared| connection.write(side, partitions, shared, bytes),
            Connection::wait_for_room,
            |stream| &mut stream.write_again,
        )
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let (side, is_killed) = (self.side, self.life.is_dead());
        self.shared.change_one(self.id, |connection, _, shared| {
            connection.close(side, shared, is_killed);
        });
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.get_mut().poll_read(context, into.initialize_unfilled());
        read.map_ok(|count| into.advance(count))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(context, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.side;
        self.shared.change_one(self.id, |connection, _, shared| connection.finish(side, shared));
        Poll::Ready(Ok(()))
    }
}

impl doorbuster_client::Stream for SimStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl doorbuster_engine::host::Stream for SimStream {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(self, context, into)
    }
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(self, context, bytes)
    }
    fn shutdown(&self) {
        let side = self.side;
        self.shared.change_one(self.id, |connection, _, shared| connection.shut(side, shared));
    }
}
