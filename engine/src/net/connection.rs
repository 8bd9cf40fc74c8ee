//! One connection: its socket, its session, and what is in flight on it.
//!
//! A reading task feeds the session, a writing task drains it; both run on the core's thread and
//! share the connection. What may pile up is bounded: past the limits the reader stops reading, and
//! TCP carries the back-pressure to the client.

use crate::host::Stream;
use crate::signal::Signal;
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::session::ServerSession;
use doorbuster_protocol::{PartitionId, limits};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// A client that has not proved its key by then is cut off.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// One connection of a core.
pub(crate) struct Connection<S> {
    /// Its number in the core; never given twice.
    pub(crate) number: u64,
    /// The protocol's side of it.
    pub(crate) session: RefCell<ServerSession>,
    /// Requests that wait for the disk.
    pub(crate) in_flight: Cell<usize>,
    /// Whether it wants stock levels.
    pub(crate) watches_stock: Cell<bool>,
    /// Whether levels changed while it was congested: it needs all of them anew.
    pub(crate) missed_levels: Cell<bool>,
    /// Partitions whose feed it reads.
    pub(crate) feeds: RefCell<Vec<PartitionId>>,
    /// Raised when there is less in flight or less to write, and when the connection closes.
    pub(crate) relieved: Signal,
    /// When it was, by the host's monotonic time.
    opened: Duration,
    stream: RefCell<S>,
    output_ready: Signal,
    /// Bytes taken out of the session that the socket has not taken yet.
    writing: Cell<usize>,
    /// What came was no conversation: what waits for the socket is all that it still gets.
    failed: Cell<bool>,
    closed: Cell<bool>,
}

impl<S: Stream> Connection<S> {
    pub(crate) fn new(number: u64, stream: S, session: ServerSession, now: Duration) -> Self {
        Self {
            number,
            session: RefCell::new(session),
            in_flight: Cell::new(0),
            watches_stock: Cell::new(false),
            missed_levels: Cell::new(false),
            feeds: RefCell::default(),
            relieved: Signal::default(),
            opened: now,
            stream: RefCell::new(stream),
            output_ready: Signal::default(),
            writing: Cell::new(0),
            failed: Cell::new(false),
            closed: Cell::new(false),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether it should have proved its key by now and has not, or has failed and does not go.
    pub(crate) fn is_stranger_too_long(&self, now: Duration) -> bool {
        let is_stranger = self.failed.get() || !self.session.borrow().is_open();
        is_stranger && now.saturating_sub(self.opened) > HANDSHAKE_MAX
    }

    /// From now on nothing is answered: requests may still wait for the disk, but the session takes
    /// no answers to them any more.
    pub(crate) fn fail(&self) {
        self.failed.set(true);
    }

    /// Puts the answer to a request that waited for the disk into the open reply frame.
    pub(crate) fn answer(&self, reply: &Reply) {
        if !self.failed.get() {
            self.session.borrow_mut().reply(reply);
            self.in_flight.set(self.in_flight.get() - 1);
        }
    }

    /// Bytes that wait for the socket.
    pub(crate) fn output_bytes(&self) -> usize {
        self.session.borrow().output_len() + self.writing.get()
    }

    /// Whether so much waits that nothing more should be read or fed.
    pub(crate) fn is_congested(&self) -> bool {
        self.in_flight.get() + limits::COMMANDS_PER_FRAME_MAX > limits::IN_FLIGHT_PER_CONNECTION_MAX
            || self.output_bytes() > limits::CONNECTION_OUTPUT_MAX
    }

    /// Closes the open reply frame and wakes the writing task.
    pub(crate) fn flush(&self) {
        self.session.borrow_mut().flush();
        self.output_ready.raise();
    }

    /// Closes both directions; the tasks notice and end.
    pub(crate) fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        self.stream.borrow().shutdown();
        self.output_ready.raise();
        self.relieved.raise();
    }

    /// Reads what there is; 0 is the end.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.stream.borrow_mut().poll_read(context, buffer)).await
    }

    /// Writes what the session puts out until the connection closes.
    pub(crate) async fn write_all_output(&self) {
        let mut bytes = Vec::new();
        while !self.is_closed() {
            std::mem::swap(self.session.borrow_mut().output(), &mut bytes);
            if bytes.is_empty() {
                self.output_ready.wait().await;
                continue;
            }
            self.writing.set(bytes.len());
            if self.write(&bytes).await.is_err() {
                self.close();
            }
            bytes.clear();
            self.writing.set(0);
            self.relieved.raise();
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = poll_fn(|context| self.stream.borrow_mut().poll_write(context, bytes));
            let written = write.await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            self.writing.set(bytes.len());
        }
        Ok(())
    }
}

/// The open connections of a core, found by number in constant time.
pub(crate) struct Connections<S> {
    /// A number's low half is its slot; its high half tells the slot's tenants apart.
    slots: RefCell<Vec<Option<Rc<Connection<S>>>>>,
    free: RefCell<Vec<u32>>,
    opened: Cell<u64>,
    open: Cell<usize>,
}

impl<S> Default for Connections<S> {
    fn default() -> Self {
        Self {
            slots: RefCell::default(),
            free: RefCell::default(),
            opened: Cell::default(),
            open: Cell::default(),
        }
    }
}

impl<S> Connections<S> {
    /// A number for a connection that [`Connections::insert`] will put in.
    pub(crate) fn next_number(&self) -> u64 {
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut slots = self.slots.borrow_mut();
            slots.push(None);
            (slots.len() - 1) as u32
        });
        self.opened.set(self.opened.get() + 1);
        self.opened.get() << 32 | u64::from(slot)
    }

    pub(crate) fn insert(&self, connection: Rc<Connection<S>>) {
        let slot = slot_of(connection.number);
        self.slots.borrow_mut()[slot] = Some(connection);
        self.open.set(self.open.get() + 1);
    }

    pub(crate) fn remove(&self, number: u64) {
        if self.slots.borrow_mut()[slot_of(number)].take().is_some() {
            self.free.borrow_mut().push(slot_of(number) as u32);
            self.open.set(self.open.get() - 1);
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<Rc<Connection<S>>> {
        let slots = self.slots.borrow();
        slots.get(slot_of(number))?.as_ref().filter(|found| found.number == number).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Rc<Connection<S>>> {
        self.slots.borrow().iter().flatten().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.get()
    }
}

fn slot_of(number: u64) -> usize {
    (number & 0xFFFF_FFFF) as usize
}
