//! Connections that never leave their thread: what one end writes the other one reads. A core whose
//! clients are tasks of its own executor talks to them through these, so that its load costs no
//! system call and no other CPU.

use doorbuster_engine::host::{Listener, Stream};
use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes that wait to be read before a writer has to wait.
const CAPACITY: usize = 4 << 20;

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
    is_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Direction {
    fn wake(waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    incoming: Rc<RefCell<Direction>>,
    outgoing: Rc<RefCell<Direction>>,
}

/// Both ends of a new connection.
pub(crate) fn connection() -> (End, End) {
    let (one, other) = <(Rc<RefCell<Direction>>, Rc<RefCell<Direction>>)>::default();
    let near = End { incoming: Rc::clone(&one), outgoing: Rc::clone(&other) };
    (near, End { incoming: other, outgoing: one })
}

impl Stream for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.borrow_mut();
        let waiting = &incoming.bytes[incoming.read..];
        let count = waiting.len().min(into.len());
        if count == 0 && !incoming.is_closed {
            incoming.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        into[..count].copy_from_slice(&waiting[..count]);
        incoming.read += count;
        if incoming.read == incoming.bytes.len() {
            incoming.bytes.clear();
            incoming.read = 0;
        }
        Direction::wake(&mut incoming.writer);
        Poll::Ready(Ok(count))
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY.saturating_sub(outgoing.bytes.len());
        if room == 0 {
            outgoing.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(bytes.len());
        outgoing.bytes.extend_from_slice(&bytes[..count]);
        Direction::wake(&mut outgoing.reader);
        Poll::Ready(Ok(count))
    }
    fn shutdown(&self) {
        for direction in [&self.incoming, &self.outgoing] {
            let mut direction = direction.borrow_mut();
            direction.is_closed = true;
            Direction::wake(&mut direction.reader);
            Direction::wake(&mut direction.writer);
        }
    }
}

/// Gives a core the ends that were made for it, and nothing after.
#[derive(Debug)]
pub(crate) struct Ends(pub(crate) RefCell<Vec<End>>);

impl Listener for Ends {
    type Stream = End;

    async fn accept(&self) -> io::Result<End> {
        let next = self.0.borrow_mut().pop();
        match next {
            Some(end) => Ok(end),
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_the_end_after_them() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut near, mut far) = connection();
        let mut into = [0; 4];
        assert!(far.poll_read(&mut cx, &mut into).is_pending());
        assert!(matches!(near.poll_write(&mut cx, b"abcdef"), Poll::Ready(Ok(6))));
        assert!(matches!(far.poll_read(&mut cx, &mut into), Poll::Ready(Ok(4))));
        assert_eq!(&into, b"abcd");
        near.shutdown();
        assert!(matches!(far.poll_read(&mut cx, &mut into), Poll::Ready(Ok(2))));
        assert_eq!(&into[..2], b"ef");
        assert!(matches!(far.poll_read(&mut cx, &mut into), Poll::Ready(Ok(0))));
        assert!(matches!(far.poll_write(&mut cx, b"g"), Poll::Ready(Err(_))));
    }
}
