//! The requests of a connection as bytes, before hyper sees them.
//!
//! What passes, and whether the rest is refused, does not depend on how the bytes were cut (what is
//! said about it may: the first reason that shows). What has passed is read a second time with
//! hyper's own parser of heads, its rule for the last request of a connection, and a plain reading
//! of bodies: both see the same requests, so that nobody can hide one in another (request
//! smuggling, RFC 9112 §11.2).

use crate::Seed;
use crate::script::Script;
use doorbuster_edge::framing::{HEADERS_MAX, RequestStream};
use hostile_shapes::{REFUSED, TAKEN};
use httparse::{EMPTY_HEADER, Request, Status};

/// Requests that the edge's own tests send: good ones, and such as could be read in two ways.
#[path = "../../edge/tests/edge/hostile_shapes.rs"]
mod hostile_shapes;

/// What requests are made of.
pub const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\n",
    " HTTP/1.0\r\n",
    "content-length: 3\r\n",
    "content-length: 0\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: identity\r\n",
    "connection: close\r\n",
    "connection: keep-alive\r\n",
    "host: a\r\n",
    "x: y\r\n",
    "\r\n",
    "\n",
    "\r\n\r\n",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "3;x=y\r\n",
    "0000000",
    "ffffffff\r\n",
    "\u{b}",
    "\0",
];

/// One input: how the bytes are cut, then the bytes.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let cuts = script.bytes(16);
    let bytes = script.rest();
    let whole = passed(bytes, &[]);
    assert_eq!(whole, passed(bytes, cuts), "where a stream is cut changes nothing");
    read_again(&whole);
}

/// What has passed of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    bytes: Vec<u8>,
    heads: u64,
    is_refused: bool,
    /// Whether the last request has passed.
    is_over: bool,
}

/// Shows the bytes as a socket does: what does not pass is shown again.
fn passed(bytes: &[u8], cuts: &[u8]) -> Passed {
    let mut stream = RequestStream::default();
    let (mut kept, mut passed) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    let mut is_refused = false;
    while !rest.is_empty() {
        let piece = cuts.next().map_or(rest.len(), |cut| usize::from(*cut) + 1);
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        kept.extend_from_slice(now);
        let seen = stream.pass(&kept);
        assert!(seen.bytes <= kept.len(), "no more passes than came");
        passed.extend(kept.drain(..seen.bytes));
        is_refused = seen.refused.is_some();
        if is_refused || stream.is_over() {
            break;
        }
    }
    Passed { bytes: passed, heads: stream.heads(), is_refused, is_over: stream.is_over() }
}

/// Reads what has passed as hyper does.
fn read_again(passed: &Passed) {
    let mut rest = &passed.bytes[..];
    let (mut found, mut is_over) = (0, false);
    while !rest.is_empty() {
        assert!(!is_over, "nothing passes behind the last request");
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut request = Request::new(&mut headers);
        let length = match request.parse(rest) {
            Ok(Status::Complete(length)) => length,
            other => panic!("only whole heads pass that hyper takes: {other:?}"),
        };
        found += 1;
        let (is_chunked, content_length) = framing(&request);
        let is_last = !is_kept(&request);
        rest = &rest[length..];
        let behind = match is_chunked {
            true => behind_chunks(rest),
            false => rest.get(content_length..),
        };
        is_over = is_last && behind.is_some();
        rest = behind.unwrap_or(&[]);
    }
    assert_eq!(found, passed.heads, "both see the same requests");
    assert_eq!(is_over, passed.is_over, "both see the same end of the connection");
}

/// Whether the connection goes on behind a request, as hyper 1 has it: a `close` in any line that
/// is plain text counts for good, and a `keep-alive` counts in HTTP/1.0.
fn is_kept(request: &Request<'_, '_>) -> bool {
    let mut is_kept = request.version == Some(1);
    let lines =
        request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
    for line in lines {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        let text = Some(line.value).filter(|value| value.iter().all(is_plain));
        let text = std::str::from_utf8(text.unwrap_or_default()).expect("it is plain");
        let has =
            |name: &str| text.split(',').any(|option| option.trim().eq_ignore_ascii_case(name));
        if has("close") {
            return false;
        }
        is_kept |= has("keep-alive");
    }
    is_kept
}

/// Whether a body comes in chunks, and its bytes otherwise.
fn framing(request: &Request<'_, '_>) -> (bool, usize) {
    let values = |name: &str| -> Vec<&[u8]> {
        let same = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).map(|header| header.value).collect()
    };
    let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
    let is_chunked = match codings[..] {
        [] => false,
        [coding] if coding.eq_ignore_ascii_case(b"chunked") => true,
        _ => panic!("a coding that may be read in two ways"),
    };
    assert!(!is_chunked || lengths.is_empty(), "a body has one framing");
    assert!(lengths.len() <= 1, "a body has one length");
    let number = |text: &&[u8]| {
        let text = std::str::from_utf8(text).expect("a length is digits");
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "a length is digits: {text:?}");
        text.parse::<u64>().expect("a length fits")
    };
    let length = lengths.first().map_or(0, number);
    let is_read = matches!(request.method, Some("GET" | "HEAD"));
    assert!(!is_read || (!is_chunked && length == 0), "a read has no body");
    (is_chunked, usize::try_from(length).unwrap_or(usize::MAX))
}

/// What stands behind a body in chunks, when it is over.
fn behind_chunks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, size) = match httparse::parse_chunk_size(rest) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return None,
            Err(error) => panic!("a chunk's size that hyper does not take: {error}"),
        };
        rest = &rest[line..];
        let end = if size == 0 { 0 } else { usize::try_from(size).unwrap_or(usize::MAX) };
        let behind = rest.get(end..)?;
        match behind {
            [b'\r', b'\n', ..] if size == 0 => return Some(&behind[2..]),
            [b'\r', b'\n', ..] => rest = &behind[2..],
            [] | [b'\r'] => return None,
            _ => panic!("a chunk ends where its size says"),
        }
    }
}

/// Connections with requests of every kind, and such as are refused.
pub fn seeds() -> Vec<Seed> {
    const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
    const POST: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &str = "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                           3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    const LAST: &str = "GET /a?b=c HTTP/1.1\r\nhost: a\r\nconnection: close, x\r\n\r\n";
    const OLD: &str = "GET /a HTTP/1.0\r\n\r\n";
    let wrong = [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}",
    ];
    let refused = REFUSED.iter().map(|(name, text, ..)| (format!("refused-{name}"), *text));
    let taken = TAKEN.iter().map(|(name, text, _)| (format!("taken-{name}"), *text));
    // Letters that are there 8 000 times teach a fuzzer nothing.
    let shapes = refused
        .chain(taken)
        .map(|(name, text)| (name, hostile_shapes::bytes(text, "shoe", "Bearer h.p.s")))
        .filter(|(_, bytes)| bytes.len() < 4_000)
        .map(|(name, bytes)| (name, [&[2, 0, 7], &bytes[..]].concat()));
    let sound = [GET, POST, CHUNKED, LAST, OLD].map(str::to_owned);
    let together =
        [[GET, POST, CHUNKED, GET].concat(), [POST, "\r\n", GET, CHUNKED, LAST, GET].concat()];
    let all = sound.into_iter().chain(together).chain(wrong.map(str::to_owned));
    let cut = |(number, text): (usize, String)| {
        (format!("connection-{number}"), [&[2, 0, number as u8], text.as_bytes()].concat())
    };
    all.enumerate().map(cut).chain(shapes).collect()
}
