//! One core of an engine client: connects, serves requests and answers, and reconnects for ever.
//!
//! Requests go into the session's open frame the moment they are made. The task of the link is
//! woken by the first of them and runs after everything that is ready in this turn of the runtime,
//! so that all requests of a turn leave in one frame and one write.

use crate::connection::{Connection, poll_receive};
use crate::engine_client::Shared;
use crate::network::Stream;
use crate::pending::Pending;
use crate::{ClientError, ClientOptions};
use doorbuster_protocol::record::Malformed;
use doorbuster_protocol::session::{ClientSession, ServerMessage, SessionError, StockLevel};
use doorbuster_protocol::{Outcome, ProductId, Request};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// How often silence is looked for, in parts of the longest one allowed.
const SILENCE_CHECKS: u32 = 4;

#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    options: ClientOptions,
    /// There while the core is connected.
    session: RefCell<Option<ClientSession>>,
    pending: RefCell<Pending>,
    levels: RefCell<BTreeMap<ProductId, StockLevel>>,
    /// Raised when the output of the session is no longer empty.
    has_output: Notify,
    is_draining: Cell<bool>,
    is_closed: Cell<bool>,
    closed: Notify,
    reads: Cell<u64>,
}

impl Link {
    pub(crate) fn new(address: SocketAddr, options: ClientOptions) -> Rc<Self> {
        Rc::new(Self {
            address,
            session: RefCell::new(None),
            pending: RefCell::new(Pending::new(options.in_flight_max())),
            options,
            levels: RefCell::default(),
            has_output: Notify::new(),
            is_draining: Cell::new(false),
            is_closed: Cell::new(false),
            closed: Notify::new(),
            reads: Cell::new(0),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pending.borrow().in_flight()
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.is_draining.get() && self.session.borrow().is_some()
    }

    pub(crate) fn level_of(&self, product: ProductId) -> Option<StockLevel> {
        self.levels.borrow().get(&product).copied()
    }

    pub(crate) fn copy_levels(&self, into: &mut Vec<StockLevel>) {
        into.extend(self.levels.borrow().values());
    }

    /// Puts a request into the open frame.
    pub(crate) fn enqueue(self: &Rc<Self>, request: &Request) -> Result<Answer, ClientError> {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut().filter(|_| !self.is_draining.get()) else {
            return Err(ClientError::Unavailable);
        };
        let mut pending = self.pending.borrow_mut();
        let kept = if request.ask.is_new_order() { self.options.kept_from_new_orders } else { 0 };
        if !pending.has_room(kept) {
            return Err(ClientError::Overloaded);
        }
        // The link's task empties the output before it sleeps: one wake is enough.
        if session.output_len() == 0 {
            self.has_output.notify_one();
        }
        let slot = pending.begin(session.request(request));
        Ok(Answer { link: Rc::clone(self), slot: Some(slot) })
    }

    /// Ends the link for good: what is in flight is lost.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.closed.notify_one();
    }

    /// Connects and serves until closed.
    pub(crate) async fn run(self: Rc<Self>, client: Weak<Shared>) {
        let mut wait = self.options.reconnect_min;
        while !self.is_closed.get() {
            let Some(key) = client.upgrade().map(|client| client.key().clone()) else { break };
            let (address, timeout) = (self.address, self.options.connect_timeout);
            let network = &*self.options.network;
            let opened = tokio::select! {
                biased;
                () = self.closed.notified() => break,
                opened = Connection::open(network, address, &key, timeout) => opened,
            };
            let error = match opened {
                Ok(connection) => {
                    wait = self.options.reconnect_min;
                    self.serve(connection, &client).await
                }
                Err(error) => {
                    // The core may have moved: whoever is there can say where to.
                    if let Some(client) = client.upgrade() {
                        client.learn_from_others(self.address).await;
                    }
                    error
                }
            };
            if self.is_closed.get() {
                break;
            }
            tracing::debug!(core = %self.address, %error, retry_in = ?wait, "not connected");
            tokio::select! {
                biased;
                () = self.closed.notified() => break,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(self.options.reconnect_max);
        }
        self.disconnect();
    }

    /// Serves one connection to its end.
    async fn serve(&self, connection: Connection, client: &Weak<Shared>) -> ClientError {
        let Connection { stream, mut session, map } = connection;
        if self.options.watch_stock {
            session.watch_stock();
        }
        *self.session.borrow_mut() = Some(session);
        if let Some(client) = client.upgrade() {
            client.adopt(map);
            client.announce();
        }
        // One task reads and writes: each borrows the stream for as long as it is polled.
        let stream = RefCell::new(stream);
        let error = tokio::select! {
            biased;
            error = self.read(&stream) => error,
            error = self.write(&stream) => error,
            error = self.await_silence() => error,
            () = self.closed.notified() => ClientError::Unavailable,
        };
        if !self.is_closed.get() {
            let in_flight = self.in_flight();
            let core = self.address;
            tracing::warn!(%core, %error, in_flight, "the connection to a core is lost");
        }
        self.disconnect();
        if let Some(client) = client.upgrade() {
            client.announce();
        }
        error
    }

    /// Forgets the connection: answers are lost, levels unknown.
    fn disconnect(&self) {
        *self.session.borrow_mut() = None;
        self.is_draining.set(false);
        self.levels.borrow_mut().clear();
        let wakers = self.pending.borrow_mut().lose_all();
        for waker in wakers {
            waker.wake();
        }
    }

    async fn read(&self, stream: &RefCell<Box<dyn Stream>>) -> ClientError {
        loop {
            // What came behind the welcome is there already.
            if let Err(error) = self.take_messages() {
                return error;
            }
            let read = poll_fn(|context| match self.session.borrow_mut().as_mut() {
                Some(session) => poll_receive(&mut *stream.borrow_mut(), session, context),
                None => Poll::Ready(Ok(0)),
            });
            match read.await {
                Ok(0) => return io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                Ok(_) => self.reads.set(self.reads.get() + 1),
                Err(error) => return error.into(),
            }
        }
    }

    fn take_messages(&self) -> Result<(), ClientError> {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else { return Ok(()) };
        while let Some(message) = session.poll()? {
            match message {
                ServerMessage::Replies(replies) => {
                    for reply in replies {
                        let reply = reply.map_err(SessionError::from)?;
                        let answered =
                            self.pending.borrow_mut().answer(reply.correlation, reply.outcome);
                        let waker = answered.map_err(|()| {
                            SessionError::Malformed(Malformed::OutOfRange("correlation"))
                        })?;
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                    }
                }
                ServerMessage::Levels(levels) => {
                    let mut known = self.levels.borrow_mut();
                    for level in levels {
                        let level = level.map_err(SessionError::from)?;
                        known.insert(level.product, level);
                    }
                }
                ServerMessage::Goodbye => self.is_draining.set(true),
                ServerMessage::Welcomed
                | ServerMessage::Batch(_)
                | ServerMessage::FeedGone { .. } => return Err(SessionError::OutOfOrder.into()),
            }
        }
        Ok(())
    }

    async fn write(&self, stream: &RefCell<Box<dyn Stream>>) -> ClientError {
        let mut bytes = Vec::new();
        loop {
            if let Some(session) = self.session.borrow_mut().as_mut() {
                std::mem::swap(session.output(), &mut bytes);
            }
            if bytes.is_empty() {
                self.has_output.notified().await;
                continue;
            }
            let mut written = 0;
            while written < bytes.len() {
                let rest = &bytes[written..];
                let write = poll_fn(|context| {
                    Pin::new(&mut *stream.borrow_mut()).poll_write(context, rest)
                });
                match write.await {
                    Ok(0) => return io::Error::from(io::ErrorKind::WriteZero).into(),
                    Ok(count) => written += count,
                    Err(error) => return error.into(),
                }
            }
            bytes.clear();
        }
    }

    /// Ends when requests were in flight and nothing came for too long.
    async fn await_silence(&self) -> ClientError {
        let mut quiet_checks = 0;
        loop {
            let reads = self.reads.get();
            let step = self.options.silence_max / SILENCE_CHECKS;
            tokio::time::sleep(step.max(Duration::from_millis(1))).await;
            if self.in_flight() == 0 || self.reads.get() != reads {
                quiet_checks = 0;
            } else {
                quiet_checks += 1;
            }
            if quiet_checks == SILENCE_CHECKS {
                return io::Error::from(io::ErrorKind::TimedOut).into();
            }
        }
    }
}

/// The answer to one request, to be awaited once.
#[derive(Debug)]
pub(crate) struct Answer {
    link: Rc<Link>,
    slot: Option<u32>,
}

impl Future for Answer {
    type Output = Result<Outcome, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.expect("an answer is awaited once");
        let answer = self.link.pending.borrow_mut().poll(slot, context);
        if answer.is_ready() {
            self.slot = None;
        }
        answer
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.link.pending.borrow_mut().abandon(slot);
        }
    }
}
