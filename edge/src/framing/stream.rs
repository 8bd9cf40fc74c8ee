//! The requests of a connection, one after the other: heads, bodies, heads.

use super::chunks::Chunks;
use super::head::{Content, HeadCheck};
use super::refusal::Refusal;

/// Follows the bytes of a connection from one request to the next.
#[derive(Clone, Copy, Debug)]
pub struct RequestStream {
    at: At,
    heads: u64,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Head(HeadCheck),
    Body {
        left: u64,
        is_last: bool,
    },
    Chunks {
        chunks: Chunks,
        is_last: bool,
    },
    /// After the last request.
    Over,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// So many may go on. The others are an unfinished head, to be shown again with what follows
    /// it; or they are refused; or they stand behind the last request and count for nothing.
    pub bytes: usize,
    /// Why no more will pass.
    pub refused: Option<Refusal>,
}

impl Default for RequestStream {
    fn default() -> Self {
        Self { at: At::Head(HeadCheck::default()), heads: 0 }
    }
}

impl RequestStream {
    /// Looks at `bytes`, which go on where those ended that have passed. Whole heads pass only: a
    /// part of one is kept back by the caller.
    pub fn pass(&mut self, bytes: &[u8]) -> Passed {
        let mut passed = 0;
        let mut refused = None;
        while passed < bytes.len() && refused.is_none() {
            let rest = &bytes[passed..];
            match &mut self.at {
                At::Head(check) => match check.advance(rest) {
                    Ok(None) => break,
                    Ok(Some(head)) => {
                        passed += head.bytes;
                        self.heads += 1;
                        self.at = after(head.content, head.is_last);
                    }
                    Err(refusal) => refused = Some(refusal),
                },
                At::Body { left, is_last } => {
                    let taken = (*left).min(rest.len() as u64);
                    passed += taken as usize;
                    *left -= taken;
                    self.at = after(Content::Length(*left), *is_last);
                }
                At::Chunks { chunks, is_last } => {
                    let (taken, wrong) = chunks.pass(rest);
                    passed += taken;
                    refused = wrong;
                    if *chunks == Chunks::Over {
                        self.at = after(Content::Length(0), *is_last);
                    }
                }
                At::Over => break,
            }
        }
        Passed { bytes: passed, refused }
    }

    /// Heads that have passed.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a body has begun and is not over.
    pub fn is_in_body(&self) -> bool {
        matches!(self.at, At::Body { .. } | At::Chunks { .. })
    }

    /// Whether the last request of the connection has passed.
    pub fn is_over(&self) -> bool {
        matches!(self.at, At::Over)
    }
}

fn after(content: Content, is_last: bool) -> At {
    match content {
        Content::Length(0) if is_last => At::Over,
        Content::Length(0) => At::Head(HeadCheck::default()),
        Content::Length(left) => At::Body { left, is_last },
        Content::Chunked => At::Chunks { chunks: Chunks::START, is_last },
    }
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod tests;
