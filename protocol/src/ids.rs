//! Ids: 128 bits each, kept as the 16 bytes of a UUID in RFC 9562 order everywhere (memory, wire,
//! log, store), so that one value has one spelling.
//!
//! A product or a buyer may be given by name; its id is then the UUIDv5 of the name. An order id is
//! a UUIDv8 that names its own partition and its buyer's bucket, and carries a checksum.

use crate::{
    limits, routing,
    units::{Sequence, Timestamp},
};
use rkyv::{Archive, Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The namespace of product names: UUIDv5 of `product.doorbuster` in the DNS namespace.
const PRODUCT_NAMESPACE: Uuid = Uuid::from_u128(0x2ca25abc_1535_5928_a303_87884d081d2b);

/// The namespace of buyer names: UUIDv5 of `buyer.doorbuster` in the DNS namespace.
const BUYER_NAMESPACE: Uuid = Uuid::from_u128(0x1115d213_9a54_5494_84a2_01cc4c3a4b0b);

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A name is 1 to [`limits::NAME_BYTES_MAX`] bytes of printable ASCII without `/`.
    #[error("a name is 1 to 128 printable ASCII characters without '/' or spaces")]
    Name,
    /// The text is no UUID.
    #[error("this is no UUID")]
    Uuid,
    /// A UUID, but no order id of this system: wrong version, or its checksum does not match.
    #[error("this is no order id: its version or checksum is wrong")]
    Order,
}

/// Whether `text` can stand for a product or a buyer.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// Only the hyphenated form (any case) is a UUID here; everything else is a name.
fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Archive, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its 16 bytes, in RFC 9562 order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            /// Its 16 bytes, in RFC 9562 order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id! {
    /// One sellable unit of the catalog.
    ProductId
}
id! {
    /// Who buys.
    BuyerId
}
id! {
    /// One order: `48-bit Unix milliseconds · version 8 · 12-bit partition · variant · 10-bit buyer
    /// bucket · 40-bit sequence · 12-bit checksum`.
    ///
    /// The low 52 bits are unique in their partition, because one event makes at most one order.
    /// The checksum is the low 12 bits of the CRC-32C of the 16 bytes with those 12 bits zero.
    OrderId
}

impl ProductId {
    /// A UUID as it is, any other name as the UUIDv5 of it.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if let Some(uuid) = parse_uuid(text) {
            return Ok(Self(uuid.into_bytes()));
        }
        if !is_name(text) {
            return Err(IdError::Name);
        }
        Ok(Self(Uuid::new_v5(&PRODUCT_NAMESPACE, text.as_bytes()).into_bytes()))
    }
}

impl BuyerId {
    /// A UUID as it is, any other name as the UUIDv5 of it.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if let Some(uuid) = parse_uuid(text) {
            return Ok(Self(uuid.into_bytes()));
        }
        if !is_name(text) {
            return Err(IdError::Name);
        }
        Ok(Self(Uuid::new_v5(&BUYER_NAMESPACE, text.as_bytes()).into_bytes()))
    }
}

const SEQUENCE_BITS: u32 = 40;
const CHECKSUM_BITS: u32 = 12;

#[inline]
fn order_checksum(bits: u128) -> u128 {
    u128::from(crc32c::crc32c(&bits.to_be_bytes())) & ((1 << CHECKSUM_BITS) - 1)
}

impl OrderId {
    /// The id of the order that event `sequence` of `partition` makes for `buyer` at `at`.
    // So that the rules keep a new id in registers: see there (`place::new_order`).
    #[inline]
    pub fn new(at: Timestamp, partition: PartitionId, buyer: BuyerId, sequence: Sequence) -> Self {
        let millis = u128::from(at.millis()) & ((1 << 48) - 1);
        let bucket = u128::from(routing::bucket_of(buyer));
        let unique = u128::from(sequence.get()) & ((1 << SEQUENCE_BITS) - 1);
        let bits = millis << 80
            | 0x8 << 76
            | u128::from(partition.get()) << 64
            | 0b10 << 62
            | bucket << 52
            | unique << CHECKSUM_BITS;
        Self((bits | order_checksum(bits)).to_be_bytes())
    }
    fn bits(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
    /// The partition that owns the order.
    pub fn partition(self) -> PartitionId {
        PartitionId(((self.bits() >> 64) & 0xFFF) as u16)
    }
    /// The bucket of its buyer, 0 to 1023.
    pub fn bucket(self) -> u16 {
        ((self.bits() >> 52) & 0x3FF) as u16
    }
    /// The millisecond in which it was made, as a time.
    pub fn created_ms(self) -> Timestamp {
        Timestamp::from_micros((self.bits() >> 80) as u64 * 1_000)
    }
    /// The low 40 bits of the sequence of the event that made it.
    pub fn sequence_bits(self) -> u64 {
        ((self.bits() >> CHECKSUM_BITS) & ((1 << SEQUENCE_BITS) - 1)) as u64
    }
    /// Whether version, variant and checksum are those of an order id.
    pub fn is_sound(self) -> bool {
        let bits = self.bits();
        let low = bits & ((1 << CHECKSUM_BITS) - 1);
        (bits >> 76) & 0xF == 0x8
            && (bits >> 62) & 0b11 == 0b10
            && order_checksum(bits & !((1 << CHECKSUM_BITS) - 1)) == low
    }
}

impl FromStr for OrderId {
    type Err = IdError;
    /// [`IdError::Uuid`] for what is no UUID, [`IdError::Order`] for one that is no order id.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let order = Self(parse_uuid(text).ok_or(IdError::Uuid)?.into_bytes());
        if order.is_sound() { Ok(order) } else { Err(IdError::Order) }
    }
}

/// One partition: 0 to [`limits::PARTITIONS_MAX`] − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(u16);

impl PartitionId {
    /// `None` when `number` is [`limits::PARTITIONS_MAX`] or more.
    pub const fn new(number: u16) -> Option<Self> {
        if number < limits::PARTITIONS_MAX { Some(Self(number)) } else { None }
    }
    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }
    /// Its number, as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first 128 bits of SHA-256 over (buyer, product, `Idempotency-Key`); zero stands for "none".
///
/// A cryptographic hash, because the buyer chooses the key: nobody can aim at another's order.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Archive,
    Serialize,
    Deserialize,
)]
pub struct IdempotencyKey([u8; 16]);

impl IdempotencyKey {
    /// No key was given.
    pub const NONE: Self = Self([0; 16]);

    /// The hash of a key as a buyer sent it.
    pub fn new(buyer: BuyerId, product: ProductId, key: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        let digest = Sha256::new()
            .chain_update(buyer.0)
            .chain_update(product.0)
            .chain_update(key)
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }
    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
    /// Whether this is [`IdempotencyKey::NONE`].
    pub fn is_none(&self) -> bool {
        self.0 == [0; 16]
    }
}

#[cfg(test)]
#[path = "ids_test.rs"]
mod ids_test;
