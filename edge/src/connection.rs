//! One HTTP connection: its socket, its times, its end.
//!
//! hyper's own header timeout makes a new timer for each request and does not tell a connection
//! that rests from one that dawdles over its headers. So the socket is watched here: the first byte
//! after a rest starts the time for headers, the end of an answer starts the time for resting, and
//! both share the connection's one [`Alarm`] with the requests' own deadlines.

use crate::alarm::Alarm;
use crate::config::READ_BUFFER_BYTES_MAX;
use crate::metrics::Rejected;
use crate::service;
use crate::worker::Worker;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between requests, since then.
    Resting(Instant),
    /// Sending the headers of a request, since then.
    Heading(Instant),
    /// Waiting for an answer; the request watches its own deadlines.
    Served,
}

/// What a connection's socket, its requests and its thread share.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) alarm: Alarm,
    /// Who is at the other end.
    pub(crate) peer: IpAddr,
    phase: Cell<Phase>,
    /// Whether it ever had a request.
    is_used: Cell<bool>,
    is_stopping: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    pub(crate) fn new(worker: &Worker, peer: IpAddr) -> Self {
        Self {
            peer,
            alarm: Alarm::new(worker.config.idle_timeout),
            phase: Cell::new(Phase::Resting(Instant::now())),
            is_used: Cell::new(false),
            is_stopping: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// The headers of a request are complete.
    pub(crate) fn request_begins(&self) {
        self.phase.set(Phase::Served);
        self.is_used.set(true);
    }

    /// Its answer is ready to be written.
    pub(crate) fn request_ends(&self) {
        self.phase.set(Phase::Resting(Instant::now()));
    }

    /// Asks it to end after the request that it is in.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn bytes_arrived(&self) {
        if let Phase::Resting(_) = self.phase.get() {
            self.phase.set(Phase::Heading(Instant::now()));
        }
    }

    fn keep_waker(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }
}

/// Serves a connection until it ends. Never panics on what a client sends.
pub(crate) async fn serve(stream: TcpStream, state: Rc<ConnectionState>, worker: Rc<Worker>) {
    let socket = TokioIo::new(Socket { stream, state: Rc::clone(&state) });
    let answering = Rc::clone(&worker);
    let shared = Rc::clone(&state);
    let answer = service_fn(move |request| {
        service::answer(Rc::clone(&answering), Rc::clone(&shared), request)
    });
    // `pipeline_flush` stays off: it keeps an answer back while bytes of a next request wait, and
    // loses it when they turn out to be none.
    // A client may say that it has no more requests and still wait for its answers (RFC 9112 §9.6):
    // an order that was sent whole is answered.
    let connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(socket, answer);
    let mut connection = pin!(connection);
    let mut is_told = false;
    poll_fn(|context| {
        state.keep_waker(context);
        if state.is_stopping.get() && !is_told {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(end) = connection.as_mut().poll(context) {
            if end.is_err_and(|error| error.is_parse()) {
                worker.metrics.rejected(Rejected::Malformed);
            }
            return Poll::Ready(());
        }
        let deadline = match state.phase.get() {
            Phase::Served => return Poll::Pending,
            // A connection that was never used has nobody to answer when its thread stops.
            Phase::Resting(_) if is_told && !state.is_used.get() => return Poll::Ready(()),
            Phase::Resting(since) => since + worker.config.idle_timeout,
            Phase::Heading(since) => since + worker.config.header_timeout,
        };
        if state.alarm.poll(context, deadline).is_pending() {
            return Poll::Pending;
        }
        if let Phase::Heading(_) = state.phase.get() {
            worker.metrics.rejected(Rejected::SlowHeaders);
        }
        Poll::Ready(())
    })
    .await;
}

/// A socket that tells its connection when bytes arrive.
struct Socket {
    stream: TcpStream,
    state: Rc<ConnectionState>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.state.bytes_arrived();
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
