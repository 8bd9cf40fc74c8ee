//! What is to be set right in the store: gathered while log and store are compared, done later, when
//! it is clear that the log can be trusted.

use super::account::Edition;
use super::entry::Entry;
use super::row_bytes::Row;
use super::spool::{Spool, Spooled};
use doorbuster_persistence::{OrderRow, ProductRow};
use doorbuster_protocol::record::{Malformed, Reader, Write};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::io;

/// One thing to set right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mend {
    /// The shard, by its place.
    pub(super) shard: u16,
    pub(super) partition: PartitionId,
    pub(super) what: Wrong,
}

/// What is wrong, and what is known of how it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// An order that is missing or differs: as the log has it, and as it stands.
    Order(Box<Entry>, Option<Box<OrderRow>>),
    /// An order that is not to be there.
    NoOrder(Box<OrderRow>),
    /// A product that is missing or differs.
    Product(Vec<Edition>, Option<Box<ProductRow>>),
    /// A product that is not to be there.
    NoProduct(Box<ProductRow>),
}

impl Wrong {
    /// The order that it is about.
    pub(super) fn order(&self) -> Option<OrderId> {
        match self {
            Self::Order(entry, _) => Some(entry.order),
            Self::NoOrder(row) => Some(row.order),
            Self::Product(..) | Self::NoProduct(_) => None,
        }
    }
    /// The product that it is about.
    pub(super) fn product(&self) -> Option<ProductId> {
        match self {
            Self::Product(editions, _) => editions.first().map(|edition| edition.product),
            Self::NoProduct(row) => Some(row.product),
            Self::Order(..) | Self::NoOrder(_) => None,
        }
    }
}

/// A checkpoint that is to be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetBack {
    pub(super) shard: u16,
    pub(super) partition: PartitionId,
    pub(super) from: Sequence,
    pub(super) to: Sequence,
}

/// Everything that is to be set right.
#[derive(Debug)]
pub(super) struct Mends {
    rows: Spool,
    bytes: Vec<u8>,
    pub(super) checkpoints: Vec<SetBack>,
}

impl Mends {
    /// Nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { rows: Spool::new()?, bytes: Vec::new(), checkpoints: Vec::new() })
    }

    /// One row more.
    pub(super) fn push(&mut self, mend: &Mend) -> io::Result<()> {
        self.bytes.clear();
        mend.encode(&mut self.bytes);
        self.rows.push(&self.bytes)
    }

    /// How much there is to set right.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.rows.len() + self.checkpoints.len() as u64
    }

    /// Everything, in the order in which it was found: checkpoints, then rows.
    pub(super) fn finish(self) -> io::Result<(Vec<SetBack>, Waiting)> {
        Ok((self.checkpoints, Waiting(self.rows.finish()?)))
    }
}

/// Rows that wait to be set right.
#[derive(Debug)]
pub(super) struct Waiting(Spooled);

impl Waiting {
    /// The next; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Mend>> {
        let Some(bytes) = self.0.next()? else { return Ok(None) };
        Mend::decode(&mut Reader::new(bytes)).map(Some).map_err(io::Error::other)
    }
}

impl Mend {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.shard);
        out.put_u16(self.partition.get());
        match &self.what {
            Wrong::Order(entry, stored) => {
                out.put_u8(0);
                entry.encode(out);
                put_stored(out, stored.as_deref());
            }
            Wrong::NoOrder(row) => {
                out.put_u8(1);
                row.encode(out);
            }
            Wrong::Product(editions, stored) => {
                out.put_u8(2);
                out.put_u32(editions.len() as u32);
                editions.iter().for_each(|edition| out.put(&edition.encode()));
                put_stored(out, stored.as_deref());
            }
            Wrong::NoProduct(row) => {
                out.put_u8(3);
                row.encode(out);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (shard, partition) = (from.u16()?, from.partition()?);
        let what = match from.u8()? {
            0 => Wrong::Order(Box::new(Entry::decode(from)?), stored(from)?),
            1 => Wrong::NoOrder(Box::new(OrderRow::decode(from)?)),
            2 => {
                let editions = (0..from.u32()?).map(|_| Ok(Edition::decode(&from.array()?)));
                let editions = editions.collect::<Result<_, Malformed>>()?;
                Wrong::Product(editions, stored(from)?)
            }
            _ => Wrong::NoProduct(Box::new(ProductRow::decode(from)?)),
        };
        Ok(Self { shard, partition, what })
    }
}

fn put_stored<R: Row>(out: &mut Vec<u8>, row: Option<&R>) {
    out.put_u8(u8::from(row.is_some()));
    if let Some(row) = row {
        row.encode(out);
    }
}

fn stored<R: Row>(from: &mut Reader<'_>) -> Result<Option<Box<R>>, Malformed> {
    if from.u8()? == 0 { Ok(None) } else { R::decode(from).map(Box::new).map(Some) }
}
