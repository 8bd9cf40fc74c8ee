//! The names of things: products, buyers, orders, keys, and the places of events.
//!
//! To the checker an id is a number of 128 bits and nothing more. Its text is that of a UUID; a key
//! may also be written as 32 hex digits.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hex digits, with the hyphens of a UUID or without")]
pub struct NoId;

/// 32 hex digits, with hyphens at the places of a UUID or without any.
fn parse(text: &str) -> Result<u128, NoId> {
    let bytes = text.as_bytes();
    let is_uuid = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-');
    if bytes.len() != 32 && !is_uuid {
        return Err(NoId);
    }
    let mut number = 0u128;
    for (at, byte) in bytes.iter().enumerate() {
        if is_uuid && [8, 13, 18, 23].contains(&at) {
            continue;
        }
        let digit = (*byte as char).to_digit(16).ok_or(NoId)?;
        number = number << 4 | u128::from(digit);
    }
    Ok(number)
}

fn write(number: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let low = number & 0xFFFF_FFFF_FFFF;
    let part = |shift: u32| (number >> shift) & 0xFFFF;
    write!(f, "{:08x}-{:04x}-{:04x}-{:04x}-{low:012x}", number >> 96, part(80), part(64), part(48))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The id with this number.
            pub const fn new(number: u128) -> Self {
                Self(number)
            }
            /// Its number.
            pub const fn get(self) -> u128 {
                self.0
            }
        }

        impl From<u128> for $name {
            fn from(number: u128) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NoId;
            fn from_str(text: &str) -> Result<Self, NoId> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

id! {
    /// What is sold.
    ProductId
}
id! {
    /// Who buys.
    BuyerId
}
id! {
    /// One order.
    OrderId
}
id! {
    /// An idempotency key, as the log has it.
    KeyId
}

/// The place of an event: its partition, and its number there. The first event is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: u16,
    /// The number of the event in its partition.
    pub sequence: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written() {
        let text = "018bcfe5-6800-8003-8000-0000000000ab";
        let order: OrderId = text.parse().expect("an id");
        assert_eq!(order.to_string(), text);
        assert_eq!(text.replace('-', "").parse(), Ok(order));
        assert_eq!(text.to_uppercase().parse(), Ok(order));
        let json = serde_json::to_string(&order).expect("JSON");
        assert_eq!(serde_json::from_str::<OrderId>(&json).expect("an id"), order);
        for no in ["", "018bcfe5", "018bcfe5-6800-8003-8000-0000000000ag", &text[1..]] {
            assert_eq!(no.parse::<OrderId>(), Err(NoId), "{no}");
        }
        assert!(text.replace('-', "x").parse::<OrderId>().is_err());
    }
}
