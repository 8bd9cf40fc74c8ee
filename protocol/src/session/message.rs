//! What a session hands to its caller: messages that borrow the bytes that were received.

use crate::event::Events;
use crate::frame::Header;
use crate::outcome::Reply;
use crate::record::{Malformed, Reader, Write};
use crate::{Epoch, PartitionId, ProductId, Request, Sequence, Timestamp, limits};

/// A message of a server, as a client sees it.
#[derive(Debug)]
pub enum ServerMessage<'a> {
    /// The handshake is done: the map is there, and requests may be sent.
    Welcomed,
    /// Answers, in any order.
    Replies(Replies<'a>),
    /// Events of a partition that was subscribed to.
    Batch(FeedBatch<'a>),
    /// Levels of products that changed.
    Levels(Levels<'a>),
    /// The sequence that was asked for has left the log.
    FeedGone {
        /// The partition.
        partition: PartitionId,
        /// The first sequence that is still there.
        first: Sequence,
    },
    /// The server drains: what is in flight will be answered, and nothing after it.
    Goodbye,
}

/// A message of a client, as a server sees it.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// The handshake is done.
    Welcomed,
    /// Requests, in the order in which they were made.
    Requests(Requests<'a>),
    /// Send the feed of a partition.
    Subscribe {
        /// The partition.
        partition: PartitionId,
        /// The consumer, below [`limits::CONSUMERS_MAX`].
        consumer: u8,
        /// The first sequence that it wants.
        from: Sequence,
    },
    /// A consumer has made events durable.
    Acknowledge {
        /// The partition.
        partition: PartitionId,
        /// The consumer, below [`limits::CONSUMERS_MAX`].
        consumer: u8,
        /// The reign in which it read them.
        epoch: Epoch,
        /// The last sequence that it has.
        through: Sequence,
    },
    /// Push stock levels from now on.
    WatchStock,
}

/// Reads `count u32 · reserved u32` off a body: at least 1 record and at most `max`.
fn count(from: &mut Reader<'_>, max: usize) -> Result<u32, Malformed> {
    let count = from.u32()?;
    if from.u32()? != 0 {
        return Err(Malformed::OutOfRange("reserved"));
    }
    if count == 0 || count as usize > max {
        return Err(Malformed::OutOfRange("count"));
    }
    Ok(count)
}

/// The requests of one frame. Ends after the first malformed one: what follows it has no beginning.
#[derive(Clone, Debug)]
pub struct Requests<'a> {
    body: Reader<'a>,
    epoch: Epoch,
    next: u64,
    left: u32,
}

impl<'a> Requests<'a> {
    pub(super) fn read(header: &Header, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Reader::new(body);
        let left = count(&mut body, limits::COMMANDS_PER_FRAME_MAX)?;
        Ok(Self { body, epoch: header.epoch, next: header.correlation, left })
    }

    /// How many requests are left.
    pub const fn records_left(&self) -> usize {
        self.left as usize
    }

    /// The reign that the client believes in.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Iterator for Requests<'_> {
    type Item = (u64, Result<Request, Malformed>);

    /// The next request and its correlation id.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let request = match self.left {
            0 if self.body.is_empty() => return None,
            0 => Err(Malformed::Oversized),
            _ => Request::decode(&mut self.body),
        };
        let correlation = self.next;
        if request.is_ok() {
            self.left -= 1;
            self.next += 1;
        } else {
            self.left = 0;
            self.body = Reader::new(&[]);
        }
        Some((correlation, request))
    }
}

/// The replies of one frame. Ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Replies<'a> {
    body: Reader<'a>,
    left: u32,
    /// The correlation id that the next request will have: no reply can carry it yet.
    unused: u64,
}

impl<'a> Replies<'a> {
    pub(super) fn read(body: &'a [u8], unused: u64) -> Result<Self, Malformed> {
        let mut body = Reader::new(body);
        let left = count(&mut body, limits::COMMANDS_PER_FRAME_MAX)?;
        Ok(Self { body, left, unused })
    }

    /// How many replies are left.
    pub const fn records_left(&self) -> usize {
        self.left as usize
    }

    fn read_next(&mut self) -> Result<Reply, Malformed> {
        let reply = Reply::decode(&mut self.body)?;
        if reply.correlation == 0 || reply.correlation >= self.unused {
            return Err(Malformed::OutOfRange("correlation"));
        }
        Ok(reply)
    }
}

impl Iterator for Replies<'_> {
    type Item = Result<Reply, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let reply = match self.left {
            0 if self.body.is_empty() => return None,
            0 => Err(Malformed::Oversized),
            _ => self.read_next(),
        };
        if reply.is_ok() {
            self.left -= 1;
        } else {
            self.left = 0;
            self.body = Reader::new(&[]);
        }
        Some(reply)
    }
}

/// Events of a partition, as the log holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedBatch<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The reign in which they were decided.
    pub epoch: Epoch,
    /// The sequence of the first event.
    pub first: Sequence,
    /// How many events there are; 0 in a batch that only tells how far the log is.
    pub count: u32,
    /// The newest durable sequence when the batch was sent: the distance is the consumer's lag.
    pub durable: Sequence,
    /// The core's clock when it read `durable`.
    pub durable_at: Timestamp,
    /// The events, each as `length u32 · archive`.
    pub events: &'a [u8],
}

/// Bytes in front of the events of a batch.
const BATCH_HEADER_BYTES: usize = 32;
const _: () = assert!(BATCH_HEADER_BYTES + limits::BATCH_BYTES_MAX <= limits::REPLY_BODY_MAX);

impl<'a> FeedBatch<'a> {
    /// The events with their sequences, each checked as it is read.
    pub const fn iter(&self) -> Events<'a> {
        Events::new(self.events, self.first, self.count)
    }

    pub(super) fn read(header: &Header, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        let partition = header.partition.ok_or(Malformed::OutOfRange("partition"))?;
        let (first, durable, durable_at) = (from.sequence()?, from.sequence()?, from.timestamp()?);
        let count = from.u32()?;
        if from.u32()? != 0 {
            return Err(Malformed::OutOfRange("reserved"));
        }
        // Sequences of a batch can be added up without overflow once this has passed.
        if first == Sequence::ZERO || first.get().checked_add(u64::from(count)).is_none() {
            return Err(Malformed::OutOfRange("first"));
        }
        let events = from.bytes(from.remaining())?;
        if events.len() > limits::BATCH_BYTES_MAX {
            return Err(Malformed::Oversized);
        }
        Ok(Self { partition, epoch: header.epoch, first, count, durable, durable_at, events })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        assert!(self.first > Sequence::ZERO, "the first event is 1");
        assert!(self.events.len() <= limits::BATCH_BYTES_MAX, "a batch fits its frame");
        out.reserve(BATCH_HEADER_BYTES + self.events.len());
        out.put_u64(self.first.get());
        out.put_u64(self.durable.get());
        out.put_timestamp(self.durable_at);
        out.put_u32(self.count);
        out.put_u32(0);
        out.put(self.events);
    }
}

impl<'a> IntoIterator for &FeedBatch<'a> {
    type Item = <Events<'a> as Iterator>::Item;
    type IntoIter = Events<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// How much of a product is left, as pushed to those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockLevel {
    /// The product.
    pub product: ProductId,
    /// All units.
    pub stock: u32,
    /// Units that can be ordered.
    pub available: u32,
    /// Units held for unpaid orders.
    pub held: u32,
    /// Units sold.
    pub sold: u32,
    /// Standing orders that still fit the waitlist.
    pub waitlist_free: u32,
    /// False when every order of a buyer would be answered "sold out": nothing is available, and
    /// nobody can queue up.
    pub accepting: bool,
}

impl StockLevel {
    /// Bytes of its record.
    pub const BYTES: usize = 40;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.product.as_bytes());
        for number in [self.stock, self.available, self.held, self.sold, self.waitlist_free] {
            out.put_u32(number);
        }
        out.put_u32(u32::from(self.accepting));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            product: from.product()?,
            stock: from.u32()?,
            available: from.u32()?,
            held: from.u32()?,
            sold: from.u32()?,
            waitlist_free: from.u32()?,
            accepting: match from.u32()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed::OutOfRange("accepting")),
            },
        })
    }
}

/// The stock levels of one frame. Ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    body: Reader<'a>,
}

impl<'a> Levels<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Reader::new(body);
        let count = count(&mut body, limits::LEVELS_PER_FRAME_MAX)?;
        match body.remaining().cmp(&(count as usize * StockLevel::BYTES)) {
            std::cmp::Ordering::Less => Err(Malformed::Truncated),
            std::cmp::Ordering::Equal => Ok(Self { body }),
            std::cmp::Ordering::Greater => Err(Malformed::Oversized),
        }
    }
}

impl Iterator for Levels<'_> {
    type Item = Result<StockLevel, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let level = StockLevel::decode(&mut self.body);
        if level.is_err() {
            self.body = Reader::new(&[]);
        }
        Some(level)
    }
}
