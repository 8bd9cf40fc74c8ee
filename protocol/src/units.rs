//! Numbers with a meaning: times, sequences, epochs, quantities, currencies.
//!
//! Fields are private, so that a value that exists is a value in range.

use crate::limits;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// Microseconds since the Unix epoch, UTC. Zero stands for "none" on the wire.
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
pub struct Timestamp(u64);

impl Timestamp {
    /// No time: "not set" in a definition, "never" in a deadline.
    pub const NONE: Self = Self(0);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> u64 {
        self.0
    }
    /// Whole milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000
    }
    /// Whether this is [`Timestamp::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// `None` for [`Timestamp::NONE`].
    pub const fn some(self) -> Option<Self> {
        if self.0 == 0 { None } else { Some(self) }
    }
    /// This time and `micros` more; saturates at the end of time.
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
    /// This time and `seconds` more; saturates at the end of time.
    pub const fn plus_seconds(self, seconds: u32) -> Self {
        self.plus_micros(seconds as u64 * 1_000_000)
    }
    /// Microseconds from `earlier` to this, zero when it is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The dense number of an event in its partition. The first event is 1; 0 is "before the first".
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
pub struct Sequence(u64);

impl Sequence {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The sequence with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The one after this. Panics at 2^64, which no log reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
    /// The one `count` after this.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        match self.0.checked_add(count) {
            Some(number) => Self(number),
            None => panic!("sequence overflow"),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which reign of a partition's owner wrote something. Frames of an older epoch are fenced off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// Before a map is known: the epoch of the handshake's frames.
    pub const NONE: Self = Self(0);
    /// The epoch of a new data directory.
    pub const FIRST: Self = Self(1);

    /// The epoch with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }
    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Units in one order: 1 to [`limits::QUANTITY_MAX`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct Quantity(u32);

impl Quantity {
    /// One unit.
    pub const ONE: Self = Self(1);

    /// `None` when `units` is 0 or more than [`limits::QUANTITY_MAX`].
    pub const fn new(units: u32) -> Option<Self> {
        if units >= 1 && units <= limits::QUANTITY_MAX { Some(Self(units)) } else { None }
    }
    /// Its units.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 4217 currency code: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The US dollar, the default of a new product.
    pub const USD: Self = Self(*b"USD");

    /// `None` unless `code` is three ASCII capital letters.
    pub const fn new(code: [u8; 3]) -> Option<Self> {
        let mut index = 0;
        while index < 3 {
            if !code[index].is_ascii_uppercase() {
                return None;
            }
            index += 1;
        }
        Some(Self(code))
    }
    /// `None` unless `text` is three ASCII capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(text.as_bytes().try_into().ok()?)
    }
    /// Its three bytes.
    pub const fn bytes(self) -> [u8; 3] {
        self.0
    }
    /// Its three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_bounded() {
        for (units, is_quantity) in [(0, false), (1, true), (1000, true), (1001, false)] {
            assert_eq!(Quantity::new(units).is_some(), is_quantity, "{units}");
        }
        assert_eq!(Quantity::new(u32::MAX), None);
        assert_eq!(Quantity::ONE.get(), 1);
    }

    #[test]
    fn currencies_are_three_capitals() {
        let check = |text: &str, is_currency: bool| {
            let currency = Currency::parse(text);
            assert_eq!(currency.is_some(), is_currency, "{text:?}");
            if let Some(currency) = currency {
                assert_eq!((currency.as_str(), currency.to_string().as_str()), (text, text));
            }
        };
        check("USD", true);
        check("EUR", true);
        for no in ["", "US", "USDX", "usd", "US1", "U D", "\u{20ac}"] {
            check(no, false);
        }
    }

    #[test]
    fn times_saturate_and_zero_is_none() {
        let end = Timestamp::from_micros(u64::MAX);
        assert_eq!(end.plus_micros(1), end);
        assert_eq!(end.plus_seconds(u32::MAX), end);
        assert_eq!(Timestamp::from_micros(5).plus_seconds(2).micros(), 2_000_005);
        assert_eq!(Timestamp::from_micros(5).micros_since(end), 0);
        assert_eq!(end.micros_since(Timestamp::from_micros(5)), u64::MAX - 5);
        assert_eq!(Timestamp::from_micros(1_999).millis(), 1);
        assert!(Timestamp::NONE.is_none() && Timestamp::NONE.some().is_none());
        assert_eq!(end.some(), Some(end));
    }

    #[test]
    fn sequences_are_dense() {
        assert_eq!(Sequence::ZERO.next(), Sequence::new(1));
        assert_eq!(Sequence::new(7).plus(3).get(), 10);
        assert!(Sequence::new(7) < Sequence::new(8));
    }

    #[test]
    #[should_panic(expected = "sequence overflow")]
    fn a_sequence_does_not_wrap() {
        let _ = Sequence::new(u64::MAX).next();
    }
}
