//! Answers that are given without hyper, to whom they are the last: bytes that are no request, a
//! connection too many.
//!
//! A socket that is closed while bytes of its client are unread, or on their way, is reset by the
//! kernel, and the reset can overtake the answer. So the sending side is closed first, and what
//! still comes is read and forgotten for a while.

use crate::limits::LINGER_BYTES_MAX;
use crate::problem::Problem;
use crate::wire::Wire;
use hyper::HeaderMap;
use socket2::SockRef;
use std::cell::RefCell;
use std::fmt::Write;
use std::future::poll_fn;
use std::io::IoSlice;
use std::task::Poll;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// How long bytes are taken from a client that has had its last answer.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// A problem as the whole of an answer, after which the connection ends.
pub(crate) fn answer(problem: Problem, request: &str) -> Vec<u8> {
    let status = problem.code().status();
    let body = problem.document(request);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    let mut headers = HeaderMap::new();
    problem.closing().put_headers(&mut headers);
    for (name, value) in &headers {
        let value = value.to_str().expect("the headers of a problem are plain");
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    let length = body.len();
    let _ = write!(text, "x-request-id: {request}\r\ndate: {date}\r\n");
    let _ = write!(text, "content-length: {length}\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Gives a last answer within `patience`, and takes leave, which ends early when `is_let_go`.
pub(crate) async fn say(
    wire: &RefCell<Wire>,
    answer: &[u8],
    patience: Duration,
    is_let_go: impl Fn() -> bool,
) {
    let mut rest = answer;
    let written = poll_fn(|context| {
        while !rest.is_empty() {
            if is_let_go() {
                return Poll::Ready(false);
            }
            match wire.borrow_mut().poll_write(context, &[IoSlice::new(rest)]) {
                Poll::Ready(Ok(written @ 1..)) => rest = &rest[written..],
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(true)
    });
    if timeout(patience, written).await == Ok(true) {
        let closed = poll_fn(|context| wire.borrow_mut().poll_shutdown(context)).await;
        if closed.is_ok() {
            linger(wire, is_let_go).await;
        }
    }
}

/// Reads what a client still sends, until it ends, has had its time, or `is_let_go`.
pub(crate) async fn linger(wire: &RefCell<Wire>, is_let_go: impl Fn() -> bool) {
    let mut left = LINGER_BYTES_MAX;
    let over = poll_fn(|context| {
        while !is_let_go() {
            match wire.borrow_mut().poll_discard(context) {
                Poll::Ready(Ok(bytes)) if (1..left).contains(&bytes) => left -= bytes,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    });
    let _ = timeout(LINGER_TIME_MAX, over).await;
}

/// Has the kernel forget what was not sent when the socket is closed.
pub(crate) fn reset_on_close(wire: &RefCell<Wire>) {
    // A socket that cannot be asked is closed anyway.
    let _ = SockRef::from(wire.borrow().stream()).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn who_is_let_go_need_not_take_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        while stream.try_write(&[0; 4_096]).is_ok() {}
        let wire = RefCell::new(Wire::new(stream));
        say(&wire, b"an answer", Duration::from_secs(3_600), || true).await;
    }
}
