//! A core on a glommio executor: its tasks, its timers, its sockets; clocks and randomness of Linux.

use super::{Host, Listener, Stream};
use crate::storage::GlommioDisk;
use doorbuster_protocol::Timestamp;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use rustix::time::{ClockId, clock_gettime};
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The glommio executor of the thread that uses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlommioHost;

impl Host for GlommioHost {
    type Disk = GlommioDisk;
    type Stream = TcpStream;
    type Listener = TcpListener;

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(task).detach();
    }
    async fn sleep(&self, time: Duration) {
        glommio::timer::sleep(time).await;
    }
    fn wall_clock(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(since_epoch.as_micros() as u64)
    }
    fn monotonic(&self) -> Duration {
        // Unlike CLOCK_MONOTONIC it counts the time in which the machine was suspended: the holds
        // of buyers run out all the same.
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let stream = TcpListener::accept(self).await?;
        // Answers leave in frames, as whole as they get: nothing is won by waiting for more.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Stream for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(self), cx, into)
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), cx, bytes)
    }
    fn shutdown(&self) {
        // glommio's shutdown is ready at its first poll.
        let mut shutdown = pin!(TcpStream::shutdown(self, Shutdown::Both));
        let _ = shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
}
