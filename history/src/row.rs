//! What the store holds: one row for each order and each product.

use crate::ids::{BuyerId, OrderId, ProductId};
use crate::terms::{Currency, SaleState, Status, Terms};
use serde::{Deserialize, Serialize};

/// Everything in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The orders.
    pub orders: Vec<OrderRow>,
    /// The products.
    pub products: Vec<ProductRow>,
    /// Orders that the store could not take as they are, and keeps elsewhere for somebody to look
    /// at. They have no row.
    pub set_aside: Vec<OrderId>,
}

/// A row of any kind, as it stands in a line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// Of an order.
    Order(OrderRow),
    /// Of a product.
    Product(ProductRow),
}

/// An order as the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderRow {
    /// The order.
    pub order: OrderId,
    /// What was ordered.
    pub product: ProductId,
    /// By whom.
    pub buyer: BuyerId,
    /// How many.
    pub quantity: u32,
    /// Price of one unit, in minor units.
    pub unit_price: u64,
    /// Price of the whole order, in minor units.
    pub total_amount: u64,
    /// Currency of the prices.
    pub currency: Currency,
    /// Where it stands.
    pub status: Status,
    /// When it was placed or queued.
    pub created_us: u64,
    /// When it last changed.
    pub updated_us: u64,
    /// When its hold runs or ran out; 0 when it never had one.
    pub expires_us: u64,
}

/// A product as the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductRow {
    /// The product.
    pub product: ProductId,
    /// Its terms.
    pub terms: Terms,
    /// Whether its sale runs.
    pub state: SaleState,
    /// When it was first defined.
    pub created_us: u64,
    /// When its terms, stock or state last changed.
    pub updated_us: u64,
}
