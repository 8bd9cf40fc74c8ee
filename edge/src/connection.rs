//! One HTTP connection: its times, its end.
//!
//! hyper's own header timeout makes a new timer for each request and does not tell a connection
//! that rests from one that dawdles over its headers. So the socket is watched here: the first byte
//! after a rest starts the time for headers, the end of an answer starts the time for resting, and
//! both share the connection's one [`Alarm`] with the requests' own deadlines.
//!
//! A connection without a request is a socket and a few words: hyper and its buffers come with the
//! first whole head, and go when there was nothing to do for a while (`buffers_kept`).

use crate::addresses::Seat;
use crate::alarm::Alarm;
use crate::farewell;
use crate::framing::{HEAD_BYTES_MAX, Refusal};
use crate::metrics::Rejected;
use crate::refusal;
use crate::router::Resource;
use crate::service;
use crate::wire::{Arrived, Wire};
use crate::worker::Worker;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
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
    /// Sending a body, since then; the request watches its own deadlines.
    Sending(Instant),
    /// Waiting for an answer; the request watches its own deadlines.
    Served,
    /// It has had its last answer, then.
    Leaving(Instant),
}

/// What a connection's socket, its requests and its thread share.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) alarm: Alarm,
    /// Who is at the other end.
    pub(crate) peer: IpAddr,
    /// Whether it has brought a token that was none.
    pub(crate) has_brought_bad_token: Cell<bool>,
    wire: RefCell<Wire>,
    phase: Cell<Phase>,
    /// Requests that have been answered.
    answered: Cell<u64>,
    is_stopping: Cell<bool>,
    is_let_go: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Its place among those of its address.
    _seat: Seat,
}

impl ConnectionState {
    pub(crate) fn new(worker: &Worker, stream: TcpStream, peer: IpAddr, seat: Seat) -> Self {
        Self {
            peer,
            has_brought_bad_token: Cell::new(false),
            alarm: Alarm::new(worker.config.idle_timeout),
            wire: RefCell::new(Wire::new(stream)),
            phase: Cell::new(Phase::Resting(Instant::now())),
            answered: Cell::new(0),
            is_stopping: Cell::new(false),
            is_let_go: Cell::new(false),
            waker: RefCell::new(None),
            _seat: seat,
        }
    }

    /// The headers of a request are complete.
    pub(crate) fn request_begins(&self) {
        self.phase.set(Phase::Served);
    }

    /// Its body is waited for, or has come.
    pub(crate) fn awaits_body(&self, since: Option<Instant>) {
        self.phase.set(since.map_or(Phase::Served, Phase::Sending));
    }

    /// Its answer is ready to be written.
    pub(crate) fn request_ends(&self) {
        self.answered.set(self.answered.get() + 1);
        let now = Instant::now();
        let is_in_head = self.wire.borrow().is_in_head();
        self.phase.set(if is_in_head { Phase::Heading(now) } else { Phase::Resting(now) });
    }

    /// Why its bytes are not read any further.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.wire.borrow().refused()
    }

    /// Asks it to end after the request that it is in.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
        self.wake();
    }

    /// How it holds its place at `now` without a request to be answered, and since when; `None`
    /// while there is one.
    pub(crate) fn waiting(
        &self,
        now: Instant,
        time_to_ask: Duration,
    ) -> Option<(Waiting, Instant)> {
        let (waiting, since) = match self.phase.get() {
            Phase::Leaving(since) => (Waiting::Done, since),
            Phase::Resting(since) | Phase::Heading(since) | Phase::Sending(since) => {
                let had_time = now.saturating_duration_since(since) >= time_to_ask;
                (Waiting::of(self.answered.get() > 0, had_time), since)
            }
            Phase::Served => return None,
        };
        (!self.is_let_go.get()).then_some((waiting, since))
    }

    /// Whether it was told to go.
    pub(crate) fn is_let_go(&self) -> bool {
        self.is_let_go.get()
    }

    /// Ends it, to make room for another.
    pub(crate) fn let_go(&self) {
        self.is_let_go.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn keep_waker(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn note_news(&self, wire: &mut Wire) {
        if wire.take_news()
            && let Phase::Resting(_) = self.phase.get()
        {
            self.phase.set(Phase::Heading(Instant::now()));
        }
    }

    fn is_quiet(&self) -> bool {
        self.wire.borrow().is_quiet(self.answered.get())
    }
}

/// How a connection holds its place without a request to be answered, in the order in which they
/// are let go. Neither those who only connect nor those who asked once push out who has just come,
/// or who asks all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiting {
    /// It has had its last answer.
    Done,
    /// It has never had an answer, although there was time to ask.
    Silent,
    /// It has had answers, and could have asked again.
    Resting,
    /// It has just come: its request may be on its way.
    New,
    /// It has just had an answer.
    Active,
}

impl Waiting {
    fn of(is_known: bool, had_time: bool) -> Self {
        match (is_known, had_time) {
            (false, true) => Self::Silent,
            (true, true) => Self::Resting,
            (false, false) => Self::New,
            (true, false) => Self::Active,
        }
    }
}

/// How a part of a connection's life ended.
enum Next {
    /// A whole head has come.
    Serve,
    /// There is nothing to do for now.
    Rest,
    /// What came is no request.
    Refuse(Refusal),
    /// hyper is done with it.
    Close,
    /// It ends without another word.
    End,
}

/// Serves a connection until it ends. Never panics on what a client sends.
pub(crate) async fn serve(state: Rc<ConnectionState>, worker: Rc<Worker>) {
    let mut next = Next::Rest;
    loop {
        next = match next {
            Next::Rest => poll_fn(|context| rest(&state, &worker, context)).await,
            Next::Serve => converse(&state, &worker).await,
            Next::Refuse(refusal) => {
                state.phase.set(Phase::Leaving(Instant::now()));
                worker.metrics.rejected(Rejected::Malformed);
                worker.metrics.request(Resource::Unknown.route(), refusal.status());
                let answer =
                    farewell::answer(refusal::of_framing(refusal), &worker.request_ids.fresh());
                let is_let_go = || state.is_let_go();
                farewell::say(&state.wire, &answer, worker.config.write_timeout, is_let_go).await;
                return;
            }
            Next::Close => {
                // Whoever was answered in the middle of a body has more of it on the way.
                if state.wire.borrow().is_in_body() {
                    state.phase.set(Phase::Leaving(Instant::now()));
                    farewell::linger(&state.wire, || state.is_let_go()).await;
                }
                return;
            }
            Next::End => return,
        }
    }
}

/// Waits for a request, with nothing but the socket.
fn rest(state: &ConnectionState, worker: &Worker, context: &mut Context<'_>) -> Poll<Next> {
    state.keep_waker(context);
    if state.is_let_go.get() {
        return Poll::Ready(Next::End);
    }
    {
        let mut wire = state.wire.borrow_mut();
        let arrived = wire.poll_head(context);
        state.note_news(&mut wire);
        match arrived {
            Poll::Ready(Arrived::Head) => return Poll::Ready(Next::Serve),
            Poll::Ready(Arrived::Refused(refusal)) => return Poll::Ready(Next::Refuse(refusal)),
            Poll::Ready(Arrived::End) => return Poll::Ready(Next::End),
            Poll::Pending => {}
        }
    }
    let deadline = match state.phase.get() {
        Phase::Heading(since) => since + worker.config.header_timeout,
        // Nobody waits for an answer when the thread stops.
        Phase::Resting(_) if state.is_stopping.get() => return Poll::Ready(Next::End),
        Phase::Resting(since) => since + worker.config.idle_timeout,
        Phase::Sending(_) | Phase::Served | Phase::Leaving(_) => return Poll::Ready(Next::End),
    };
    ready!(state.alarm.poll(context, deadline));
    if let Phase::Heading(_) = state.phase.get() {
        worker.metrics.rejected(Rejected::SlowHeaders);
    }
    Poll::Ready(Next::End)
}

/// Has hyper read requests and write answers for as long as there are any.
async fn converse(state: &Rc<ConnectionState>, worker: &Rc<Worker>) -> Next {
    let (answering, shared) = (Rc::clone(worker), Rc::clone(state));
    let answer = service_fn(move |request| {
        service::answer(Rc::clone(&answering), Rc::clone(&shared), request)
    });
    let mut is_told = state.is_stopping.get();
    // `pipeline_flush` stays off: it keeps an answer back while bytes of a next request wait.
    // A client may say that it has no more requests and still wait for its answers (RFC 9112 §9.6):
    // an order that was sent whole is answered.
    let connection = http1::Builder::new()
        .half_close(true)
        .keep_alive(!is_told)
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Socket(Rc::clone(state))), answer);
    let mut connection = Box::pin(connection);
    poll_fn(|context| {
        state.keep_waker(context);
        if state.is_let_go.get() && !matches!(state.phase.get(), Phase::Served) {
            return Poll::Ready(Next::End);
        }
        if state.is_stopping.get() && !is_told {
            if state.is_quiet() {
                return Poll::Ready(Next::Rest);
            }
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(end) = connection.as_mut().poll(context) {
            if let Err(error) = &end
                && error.is_parse()
            {
                tracing::error!(%error, "hyper refuses what has passed: please report this");
                worker.metrics.rejected(Rejected::Malformed);
            }
            return Poll::Ready(Next::Close);
        }
        watch(state, worker, context)
    })
    .await
}

/// Looks after the times of a connection whose requests hyper has taken as far as it can.
fn watch(state: &ConnectionState, worker: &Worker, context: &mut Context<'_>) -> Poll<Next> {
    let (is_quiet, refused, blocked) = {
        let wire = state.wire.borrow();
        (wire.is_quiet(state.answered.get()), wire.refused(), wire.blocked_since())
    };
    if let Some(refusal) = refused
        && is_quiet
    {
        return Poll::Ready(Next::Refuse(refusal));
    }
    if let Some(since) = blocked {
        ready!(state.alarm.poll(context, since + worker.config.write_timeout));
        worker.metrics.rejected(Rejected::SlowReader);
        // What it did not take is not kept for it.
        farewell::reset_on_close(&state.wire);
        return Poll::Ready(Next::End);
    }
    match state.phase.get() {
        Phase::Sending(_) | Phase::Served | Phase::Leaving(_) => Poll::Pending,
        Phase::Heading(since) => {
            ready!(state.alarm.poll(context, since + worker.config.header_timeout));
            worker.metrics.rejected(Rejected::SlowHeaders);
            Poll::Ready(Next::End)
        }
        Phase::Resting(since) if is_quiet => {
            let kept = worker.config.buffers_kept.min(worker.config.idle_timeout);
            ready!(state.alarm.poll(context, since + kept));
            Poll::Ready(Next::Rest)
        }
        Phase::Resting(since) => {
            ready!(state.alarm.poll(context, since + worker.config.idle_timeout));
            Poll::Ready(Next::End)
        }
    }
}

/// The connection's socket, as hyper sees it.
struct Socket(Rc<ConnectionState>);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.wire.borrow_mut();
        let polled = wire.poll_read(context, buffer);
        self.0.note_news(&mut wire);
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.wire.borrow_mut().poll_write(context, &[IoSlice::new(bytes)])
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.wire.borrow_mut().poll_write(context, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.wire.borrow().stream().is_write_vectored()
    }
    /// hyper calls this when it has nothing more to write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let was_blocked = self.0.wire.borrow_mut().all_is_written();
        if was_blocked && let Phase::Heading(_) = self.0.phase.get() {
            // Nobody read meanwhile what may have come of the head.
            self.0.phase.set(Phase::Heading(Instant::now()));
        }
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.wire.borrow_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_just_come_or_just_asked_outlasts_who_rests() {
        let (known, unknown, had_time, had_none) = (true, false, true, false);
        let in_order = [
            Waiting::Done,
            Waiting::of(unknown, had_time),
            Waiting::of(known, had_time),
            Waiting::of(unknown, had_none),
            Waiting::of(known, had_none),
        ];
        assert!(in_order.is_sorted_by(|first, next| first < next), "{in_order:?}");
    }
}
