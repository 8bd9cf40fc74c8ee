//! Rows of the store as bytes, for the time that they wait in a [`super::spool`].

use doorbuster_persistence::{OrderItem, OrderRow, ProductRow};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::record::{Malformed, Reader, Write};

/// A row that can wait in a spool.
pub(super) trait Row: Sized {
    /// Appends its bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what [`Row::encode`] wrote.
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed>;
}

impl Row for OrderRow {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.order.as_bytes());
        out.put(self.buyer.as_bytes());
        out.put_u64(self.total_amount);
        out.put_currency(self.currency);
        out.put_u8(self.status.code());
        out.put_timestamp(self.created_at);
        out.put_timestamp(self.updated_at);
        out.put_timestamp(self.expires_at);
        out.put_u64(self.version.get());
        out.put_u32(self.items.len() as u32);
        for item in &self.items {
            out.put(item.product.as_bytes());
            out.put_u32(item.quantity.get());
            out.put_u64(item.unit_price);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (order, buyer, total_amount) = (from.order()?, from.buyer()?, from.u64()?);
        let (currency, status) = (from.currency()?, from.u8()?);
        let status = OrderStatus::from_code(status).ok_or(Malformed::OutOfRange("status"))?;
        let (created_at, updated_at) = (from.timestamp()?, from.timestamp()?);
        let (expires_at, version) = (from.timestamp()?, from.sequence()?);
        let items = (0..from.u32()?).map(|_| {
            let (product, quantity) = (from.product()?, from.quantity()?);
            Ok(OrderItem { product, quantity, unit_price: from.u64()? })
        });
        let items = items.collect::<Result<_, Malformed>>()?;
        Ok(Self {
            order,
            buyer,
            total_amount,
            currency,
            status,
            created_at,
            updated_at,
            expires_at,
            version,
            items,
        })
    }
}

impl Row for ProductRow {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.product.as_bytes());
        put_text(out, self.name.as_deref());
        put_text(out, self.description.as_deref());
        out.put_u64(self.price);
        out.put_currency(self.currency);
        out.put_u32(self.stock);
        out.put_u8(self.state.code());
        out.put_timestamp(self.opens_at);
        out.put_timestamp(self.closes_at);
        out.put_u32(self.limit_per_buyer);
        out.put_u32(self.hold_seconds);
        out.put_u32(self.waitlist_capacity);
        out.put_timestamp(self.created_at);
        out.put_timestamp(self.updated_at);
        out.put_u64(self.version.get());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            product: from.product()?,
            name: text(from)?,
            description: text(from)?,
            price: from.u64()?,
            currency: from.currency()?,
            stock: from.u32()?,
            state: SaleState::from_code(from.u8()?).ok_or(Malformed::OutOfRange("state"))?,
            opens_at: from.timestamp()?,
            closes_at: from.timestamp()?,
            limit_per_buyer: from.u32()?,
            hold_seconds: from.u32()?,
            waitlist_capacity: from.u32()?,
            created_at: from.timestamp()?,
            updated_at: from.timestamp()?,
            version: from.sequence()?,
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        out.put_u32(text.len() as u32);
        out.put(text.as_bytes());
    }
}

fn text(from: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    if from.u8()? == 0 {
        return Ok(None);
    }
    let length = from.u32()? as usize;
    let text = String::from_utf8(from.bytes(length)?.to_vec());
    text.map(Some).map_err(|_| Malformed::OutOfRange("text"))
}
