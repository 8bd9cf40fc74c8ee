//! Received bytes, and the frames in them: the part of a session that both ends share.
//!
//! It keeps at most one unfinished frame between two calls of the caller's read loop, and trusts no
//! length before the header's checks have passed.

use super::SessionError;
use crate::frame::{HEADER_BYTES, Header, Kind};
use std::ops::Range;

/// Capacity that an empty buffer keeps.
const KEEP_BYTES: usize = 2 << 20;

#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// Bytes in front of this belong to frames already handed out.
    start: usize,
    /// The header of the frame at `start`, once it was checked.
    header: Option<Header>,
}

impl Input {
    /// The buffer to append received bytes to, rid of the frames already handed out.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES);
            self.start = 0;
        } else if self.start >= self.bytes.len() - self.start {
            // What moves is never more than what is dropped: the cost per received byte is
            // constant.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// The next whole frame, its checksums held; `allow` refuses kinds on sight of the header.
    pub(super) fn next(
        &mut self,
        allow: impl FnOnce(Kind) -> bool,
    ) -> Result<Option<(Header, Range<usize>)>, SessionError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = self.bytes[self.start..].first_chunk::<HEADER_BYTES>() else {
                    return Ok(None);
                };
                let header = Header::decode(bytes)?;
                if !allow(header.kind) {
                    return Err(SessionError::OutOfOrder);
                }
                self.header = Some(header);
                header
            }
        };
        let body =
            self.start + HEADER_BYTES..self.start + HEADER_BYTES + header.body_length as usize;
        let Some(bytes) = self.bytes.get(body.clone()) else {
            return Ok(None);
        };
        header.check_body(bytes)?;
        self.header = None;
        self.start = body.end;
        Ok(Some((header, body)))
    }

    /// The body of a frame that `next` handed out; valid until `buffer` is called again.
    pub(super) fn body(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}
