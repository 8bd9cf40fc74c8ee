//! Who listens, and who has dialled and was not accepted yet.

use super::stream::SimStream;
use super::{LISTENER, Name, Shared};
use crate::process::Life;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Connections that wait to be accepted; more are not taken.
const BACKLOG: usize = 64;

/// What the kernel of a listening process keeps.
#[derive(Debug)]
pub(super) struct Queue {
    /// Whose it is.
    pub(super) name: Name,
    /// Their numbers, in the order in which they came.
    dialled: VecDeque<u64>,
    acceptor: Option<Waker>,
}

impl Queue {
    pub(super) const fn new(name: Name) -> Self {
        Self { name, dialled: VecDeque::new(), acceptor: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.dialled.len() >= BACKLOG
    }

    /// A connection has come; who waits for one is to be woken.
    pub(super) fn push(&mut self, id: u64) -> Option<Waker> {
        self.dialled.push_back(id);
        self.acceptor.take()
    }
}

/// A socket that accepts connections. Dropping it closes it, and what was not accepted with it.
pub struct SimListener {
    pub(super) shared: Arc<Shared>,
    pub(super) address: SocketAddr,
    pub(super) life: Life,
}

impl SimListener {
    /// The next connection; the only error is the death of the process.
    pub async fn accept(&self) -> io::Result<SimStream> {
        let accepted = poll_fn(|context| {
            if self.life.is_dead() {
                return Poll::Ready(None);
            }
            if self.life.poll_thawed(context).is_pending() {
                return Poll::Pending;
            }
            let mut state = self.shared.state();
            let Some(queue) = state.listeners.get_mut(&self.address) else {
                return Poll::Ready(None);
            };
            let Some(id) = queue.dialled.pop_front() else {
                queue.acceptor = Some(context.waker().clone());
                return Poll::Pending;
            };
            Poll::Ready(Some(id))
        });
        let id = accepted.await.ok_or(ErrorKind::ConnectionAborted)?;
        Ok(self.stream(id))
    }

    fn stream(&self, id: u64) -> SimStream {
        SimStream::new(&self.shared, id, LISTENER, self.life.clone(), self.address)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let queue = self.shared.state().listeners.remove(&self.address);
        for id in queue.into_iter().flat_map(|queue| queue.dialled) {
            drop(self.stream(id));
        }
    }
}

impl doorbuster_engine::host::Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> io::Result<SimStream> {
        Self::accept(self).await
    }
}
