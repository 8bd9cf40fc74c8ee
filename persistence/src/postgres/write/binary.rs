//! Rows in the binary format of COPY, and how they are sent.

use crate::postgres::types::Time;
use bytes::{BufMut, Bytes, BytesMut};
use doorbuster_protocol::Timestamp;
use futures_util::SinkExt;
use std::pin::pin;
use tokio_postgres::{Client, Error, Statement};

/// Signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
/// What is handed to the connection at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Rows in the making: each begins with [`Rows::begin`], and has its columns in order.
pub(super) struct Rows(BytesMut);

impl Rows {
    /// None yet, with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut out = BytesMut::with_capacity(HEADER.len() + bytes + size_of_val(&TRAILER));
        out.put_slice(HEADER);
        Self(out)
    }

    /// A row of so many columns.
    pub(super) fn begin(&mut self, columns: i16) {
        self.0.put_i16(columns);
    }

    /// So many columns without a value.
    pub(super) fn absent(&mut self, columns: usize) {
        (0..columns).for_each(|_| self.0.put_i32(-1));
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.0.put_i32(1);
        self.0.put_u8(u8::from(value));
    }

    pub(super) fn small(&mut self, value: i16) {
        self.0.put_i32(2);
        self.0.put_i16(value);
    }

    pub(super) fn int(&mut self, value: i32) {
        self.0.put_i32(4);
        self.0.put_i32(value);
    }

    pub(super) fn long(&mut self, value: i64) {
        self.0.put_i32(8);
        self.0.put_i64(value);
    }

    pub(super) fn uuid(&mut self, id: &[u8; 16]) {
        self.0.put_i32(16);
        self.0.put_slice(id);
    }

    pub(super) fn text(&mut self, word: &str) {
        self.0.put_i32(word.len() as i32);
        self.0.put_slice(word.as_bytes());
    }

    pub(super) fn time(&mut self, at: Timestamp) {
        self.long(Time::nearest(at).micros());
    }

    pub(super) fn optional_time(&mut self, at: Timestamp) {
        match at.some() {
            Some(at) => self.time(at),
            None => self.absent(1),
        }
    }

    /// The whole, in pieces.
    fn finish(mut self) -> Vec<Bytes> {
        self.0.put_i16(TRAILER);
        let mut all = self.0.freeze();
        let mut pieces = Vec::with_capacity(all.len() / CHUNK_BYTES + 1);
        while all.len() > CHUNK_BYTES {
            pieces.push(all.split_to(CHUNK_BYTES));
        }
        pieces.push(all);
        pieces
    }
}

/// Sends rows to a prepared COPY; how many the table took.
pub(super) async fn copy(client: &Client, into: &Statement, rows: Rows) -> Result<u64, Error> {
    let mut sink = pin!(client.copy_in::<_, Bytes>(into).await?);
    for piece in rows.finish() {
        sink.send(piece).await?;
    }
    sink.finish().await
}
