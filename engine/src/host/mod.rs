//! The seam between a core and what it runs on: tasks, timers, clocks, randomness, sockets.
//!
//! | implementation | where it is used |
//! |---|---|
//! | [`GlommioHost`] | the engine's cores: a pinned executor over `io_uring` |
//! | the simulator's | an executor whose time, disk and network obey a seed |
//!
//! Everything that a core takes from its executor and from the system goes through here, or through
//! [`Storage`], so that a run is told by them alone. All calls are resolved when compiling.

mod glommio_host;

pub use glommio_host::GlommioHost;

use crate::partition::{Batch, Partition};
use crate::storage::Storage;
use doorbuster_protocol::Timestamp;
use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a core runs on. A clone is another handle of the same one, and stays on its thread.
#[allow(async_fn_in_trait)]
pub trait Host: Clone + 'static {
    /// Where the logs are.
    type Disk: Storage;
    /// A connection.
    type Stream: Stream;
    /// Where connections come from.
    type Listener: Listener<Stream = Self::Stream>;

    /// Runs a task on this thread, to its end or to the host's.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// Ends after at least this time.
    async fn sleep(&self, time: Duration);
    /// What the machine's clock says: it may be wrong, and it may jump.
    fn wall_clock(&self) -> Timestamp;
    /// Time since some moment in the past. It never goes back, never jumps with the wall clock, and
    /// goes on while the machine sleeps.
    fn monotonic(&self) -> Duration;
    /// Fills `bytes` with what nobody can guess.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// A batch of a partition became durable; its answers have not left yet. It was taken to be
    /// written at the monotonic time `taken`. For whoever watches a run: nothing may be changed.
    #[inline]
    fn watch_commit(&self, partition: &Partition, batch: &Batch, taken: Duration) {
        let _ = (partition, batch, taken);
    }
}

/// A socket that accepts connections.
#[allow(async_fn_in_trait)]
pub trait Listener: 'static {
    /// What comes out of it.
    type Stream: Stream;

    /// The next connection. An error says that there may be others later.
    async fn accept(&self) -> io::Result<Self::Stream>;
}

/// A connection: bytes in order, in both directions. One task reads and one writes.
pub trait Stream: Unpin + 'static {
    /// Reads what there is; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes as much as the connection takes.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Closes both directions, at once: whoever waits in a read or a write comes back.
    fn shutdown(&self);
}
