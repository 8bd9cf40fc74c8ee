//! Little-endian reading and writing with bounds: the alphabet of every fixed-layout record.
//!
//! Nothing here allocates from a length that it read.

use crate::{BuyerId, Currency, IdempotencyKey, OrderId, PartitionId, ProductId, Quantity};
use crate::{Sequence, Timestamp};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a record.
    #[error("the bytes end inside a record")]
    Truncated,
    /// No record has this kind.
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
    /// A field holds a value that it cannot have.
    #[error("field `{0}` is out of range")]
    OutOfRange(&'static str),
    /// More records than a frame may hold, or bytes after the last one.
    #[error("more bytes or records than the frame may hold")]
    Oversized,
    /// An event's archive did not validate.
    #[error("an event's archive is damaged")]
    Archive,
}

/// Reads fixed-layout fields off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

macro_rules! number {
    ($name:ident, $type:ty) => {
        #[doc = concat!("The next little-endian `", stringify!($type), "`.")]
        pub fn $name(&mut self) -> Result<$type, Malformed> {
            Ok(<$type>::from_le_bytes(self.array()?))
        }
    };
}

impl<'a> Reader<'a> {
    /// A reader at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    /// Bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }
    /// Whether all bytes were read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(head)
    }
    /// The next `N` bytes, copied.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }
    number!(u8, u8);
    number!(u16, u16);
    number!(u32, u32);
    number!(u64, u64);
    /// The next id of a product.
    pub fn product(&mut self) -> Result<ProductId, Malformed> {
        self.array().map(ProductId::from_bytes)
    }
    /// The next id of a buyer.
    pub fn buyer(&mut self) -> Result<BuyerId, Malformed> {
        self.array().map(BuyerId::from_bytes)
    }
    /// The next id of an order, its checksum not looked at.
    pub fn order(&mut self) -> Result<OrderId, Malformed> {
        self.array().map(OrderId::from_bytes)
    }
    /// The next idempotency key.
    pub fn key(&mut self) -> Result<IdempotencyKey, Malformed> {
        self.array().map(IdempotencyKey::from_bytes)
    }
    /// The next time.
    pub fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        self.u64().map(Timestamp::from_micros)
    }
    /// The next sequence.
    pub fn sequence(&mut self) -> Result<Sequence, Malformed> {
        self.u64().map(Sequence::new)
    }
    /// The next quantity, in range.
    pub fn quantity(&mut self) -> Result<Quantity, Malformed> {
        Quantity::new(self.u32()?).ok_or(Malformed::OutOfRange("quantity"))
    }
    /// The next partition, in range.
    pub fn partition(&mut self) -> Result<PartitionId, Malformed> {
        PartitionId::new(self.u16()?).ok_or(Malformed::OutOfRange("partition"))
    }
    /// The next currency and the zero byte that pads it.
    pub fn currency(&mut self) -> Result<Currency, Malformed> {
        let [a, b, c, pad] = self.array()?;
        if pad != 0 {
            return Err(Malformed::OutOfRange("currency"));
        }
        Currency::new([a, b, c]).ok_or(Malformed::OutOfRange("currency"))
    }
}

/// Appends fixed-layout fields to a buffer.
pub trait Write {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }
    /// Appends a little-endian `u16`.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a little-endian `u32`.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a little-endian `u64`.
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a time.
    fn put_timestamp(&mut self, value: Timestamp) {
        self.put_u64(value.micros());
    }
    /// Appends a currency and a zero byte.
    fn put_currency(&mut self, value: Currency) {
        self.put(&value.bytes());
        self.put_u8(0);
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
