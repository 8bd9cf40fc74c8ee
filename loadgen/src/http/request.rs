//! Writes requests into a buffer that is kept.

use crate::target::HttpTarget;
use std::io::Write;

/// The parts of a request that differ from one to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// Path segments; joined by `/`, and written as they are (ids and names need no escapes).
    pub(crate) path: &'a [&'a str],
    pub(crate) token: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl Request<'_> {
    /// Replaces what is in `out` with this request.
    pub(crate) fn write(&self, target: &HttpTarget, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(target.base().as_bytes());
        for segment in self.path {
            out.push(b'/');
            push_segment(segment, out);
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(target.host().as_bytes());
        if !self.token.is_empty() {
            out.extend_from_slice(b"\r\nAuthorization: Bearer ");
            out.extend_from_slice(self.token.as_bytes());
        }
        if let Some(key) = self.key {
            out.extend_from_slice(b"\r\nIdempotency-Key: ");
            out.extend_from_slice(key.as_bytes());
        }
        if self.method != "GET" {
            if !self.body.is_empty() {
                out.extend_from_slice(b"\r\nContent-Type: application/json");
            }
            write!(out, "\r\nContent-Length: {}", self.body.len())
                .expect("writing to memory does not fail");
        }
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(self.body);
    }
}

/// A segment, with everything escaped that RFC 3986 does not allow unescaped in one.
fn push_segment(segment: &str, out: &mut Vec<u8>) {
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            other => write!(out, "%{other:02X}").expect("writing to memory does not fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_whole() {
        fn check(request: Request<'_>, want: &str) {
            let target = HttpTarget::parse("http://127.0.0.1:8080/v1").expect("a target");
            let mut out = b"left over".to_vec();
            request.write(&target, &mut out);
            assert_eq!(String::from_utf8(out).expect("text"), want);
        }
        check(
            Request {
                method: "POST",
                path: &["orders", "flash-sale", "a%b"],
                token: "t0k3n",
                key: Some("k-1"),
                body: br#"{"quantity":1}"#,
            },
            "POST /v1/orders/flash-sale/a%25b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
             Authorization: Bearer t0k3n\r\nIdempotency-Key: k-1\r\n\
             Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"quantity\":1}",
        );
        check(
            Request { method: "GET", path: &["health"], token: "", key: None, body: b"" },
            "GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
        );
        check(
            Request { method: "PUT", path: &["x"], token: "", key: None, body: b"" },
            "PUT /v1/x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 0\r\n\r\n",
        );
    }
}
