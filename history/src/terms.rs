//! The words of a sale that events, answers and rows share: terms, states, statuses, currencies.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// What a product is sold for, and how. A time of zero stands for "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Price of one unit, in minor units.
    pub price: u64,
    /// Currency of the price.
    pub currency: Currency,
    /// All units, sold and held ones included.
    pub stock: u32,
    /// When the sale opens, in microseconds since the epoch; 0: it is open from the start.
    pub opens_us: u64,
    /// When it closes; 0: never.
    pub closes_us: u64,
    /// Units that one buyer may hold, buy and queue for; 0: no limit.
    pub limit_per_buyer: u32,
    /// Seconds that a hold lasts.
    pub hold_seconds: u32,
    /// Standing orders that may wait.
    pub waitlist_capacity: u32,
}

/// Whether an administrator lets the sale run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaleState {
    /// It runs within its window.
    Open,
    /// It takes no new orders.
    Paused,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// On the waitlist.
    Queued,
    /// Units are held until a deadline.
    Pending,
    /// Sold.
    Paid,
    /// Given back.
    Cancelled,
    /// The hold ran out.
    Expired,
}

impl Status {
    /// Whether it will not change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Paid | Self::Cancelled | Self::Expired)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        })
    }
}

/// A currency: three letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(*b"USD");

    /// `None` unless `text` is three capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }
    /// Its letters.
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

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a currency is three capital letters"))
    }
}
