//! Order records and the slab that holds them.
//!
//! A record is the order, what its idempotency key stands for and was first answered, and its links
//! in the one queue that it stands in. The slab grows by whole chunks, so that it
//! never copies what it has, and a sale that grows costs no pause.

use super::product::ProductSlot;
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::record::Write;
use doorbuster_protocol::{
    BuyerId, Currency, IdempotencyKey, OrderId, ProductId, Quantity, Sequence, Timestamp,
};
use std::ops::{Index, IndexMut};

/// Where an order lies in the slab. Never on disk, on the wire or in the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderSlot(u32);

impl OrderSlot {
    /// No order.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }
    /// `None` for [`OrderSlot::NONE`].
    pub(super) fn some(self) -> Option<Self> {
        if self.is_none() { None } else { Some(self) }
    }
    /// From 31 bits.
    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
    /// In 31 bits, if it is one.
    pub(super) fn bits(self) -> u32 {
        self.0
    }
}

/// Neighbours in a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) previous: OrderSlot,
    pub(super) next: OrderSlot,
}

impl Links {
    pub(super) const NONE: Self = Self { previous: OrderSlot::NONE, next: OrderSlot::NONE };
}

/// One order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) id: OrderId,
    pub(super) buyer: BuyerId,
    pub(super) key: IdempotencyKey,
    pub(super) unit_price: u64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// None while it is queued, and for ever if it never left the waitlist.
    pub(super) expires_at: Timestamp,
    /// While queued, its ticket of the waitlist; once final, the sequence of its last event.
    pub(super) mark: u64,
    pub(super) product: ProductSlot,
    /// Its place when it queued up; 0 if its units were held at once.
    pub(super) position: u32,
    pub(super) links: Links,
    pub(super) quantity: Quantity16,
    pub(super) status: OrderStatus,
    /// Whether the buyer would have queued up: with the quantity, what the key stands for.
    pub(super) waitlist: bool,
}

/// A [`Quantity`] in two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity16(u16);

const _: () = assert!(doorbuster_protocol::limits::QUANTITY_MAX <= u16::MAX as u32);
const _: () = assert!(size_of::<Order>() == 112);

impl From<Quantity> for Quantity16 {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.get() as u16)
    }
}

impl Quantity16 {
    pub(super) fn get(self) -> u32 {
        u32::from(self.0)
    }
    pub(super) fn full(self) -> Quantity {
        Quantity::new(self.get()).expect("it was made from a quantity")
    }
}

/// Bytes of [`Order::encode`].
pub(super) const RECORD_BYTES: usize = 16 * 3 + 8 * 5 + 4 + 4 + 2 + 1 + 1;
const FLAG_WAITLIST: u8 = 1;
const FLAG_RECEIPT: u8 = 2;

impl Order {
    /// The sequence of the event that ended it; zero while it has not ended.
    pub(super) fn final_sequence(&self) -> Sequence {
        Sequence::new(if self.status.is_final() { self.mark } else { 0 })
    }

    /// The order as its buyer sees it; the place on the waitlist is the caller's to know.
    pub(super) fn view(&self, product: ProductId, currency: Currency, position: u32) -> OrderView {
        OrderView {
            order: self.id,
            product,
            buyer: self.buyer,
            quantity: self.quantity.full(),
            status: self.status,
            currency,
            unit_price: self.unit_price,
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            position,
        }
    }

    /// The first answer, whatever has become of the order since.
    pub(super) fn receipt(&self, product: ProductId, currency: Currency) -> OrderView {
        let was_queued = self.position != 0;
        OrderView {
            status: if was_queued { OrderStatus::Queued } else { OrderStatus::Pending },
            updated_at: self.created_at,
            expires_at: if was_queued { Timestamp::NONE } else { self.expires_at },
            ..self.view(product, currency, self.position)
        }
    }

    /// Whether a request is the one that this order's key stands for.
    pub(super) fn is_of_request(
        &self,
        product: ProductSlot,
        buyer: BuyerId,
        (quantity, waitlist): (Quantity, bool),
    ) -> bool {
        (self.product, self.buyer) == (product, buyer)
            && (self.quantity.full(), self.waitlist) == (quantity, waitlist)
    }

    /// Everything of it that is not memory layout: what the digest and the snapshot see.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(0, out);
    }
    /// The same of an order that every consumer has, and that is kept for its key alone.
    pub(super) fn encode_receipt(&self, out: &mut Vec<u8>) {
        self.encode_with(FLAG_RECEIPT, out);
    }
    fn encode_with(&self, flags: u8, out: &mut Vec<u8>) {
        out.put(self.id.as_bytes());
        out.put(self.buyer.as_bytes());
        out.put(self.key.as_bytes());
        out.put_u64(self.unit_price);
        out.put_timestamp(self.created_at);
        out.put_timestamp(self.updated_at);
        out.put_timestamp(self.expires_at);
        out.put_u64(self.final_sequence().get());
        out.put_u32(self.product.number());
        out.put_u32(self.position);
        out.put(&self.quantity.0.to_le_bytes());
        out.put_u8(self.status.code());
        out.put_u8(flags | (u8::from(self.waitlist) * FLAG_WAITLIST));
    }

    /// Reads what was encoded, and says whether it is a receipt; `Err` names the first field that is
    /// out of range.
    pub(super) fn decode(record: &[u8; RECORD_BYTES]) -> Result<(Self, bool), &'static str> {
        let mut from = doorbuster_protocol::record::Reader::new(record);
        let mut read = || -> Result<_, doorbuster_protocol::record::Malformed> {
            Ok((
                (from.order()?, from.buyer()?, from.key()?, from.u64()?),
                (from.timestamp()?, from.timestamp()?, from.timestamp()?, from.u64()?),
                (from.u32()?, from.u32()?, from.u16()?, from.u8()?, from.u8()?),
            ))
        };
        let (
            (id, buyer, key, unit_price),
            (created_at, updated_at, expires_at, mark),
            (product, position, quantity, status, flags),
        ) = read().map_err(|_| "order record")?;
        let quantity = Quantity::new(u32::from(quantity)).ok_or("quantity of an order")?;
        let status = OrderStatus::from_code(status).ok_or("status of an order")?;
        if flags & !(FLAG_WAITLIST | FLAG_RECEIPT) != 0 {
            return Err("flags of an order");
        }
        let order = Self {
            id,
            buyer,
            key,
            unit_price,
            created_at,
            updated_at,
            expires_at,
            mark,
            product: ProductSlot::new(product),
            position,
            links: Links::NONE,
            quantity: quantity.into(),
            status,
            waitlist: flags & FLAG_WAITLIST != 0,
        };
        Ok((order, flags & FLAG_RECEIPT != 0))
    }
}

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// All orders of a partition but receipts, in chunks that never move. Slots of removed orders are used
/// again.
#[derive(Debug, Default)]
pub(super) struct Orders {
    chunks: Vec<Vec<Order>>,
    /// Slots ever used; the last chunk is full up to here.
    used: u32,
    free: Vec<OrderSlot>,
}

impl Orders {
    /// Orders in it.
    pub(super) fn len(&self) -> usize {
        self.used as usize - self.free.len()
    }

    pub(super) fn insert(&mut self, order: Order) -> OrderSlot {
        if let Some(slot) = self.free.pop() {
            self[slot] = order;
            return slot;
        }
        let slot = OrderSlot(self.used);
        assert!(self.used < 1 << 31, "far more slots than orders that a partition holds");
        if (self.used as usize).is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[self.used as usize / CHUNK].push(order);
        self.used += 1;
        slot
    }

    /// Takes the order out of the slab; its queue and the indexes must have let go of it.
    pub(super) fn remove(&mut self, slot: OrderSlot) {
        self.free.push(slot);
    }
}

impl Index<OrderSlot> for Orders {
    type Output = Order;
    fn index(&self, slot: OrderSlot) -> &Order {
        &self.chunks[(slot.0 >> CHUNK_BITS) as usize][slot.0 as usize % CHUNK]
    }
}

impl IndexMut<OrderSlot> for Orders {
    fn index_mut(&mut self, slot: OrderSlot) -> &mut Order {
        &mut self.chunks[(slot.0 >> CHUNK_BITS) as usize][slot.0 as usize % CHUNK]
    }
}
