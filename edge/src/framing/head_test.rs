//! Heads of every shape, in one piece and byte by byte; and what passes means the same to hyper.

use super::super::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use super::*;

fn in_pieces(head: &[u8], piece: usize) -> Result<Option<Head>, Refusal> {
    let mut check = HeadCheck::default();
    for end in (piece..head.len()).step_by(piece) {
        if let Some(head) = check.advance(&head[..end])? {
            return Ok(Some(head));
        }
    }
    check.advance(head)
}

fn check(head: impl AsRef<[u8]>, expected: Result<Option<Head>, Refusal>) {
    let head = head.as_ref();
    for piece in [1, 2, 7, 64, usize::MAX] {
        let piece = piece.min(head.len().max(1));
        assert_eq!(in_pieces(head, piece), expected, "{:?}", String::from_utf8_lossy(head));
    }
}

fn good(bytes: usize, content: Content, is_last: bool) -> Result<Option<Head>, Refusal> {
    Ok(Some(Head { bytes, content, is_last }))
}

#[test]
fn what_follows_a_head_is_known() {
    let check = |method: &str, headers: &str, content: Content, is_last: bool| {
        let text = format!("{method} /a?b=c HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        super::tests::check(&text, good(text.len(), content, is_last));
        // What comes behind it counts for nothing here.
        super::tests::check(format!("{text}\0\n\r\n"), good(text.len(), content, is_last));
        super::tests::check(format!("\r\n{text}"), good(text.len() + 2, content, is_last));
    };
    check("GET", "", Content::Length(0), false);
    check("GET", "content-length: 0\r\n", Content::Length(0), false);
    check("DELETE", "Content-Length:  12\t\r\n", Content::Length(12), false);
    check("POST", "CONTENT-LENGTH:007\r\n", Content::Length(7), false);
    check("POST", "transfer-encoding: Chunked\r\n", Content::Chunked, false);
    check("GET", "connection: keep-alive\r\n", Content::Length(0), false);
    check("GET", "connection: x, Close \r\n", Content::Length(0), true);
    check("GET", "connection: x\r\nConnection: close\r\n", Content::Length(0), true);
    check("GET", "connection: close,\r\nconnection: keep-alive\r\n", Content::Length(0), true);
    check("GET", "connection:\r\nconnection: upgrade , TE\r\n", Content::Length(0), false);
    check("GET", "connection: close,\r\nconnection: keep-alive\r\n", Content::Length(0), true);
    check("GET", "connection:\r\nconnection: upgrade , TE\r\n", Content::Length(0), false);
    check("!#$%&'*+-.^_`|~", "x: \tcaf\u{e9}\t\u{1F600} \r\ny:\r\n", Content::Length(0), false);
    let most = (0..HEADERS_MAX - 1).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    check("GET", &most, Content::Length(0), false);
}

#[test]
fn old_clients_have_one_request() {
    let text = "GET / HTTP/1.0\r\n\r\n";
    check(text, good(text.len(), Content::Length(0), true));
    let text = "POST / HTTP/1.0\r\ncontent-length: 5\r\n\r\n";
    check(text, good(text.len(), Content::Length(5), true));
    check("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", Err(Refusal::OldKeepAlive));
    check("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", Err(Refusal::Coding));
}

#[test]
fn what_is_not_complete_is_waited_for() {
    let text = "POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    for end in 0..text.len() {
        check(&text[..end], Ok(None));
    }
}

#[test]
fn bounds_are_exact() {
    let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    let text = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", target(TARGET_BYTES_MAX));
    check(&text, good(text.len(), Content::Length(0), false));
    let text = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", target(TARGET_BYTES_MAX + 1));
    check(&text, Err(Refusal::TargetTooLong));
    check(format!("GET {}", target(HEAD_BYTES_MAX)), Err(Refusal::TargetTooLong));
    let filled = |bytes: usize| {
        let text = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n";
        text.replace("x: ", &format!("x: {}", "y".repeat(bytes - text.len())))
    };
    check(filled(HEAD_BYTES_MAX), good(HEAD_BYTES_MAX, Content::Length(0), false));
    check(filled(HEAD_BYTES_MAX + 1), Err(Refusal::HeadTooLarge));
    check(filled(10 * HEAD_BYTES_MAX), Err(Refusal::HeadTooLarge));
    let many = (0..HEADERS_MAX).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    check(format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), Err(Refusal::TooManyHeaders));
}

#[test]
fn who_speaks_something_else_is_told_at_once() {
    // The beginning of a TLS handshake, of nothing, of a binary protocol.
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\0", b"\r\n\xFF\xFF", b" GET", b"{\"a\":1}"] {
        check(bytes, Err(Refusal::NotHttp));
    }
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Refusal::Version));
    check("GET /\r\n", Err(Refusal::NoVersion));
    check("GET / HTTP/1.1\nhost: a\n", Err(Refusal::BareLineFeed));
    check("\r\n\r\n", Err(Refusal::EmptyLines));
}

#[test]
fn a_request_line_is_refused_at_the_byte_that_cannot_be() {
    // Not before its last byte, and not later.
    let at_the_end = |text: &[u8], refusal: Refusal| {
        check(&text[..text.len() - 1], Ok(None));
        check(text, Err(refusal));
    };
    at_the_end(b"\0", Refusal::NotHttp);
    at_the_end(b" ", Refusal::NotHttp);
    at_the_end(b"\r\n\x16", Refusal::NotHttp);
    at_the_end(b"G\0", Refusal::RequestLine);
    at_the_end(b"GET\t", Refusal::RequestLine);
    at_the_end(b"GET\r ", Refusal::RequestLine);
    at_the_end(b"GET /\0", Refusal::TargetCharacter);
    at_the_end(b"\r\nGET /a\xC3", Refusal::TargetCharacter);
    at_the_end(b"GET /a#", Refusal::TargetCharacter);
    at_the_end(b"GET / HTTP/1.1\r\x01", Refusal::TargetCharacter);
    at_the_end(b"GET / HTTP/1.1\rx", Refusal::TargetCharacter);
}

#[test]
fn what_passes_means_the_same_to_hypers_parser() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let words = [
        "GET",
        "POST",
        "PUT",
        " ",
        " ",
        "/",
        "/a",
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.0",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        ":",
        ": ",
        "host: a",
        "host: a\r\n",
        "connection",
        "content-length: 5\r\n",
        "content-length: 5",
        "Transfer-Encoding: chunked\r\n",
        "\t",
        "\0",
        "transfer-encoding",
        "chunked",
        "close",
        "5",
        "x: y\r\n",
        " folded",
        "\u{e9}",
        "a",
        ",",
        "GET / HTTP/1.1\r\nhost: a\r\n",
        "POST / HTTP/1.1\r\n",
        "\u{7f}",
        ";",
    ];
    let mut passed = 0;
    for _ in 0..200_000 {
        let text: String =
            (0..random.usize(1..9)).map(|_| words[random.usize(..words.len())]).collect();
        let Ok(Some(head)) = HeadCheck::default().advance(text.as_bytes()) else { continue };
        passed += 1;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(text.as_bytes());
        assert_eq!(parsed, Ok(httparse::Status::Complete(head.bytes)), "seed {seed}: {text:?}");
        let target = request.path.unwrap().as_bytes().to_vec();
        assert!(hyper::Uri::from_maybe_shared(target).is_ok(), "seed {seed}: {text:?}");
        let value = |name: &str| {
            let mut of_name =
                request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            let value = of_name.next().map(|header| header.value.to_vec());
            assert!(of_name.next().is_none(), "seed {seed}: {text:?}");
            value
        };
        let length = value("content-length").map(|value| String::from_utf8(value).unwrap());
        let expected = match (length, value("transfer-encoding")) {
            (Some(length), None) => Content::Length(length.parse().unwrap()),
            (None, Some(coding)) => {
                assert!(coding.eq_ignore_ascii_case(b"chunked"), "seed {seed}: {text:?}");
                Content::Chunked
            }
            (None, None) => Content::Length(0),
            both => panic!("seed {seed}: {text:?}: {both:?}"),
        };
        assert_eq!(head.content, expected, "seed {seed}: {text:?}");
    }
    assert!(passed > 100, "{passed} heads passed: too few to mean anything");
}
