//! Looking through a snapshot without making its state: for tools, in memory that does not grow
//! with the orders.

use super::reader::{Input, SnapshotError, add_product, ensure, header};
use super::{BUYER_BYTES, ORDER_BYTES, PRODUCT_BYTES};
use crate::state_machine::order::Order;
use crate::state_machine::product::ProductSlot;
use crate::state_machine::state::State;
use doorbuster_protocol::outcome::{OrderView, ProductView};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{BuyerId, PartitionId, ProductId, Sequence};
use std::io;

/// Sees what a snapshot holds. Nothing of it is to be believed before the whole was read: the
/// checksum comes last.
pub trait SnapshotVisitor {
    /// A product, before all orders. The length of its waitlist is not told.
    fn product(&mut self, product: &ProductView);
    /// An order that reads can see; those on a waitlist come from its head on, with their places.
    fn order(&mut self, order: &OrderView);
    /// Units of a product that a buyer holds, has bought and queues for, after all orders.
    fn units(&mut self, product: ProductId, buyer: BuyerId, units: u32);
}

/// Shows a snapshot of `partition` to `visitor`, and says which event it is of.
pub fn visit(
    bytes: &mut impl io::Read,
    partition: PartitionId,
    visitor: &mut impl SnapshotVisitor,
) -> Result<Sequence, SnapshotError> {
    let mut input = Input::new(bytes);
    let mut state = State::new(partition);
    let counts = header(&mut input, &mut state)?;
    let mut lengths = Vec::new();
    input.records::<PRODUCT_BYTES>(counts.products, |record| {
        lengths.push(add_product(&mut state, record)?);
        Ok(())
    })?;
    state.products().for_each(|product| visitor.product(&product));
    for (holds, waiting) in lengths {
        orders(&mut input, &state, visitor, holds, false)?;
        orders(&mut input, &state, visitor, waiting, true)?;
    }
    orders(&mut input, &state, visitor, counts.finals, false)?;
    input.records::<ORDER_BYTES>(counts.receipts, |_| Ok(()))?;
    input.records::<BUYER_BYTES>(counts.buyers, |record| {
        let mut from = Reader::new(record);
        let (buyer, product, units) = (from.buyer()?, from.u32()?, from.u32()?);
        ensure((product as usize) < state.products.len(), "product of a buyer")?;
        visitor.units(state.products[ProductSlot::new(product)].id, buyer, units);
        Ok(())
    })?;
    input.check()?;
    Ok(state.sequence)
}

fn orders(
    input: &mut Input<'_, impl io::Read>,
    state: &State,
    visitor: &mut impl SnapshotVisitor,
    count: u32,
    are_waiting: bool,
) -> Result<(), SnapshotError> {
    let mut position = 0;
    input.records::<ORDER_BYTES>(count, |record| {
        let (order, _) = Order::decode(record).map_err(SnapshotError::Damaged)?;
        ensure((order.product.number() as usize) < state.products.len(), "product of an order")?;
        let product = &state.products[order.product];
        position += u32::from(are_waiting);
        visitor.order(&order.view(product.id, product.terms.currency, position));
        Ok(())
    })
}
