//! Ids and times as Postgres sends them in binary: a `uuid` is its 16 bytes, a `timestamptz` is
//! microseconds since 2000-01-01 UTC.

use bytes::{BufMut, BytesMut};
use doorbuster_protocol::Timestamp;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// Microseconds from 1970 to 2000, where Postgres begins to count.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A 16-byte id as a `uuid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uuid(pub(super) [u8; 16]);

/// A time as a `timestamptz`. Build it with [`Time::new`], which knows its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(i64);

impl Time {
    /// `None` when it does not fit into 63 bits. What fits is before the year 294 277, where
    /// `timestamptz` ends.
    pub(super) fn new(at: Timestamp) -> Option<Self> {
        i64::try_from(at.micros()).ok().map(|micros| Self(micros - EPOCH_US))
    }

    /// The nearest time that Postgres has.
    pub(super) fn nearest(at: Timestamp) -> Self {
        Self::new(at).unwrap_or(Self(i64::MAX - EPOCH_US))
    }

    /// `None` when it is before 1970, where no time of this system is.
    pub(super) fn timestamp(self) -> Option<Timestamp> {
        let micros = self.0.checked_add(EPOCH_US)?;
        u64::try_from(micros).ok().map(Timestamp::from_micros)
    }

    /// Microseconds since 2000, as on the wire.
    pub(super) const fn micros(self) -> i64 {
        self.0
    }
}

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    accepts!(UUID);
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_microseconds_and_their_range() {
        for micros in [0, 1, 946_684_800_000_000, 1_700_000_000_123_456] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(Time::new(at).and_then(Time::timestamp), Some(at), "{micros}");
        }
        assert_eq!(Time::new(Timestamp::from_micros(946_684_800_000_001)), Some(Time(1)));
        for micros in [u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(Time::new(at).is_some(), micros == i64::MAX as u64, "{micros}");
        }
        assert_eq!(Time(-EPOCH_US - 1).timestamp(), None);
        assert_eq!(Time(i64::MAX).timestamp(), None, "infinity");
    }
}
