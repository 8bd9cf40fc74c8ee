//! Reading a snapshot: everything is checked before it is trusted, and damage is a typed error.
//!
//! The header has a CRC of its own, so no count is believed that a flipped bit made up; records are
//! read block by block, so that memory grows with the bytes that are there, not with what they say.

use super::{BUYER_BYTES, HEADER_BYTES, MAGIC, ORDER_BYTES, PRODUCT_BYTES, VERSION};
use crate::state_machine::key_index::Whereabouts;
use crate::state_machine::list::List;
use crate::state_machine::order::{Order, OrderSlot};
use crate::state_machine::product::{Product, ProductSlot};
use crate::state_machine::state::State;
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::event::Terms;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::record::{Malformed, Reader};
use doorbuster_protocol::{PartitionId, Sequence, limits};
use std::io;

/// Why bytes are no snapshot of this partition.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Reading failed.
    #[error("reading the snapshot failed: {0}")]
    Io(#[source] io::Error),
    /// The bytes end too early.
    #[error("the snapshot ends too early")]
    Truncated,
    /// The bytes do not begin like a snapshot.
    #[error("this is no snapshot: it does not begin like one")]
    Foreign,
    /// Another version of the format.
    #[error("the snapshot has format version {found}; this program reads version {VERSION}")]
    Version {
        /// The version that stands in it.
        found: u32,
    },
    /// The snapshot of another partition.
    #[error("the snapshot is of partition {found}, not {expected}")]
    Partition {
        /// The partition that stands in it.
        found: u16,
        /// The partition that was asked for.
        expected: PartitionId,
    },
    /// The bytes are not those that were written.
    #[error("the snapshot's checksum does not match its bytes")]
    Checksum,
    /// A field holds what it cannot hold: damage that was noticed before the checksum was.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

impl From<Malformed> for SnapshotError {
    fn from(error: Malformed) -> Self {
        match error {
            Malformed::OutOfRange(field) => Self::Damaged(field),
            _ => Self::Damaged("a record"),
        }
    }
}

pub(super) fn ensure(holds: bool, what: &'static str) -> Result<(), SnapshotError> {
    if holds { Ok(()) } else { Err(SnapshotError::Damaged(what)) }
}

/// Reads a state of `partition`, and not a byte further than its snapshot goes.
pub fn read(bytes: &mut impl io::Read, partition: PartitionId) -> Result<State, SnapshotError> {
    read_into(bytes, State::new(partition))
}

/// The same into a state that nothing has happened to.
pub fn read_into(bytes: &mut impl io::Read, mut state: State) -> Result<State, SnapshotError> {
    let mut input = Input::new(bytes);
    let counts = header(&mut input, &mut state)?;
    let mut lengths = Vec::new();
    input.records::<PRODUCT_BYTES>(counts.products, |record| {
        lengths.push(add_product(&mut state, record)?);
        Ok(())
    })?;
    let in_queues: u64 = lengths.iter().map(|(h, w)| u64::from(*h) + u64::from(*w)).sum();
    let orders = in_queues + u64::from(counts.finals) + u64::from(counts.receipts);
    ensure(orders <= state.bounds.orders as u64, "more orders than a partition holds")?;
    for (number, (holds, waiting)) in lengths.into_iter().enumerate() {
        queues_of(&mut input, &mut state, ProductSlot::new(number as u32), holds, waiting)?;
    }
    final_orders(&mut input, &mut state, counts.finals)?;
    receipts(&mut input, &mut state, counts.receipts)?;
    input.records::<BUYER_BYTES>(counts.buyers, |record| add_buyer(&mut state, record))?;
    input.check()?;
    #[cfg(debug_assertions)]
    state.verify().map_err(SnapshotError::Damaged)?;
    Ok(state)
}

/// The bytes of a snapshot, and the checksum of those that were read.
pub(super) struct Input<'a, R> {
    bytes: &'a mut R,
    crc: u32,
}

impl<'a, R: io::Read> Input<'a, R> {
    pub(super) fn new(bytes: &'a mut R) -> Self {
        Self { bytes, crc: 0 }
    }

    /// Compares what was read with the checksum that follows it.
    pub(super) fn check(mut self) -> Result<(), SnapshotError> {
        let expected = self.crc;
        let mut crc = [0; 4];
        self.fill(&mut crc)?;
        if u32::from_le_bytes(crc) == expected { Ok(()) } else { Err(SnapshotError::Checksum) }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        self.bytes.read_exact(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, buffer);
        Ok(())
    }

    /// Reads `count` records of `N` bytes, some at a time.
    pub(super) fn records<const N: usize>(
        &mut self,
        count: u32,
        mut take: impl FnMut(&[u8; N]) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        const AT_ONCE: usize = 1024;
        let mut left = count as usize;
        let mut block = vec![0; N * left.min(AT_ONCE)];
        while left > 0 {
            let now = left.min(AT_ONCE);
            self.fill(&mut block[..N * now])?;
            let (records, _) = block[..N * now].as_chunks::<N>();
            for record in records {
                take(record)?;
            }
            left -= now;
        }
        Ok(())
    }
}

/// How many records of each kind follow the header.
pub(super) struct Counts {
    pub(super) products: u32,
    pub(super) finals: u32,
    pub(super) receipts: u32,
    pub(super) buyers: u32,
}

pub(super) fn header(
    input: &mut Input<'_, impl io::Read>,
    state: &mut State,
) -> Result<Counts, SnapshotError> {
    let expected = state.partition;
    let mut bytes = [0; HEADER_BYTES];
    input.fill(&mut bytes[..12])?;
    if bytes[..8] != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let mut from = Reader::new(&bytes[8..12]);
    let version = from.u32()?;
    if version != VERSION {
        return Err(SnapshotError::Version { found: version });
    }
    input.fill(&mut bytes[12..])?;
    let (checked, crc) = bytes.split_at(HEADER_BYTES - 4);
    if crc != crc32c::crc32c(checked).to_le_bytes() {
        return Err(SnapshotError::Checksum);
    }
    let mut from = Reader::new(&checked[12..]);
    let found = from.u16()?;
    if found != expected.get() {
        return Err(SnapshotError::Partition { found, expected });
    }
    state.sequence = from.sequence()?;
    state.last_at = from.timestamp()?;
    state.last_fact = from.sequence()?;
    for consumer in &mut state.acknowledged {
        *consumer = Some(from.u64()?).filter(|number| *number != u64::MAX).map(Sequence::new);
    }
    ensure(state.sequence.get() < 1 << 63, "its sequence")?;
    ensure(state.acknowledged[0].is_some(), "the store is registered from birth")?;
    ensure(state.last_fact <= state.sequence, "the last fact")?;
    let is_past = |consumer: &Sequence| *consumer <= state.sequence;
    ensure(state.acknowledged.iter().flatten().all(is_past), "a consumer's sequence")?;
    let counts = Counts {
        products: from.u32()?,
        finals: from.u32()?,
        receipts: from.u32()?,
        buyers: from.u32()?,
    };
    ensure(
        counts.products as usize <= state.bounds.products,
        "more products than a partition has",
    )?;
    ensure(counts.buyers as usize <= state.bounds.buyers, "more buyers than a partition counts")?;
    Ok(counts)
}

/// Adds a product, and says how many holds and standing orders follow for it.
pub(super) fn add_product(
    state: &mut State,
    record: &[u8; PRODUCT_BYTES],
) -> Result<(u32, u32), SnapshotError> {
    let mut from = Reader::new(record);
    let id = from.product()?;
    let price = from.u64()?;
    let currency = from.currency()?;
    let sale = u8::try_from(from.u32()?).ok().and_then(SaleState::from_code);
    let sale = sale.ok_or(SnapshotError::Damaged("state of a product"))?;
    let (opens_at, closes_at) = (from.timestamp()?, from.timestamp()?);
    let (stock, limit_per_buyer) = (from.u32()?, from.u32()?);
    let (hold_seconds, waitlist_capacity) = (from.u32()?, from.u32()?);
    let terms = Terms {
        price,
        currency,
        stock,
        opens_at,
        closes_at,
        limit_per_buyer,
        hold_seconds,
        waitlist_capacity,
    };
    let (available, held, sold) = (from.u32()?, from.u32()?, from.u32()?);
    ensure(price <= limits::PRICE_MAX, "price")?;
    ensure(stock <= limits::STOCK_MAX, "stock")?;
    ensure(hold_seconds <= limits::HOLD_SECONDS_MAX, "time of a hold")?;
    ensure(waitlist_capacity <= limits::WAITLIST_MAX, "capacity of a waitlist")?;
    ensure(
        u64::from(available) + u64::from(held) + u64::from(sold) == u64::from(stock),
        "available + held + sold is not the stock",
    )?;
    ensure(state.products.find(id).is_none(), "a product stands twice")?;
    let product = Product { state: sale, available, held, sold, ..Product::new(id, terms) };
    state.products.insert(product);
    let (holds, waiting) = (from.u32()?, from.u32()?);
    ensure(waiting <= limits::WAITLIST_MAX, "length of a waitlist")?;
    Ok((holds, waiting))
}

fn queues_of(
    input: &mut Input<'_, impl io::Read>,
    state: &mut State,
    number: ProductSlot,
    holds: u32,
    waiting: u32,
) -> Result<(), SnapshotError> {
    let mut held = 0;
    let mut deadline = doorbuster_protocol::Timestamp::NONE;
    input.records::<ORDER_BYTES>(holds, |record| {
        let slot = add_order(state, record, &[OrderStatus::Pending])?;
        let order = &state.orders[slot];
        ensure(order.product == number, "product of a hold")?;
        ensure(deadline <= order.expires_at, "holds out of order")?;
        deadline = order.expires_at;
        held += u64::from(order.quantity.get());
        state.products[number].holds.push_back(&mut state.orders, slot);
        Ok(())
    })?;
    ensure(held == u64::from(state.products[number].held), "units held")?;
    input.records::<ORDER_BYTES>(waiting, |record| {
        let slot = add_order(state, record, &[OrderStatus::Queued])?;
        let order = &state.orders[slot];
        ensure(order.product == number, "product of a standing order")?;
        ensure(order.position != 0 && order.waitlist, "a standing order that never queued up")?;
        state.products[number].waitlist.push_back(&mut state.orders, slot);
        Ok(())
    })?;
    let product = &state.products[number];
    let head = product.waitlist.head().map(|head| state.orders[head].quantity.get());
    ensure(head.is_none_or(|units| units > product.available), "the head of a waitlist fits")?;
    state.schedule(number);
    Ok(())
}

const FINAL: [OrderStatus; 3] = [OrderStatus::Paid, OrderStatus::Cancelled, OrderStatus::Expired];

fn final_orders(
    input: &mut Input<'_, impl io::Read>,
    state: &mut State,
    count: u32,
) -> Result<(), SnapshotError> {
    let mut queue = List::default();
    let mut last = Sequence::ZERO;
    input.records::<ORDER_BYTES>(count, |record| {
        let slot = add_order(state, record, &FINAL)?;
        last = ended_after(last, &state.orders[slot], state)?;
        queue.push_back(&mut state.orders, slot);
        Ok(())
    })?;
    state.finals = queue;
    Ok(())
}

fn receipts(
    input: &mut Input<'_, impl io::Read>,
    state: &mut State,
    count: u32,
) -> Result<(), SnapshotError> {
    let mut last = Sequence::ZERO;
    input.records::<ORDER_BYTES>(count, |record| {
        let (order, is_receipt) = checked(state, record, &FINAL)?;
        ensure(is_receipt, "a receipt that is none")?;
        last = ended_after(last, &order, state)?;
        ensure(!order.key.is_none(), "a receipt without a key")?;
        let number = state.receipts.push(&order);
        state.by_key.insert(order.key, Whereabouts::Receipt(number));
        Ok(())
    })
}

/// The sequence of the event that ended an order, which comes after `last`.
fn ended_after(last: Sequence, order: &Order, state: &State) -> Result<Sequence, SnapshotError> {
    let sequence = order.final_sequence();
    ensure(last < sequence && sequence <= state.sequence, "sequence of a final order")?;
    Ok(sequence)
}

/// An order of one of `statuses` that fits the state, and whether it is a receipt.
fn checked(
    state: &State,
    record: &[u8; ORDER_BYTES],
    statuses: &[OrderStatus],
) -> Result<(Order, bool), SnapshotError> {
    let (order, is_receipt) = Order::decode(record).map_err(SnapshotError::Damaged)?;
    ensure(statuses.contains(&order.status), "status of an order")?;
    ensure((order.product.number() as usize) < state.products.len(), "product of an order")?;
    ensure(order.unit_price <= limits::PRICE_MAX, "price of an order")?;
    ensure(order.id.partition() == state.partition, "partition of an order")?;
    ensure(order.key.is_none() || state.find_key(order.key).is_none(), "a key stands twice")?;
    Ok((order, is_receipt))
}

/// Adds an order of one of `statuses` to the slab and the indexes; its queue is the caller's.
fn add_order(
    state: &mut State,
    record: &[u8; ORDER_BYTES],
    statuses: &[OrderStatus],
) -> Result<OrderSlot, SnapshotError> {
    let (order, is_receipt) = checked(state, record, statuses)?;
    ensure(!is_receipt, "a receipt among orders")?;
    let slot = state.orders.insert(order);
    let is_new = state.by_id.restore(order.id, state.sequence, slot);
    ensure(is_new, "sequence of an order")?;
    if !order.key.is_none() {
        state.by_key.insert(order.key, Whereabouts::Order(slot));
    }
    Ok(slot)
}

fn add_buyer(state: &mut State, record: &[u8; BUYER_BYTES]) -> Result<(), SnapshotError> {
    let mut from = Reader::new(record);
    let (buyer, product, units) = (from.buyer()?, from.u32()?, from.u32()?);
    let product_slot = ProductSlot::new(product);
    ensure((product as usize) < state.products.len(), "product of a buyer")?;
    ensure(units > 0, "units of a buyer")?;
    ensure(state.buyers.units(product_slot, buyer) == 0, "a buyer stands twice")?;
    let is_countable = state.buyers.add(product_slot, buyer, units).is_some();
    ensure(is_countable, "units of a buyer")
}
