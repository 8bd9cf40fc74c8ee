//! The requests of a connection as bytes, before hyper sees them.
//!
//! What passes, and whether the rest is refused, does not depend on how the bytes were cut (what is
//! said about it may: the first reason that shows). What has passed is read a second time with
//! hyper's own parser of heads and a plain reading of bodies: both see the same requests, so that
//! nobody can hide one in another (request smuggling, RFC 9112 §11.2).

use crate::Seed;
use crate::script::Script;
use doorbuster_edge::framing::{HEADERS_MAX, Refusal, RequestStream};
use httparse::{EMPTY_HEADER, Request, Status};

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
    let (whole, refused, heads) = passed(bytes, &[]);
    let (in_pieces, also_refused, as_many) = passed(bytes, cuts);
    assert_eq!(whole, in_pieces, "where a stream is cut changes nothing");
    assert_eq!((refused.is_some(), heads), (also_refused.is_some(), as_many));
    read_again(&whole, heads);
}

/// What passes of a connection, why no more does, and how many heads there are in it.
fn passed(bytes: &[u8], cuts: &[u8]) -> (Vec<u8>, Option<Refusal>, u64) {
    let mut stream = RequestStream::default();
    let (mut kept, mut passed) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let piece = cuts.next().map_or(rest.len(), |cut| usize::from(*cut) + 1);
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        kept.extend_from_slice(now);
        let seen = stream.pass(&kept);
        assert!(seen.bytes <= kept.len(), "no more passes than came");
        passed.extend(kept.drain(..seen.bytes));
        if seen.refused.is_some() {
            return (passed, seen.refused, stream.heads());
        }
        if stream.is_over() {
            break;
        }
    }
    (passed, None, stream.heads())
}

/// Reads what has passed as hyper does.
fn read_again(passed: &[u8], heads: u64) {
    let mut rest = passed;
    let mut found = 0;
    while !rest.is_empty() {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut request = Request::new(&mut headers);
        let length = match request.parse(rest) {
            Ok(Status::Complete(length)) => length,
            other => panic!("only whole heads pass that hyper takes: {other:?}"),
        };
        found += 1;
        let (is_chunked, content_length) = framing(&request);
        rest = &rest[length..];
        rest = match is_chunked {
            true => behind_chunks(rest),
            false => rest.get(content_length..).unwrap_or(&[]),
        };
    }
    assert_eq!(found, heads, "both see the same requests");
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

/// What stands behind a body in chunks; nothing when it is not over.
fn behind_chunks(mut rest: &[u8]) -> &[u8] {
    loop {
        let (line, size) = match httparse::parse_chunk_size(rest) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return &[],
            Err(error) => panic!("a chunk's size that hyper does not take: {error}"),
        };
        rest = &rest[line..];
        let end = if size == 0 { 0 } else { usize::try_from(size).unwrap_or(usize::MAX) };
        let Some(behind) = rest.get(end..) else { return &[] };
        match behind {
            [b'\r', b'\n', ..] if size == 0 => return &behind[2..],
            [b'\r', b'\n', ..] => rest = &behind[2..],
            [] | [b'\r'] => return &[],
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
    let sound = [GET, POST, CHUNKED, LAST, OLD].map(str::to_owned);
    let together =
        [[GET, POST, CHUNKED, GET].concat(), [POST, "\r\n", GET, CHUNKED, LAST, GET].concat()];
    let all = sound.into_iter().chain(together).chain(wrong.map(str::to_owned));
    let cut = |(number, text): (usize, String)| {
        (format!("connection-{number}"), [&[2, 0, number as u8], text.as_bytes()].concat())
    };
    all.enumerate().map(cut).collect()
}
