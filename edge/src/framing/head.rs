//! One request line and its headers.
//!
//! The head may come in any pieces: each line is looked at once, when it is complete, so that a
//! client that sends byte by byte costs no more than one that does not.

use super::refusal::Refusal;
use super::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};

/// A head that can be read in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its bytes, the empty line included.
    pub bytes: usize,
    /// What follows.
    pub content: Content,
    /// Whether the connection has no more requests after this one.
    pub is_last: bool,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// So many bytes; 0 when there is no body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Looks at a head while it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadCheck {
    /// Where the line begins that is not complete.
    line: u32,
    /// Up to where its end was looked for.
    searched: u32,
    headers: u16,
    is_line_seen: bool,
    /// Whether the method of a request line that is not complete is.
    is_method_seen: bool,
    is_padded: bool,
    is_old: bool,
    is_read: bool,
    has_host: bool,
    has_type: bool,
    has_authorization: bool,
    is_chunked: bool,
    is_closing: bool,
    is_keeping: bool,
    length: Option<u64>,
}

impl HeadCheck {
    /// Goes on over `head`: all bytes from the first one of the request on that have come, and any
    /// that follow it. `None`: it is not complete yet.
    pub fn advance(&mut self, head: &[u8]) -> Result<Option<Head>, Refusal> {
        while let Some(found) = memchr::memchr(b'\n', &head[self.searched as usize..]) {
            let end = self.searched as usize + found;
            if end >= HEAD_BYTES_MAX {
                break;
            }
            let Some((b'\r', line)) = head[self.line as usize..end].split_last() else {
                return Err(Refusal::BareLineFeed);
            };
            if line.is_empty() && self.is_line_seen {
                return self.finish(end + 1).map(Some);
            }
            self.look_at(line)?;
            (self.line, self.searched) = (end as u32 + 1, end as u32 + 1);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(match self.is_line_seen {
                true => Refusal::HeadTooLarge,
                false => Refusal::TargetTooLong,
            });
        }
        if !self.is_line_seen {
            self.look_ahead(head)?;
        }
        self.searched = head.len() as u32;
        Ok(None)
    }

    /// Looks at what is new of a request line that is not complete: who speaks another protocol is
    /// told at once, and not when time is up.
    fn look_ahead(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let line = self.line as usize;
        // The last byte of before is looked at again: it may be a CR, which only an LF may follow.
        let from = line.max(self.searched.saturating_sub(1) as usize);
        for (at, byte) in head.iter().enumerate().skip(from) {
            match byte {
                b'\r' if at + 1 == head.len() => {}
                b' ' if at > line => self.is_method_seen = true,
                _ if self.is_method_seen => {
                    if CLASSES[usize::from(*byte)] & TARGET == 0 {
                        return Err(Refusal::TargetCharacter);
                    }
                }
                _ if is_token_byte(*byte) => {}
                _ if at == line => return Err(Refusal::NotHttp),
                _ => return Err(Refusal::RequestLine),
            }
        }
        Ok(())
    }

    fn look_at(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if self.is_line_seen {
            return self.look_at_header(line);
        }
        if line.is_empty() {
            // Some old clients send one more line end than the last body has (RFC 9112 §2.2).
            let was_padded = std::mem::replace(&mut self.is_padded, true);
            return if was_padded { Err(Refusal::EmptyLines) } else { Ok(()) };
        }
        self.is_line_seen = true;
        self.look_at_request_line(line)
    }

    fn look_at_request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut ends = line.splitn(2, |byte| *byte == b' ');
        let method = ends.next().unwrap_or_default();
        if !is_token(method) {
            let is_text = method.first().is_some_and(|byte| is_token_byte(*byte));
            return Err(if is_text { Refusal::RequestLine } else { Refusal::NotHttp });
        }
        let Some(rest) = ends.next() else { return Err(Refusal::RequestLine) };
        let Some(at) = memchr::memrchr(b' ', rest) else { return Err(Refusal::NoVersion) };
        let (target, version) = (&rest[..at], &rest[at + 1..]);
        self.is_old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Refusal::Version);
            }
            _ => return Err(Refusal::RequestLine),
        };
        self.is_read = matches!(method, b"GET" | b"HEAD");
        if target.first() != Some(&b'/') || method == b"CONNECT" {
            let is_form = !matches!(target, [] | [b' ', ..]);
            return Err(if is_form { Refusal::TargetForm } else { Refusal::RequestLine });
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(Refusal::TargetTooLong);
        }
        if !target.iter().all(|byte| CLASSES[usize::from(*byte)] & TARGET != 0) {
            return Err(Refusal::TargetCharacter);
        }
        Ok(())
    }

    fn look_at_header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.headers += 1;
        if usize::from(self.headers) > HEADERS_MAX {
            return Err(Refusal::TooManyHeaders);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Refusal::Folded);
        }
        let Some(colon) = memchr::memchr(b':', line) else { return Err(Refusal::NoColon) };
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !is_token(name) {
            return Err(Refusal::HeaderName);
        }
        // Without a way out in the middle this takes many bytes at a time.
        let is_clean = value.iter().fold(true, |is_clean, byte| {
            is_clean & ((*byte >= b' ') & (*byte != 0x7F) | (*byte == b'\t'))
        });
        if !is_clean {
            return Err(Refusal::ControlByte);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.look_at_host(value)?,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.look_at_connection(value)?;
            }
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                once(&mut self.has_type, "Content-Type")?;
            }
            13 if name.eq_ignore_ascii_case(b"authorization") => {
                once(&mut self.has_authorization, "Authorization")?;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::Twice("Content-Length"));
                }
                self.length = Some(length(value).ok_or(Refusal::Length)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.is_old || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Coding);
                }
                once(&mut self.is_chunked, "Transfer-Encoding")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn look_at_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let is_first = !std::mem::replace(&mut self.has_host, true);
        if is_first && is_host(value) { Ok(()) } else { Err(Refusal::Host) }
    }

    fn look_at_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|byte| *byte == b',').map(trim) {
            // A list may have empty places (RFC 9110 §5.6.1). Of a line with anything else hyper
            // would read nothing at all, and not see a `close` in it.
            if !option.is_empty() && !is_token(option) {
                return Err(Refusal::ConnectionOption);
            }
            self.is_closing |= option.eq_ignore_ascii_case(b"close");
            self.is_keeping |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }

    /// The headers together.
    fn finish(&self, bytes: usize) -> Result<Head, Refusal> {
        if !self.has_host && !self.is_old {
            return Err(Refusal::Host);
        }
        let content = match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(Refusal::TwoFramings),
            (None, true) => Content::Chunked,
            (length, false) => Content::Length(length.unwrap_or(0)),
        };
        if self.is_read && content != Content::Length(0) {
            return Err(Refusal::ContentOfRead);
        }
        if self.is_old && self.is_keeping {
            return Err(Refusal::OldKeepAlive);
        }
        Ok(Head { bytes, content, is_last: self.is_old || self.is_closing })
    }
}

fn once(seen: &mut bool, name: &'static str) -> Result<(), Refusal> {
    if std::mem::replace(seen, true) { Err(Refusal::Twice(name)) } else { Ok(()) }
}

/// 1 to 19 digits, which always fit.
fn length(value: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Without spaces and tabs around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

fn is_host(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| CLASSES[usize::from(*byte)] & HOST != 0)
}

/// `tchar` (RFC 9110 §5.6.2).
const TOKEN: u8 = 1;
/// `pchar`, `/` and `?` (RFC 3986 §3.3, §3.4).
const TARGET: u8 = 2;
/// `host [ ":" port ]` (RFC 3986 §3.2.2, RFC 6874 left aside).
const HOST: u8 = 4;

/// Where each byte may stand.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        let is_plain = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let is_delimiter = matches!(
            b,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        );
        if is_plain
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|'
            )
        {
            classes[byte] |= TOKEN;
        }
        if is_plain || is_delimiter || matches!(b, b'%' | b':' | b'@' | b'/' | b'?') {
            classes[byte] |= TARGET;
        }
        if is_plain || is_delimiter || matches!(b, b'%' | b':' | b'[' | b']') {
            classes[byte] |= HOST;
        }
        byte += 1;
    }
    classes
};

#[cfg(test)]
#[path = "head_test.rs"]
mod tests;
