//! Reads one response off the front of a buffer, where it lies.
//!
//! [`parse`] is asked again with more bytes until it has a whole response. It keeps nothing between
//! two calls, so it cannot matter where the network cut the bytes; responses are small and nearly
//! always come in one piece. Framing follows RFC 9112, section 6.3.

use std::borrow::Cow;

/// Bytes of a status line and headers.
pub(crate) const HEAD_BYTES_MAX: usize = 16 << 10;
/// Bytes of a body, framing included.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
    /// It carries `Idempotency-Replayed: true`.
    pub(crate) is_replayed: bool,
    /// Seconds of its `Retry-After`.
    pub(crate) retry_after: Option<u32>,
    /// The server will close the connection after it.
    pub(crate) closes: bool,
    /// Bytes of the buffer that it took.
    pub(crate) length: usize,
}

/// Why bytes are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("this is no HTTP/1.1 status line")]
    StatusLine,
    #[error("a header line is malformed")]
    Header,
    #[error("the response is too large")]
    TooLarge,
    #[error("the chunked body is malformed")]
    Chunk,
    #[error("the connection was closed inside a response")]
    Truncated,
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

struct Head {
    status: u16,
    framing: Framing,
    is_replayed: bool,
    retry_after: Option<u32>,
    closes: bool,
    length: usize,
}

/// The response at the front of `bytes`; `None` when more bytes are needed. `is_end` says that no
/// more will come.
pub(crate) fn parse(bytes: &[u8], is_end: bool) -> Result<Option<Response<'_>>, ResponseError> {
    let mut at = 0;
    loop {
        let Some(head) = parse_head(&bytes[at..])? else {
            return if is_end { Err(ResponseError::Truncated) } else { Ok(None) };
        };
        at += head.length;
        if head.status >= 200 {
            return parse_body(bytes, at, &head, is_end);
        }
        // An interim response (RFC 9110, section 15.2): the real one follows.
    }
}

fn parse_body<'a>(
    bytes: &'a [u8],
    at: usize,
    head: &Head,
    is_end: bool,
) -> Result<Option<Response<'a>>, ResponseError> {
    let rest = &bytes[at..];
    let body = match head.framing {
        Framing::Length(length) if length > BODY_BYTES_MAX => return Err(ResponseError::TooLarge),
        Framing::Length(length) => {
            rest.get(..length).map(|body| (Cow::Borrowed(body), at + length))
        }
        Framing::Chunked => {
            parse_chunks(rest)?.map(|(body, length)| (Cow::Owned(body), at + length))
        }
        Framing::UntilClose if is_end => Some((Cow::Borrowed(rest), bytes.len())),
        Framing::UntilClose => None,
    };
    match body {
        Some((body, length)) => Ok(Some(Response {
            status: head.status,
            body,
            is_replayed: head.is_replayed,
            retry_after: head.retry_after,
            closes: head.closes || matches!(head.framing, Framing::UntilClose),
            length,
        })),
        None if is_end => Err(ResponseError::Truncated),
        None if rest.len() > BODY_BYTES_MAX => Err(ResponseError::TooLarge),
        None => Ok(None),
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ResponseError> {
    let mut lines = Lines { bytes, at: 0 };
    let Some(status_line) = lines.next()? else { return Ok(None) };
    let status = parse_status_line(status_line)?;
    let mut head = Head {
        status,
        framing: Framing::UntilClose,
        is_replayed: false,
        retry_after: None,
        closes: false,
        length: 0,
    };
    let mut is_chunked = false;
    let mut content_length = None;
    loop {
        let Some(line) = lines.next()? else { return Ok(None) };
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(ResponseError::Header)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = parse_decimal(value).ok_or(ResponseError::Header)?;
            if content_length.is_some_and(|before| before != length) {
                return Err(ResponseError::Header);
            }
            content_length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(ResponseError::Header);
            }
            is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            head.closes |= value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"idempotency-replayed") {
            head.is_replayed = value.eq_ignore_ascii_case(b"true");
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            // The other form of it, a date, is as good as none.
            head.retry_after = parse_decimal(value).and_then(|seconds| seconds.try_into().ok());
        }
    }
    head.framing = match content_length {
        _ if matches!(status, 100..=199 | 204 | 304) => Framing::Length(0),
        _ if is_chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    head.length = lines.at;
    Ok(Some(head))
}

fn parse_status_line(line: &[u8]) -> Result<u16, ResponseError> {
    let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or(ResponseError::StatusLine)?;
    let (digits, after) = rest.split_at_checked(3).ok_or(ResponseError::StatusLine)?;
    if !matches!(after.first(), None | Some(b' ')) {
        return Err(ResponseError::StatusLine);
    }
    match parse_decimal(digits) {
        Some(status @ 100..=999) => Ok(status as u16),
        _ => Err(ResponseError::StatusLine),
    }
}

fn parse_decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0'))
    })
}

/// The body that the chunks at the front of `bytes` make, and how many bytes they took.
fn parse_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ResponseError> {
    let mut body = Vec::new();
    let mut lines = Lines { bytes, at: 0 };
    loop {
        let Some(line) = lines.next()? else { return Ok(None) };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let digits = std::str::from_utf8(digits).map_err(|_| ResponseError::Chunk)?;
        if digits.is_empty() || digits.len() > 8 || digits.starts_with('+') {
            return Err(ResponseError::Chunk);
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| ResponseError::Chunk)?;
        if body.len() + size > BODY_BYTES_MAX {
            return Err(ResponseError::TooLarge);
        }
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(lines.at..lines.at + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        lines.at += size;
        match lines.next()? {
            Some(b"") => {}
            Some(_) => return Err(ResponseError::Chunk),
            None => return Ok(None),
        }
    }
    // Trailers, up to an empty line.
    loop {
        match lines.next()? {
            Some(b"") => return Ok(Some((body, lines.at))),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Lines that end in CR LF.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// The next whole line without its end; `None` when it is not all there.
    fn next(&mut self) -> Result<Option<&'a [u8]>, ResponseError> {
        let rest = &self.bytes[self.at..];
        let Some(feed) = rest.iter().position(|byte| *byte == b'\n') else {
            let is_long = rest.len() > HEAD_BYTES_MAX;
            return if is_long { Err(ResponseError::TooLarge) } else { Ok(None) };
        };
        self.at += feed + 1;
        if feed > HEAD_BYTES_MAX {
            return Err(ResponseError::TooLarge);
        }
        rest[..feed].strip_suffix(b"\r").map(Some).ok_or(ResponseError::Header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response must come out the same wherever its bytes are cut.
    fn check(text: &str, is_end: bool, want: Result<(u16, &str), ResponseError>) {
        let got = parse(text.as_bytes(), is_end)
            .map(|response| response.unwrap_or_else(|| panic!("incomplete: {text:?}")));
        let got_text = got
            .as_ref()
            .map(|response| {
                (response.status, std::str::from_utf8(&response.body).expect("a text body"))
            })
            .map_err(|error| *error);
        assert_eq!(got_text, want, "{text:?}");
        let Ok(response) = got else { return };
        for cut in 0..response.length {
            if cut == text.len() && !is_end {
                continue;
            }
            let part = &text.as_bytes()[..cut];
            assert_eq!(parse(part, false), Ok(None), "{text:?} cut at {cut}");
        }
        if !is_end {
            let more = format!("{text}HTTP/1.1 500 next\r\n");
            assert_eq!(parse(more.as_bytes(), false), Ok(Some(response)), "{text:?} and more");
        }
    }

    #[test]
    fn responses_are_read_wherever_they_are_cut() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, Ok((200, "hello")));
        check("HTTP/1.1 409 Conflict\r\ncontent-length:0\r\n\r\n", false, Ok((409, "")));
        check("HTTP/1.1 204 \r\nX: y\r\n\r\n", false, Ok((204, "")));
        check("HTTP/1.1 304\r\nContent-Length: 7\r\n\r\n", false, Ok((304, "")));
        check(
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            false,
            Ok((201, "abc0123456789")),
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\n\n\r\n0\r\nTrail: er\r\n\r\n",
            false,
            Ok((200, "\n")),
        );
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
            false,
            Ok((201, "{}")),
        );
        check("HTTP/1.1 200 OK\r\n\r\nuntil the end", true, Ok((200, "until the end")));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        use ResponseError::{Chunk, Header, StatusLine, TooLarge, Truncated};
        check("SSH-2.0-x\r\n", false, Err(StatusLine));
        check("HTTP/2 200\r\n", false, Err(StatusLine));
        check("HTTP/1.1 20x OK\r\n", false, Err(StatusLine));
        check("HTTP/1.1 2000 OK\r\n", false, Err(StatusLine));
        check("HTTP/1.1 200 OK\nX: y\r\n\r\n", false, Err(Header));
        check("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", false, Err(Header));
        check("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, Err(Header));
        check("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", false, Err(Header));
        check("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", false, Err(TooLarge));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            false,
            Err(Header),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, Err(Header));
        let chunked =
            |chunks: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        check(&chunked("x\r\n"), false, Err(Chunk));
        check(&chunked("\r\n"), false, Err(Chunk));
        check(&chunked("1\r\nab\r\n"), false, Err(Chunk));
        check(&chunked("ffffffff\r\n"), false, Err(TooLarge));
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", true, Err(Truncated));
        check("HTTP/1.1 200 OK\r\nX", true, Err(Truncated));
        check("", true, Err(Truncated));
        let endless = "x".repeat(HEAD_BYTES_MAX + 1);
        check(&endless, false, Err(TooLarge));
    }

    #[test]
    fn headers_that_matter_are_seen() {
        let text = b"HTTP/1.1 201 Created\r\nConnection: Close\r\nidempotency-replayed: true\r\n\
                     Retry-After: 17\r\nContent-Length: 0\r\n\r\n";
        let response = parse(text, false).expect("sound").expect("whole");
        assert!(response.closes && response.is_replayed);
        assert_eq!(response.retry_after, Some(17));
    }
}
