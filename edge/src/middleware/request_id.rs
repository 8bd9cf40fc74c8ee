//! The id that ties an answer to log lines and to what a client noted.
//!
//! A client may bring its own in `x-request-id`; one that is not 1 to 64 plain characters is
//! replaced. Ids made here are a random word of the thread and a count.

use crate::limits::REQUEST_ID_BYTES_MAX;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use std::cell::Cell;

/// The header of requests and answers.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of an id that was made here: two numbers of 16 digits at the most, and what parts them.
const FRESH_BYTES_MAX: usize = 33;

/// Makes the ids of one thread.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u64,
    next: Cell<u64>,
}

impl RequestIds {
    /// Ids with a random prefix.
    pub(crate) fn new(prefix: u64) -> Self {
        Self { prefix, next: Cell::new(1) }
    }

    /// The id of a request with these headers: always printable, never in need of escapes.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(given) = headers.get(HEADER).filter(|given| is_plain(given.as_bytes())) {
            return given.clone();
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(self.fresh()))
            .expect("hexadecimal is a header")
    }

    /// A new id.
    pub(crate) fn fresh(&self) -> String {
        let count = self.next.replace(self.next.get() + 1);
        let mut id = String::with_capacity(FRESH_BYTES_MAX);
        push_hexadecimal(self.prefix, 16, &mut id);
        id.push('-');
        push_hexadecimal(count, (16 - count.leading_zeros() / 4).max(1), &mut id);
        id
    }
}

/// The lowest digits of a number: what the formatting of the standard library writes in several times
/// as long.
fn push_hexadecimal(number: u64, digits: u32, out: &mut String) {
    for place in (0..digits).rev() {
        let digit = number >> (4 * place) & 0xF;
        out.push(char::from(b"0123456789abcdef"[digit as usize]));
    }
}

fn is_plain(bytes: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        let ids = RequestIds::new(0xAB);
        let check = |given: &str, kept: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(given).unwrap());
            assert_eq!(ids.of(&headers) == given, kept, "{given:?}");
        };
        check("abc-DEF_1.2:3", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("a b", false);
        check("a\"b", false);
        check("a\\b", false);
        let (one, two) = (ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert_ne!(one, two);
        assert!(is_plain(one.as_bytes()));
        for count in [9, 0xF, 0x10, 0xABC, u64::MAX - 1] {
            ids.next.set(count);
            assert_eq!(ids.fresh(), format!("00000000000000ab-{count:x}"));
        }
    }
}
