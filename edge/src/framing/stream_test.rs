//! Whole connections, cut in every way: the same bytes pass, and the same is refused.

use super::*;

/// Shows the bytes in pieces, as a socket would: what did not pass is shown again.
fn in_pieces(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Refusal>, u64) {
    let mut stream = RequestStream::default();
    let (mut kept, mut passed) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        kept.extend_from_slice(piece);
        let seen = stream.pass(&kept);
        passed.extend(kept.drain(..seen.bytes));
        if seen.refused.is_some() {
            return (passed, seen.refused, stream.heads());
        }
        if stream.is_over() {
            kept.clear();
        }
    }
    (passed, None, stream.heads())
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
const CHUNKED: &str =
    "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
const LAST: &str = "GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const FOLDED: &str = "GET /a HTTP/1.1\r\nhost: a\r\n b\r\n\r\n";

#[test]
fn requests_follow_each_other_however_they_are_cut() {
    let check = |parts: &[&str], good: usize, refused: Option<Refusal>, heads: u64| {
        let text = parts.concat();
        let passed = parts[..good].concat();
        for piece in 1..=text.len() {
            let seen = in_pieces(text.as_bytes(), piece);
            let expected = (passed.clone().into_bytes(), refused, heads);
            assert_eq!(seen, expected, "{text:?} in pieces of {piece}");
        }
    };
    check(&[GET], 1, None, 1);
    check(&[GET, POST, CHUNKED, GET, "\r\n", POST], 6, None, 5);
    check(&[POST, CHUNKED, LAST, GET, GET], 3, None, 3);
    check(&[GET, FOLDED, POST], 1, Some(Refusal::Folded), 1);
    check(&[POST, "abc\r\n", GET], 1, Some(Refusal::RequestLine), 1);
    check(&[GET, "GET /a HT"], 1, None, 1);
    let headless = CHUNKED.strip_suffix("3\r\nabc\r\n0\r\n\r\n").unwrap();
    check(
        &[GET, headless, "3\r\nabc\r\n0", ";x\r\n\r\n", GET],
        3,
        Some(Refusal::ChunkExtension),
        2,
    );
    check(&[headless, "3\r\nabc", "d\r\n0\r\n\r\n", GET], 2, Some(Refusal::ChunkEnd), 1);
    check(&[headless, "0\r\n", "a: b\r\n\r\n", GET], 2, Some(Refusal::Trailers), 1);
}

#[test]
fn it_knows_where_it_is() {
    let mut stream = RequestStream::default();
    let at = |stream: &RequestStream| (stream.heads(), stream.is_in_body(), stream.is_over());
    assert_eq!(at(&stream), (0, false, false));
    stream.pass(&POST.as_bytes()[..POST.len() - 1]);
    assert_eq!(at(&stream), (1, true, false));
    stream.pass(b"c");
    assert_eq!(at(&stream), (1, false, false));
    stream.pass(LAST.as_bytes());
    assert_eq!(at(&stream), (2, false, true));
    assert_eq!(stream.pass(GET.as_bytes()), Passed { bytes: 0, refused: None });
}
