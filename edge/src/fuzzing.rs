//! What the fuzz targets see of the parsers here. No interface: it changes with them.

use crate::body::{order, product};
use crate::problem::Problem;
use crate::router;
use doorbuster_protocol::ProductId;
use doorbuster_protocol::command::{Define, SaleState};
use std::borrow::Cow;

/// The document of a refusal.
pub type Refused = Vec<u8>;

fn refused(problem: &Problem) -> Refused {
    problem.document("fuzz")
}

/// An order: its product, its units, and whether it may queue up.
pub type Order = (ProductId, u32, bool);

fn order(body: Result<order::OrderBody, Problem>) -> Result<Order, Refused> {
    body.map(|body| (body.product, body.quantity.get(), body.waitlist))
        .map_err(|problem| refused(&problem))
}

/// The body of `POST /orders/flash-sale/{product}`.
pub fn flash_sale_order(bytes: &[u8], product: ProductId) -> Result<Order, Refused> {
    order(order::parse_flash_sale(bytes, product))
}

/// The body of `POST /orders`.
pub fn order_of_items(bytes: &[u8]) -> Result<Order, Refused> {
    order(order::parse_items(bytes))
}

/// Terms, name and description.
pub type Definition = (Define, Option<String>, Option<String>);

/// The body of `PUT /products/{product}`.
pub fn definition(bytes: &[u8], product: ProductId) -> Result<Definition, Refused> {
    product::parse_definition(bytes, product)
        .map(|body| (body.terms, body.name, body.description))
        .map_err(|problem| refused(&problem))
}

/// The body of `PUT /products/{product}/inventory`: units that are added, or taken when negative.
pub fn inventory(bytes: &[u8]) -> Result<i64, Refused> {
    product::parse_inventory(bytes)
        .map(|body| match body {
            product::InventoryBody::Add(units) => i64::from(units),
            product::InventoryBody::Withdraw(units) => -i64::from(units),
        })
        .map_err(|problem| refused(&problem))
}

/// The body of `PUT /products/{product}/state`.
pub fn state(bytes: &[u8]) -> Result<SaleState, Refused> {
    product::parse_state(bytes).map_err(|problem| refused(&problem))
}

/// The route of a path as metrics name it, and the parameter in it as it stands there.
pub fn route(path: &str) -> (&'static str, Option<&str>) {
    use router::Resource as R;
    let resource = R::of(path);
    let parameter = match resource {
        R::FlashSaleOrders(parameter)
        | R::Order(parameter)
        | R::OrderStatus(parameter)
        | R::OrderCancel(parameter)
        | R::OrderPay(parameter)
        | R::OrdersOfUser(parameter)
        | R::Product(parameter)
        | R::ProductInventory(parameter)
        | R::ProductState(parameter) => Some(parameter),
        R::Health | R::Ready | R::Orders | R::Products | R::FlashSale | R::Unknown => None,
    };
    (router::ROUTES[resource.route()], parameter)
}

/// A path's parameter or a query's value without its escapes.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    router::decode(text)
}

/// The first value of this name in a query.
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Option<Cow<'a, str>>> {
    router::query_value(query, name)
}
