//! A connection's socket, with an eye on what comes in: hyper is shown whole heads only, and
//! nothing at all of what could be read in two ways.
//!
//! Bytes mostly go straight into hyper's own buffer, where they are looked at. A part of a head is
//! kept here until the rest of it has come. So a connection that never sends a whole head costs no
//! more than the bytes that it sent.

use crate::framing::{Refusal, RequestStream};
use crate::limits::ROOM_BYTES;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A socket and the requests in its bytes.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    requests: RequestStream,
    /// What came and did not go on: `passed` bytes that may, of which `given` have, and then an
    /// unfinished head.
    kept: Vec<u8>,
    passed: usize,
    given: usize,
    refused: Option<Refusal>,
    /// Whether bytes have come since somebody last asked.
    has_news: bool,
    /// Since when an answer could not be written whole.
    blocked_since: Option<Instant>,
}

/// What a connection without a request has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A whole head, which waits to be read.
    Head,
    /// Bytes that no request will come of.
    Refused(Refusal),
    /// The end of the connection.
    End,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            requests: RequestStream::default(),
            kept: Vec::new(),
            passed: 0,
            given: 0,
            refused: None,
            has_news: false,
            blocked_since: None,
        }
    }

    /// Reads until there is something to serve or to refuse.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Arrived> {
        loop {
            if self.given < self.passed {
                return Poll::Ready(Arrived::Head);
            }
            if let Some(refusal) = self.refused {
                return Poll::Ready(Arrived::Refused(refusal));
            }
            match ready!(self.poll_keep(context)) {
                Ok(0) | Err(_) => return Poll::Ready(Arrived::End),
                Ok(_) => {}
            }
        }
    }

    /// Reads what may go on into `buffer`.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.given < self.passed {
                self.give(buffer);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = self.refused {
                // A body that breaks off has somebody who waits for it. A head has not: nobody
                // knows of it but the connection, which answers once all before it are answered.
                return match self.requests.is_in_body() {
                    true => Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        refusal.detail(),
                    ))),
                    false => Poll::Pending,
                };
            }
            if !self.kept.is_empty() {
                if ready!(self.poll_keep(context))? == 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let fresh = &buffer.filled()[before..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.has_news = true;
            let passed = self.requests.pass(fresh);
            self.refused = passed.refused;
            if passed.bytes < fresh.len() {
                if self.refused.is_none() && !self.requests.is_over() {
                    self.kept.extend_from_slice(&fresh[passed.bytes..]);
                }
                buffer.set_filled(before + passed.bytes);
            }
            if passed.bytes > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads a piece into what is kept; how many bytes came.
    fn poll_keep(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); ROOM_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let fresh = buffer.filled();
        if fresh.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.has_news = true;
        self.kept.extend_from_slice(fresh);
        let passed = self.requests.pass(&self.kept[self.passed..]);
        self.passed += passed.bytes;
        self.refused = passed.refused;
        if self.refused.is_some() || self.requests.is_over() {
            self.kept.truncate(self.passed);
        }
        Poll::Ready(Ok(fresh.len()))
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let waiting = &self.kept[self.given..self.passed];
        let given = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..given]);
        self.given += given;
        if self.given == self.passed {
            self.kept.drain(..self.passed);
            (self.given, self.passed) = (0, 0);
            if self.kept.is_empty() {
                self.kept = Vec::new();
            }
        }
    }

    /// Reads and forgets; how many bytes came, 0 at the end.
    pub(crate) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); ROOM_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes, and notes since when nothing could be written.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match slices {
            [only] => Pin::new(&mut self.stream).poll_write(context, only),
            many => Pin::new(&mut self.stream).poll_write_vectored(context, many),
        };
        if polled.is_pending() {
            self.blocked_since.get_or_insert_with(Instant::now);
        }
        polled
    }

    /// All that was to be written has been. Whether that had to be waited for.
    pub(crate) fn all_is_written(&mut self) -> bool {
        self.blocked_since.take().is_some()
    }

    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Why no more requests come of it.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    /// Since when an answer waits for its client to take it.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Whether bytes have come since this was last asked.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Whether a head has begun and is not complete.
    pub(crate) fn is_in_head(&self) -> bool {
        self.kept.len() > self.passed
    }

    /// Whether a body has begun, of which there is more to come.
    pub(crate) fn is_in_body(&self) -> bool {
        self.requests.is_in_body()
    }

    /// Whether no request of it is going on, of which `answered` have been answered.
    pub(crate) fn is_quiet(&self, answered: u64) -> bool {
        answered == self.requests.heads()
            && !self.requests.is_in_body()
            && self.given == self.passed
            && self.blocked_since.is_none()
    }
}
